// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a program says of a command line that it cannot read.

#include <CLI/CLI.hpp>

#include <string>

namespace programs {

/// Makes `app` say of a wrong command line what was expected, with an example,
/// and what it got: of values that an option does not take, of options that are
/// given twice or that belong to another program, and of names that are nearly
/// those of options. `program`: "train", "evaluate" or "explain". The words
/// `argv` are copied. Call it when all options are added.
void explain_mistakes(
    CLI::App& app, const std::string& program, int argc,
    const char* const* argv);

}  // namespace programs
