// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/data/window.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

// Whether the pictures of a table are of one kind, by their headers alone: a
// network learns what distinguishes the kinds if that goes with the class.
namespace cyborg::data {

namespace detail {

/// The headers of the pictures of a table, in the order of its rows.
inline std::vector<PictureHeader> headers_of_pictures(
    const Table& table, const TableHeaders& headers) {
  std::vector<PictureHeader> list;
  list.reserve(table.rows.size());
  for (const auto& row : table.rows) {
    list.push_back(headers.of(row.path));
  }
  return list;
}

/// How many pictures have each number of bits.
inline std::map<int64_t, int64_t> count_bits(
    const std::vector<PictureHeader>& headers) {
  std::map<int64_t, int64_t> counts;
  for (const auto& header : headers) {
    if (header.found()) {
      ++counts[header.bits];
    }
  }
  return counts;
}

/// "8 bits" for each picture; "" for those without a header.
inline std::vector<std::string> bits_text(
    const std::vector<PictureHeader>& headers) {
  std::vector<std::string> values;
  values.reserve(headers.size());
  for (const auto& header : headers) {
    values.push_back(
        header.found() ? std::to_string(header.bits) + " bits" : "");
  }
  return values;
}

/// As `check_bits`, of headers in the order of the rows.
inline std::vector<FileNote> misfits_of(
    const Table& table, const std::vector<PictureHeader>& headers,
    const std::vector<double>& window) {
  if (window.empty()) {
    return {};
  }
  const auto counts = count_bits(headers);
  const bool any_of_8 = counts.count(8) > 0;
  const bool too_high = reaches_above(window, 255);
  const auto of_8 = window_problem(
      window, counts.size() == 1
                  ? "All pictures have 8 bits, so leave the window out"
                  : "Save it with 16 bits and values like those of the others");
  std::vector<FileNote> notes;
  for (size_t i = 0; i < headers.size(); ++i) {
    if (!headers[i].found()) {
      continue;
    }
    if (headers[i].bits == 8 && too_high) {
      notes.push_back({i, table.rows[i].path, of_8});
    } else if (headers[i].bits == 16 && any_of_8 && !too_high) {
      notes.push_back(
          {i, table.rows[i].path,
           "has 16 bits, and other pictures have 8: a window is for pictures "
           "of one kind"});
    }
  }
  return notes;
}

/// As `check_several_bits`, of headers in the order of the rows.
inline std::vector<FileNote> rarer_bits(
    const Table& table, const std::vector<PictureHeader>& headers) {
  const auto counts = count_bits(headers);
  std::vector<FileNote> notes;
  if (counts.size() < 2) {
    return notes;
  }
  // Of equally many the 8 bits are the rarer ones.
  const auto common = std::max_element(
      counts.begin(), counts.end(),
      [](const auto& a, const auto& b) { return a.second <= b.second; });
  for (size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].found() && headers[i].bits != common->first) {
      notes.push_back(
          {i, table.rows[i].path,
           "has " + std::to_string(headers[i].bits) + " bits, and " +
               std::to_string(common->second) + " others have " +
               std::to_string(common->first)});
    }
  }
  return notes;
}

/// As `header_signs`, of headers in the order of the rows.
inline std::vector<ClassSign> signs_of(
    const Table& table, const std::vector<PictureHeader>& headers) {
  std::vector<ClassSign> all;
  const auto add = [&](const auto& text_of) {
    std::vector<std::string> values;
    values.reserve(headers.size());
    for (const auto& header : headers) {
      values.push_back(header.found() ? text_of(header) : std::string());
    }
    auto signs = class_signs(table, values);
    std::move(signs.begin(), signs.end(), std::back_inserter(all));
  };
  add([](const PictureHeader& header) {
    return std::string(to_string(header.format));
  });
  add([](const PictureHeader& header) {
    return std::string(header.channels == 1 ? "grey" : "colour");
  });
  add([](const PictureHeader& header) {
    return std::to_string(header.width) + " x " + std::to_string(header.height);
  });
  return all;
}

}  // namespace detail

/// The pictures that do not fit a window {low, high} of stored values
/// (`ImageOptions::window`), in the order of the rows: those of 8 bits if the
/// window reaches above 255. Otherwise, if some pictures have 8 bits and some
/// have 16, those of 16: one value is a bright grey in the ones and nearly black
/// in the others. Only headers are read, those that `headers` lacks. Without a
/// window: none.
///
/// Throws: `c10::ValueError` for an invalid window.
inline std::vector<FileNote> check_bits(
    const Table& table, const std::vector<double>& window,
    const TableHeaders& headers = {}) {
  detail::check_window("cyborg::data::check_bits", window);
  return window.empty()
             ? std::vector<FileNote>()
             : detail::misfits_of(
                   table, detail::headers_of_pictures(table, headers), window);
}

/// Where some pictures have 8 bits and some have 16: those of the rarer kind, in
/// the order of the rows. Black is 0 in both, and white is 255 or 65535. So if
/// those of 16 bits use only the lowest 12, they are nearly black beside the
/// others. Only headers are read, those that `headers` lacks.
inline std::vector<FileNote> check_several_bits(
    const Table& table, const TableHeaders& headers = {}) {
  return detail::rarer_bits(table, detail::headers_of_pictures(table, headers));
}

/// The bits, 8 or 16, that tell a class as `class_signs` says: a network can
/// learn them in place of what the pictures show. Only headers are read, those
/// that `headers` lacks.
inline std::vector<ClassSign> bits_signs(
    const Table& table, const TableHeaders& headers = {}) {
  return class_signs(
      table, detail::bits_text(detail::headers_of_pictures(table, headers)));
}

/// The formats, numbers of colours and sizes that tell a class as `class_signs`
/// says. They leave traces in the pictures (blocks of JPEG, blur of resizing),
/// which a network can learn. Only headers are read, those that `headers` lacks.
inline std::vector<ClassSign> header_signs(
    const Table& table, const TableHeaders& headers = {}) {
  return detail::signs_of(table, detail::headers_of_pictures(table, headers));
}

}  // namespace cyborg::data
