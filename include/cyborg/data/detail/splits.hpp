// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace cyborg::data::detail {

/// The text with ASCII letters in lower case, in every locale.
inline std::string lower_case(std::string text) {
  for (auto& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

/// The split that a name means, "train", "val" or "test", in upper or lower
/// case; "" for another name. "valid", "validation" and "dev" mean "val".
inline std::string split_named(const std::string& name) {
  const auto lower = lower_case(name);
  if (lower == "valid" || lower == "validation" || lower == "dev") {
    return "val";
  }
  return lower == "train" || lower == "val" || lower == "test" ? lower : "";
}

}  // namespace cyborg::data::detail
