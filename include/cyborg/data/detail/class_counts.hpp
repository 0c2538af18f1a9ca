// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/table_types.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

/// The pictures of one class in one split.
struct ClassCount {
  std::string split;
  std::string cls;
  int64_t pictures = 0;   ///< rows, also unreadable ones
  int64_t annotated = 0;  ///< rows with a readable map that is not constant
  int64_t without = 0;    ///< rows that name no map
};

namespace detail {

/// The counts of a table, by split (train, val, test) and label. Classes
/// without pictures are left out. `annotated(i)`: whether row i has a map that
/// can be used.
template <class Annotated>
std::vector<ClassCount> count_classes(
    const Table& table, const Annotated& annotated) {
  std::vector<ClassCount> counts;
  for (const auto* split : {"train", "val", "test"}) {
    for (const auto& cls : table.classes) {
      ClassCount count;
      count.split = split;
      count.cls = cls;
      for (size_t i = 0; i < table.rows.size(); ++i) {
        const auto& row = table.rows[i];
        if (row.split == split && row.cls == cls) {
          ++count.pictures;
          count.annotated += annotated(i) ? 1 : 0;
          count.without += row.has_map() ? 0 : 1;
        }
      }
      if (count.pictures > 0) {
        counts.push_back(std::move(count));
      }
    }
  }
  return counts;
}

}  // namespace detail

}  // namespace cyborg::data
