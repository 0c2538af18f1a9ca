// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/csv.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace cyborg::data::detail {

/// The first record of a CSV, with the blank lines before it. Line breaks inside
/// quotes do not end it.
inline std::string_view first_record(std::string_view text) {
  constexpr std::string_view kBlank = "\xEF\xBB\xBF \t\r\n";
  bool quoted = false;
  bool blank = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!quoted && !blank && (c == '\r' || c == '\n')) {
      return text.substr(0, i);
    }
    quoted = quoted != (c == '"');
    blank = blank && kBlank.find(c) != std::string_view::npos;
  }
  return text;
}

/// What separates the fields of a CSV: the separator with which its first line
/// makes sense.
///
/// If several do, it is a comma. If none does, it is the first of comma,
/// semicolon and tab that is in the line, so that an error names the columns.
/// `makes_sense(fields)` says whether a first line of these fields does.
template <class Predicate>
char separator_of(std::string_view text, const Predicate& makes_sense) {
  const auto first = first_record(text);
  struct NoCsv {};
  const auto fits = [&](char separator) {
    try {
      const auto records = io::parse_csv(
          first, [](size_t, const std::string&) { throw NoCsv(); }, separator);
      return !records.empty() && makes_sense(records[0].fields);
    } catch (const NoCsv&) {
      return false;
    }
  };
  const bool semicolons = fits(';'), tabs = fits('\t');
  if (fits(',') || (semicolons && tabs)) {
    return ',';
  }
  if (semicolons || tabs) {
    return semicolons ? ';' : '\t';
  }
  for (const char separator : {',', ';', '\t'}) {
    if (first.find(separator) != std::string_view::npos) {
      return separator;
    }
  }
  return ',';
}

}  // namespace cyborg::data::detail
