// SPDX-License-Identifier: BSD-3-Clause
// Where does a trained network look, and do people look there too? Reads a
// checkpoint of `train` and pictures, and writes overlays and maps:
// `explain --help`, docs/train.md.

#include "program.hpp"

int main(int argc, char** argv) {
  return explain::program(argc, argv);
}
