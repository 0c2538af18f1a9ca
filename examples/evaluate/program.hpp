// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The program as a function, which the tests call.

#include <string>

namespace evaluate {

/// What the program leaves behind, besides files.
struct Outcome {
  int code;  ///< 0; 2: a command line or a file that cannot be used
  std::string out;
  std::string error;
};

/// Parses the command line, reads, judges, and only then writes.
Outcome program(int argc, const char* const* argv);

}  // namespace evaluate
