// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The names of splits, as people write them.

#include <cyborg/data/splits.hpp>
#include <cyborg/io/text.hpp>

#include <string>

namespace programs {

/// The split that a name means. Files of scores may have others, which are in
/// lower case.
///
/// Example:
///     programs::split_named("Validation")  // "val"
inline std::string split_named(const std::string& text) {
  const auto known = cyborg::data::split_named(text);
  return known.empty() ? cyborg::io::lower_case(text) : known;
}

/// Whether it is one of the three splits of pictures.
inline bool is_picture_split(const std::string& name) {
  return name == "train" || name == "val" || name == "test";
}

}  // namespace programs
