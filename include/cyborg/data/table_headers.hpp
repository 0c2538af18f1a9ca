// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/detail/torch/parallel.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cyborg::data {

/// The headers of all files of a table, each read once, on LibTorch's threads:
/// for several checks of one table. Thousands of files a second.
///
/// Example:
///     const cyborg::data::TableHeaders headers(table);
///     auto turned = cyborg::data::check_orientation(table, headers);
///     auto stretched = cyborg::data::check_proportions(
///         table, false, false, headers);
class TableHeaders {
 public:
  /// Holds none: each is read when it is asked for.
  TableHeaders() = default;

  /// Reads those of the pictures, maps and masks of the rows.
  explicit TableHeaders(const Table& table) {
    std::vector<std::pair<const std::string, PictureHeader>*> files;
    const auto add = [&](const std::string& path) {
      const auto [at, is_new] = headers_.emplace(path, PictureHeader());
      if (is_new) {
        files.push_back(&*at);  // stays where it is
      }
    };
    for (const auto& row : table.rows) {
      add(row.path);
      for (const auto& map : row.map_files()) {
        add(map);
      }
      for (const auto& annotation : row.annotations) {
        if (!annotation->mask.empty()) {
          add(annotation->mask);
        }
      }
    }
    cyborg::detail::parallel(
        static_cast<int64_t>(files.size()), [&](int64_t begin, int64_t end) {
          for (auto i = begin; i < end; ++i) {
            auto& file = *files[static_cast<size_t>(i)];
            file.second = read_picture_header(file.first);
          }
        });
  }

  /// The header of a file. That of a file which is not in the table is read.
  PictureHeader of(const std::string& path) const {
    const auto at = headers_.find(path);
    return at != headers_.end() ? at->second : read_picture_header(path);
  }

 private:
  std::unordered_map<std::string, PictureHeader> headers_;
};

namespace detail {

/// Calls `check(row, notes)` for the position of each row, on LibTorch's
/// threads. The notes are in the order of the rows.
template <class Check>
std::vector<FileNote> notes_of_rows(const Table& table, const Check& check) {
  std::vector<std::vector<FileNote>> found(table.rows.size());
  cyborg::detail::parallel(
      static_cast<int64_t>(found.size()), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end);
             ++i) {
          check(i, found[i]);
        }
      });
  std::vector<FileNote> notes;
  for (auto& of_row : found) {
    std::move(of_row.begin(), of_row.end(), std::back_inserter(notes));
  }
  return notes;
}

}  // namespace detail

}  // namespace cyborg::data
