// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The program as a function, so that the tests can call it.

namespace explain {

/// Runs the program and returns its exit status: 0, or 2 after an error that it
/// has printed.
int program(int argc, const char* const* argv);

}  // namespace explain
