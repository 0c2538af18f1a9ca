// SPDX-License-Identifier: BSD-3-Clause How good is a network? Reads
// checkpoints or files of scores, and writes measures and a report: `evaluate
// --help`, docs/train.md.

#include "program.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  const auto result = evaluate::program(argc, argv);
  std::fputs(result.out.c_str(), stdout);
  std::fputs(result.error.c_str(), stderr);
  return result.code;
}
