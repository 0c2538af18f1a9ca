// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// CSV files (RFC 4180): a reader, and the quoting of a field to write.
//
// Debian has two CSV libraries, and neither fits. libcsv is not header-only.
// fast-cpp-csv-parser needs the number of the columns at compile time, which we
// know only when the file is read, and it reads no quoted line breaks.
namespace cyborg::io {

/// One record of a CSV file: mostly one line, more if a quoted field contains
/// line breaks.
struct CsvRecord {
  std::vector<std::string> fields;  ///< at least one
  size_t line = 0;                  ///< the line where it begins, from 1
};

/// Splits `text` into records.
///
/// Commas separate fields, or another `separator`. Inside double quotes,
/// separators and line breaks are part of the field, and a doubled quote is one
/// quote. Lines end with LF, CRLF or CR. A UTF-8 byte order mark and blank lines
/// are skipped; blanks around a field are not part of it. Records may have
/// different numbers of fields.
///
/// `fail(size_t line, const std::string& reason)` is called for text that is
/// not CSV. It has to throw, because the caller knows the name of the file.
/// Source: RFC 4180, section 2.
/// Example:
///     auto records = cyborg::io::parse_csv(
///         "a,b\n", [](size_t line, const std::string& reason) {
///           throw std::runtime_error(std::to_string(line) + ": " + reason);
///         });
template <class Fail>
std::vector<CsvRecord> parse_csv(
    std::string_view text, const Fail& fail, char separator = ',') {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    text.remove_prefix(3);
  }
  const auto is_blank = [&](char c) {
    return c != separator && (c == ' ' || c == '\t');
  };
  const char ends[] = {separator, '\r', '\n', '\0'};  // of a field
  std::vector<CsvRecord> records;
  CsvRecord record;
  size_t line = 1;
  size_t at = 0;
  while (at < text.size()) {
    record.line = line;
    bool more = true;
    bool quoted_any = false;
    while (more) {
      while (at < text.size() && is_blank(text[at])) {
        ++at;
      }
      std::string field;
      if (at < text.size() && text[at] == '"') {
        quoted_any = true;
        const auto opened = line;
        for (++at;; ++at) {
          if (at >= text.size()) {
            fail(opened, "a quote is opened and never closed");
          }
          if (text[at] == '"') {
            if (at + 1 >= text.size() || text[at + 1] != '"') {
              break;
            }
            ++at;  // "" is one quote
          } else if (
              text[at] == '\n' ||
              (text[at] == '\r' &&
               (at + 1 >= text.size() || text[at + 1] != '\n'))) {
            ++line;
          }
          field += text[at];
        }
        ++at;
        while (at < text.size() && is_blank(text[at])) {
          ++at;
        }
        if (at < text.size() && text[at] != separator && text[at] != '\n' &&
            text[at] != '\r') {
          fail(line, "text follows a closing quote");
        }
      } else {
        const auto end = std::min(text.find_first_of(ends, at), text.size());
        field = std::string(text.substr(at, end - at));
        if (field.find('"') != std::string::npos) {
          fail(line, "an unquoted field contains a quote");
        }
        if (field.find('\0') != std::string::npos) {
          fail(line, "contains a zero byte: this is not a text file");
        }
        while (!field.empty() && is_blank(field.back())) {
          field.pop_back();
        }
        at = end;
      }
      record.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == separator;
      at += more ? 1 : 0;
    }
    if (at < text.size()) {  // CR, LF or CRLF
      at += text.compare(at, 2, "\r\n") == 0 ? 2 : 1;
    }
    ++line;
    const bool blank =
        !quoted_any && record.fields.size() == 1 && record.fields[0].empty();
    if (!blank) {
      records.push_back(std::move(record));
    }
    record = {};
  }
  return records;
}

/// A field as it is written into a CSV file: in quotes if it contains a comma,
/// a quote or the end of a line, and unchanged otherwise.
///
/// Source: RFC 4180, section 2.
/// Example:
///     cyborg::io::csv_field("plain")       // plain
///     cyborg::io::csv_field("one, two")    // "one, two"
///     cyborg::io::csv_field("a \"word\"")  // "a ""word"""
inline std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "\"";
  for (const char c : text) {
    out += c == '"' ? "\"\"" : std::string(1, c);
  }
  return out + "\"";
}

}  // namespace cyborg::io
