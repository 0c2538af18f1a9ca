// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace rasterize {

/// Runs the program, and returns its exit status: 0, or 2 after an error, which
/// is printed to the standard error.
int program(int argc, const char* const* argv);

}  // namespace rasterize
