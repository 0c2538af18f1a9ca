// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/text.hpp>

#include <string>

namespace cyborg::data {

/// The split that a name means, "train", "val" or "test", in upper or lower
/// case; "" for another name. "valid", "validation" and "dev" mean "val".
/// Example:
///     cyborg::data::split_named("Validation");  // "val"
inline std::string split_named(const std::string& name) {
  const auto lower = io::lower_case(name);
  if (lower == "valid" || lower == "validation" || lower == "dev") {
    return "val";
  }
  return lower == "train" || lower == "val" || lower == "test" ? lower : "";
}

/// Whether a row of this split is left out: "ignore", in upper or lower case.
/// Example:
///     cyborg::data::is_ignored("Ignore");  // true
inline bool is_ignored(const std::string& split) {
  return io::lower_case(split) == "ignore";
}

}  // namespace cyborg::data
