// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The program as a function, so that the tests can call it.

#include <string>

namespace evaluate {

/// The exit status of the program and what it prints.
struct ProgramResult {
  int code;  ///< 0; 2 for a command line or file that is wrong; 1 otherwise
  std::string out;
  std::string error;
};

/// Runs the program. It writes no file before all runs are measured.
ProgramResult program(int argc, const char* const* argv);

}  // namespace evaluate
