// SPDX-License-Identifier: BSD-3-Clause
// One of two files that include everything and are linked into one program: a
// function that lacks `inline` would be defined twice.
#include <cyborg/cyborg.hpp>

int two();

int main() {
  return CYBORG_VERSION_MAJOR + two() == 2 * CYBORG_VERSION_MAJOR ? 0 : 1;
}
