// SPDX-License-Identifier: BSD-3-Clause
#include "folds.hpp"

#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>

namespace programs {

void split_by_subject(cyborg::data::Table& table, int64_t folds, int64_t fold) {
  // In an order that has nothing to do with the names: those of one sensor or
  // one day often begin alike.
  std::set<std::pair<uint64_t, std::string>> subjects;
  for (const auto& row : table.rows) {
    if (row.subject.empty()) {
      throw cyborg::io::FileError(
          "--folds", table.name,
          "expected a column subject with a value in each row, got none for " +
              row.path);
    }
    subjects.emplace(cyborg::io::fnv1a(row.subject), row.subject);
  }
  if (static_cast<int64_t>(subjects.size()) < folds) {
    throw cyborg::io::FileError(
        "--folds", table.name,
        fmt::format(
            "expected at least {} subjects, got {}", folds, subjects.size()));
  }
  std::map<std::string, const char*> split_of;
  int64_t number = 0;
  for (const auto& subject : subjects) {
    const auto part = number++ % folds + 1;
    split_of[subject.second] = part == fold               ? "test"
                               : part == fold % folds + 1 ? "val"
                                                          : "train";
  }
  for (auto& row : table.rows) {
    row.split = split_of.at(row.subject);
  }
}

}  // namespace programs
