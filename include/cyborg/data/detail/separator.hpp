// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/csv.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace cyborg::data::detail {

/// What separates the fields of a CSV: a comma, unless its first line makes
/// sense with semicolons or with tabs, and only with one of these.
/// `makes_sense(fields)` says whether a first line of these fields does.
template <class Predicate>
char separator_of(std::string_view text, const Predicate& makes_sense) {
  const auto begin = std::min(text.find_first_not_of("\r\n"), text.size());
  const auto line =
      text.substr(begin, text.find_first_of("\r\n", begin) - begin);
  struct NoCsv {};
  const auto fits = [&](char separator) {
    try {
      const auto records = io::parse_csv(
          line, [](size_t, const std::string&) { throw NoCsv(); }, separator);
      return !records.empty() && makes_sense(records[0].fields);
    } catch (const NoCsv&) {
      return false;
    }
  };
  const bool semicolons = fits(';');
  const bool tabs = fits('\t');
  return fits(',') || semicolons == tabs ? ',' : semicolons ? ';' : '\t';
}

}  // namespace cyborg::data::detail
