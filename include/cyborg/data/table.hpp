// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/detail/table_checks.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Whether the name of a file ends like that of a picture that is read: PNG,
/// JPEG or BMP, in any case. The file is not opened.
/// Example:
///     cyborg::data::is_picture("faces/1.JPG");  // true
inline bool is_picture(const std::filesystem::path& path) {
  return detail::promised_format(path.extension().string()) !=
         detail::PictureFormat::kNone;
}

/// Gives each row without a map the map of its name in the folder
/// `options.saliency()`, if there is one: in `split/class`, else in `class`,
/// else in the folder itself. `read_table` and `read_folders` do this already;
/// for tables that were made otherwise.
/// Throws: `io::FileError` when the folder does not exist, or when two pictures
/// would get the same map. If no picture has a map, a warning is added to the
/// table.
/// Example:
///     cyborg::data::find_maps(
///         table, cyborg::data::TableOptions().saliency("maps"));
inline void find_maps(Table& table, const TableOptions& options) {
  detail::find_maps(table, options, "cyborg::data::find_maps");
}

/// Reads a table of pictures from a CSV file.
///
/// Without a header the columns are the published ones:
/// `split,class,path[,saliency]`. A header names the columns, in any order:
/// `split`, `class`, `path`, any number of columns that begin with `saliency`
/// (one for each annotator), `attack`, `group` and `subject`. `split` is
/// `train`, `val` or `test`. Relative paths start at the folder of the CSV.
/// Quoting is that of RFC 4180; CRLF, a byte order mark and blank lines are
/// allowed. The pictures themselves are not opened.
/// Throws: `io::FileError` with file and line.
/// Example:
///     auto table = cyborg::data::read_table("faces.csv");
///     for (const auto& warning : table.warnings) std::cerr << warning << '\n';
///     auto train = cyborg::data::PictureDataset(table.rows_of("train"));
inline Table read_table(
    const std::filesystem::path& csv, const TableOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::read_table";
  const auto fail = [&](size_t line, const std::string& reason) {
    throw io::FileError(
        kFunction,
        line == 0 ? csv.string() : csv.string() + ":" + std::to_string(line),
        reason);
  };
  const auto text =
      io::read_file(csv, /*max_bytes=*/uint64_t{1} << 31, kFunction);
  const auto records = io::parse_csv(text, fail);
  if (records.empty()) {
    fail(0, "holds no rows");
  }
  Table table;
  table.name = csv.string();

  std::vector<std::string> columns;
  columns.reserve(records[0].fields.size());
  const auto& first = records[0].fields;
  for (const auto& field : first) {
    columns.push_back(detail::lower_case(field));
  }
  const auto named = [&](const char* name) {
    return std::count(columns.begin(), columns.end(), name);
  };
  const bool header =
      named("split") > 0 && named("class") > 0 && named("path") > 0;
  if (!header && !detail::is_split(first[0])) {
    fail(
        records[0].line,
        "expected a header with split, class and path, or a row that begins "
        "with train, val or test, got \"" +
            first[0] + "\"");
  }
  if (!header) {
    columns = {"split", "class", "path", "saliency"};
  }
  for (auto& column : columns) {
    if (column.compare(0, 8, "saliency") == 0) {
      column = "saliency";
    } else if (
        column == "split" || column == "class" || column == "path" ||
        column == "attack" || column == "group" || column == "subject") {
      if (named(column.c_str()) > 1) {
        fail(records[0].line, "two columns are named \"" + column + "\"");
      }
    } else {
      table.warnings.push_back(
          table.name + ": column \"" + column + "\" is not used");
    }
  }

  const auto place = [&](const std::string& path) {
    return path.empty() ? path : (csv.parent_path() / path).string();
  };
  for (size_t r = header ? 1 : 0; r < records.size(); ++r) {
    const auto& fields = records[r].fields;
    const auto line = records[r].line;
    if (header ? fields.size() != columns.size()
               : fields.size() < 3 || fields.size() > 4) {
      fail(
          line, "expected " +
                    (header ? std::to_string(columns.size())
                            : std::string("3 or 4")) +
                    " fields, got " + std::to_string(fields.size()) +
                    (header || fields.size() < 3
                         ? ""
                         : "; more columns need a header that names them"));
    }
    Row row;
    row.line = line;
    for (size_t c = 0; c < fields.size(); ++c) {
      const auto& column = columns[c];
      if (column == "saliency") {
        row.saliency.push_back(place(fields[c]));
      } else if (column == "path") {
        row.path = place(fields[c]);
      } else {
        auto* target = column == "split"     ? &row.split
                       : column == "class"   ? &row.cls
                       : column == "attack"  ? &row.attack
                       : column == "group"   ? &row.group
                       : column == "subject" ? &row.subject
                                             : nullptr;
        if (target != nullptr) {
          *target = fields[c];
        }
      }
    }
    if (!detail::is_split(row.split)) {
      fail(
          line,
          "unknown split \"" + row.split + "\", expected train, val or test");
    }
    if (row.cls.empty() || row.path.empty()) {
      fail(line, row.cls.empty() ? "the class is empty" : "the path is empty");
    }
    table.rows.push_back(std::move(row));
  }
  detail::finish_table(table, options, kFunction, fail);
  return table;
}

/// Reads a table of pictures from folders `root/split/class/*.png` (or .jpg,
/// .jpeg, .bmp), in the order of their names.
///
/// `Table::warnings` lists folders other than train, val and test, and files
/// whose extension is not that of a picture.
/// Throws: `io::FileError`.
/// Example:
///     auto table = cyborg::data::read_folders("faces");
inline Table read_folders(
    const std::filesystem::path& root, const TableOptions& options = {}) {
  namespace fs = std::filesystem;
  constexpr auto* kFunction = "cyborg::data::read_folders";
  const auto fail = [&](size_t /*line*/, const std::string& reason) {
    throw io::FileError(kFunction, root, reason);
  };
  if (!fs::is_directory(root)) {
    fail(0, "is not a folder");
  }
  const auto sorted = [](const fs::path& folder) {
    std::vector<fs::path> entries(
        fs::directory_iterator(folder), fs::directory_iterator{});
    std::sort(entries.begin(), entries.end());
    return entries;
  };
  Table table;
  table.name = root.string();
  const auto warn = [&](const fs::path& path) {
    table.warnings.push_back(path.string() + " is not used");
  };
  for (const auto& split : sorted(root)) {
    if (!fs::is_directory(split) ||
        !detail::is_split(split.filename().string())) {
      warn(split);
      continue;
    }
    for (const auto& cls : sorted(split)) {
      if (!fs::is_directory(cls)) {
        warn(cls);
        continue;
      }
      std::vector<fs::path> others;
      for (const auto& picture : sorted(cls)) {
        if (!is_picture(picture)) {
          others.push_back(picture);
          continue;
        }
        Row row;
        row.split = split.filename().string();
        row.cls = cls.filename().string();
        row.path = picture.string();
        table.rows.push_back(std::move(row));
      }
      if (!others.empty()) {  // one warning for a folder, not for each file
        table.warnings.push_back(
            cls.string() + ": " + std::to_string(others.size()) +
            " files are not used, e.g. " + others[0].filename().string());
      }
    }
  }
  if (table.rows.empty()) {
    fail(
        0,
        "holds no pictures in folders split/class, where split is train, val "
        "or test");
  }
  detail::finish_table(table, options, kFunction, fail);
  return table;
}

}  // namespace cyborg::data
