// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The names of splits, as people write them.

#include <string>

namespace programs {

/// The text with ASCII letters in lower case, in every locale.
inline std::string lower_case(std::string text) {
  for (auto& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

/// The name of a split in lower case, and `val` for valid and validation. Other
/// names are possible in files of scores.
///
/// Example:
///     programs::split_named("Validation")  // "val"
inline std::string split_named(const std::string& text) {
  const auto name = lower_case(text);
  return name == "valid" || name == "validation" ? "val" : name;
}

/// Whether it is one of the three splits of pictures.
inline bool is_picture_split(const std::string& name) {
  return name == "train" || name == "val" || name == "test";
}

}  // namespace programs
