// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace programs {

/// The member of `Settings` that an option of `train` sets, and so every
/// checkpoint keeps: "--lr" sets "learning_rate", "--screen" sets
/// "annotations/screen". "" for an option that sets none.
std::string setting_of(const std::string& flag);

/// The option that sets a member of this name, where it has another one:
/// "--learning-rate" is "--lr". Other names stay as they are.
std::string flag_of_setting(const std::string& flag);

}  // namespace programs
