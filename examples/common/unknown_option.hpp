// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a program says of an option that it does not have.

#include <set>
#include <string>
#include <vector>

namespace programs {

/// An option that only some of `train`, `evaluate` and `explain` have, and whose
/// value no checkpoint keeps (`setting_of`).
struct OptionElsewhere {
  const char* flag;
  std::vector<std::string> programs;  ///< that have it
};

/// All of these options.
const std::vector<OptionElsewhere>& options_elsewhere();

/// What is wrong with `flag`, which is none of the options `own` of a program: a
/// setting that it takes from the checkpoint, an option of another program, or a
/// name that is nearly that of an option.
std::string unknown_option_text(
    const std::string& program, const std::set<std::string>& own,
    const std::string& flag);

}  // namespace programs
