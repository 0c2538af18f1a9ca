// SPDX-License-Identifier: BSD-3-Clause
// Writes what people marked on pictures as human maps (docs/annotations.md).

#include "program.hpp"

int main(int argc, char** argv) {
  return rasterize::program(argc, argv);
}
