// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The program as a function, which the tests call.

namespace explain {

/// Parses the command line, explains, and returns the status: 0, or 2 after
/// saying what cannot be used.
int program(int argc, const char* const* argv);

}  // namespace explain
