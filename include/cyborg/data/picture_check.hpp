// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/detail/row_check.hpp>
#include <cyborg/data/header_check.hpp>
#include <cyborg/data/picture_findings.hpp>
#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/detail/torch/parallel.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

namespace detail {

/// The counts of `PictureCheck::counts`.
inline std::vector<PictureCheck::Count> count_classes(
    const Table& table, const std::vector<CheckedRow>& rows) {
  std::vector<PictureCheck::Count> counts;
  for (const auto* split : {"train", "val", "test"}) {
    for (const auto& cls : table.classes) {
      PictureCheck::Count count;
      count.split = split;
      count.cls = cls;
      int64_t read = 0;
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto& row = table.rows[i];
        if (row.split == split && row.cls == cls) {
          ++count.pictures;
          count.annotated += rows[i].annotated ? 1 : 0;
          count.without += row.has_map() ? 0 : 1;
          count.blank += rows[i].blank ? 1 : 0;
          count.below += rows[i].below;
          count.above += rows[i].above;
          read += rows[i].read ? 1 : 0;
        }
      }
      if (read > 0) {
        count.below /= static_cast<double>(read);
        count.above /= static_cast<double>(read);
      }
      if (count.pictures > 0) {
        counts.push_back(std::move(count));
      }
    }
  }
  return counts;
}

/// Fills `PictureCheck::duplicates` and `repeated`. Files are equal if their
/// sizes and their hashes are.
inline void find_duplicates(
    const Table& table, const std::vector<CheckedRow>& rows,
    PictureCheck& found) {
  std::map<std::pair<size_t, uint64_t>, std::vector<size_t>> rows_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].read) {
      rows_of[rows[i].content].push_back(i);
    }
  }
  for (const auto& entry : rows_of) {
    const auto& same = entry.second;
    const auto& first = table.rows[same[0]];
    if (std::any_of(same.begin(), same.end(), [&](size_t i) {
          return table.rows[i].split != first.split ||
                 table.rows[i].cls != first.cls;
        })) {
      found.duplicates.push_back(same);
      continue;
    }
    for (size_t k = 1; k < same.size(); ++k) {
      const auto& row = table.rows[same[k]];
      found.repeated.push_back(
          {same[k], row.path,
           row.path != first.path ? "is the same picture as " + first.path
           : first.line > 0
               ? "is in line " + std::to_string(first.line) + " already"
               : "is in the table already"});
    }
  }
  std::sort(found.duplicates.begin(), found.duplicates.end());
  std::sort(
      found.repeated.begin(), found.repeated.end(),
      [](const auto& a, const auto& b) { return a.row < b.row; });
}

/// Fills the lists of `PictureCheck` that compare the bits and the headers of
/// pictures.
inline void compare_headers(
    const Table& table, const std::vector<CheckedRow>& rows,
    const std::vector<double>& window, PictureCheck& found) {
  std::vector<PictureHeader> headers;
  headers.reserve(rows.size());
  for (const auto& row : rows) {
    headers.push_back(row.header);
  }
  found.misfits = misfits_of(table, headers, window);
  found.several_bits = rarer_bits(table, headers);
  found.header_signs = signs_of(table, headers);
  auto bits = bits_text(headers);
  found.bits_signs = class_signs(table, bits);
  if (found.bits_signs.empty()) {
    for (size_t i = 0; i < rows.size(); ++i) {
      bits[i] = rows[i].dark ? "dark in 16 bits" : bits[i];
    }
    found.bits_signs = class_signs(table, bits);
  }
}

}  // namespace detail

/// Reads every picture and map of a table once, on LibTorch's threads, and
/// reports what a person should know before training.
///
/// Of `options`, those are used that say how files are read: `max_pixels`,
/// `check_extension`, `window`, `map_values`, `point_width` and `orientation`.
/// Each thread holds one file at a time.
/// Throws: `c10::ValueError` for an invalid window; nothing for files that cannot
///         be used: the result lists them.
/// Example:
///     const auto found = cyborg::data::check_pictures(table);
///     for (const auto& note : found.unreadable)
///       std::cerr << note.path << ": " << note.text << '\n';
inline PictureCheck check_pictures(
    const Table& table, const PictureDatasetOptions& options = {}) {
  detail::check_window(detail::RowCheck::kFunction, options.window());
  std::vector<detail::CheckedRow> rows(table.rows.size());
  cyborg::detail::parallel(
      static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end);
             ++i) {
          rows[i] = detail::RowCheck(table.rows[i], i, options).run();
        }
      });
  PictureCheck all;
  for (const auto& row : rows) {
    for (const auto list :
         {&PictureCheck::unreadable, &PictureCheck::constant,
          &PictureCheck::unclear, &PictureCheck::turned_marks,
          &PictureCheck::other_aspect, &PictureCheck::other_size,
          &PictureCheck::outside, &PictureCheck::turned, &PictureCheck::blank,
          &PictureCheck::cut, &PictureCheck::dark, &PictureCheck::dark_masks,
          &PictureCheck::dark_maps, &PictureCheck::inverted,
          &PictureCheck::transparent}) {
      const auto& notes = row.found.*list;
      (all.*list).insert((all.*list).end(), notes.begin(), notes.end());
    }
  }
  all.counts = detail::count_classes(table, rows);
  detail::find_duplicates(table, rows, all);
  detail::compare_headers(table, rows, options.window(), all);
  all.shared_subjects = data::shared_subjects(table);
  return all;
}

}  // namespace cyborg::data
