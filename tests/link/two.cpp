// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/cyborg.hpp>

int two();
int two() {
  return CYBORG_VERSION_MAJOR;
}
