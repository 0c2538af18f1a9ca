// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/columns.hpp>
#include <cyborg/data/detail/folders.hpp>
#include <cyborg/data/detail/map_lookup.hpp>
#include <cyborg/data/detail/separator.hpp>
#include <cyborg/data/detail/table_checks.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Whether the name of a file ends like that of a picture that is read: PNG,
/// JPEG or BMP, in any case. The file is not opened.
/// Example:
///     cyborg::data::is_picture("faces/1.JPG");  // true
inline bool is_picture(const std::filesystem::path& path) {
  return detail::promised_format(path.extension().string()) !=
         PictureFormat::kNone;
}

/// Gives each row without a map the map of its name in the folder
/// `options.saliency()`, if there is one, as `TableOptions::saliency` says.
/// `read_table` and `read_folders` do this already; for tables that were made
/// otherwise.
/// Throws: `io::FileError` when the folder does not exist, or when two pictures
/// would get the same map, or one picture two maps. If no picture has a map, a
/// warning is added to the table.
/// Example:
///     cyborg::data::find_maps(
///         table, cyborg::data::TableOptions().saliency("maps"));
inline void find_maps(Table& table, const TableOptions& options) {
  detail::find_maps(table, options, "cyborg::data::find_maps");
}

/// All pictures in a folder and in the folders in it, sorted by their paths.
/// Links to files and to folders are followed.
///
/// Throws: `io::FileError` for a folder that cannot be read, or that is in
/// itself by a link.
/// Example:
///     for (const auto& path : cyborg::data::pictures_in("faces"))
///       std::cout << path << '\n';
inline std::vector<std::filesystem::path> pictures_in(
    const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> pictures;
  std::vector<std::filesystem::path> around;  // the folders that it is in
  detail::add_pictures(folder, around, pictures);
  std::sort(pictures.begin(), pictures.end());
  return pictures;
}

/// Reads a table of pictures from a CSV file.
///
/// Without a header the columns are the published ones:
/// `split,class,path[,saliency]`. A header names the columns, in any order and
/// in upper or lower case: `split`, `class` and `path` (or as `TableOptions`
/// says), any number of columns that begin with `saliency` (one for each
/// annotator), `wrong` (a mask of what must not be used), `attack`, `group`,
/// `subject`, `weight` (from 0), `reaction_time` (above 0) and `accuracy` (in
/// [0, 1]), which may be empty. What people marked on a picture
/// is in the columns `boxes` ("x0 y0 x1 y1; ..."), `points` ("x y; ..."),
/// `fixations` ("x y duration; ...") and `mask` (a file, marked where it is not
/// black); of several annotators in `boxes_anna`, `boxes_ben` and so on. An
/// empty cell says that this annotator did not see the picture. `split` is
/// `train`, `val` (or `valid`, `validation`, `dev`) or `test`, in upper or lower
/// case; rows of the split `ignore` are left out, and `Table::warnings` says how
/// many there are. Relative paths start at the folder of the CSV.
///
/// Quoting is that of RFC 4180; CRLF, a byte order mark and blank lines are
/// allowed. Semicolons or tabs separate the fields if the first line makes sense
/// with them alone. The pictures themselves are not opened.
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
  const auto format = content_name(text);
  if (!format.empty() && format != "text") {
    fail(0, "its content is " + format + ", expected a table (CSV)");
  }
  const auto separator =
      detail::separator_of(text, [&](const std::vector<std::string>& fields) {
        return fields.size() >= 3 &&
               detail::Columns(fields, options).problem.empty();
      });
  const auto records = io::parse_csv(text, fail, separator);
  if (records.empty()) {
    fail(0, "holds no rows");
  }
  Table table;
  table.name = csv.string();
  const auto& first = records[0].fields;
  const detail::Columns columns(first, options);
  if (!columns.problem.empty()) {
    fail(records[0].line, columns.problem);
  }
  const bool header = columns.header;
  for (const auto& name : columns.unused) {
    table.warnings.push_back(
        table.name + ": column \"" + name + "\" is not used");
  }

  const auto place = [&](const std::string& path) {
    return path.empty() ? path : (csv.parent_path() / path).string();
  };
  const auto split_at = static_cast<size_t>(
      std::find(columns.roles.begin(), columns.roles.end(), "split") -
      columns.roles.begin());
  size_t ignored = 0;
  for (size_t r = header ? 1 : 0; r < records.size(); ++r) {
    const auto& fields = records[r].fields;
    const auto line = records[r].line;
    if (header ? fields.size() != columns.roles.size()
               : fields.size() < 3 || fields.size() > 4) {
      fail(
          line, "expected " +
                    (header ? std::to_string(columns.roles.size())
                            : std::string("3 or 4")) +
                    " fields, got " + std::to_string(fields.size()) +
                    (header || fields.size() < 3
                         ? ""
                         : "; more columns need a header that names them"));
    }
    if (is_ignored(fields[split_at])) {
      ++ignored;
      continue;
    }
    Row row;
    row.line = line;
    detail::Marks marks;
    for (size_t c = 0; c < fields.size(); ++c) {
      const auto& column = columns.roles[c];
      if (header && !detail::mark_column(columns.names[c]).empty() &&
          column == detail::mark_column(columns.names[c])) {
        marks.add(
            columns.names[c], column == "mask" ? place(fields[c]) : fields[c],
            [&](const std::string& reason) {
              fail(line, "column \"" + columns.names[c] + "\": " + reason);
            });
      } else if (column == "saliency") {
        row.saliency.push_back(place(fields[c]));
      } else if (column == "path" || column == "wrong") {
        (column == "path" ? row.path : row.wrong) = place(fields[c]);
      } else if (detail::is_number_column(column)) {
        detail::set_number(row, column, fields[c], [&](const auto& reason) {
          fail(line, reason);
        });
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
    const auto split = split_named(row.split);
    if (split.empty()) {
      fail(
          line, "unknown split \"" + row.split +
                    "\", expected train, val, test or ignore");
    }
    row.split = split;
    if (row.cls.empty() || row.path.empty()) {
      fail(line, row.cls.empty() ? "the class is empty" : "the path is empty");
    }
    if (!marks.all().empty() && row.has_map()) {
      fail(
          line,
          "the picture has a human map and marks (boxes, points, fixations or "
          "mask): keep one of them");
    }
    row.annotations = marks.finish(table.name + ":" + std::to_string(line));
    table.rows.push_back(std::move(row));
  }
  if (ignored > 0) {
    table.warnings.push_back(
        table.name + ": " + std::to_string(ignored) +
        " rows of the split ignore are left out");
  }
  detail::finish_table(table, options, kFunction, fail);
  return table;
}

/// Reads a table of pictures from folders `root/split/class/*.png` (or .jpg,
/// .jpeg, .bmp), in the order of their names. The splits are named as in
/// `read_table`. Links to files and to folders are followed.
///
/// `Table::warnings` lists folders other than splits, and files whose extension
/// is not that of a picture.
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
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    fail(0, "is not a folder");
  }
  Table table;
  table.name = root.string();
  const auto warn = [&](const fs::path& path) {
    table.warnings.push_back(path.string() + " is not used");
  };
  std::map<std::string, fs::path> folder_of;  // each split's
  for (const auto& split : detail::sorted_entries(root, kFunction)) {
    const auto name = split_named(split.filename().string());
    if (name.empty() || !fs::is_directory(split, error)) {
      warn(split);
      continue;
    }
    const auto known = folder_of.emplace(name, split);
    if (!known.second) {
      fail(
          0, "holds two folders of split " + name + ", " +
                 known.first->second.filename().string() + " and " +
                 split.filename().string());
    }
    for (const auto& cls : detail::sorted_entries(split, kFunction)) {
      if (!fs::is_directory(cls, error)) {
        warn(cls);
        continue;
      }
      std::vector<fs::path> others;
      for (const auto& picture : detail::sorted_entries(cls, kFunction)) {
        if (!is_picture(picture)) {
          others.push_back(picture);
          continue;
        }
        Row row;
        row.split = name;
        row.cls = cls.filename().string();
        row.path = picture.string();
        table.rows.push_back(std::move(row));
      }
      if (!others.empty()) {  // one warning for a folder, not for each file
        table.warnings.push_back(
            cls.string() + ": " + std::to_string(others.size()) +
            " files are not used, e.g. " + others[0].filename().string() +
            ": PNG, JPEG and BMP are read");
      }
    }
  }
  if (table.rows.empty()) {
    fail(
        0,
        "holds no pictures in folders split/class, where split is train, val "
        "or test" +
            table.warnings_text());
  }
  detail::finish_table(table, options, kFunction, fail);
  return table;
}

}  // namespace cyborg::data
