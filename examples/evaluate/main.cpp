// SPDX-License-Identifier: BSD-3-Clause
// From scores to measures: how good is a detector, over several runs?
//
// Reads files of scores and writes tables and a report. `evaluate --help`.

#include "program.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  const auto outcome = evaluate::program(argc, argv);
  std::fputs(outcome.out.c_str(), stdout);
  std::fputs(outcome.error.c_str(), stderr);
  return outcome.code;
}
