// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A CSV reader (RFC 4180). Neither CSV library that Debian packages fits a
// table whose columns are known only once it is read: libcsv is not header-only
// and fast-cpp-csv-parser fixes the number and names of the columns at compile
// time and reads no quoted line breaks.
namespace cyborg::io {

struct CsvRecord {
  std::vector<std::string> fields;
  size_t line = 0;  ///< where the record begins, from 1
};

/// Splits `text` into records. Commas separate, double quotes protect commas,
/// line breaks and doubled quotes; lines end in LF, CRLF or CR; a UTF-8 byte
/// order mark and blank lines are skipped; blanks around an unquoted field are
/// not part of it. `fail(line, reason)` throws.
template <class Fail>
std::vector<CsvRecord> parse_csv(std::string_view text, const Fail& fail) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    text.remove_prefix(3);
  }
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
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
            ++at;  // "" stands for one quote
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
        if (at < text.size() && text[at] != ',' && text[at] != '\n' &&
            text[at] != '\r') {
          fail(line, "text follows a closing quote");
        }
      } else {
        const auto end = std::min(text.find_first_of(",\r\n", at), text.size());
        field = std::string(text.substr(at, end - at));
        if (field.find('"') != std::string::npos) {
          fail(line, "a quote stands inside an unquoted field");
        }
        if (field.find('\0') != std::string::npos) {
          fail(line, "holds a zero byte: not a text file");
        }
        while (!field.empty() && is_blank(field.back())) {
          field.pop_back();
        }
        at = end;
      }
      record.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == ',';
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

}  // namespace cyborg::io
