// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Errors as a person at the command line reads them.

#include <string>

namespace programs {

/// A text of the library for the person at the command line. If it names an
/// option of the library and a flag, as in
/// "max_pixels; --max-pixels in the programs", only the flag stays. The flags are
/// those of `train`, whose checkpoints keep them.
///
/// Example:
///     programs::with_flags("(window; --window in the programs)", "train");
///     // "(--window)"; of another program: "(--window of train)"
std::string with_flags(const std::string& text, const std::string& program);

/// What the exception in flight says, for the standard error. Call it in a
/// `catch`. The name of a library's function is left out; a flag stays, and the
/// names of options of the library become what can be done about them.
///
/// Example:
///     explain: --out looks: is not empty: name a new or an empty folder
std::string current_error(const std::string& program);

}  // namespace programs
