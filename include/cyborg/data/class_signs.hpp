// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/table_types.hpp>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

// Properties of picture files that tell the class, so that a network can learn
// them in place of what the pictures show.
namespace cyborg::data {

/// A property that nearly all pictures of one class have, and nearly none of the
/// others.
struct ClassSign {
  std::string value;  ///< "8 bits"
  std::string cls;
  int64_t with = 0;         ///< pictures of the class that have it
  int64_t pictures = 0;     ///< pictures of the class
  int64_t others_with = 0;  ///< pictures of other classes that have it
  int64_t others = 0;       ///< pictures of other classes
  size_t row = 0;           ///< the first row of the class that has it
};

/// The values that tell a class. `values` has one for each row of the table; ""
/// is not known, and the row is left out.
///
/// The rule: at least 90 % of the pictures of the class have the value, and at
/// most 10 % of all others. There are at least two pictures of the class, and
/// two others. Counted are the rows of the split train; in a table without them
/// all rows. A class that shares its value with another class, or whose pictures
/// have several values, has no sign.
/// Throws: `c10::ValueError` for another number of values than of rows.
/// Example:
///     // Three scans of one hospital have 16 bits, the others have 8.
///     auto signs = cyborg::data::class_signs(table, bits);
///     std::cerr << cyborg::data::to_string(signs.at(0));
///     // 16 bits: 3 of 3 pictures of class "ill", and 0 of 40 others
inline std::vector<ClassSign> class_signs(
    const Table& table, const std::vector<std::string>& values) {
  TORCH_CHECK_VALUE(
      values.size() == table.rows.size(),
      "cyborg::data::class_signs: expected a value for each of ",
      table.rows.size(), " rows, got ", values.size());
  const bool has_train = table.has("train");
  struct Counted {
    int64_t pictures = 0;
    size_t first = 0;
  };
  int64_t all = 0;
  std::map<std::string, int64_t> of_class, of_value;
  std::map<std::pair<std::string, std::string>, Counted> counted;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto& row = table.rows[i];
    if (values[i].empty() || (has_train && row.split != "train")) {
      continue;
    }
    ++all;
    ++of_class[row.cls];
    ++of_value[values[i]];
    auto& both = counted[{row.cls, values[i]}];
    both.first = both.pictures == 0 ? i : both.first;
    ++both.pictures;
  }
  std::vector<ClassSign> signs;
  for (const auto& [key, both] : counted) {
    ClassSign sign;
    sign.cls = key.first;
    sign.value = key.second;
    sign.with = both.pictures;
    sign.pictures = of_class[sign.cls];
    sign.others = all - sign.pictures;
    sign.others_with = of_value[sign.value] - sign.with;
    sign.row = both.first;
    if (sign.pictures >= 2 && sign.others >= 2 &&
        10 * sign.with >= 9 * sign.pictures &&
        10 * sign.others_with <= sign.others) {
      signs.push_back(std::move(sign));
    }
  }
  return signs;
}

/// A sign in words, as in the example of `class_signs`.
inline std::string to_string(const ClassSign& sign) {
  return sign.value + ": " + std::to_string(sign.with) + " of " +
         std::to_string(sign.pictures) + " pictures of class \"" + sign.cls +
         "\", and " + std::to_string(sign.others_with) + " of " +
         std::to_string(sign.others) + " others";
}

}  // namespace cyborg::data
