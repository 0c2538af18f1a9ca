// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/csv.hpp>
#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/file.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cyborg::data {

/// One picture of a `Table`.
struct Row {
  std::string split; ///< "train", "val" or "test"
  std::string cls; ///< name of its class
  int64_t label = 0; ///< index of its class in `Table::classes`
  std::string path; ///< the picture; relative to the working directory
  /// Its human maps, one an annotator, "" where that annotator drew none.
  std::vector<std::string> saliency;
  std::string attack; ///< kind of attack or generator, "" where not said
  std::string group; ///< any grouping, e.g. a sensor, "" where not said
  std::string subject; ///< the person, "" where not said
  size_t line = 0; ///< where it stands in the CSV, 0 for folders
};

/// A list of pictures with their splits and classes.
struct Table {
  std::string name; ///< the file or folder it was read from
  std::vector<Row> rows;
  std::vector<std::string> classes; ///< position = label
  /// What a person should know: which rows validate, subjects or pictures in
  /// two splits, columns that were not used. Print them.
  std::vector<std::string> warnings;

  bool has(const std::string& split) const {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
      return row.split == split;
    });
  }

  /// The rows of a split. Without `val` rows the `test` rows validate, as in
  /// the published code; `warnings` says so.
  std::vector<Row> rows_of(const std::string& split) const {
    const auto wanted = split == "val" && !has("val") ? "test" : split;
    std::vector<Row> chosen;
    std::copy_if(
        rows.begin(),
        rows.end(),
        std::back_inserter(chosen),
        [&](const Row& row) { return row.split == wanted; });
    return chosen;
  }
};

/// Options of `read_table` and `read_folders`.
struct TableOptions {
  /// Which of two classes is the positive one, label 1. Needed for two classes
  /// other than the published pairs (Real/Synthetic, Live/Spoof,
  /// normal/abnormal, in any case), where the second one is positive.
  TORCH_ARG(std::string, positive);
  /// The classes in the order of their labels, e.g. those a model was trained
  /// with. Default: as `positive` says; three or more classes by name.
  TORCH_ARG(std::vector<std::string>, classes);
  /// A folder of human maps, used for rows that name none: a file called as
  /// the picture (or with .png instead) in DIR/split/class, DIR/class or DIR.
  /// Pictures without one are not annotated. Default: none.
  TORCH_ARG(std::string, saliency);

 public:
};

namespace detail {

inline std::string lower_case(std::string text) {
  for (auto& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

inline bool is_split(const std::string& name) {
  return name == "train" || name == "val" || name == "test";
}

/// The classes in the order of their labels; `fail(reason)` throws.
template <typename Fail>
std::vector<std::string> order_classes(
    const std::set<std::string>& found,
    const TableOptions& options,
    const Fail& fail) {
  if (!options.classes().empty()) {
    return options.classes();
  }
  std::map<std::string, std::string> spellings;
  for (const auto& name : found) {
    const auto at = spellings.emplace(lower_case(name), name);
    if (!at.second) {
      fail(
          "classes \"" + at.first->second + "\" and \"" + name +
          "\" differ only in case");
    }
  }
  const std::vector<std::string> names(found.begin(), found.end());
  if (!options.positive().empty()) {
    if (names.size() != 2 || found.count(options.positive()) == 0) {
      std::string list;
      for (const auto& name : names) {
        list += (list.empty() ? "\"" : ", \"") + name + "\"";
      }
      fail(
          "expected two classes, one of them the positive \"" +
          options.positive() + "\", got " + list);
    }
    const auto& negative = names[names[0] == options.positive() ? 1 : 0];
    return {negative, options.positive()};
  }
  static const std::array<std::array<const char*, 2>, 3> kPublished{
      {{"Real", "Synthetic"}, {"Live", "Spoof"}, {"normal", "abnormal"}}};
  for (const auto& pair : kPublished) {
    std::vector<std::string> ordered;
    size_t present = 0;
    for (const auto* name : pair) {
      const auto at = spellings.find(lower_case(name));
      present += at != spellings.end() ? 1 : 0;
      ordered.push_back(at != spellings.end() ? at->second : name);
    }
    if (present > 0 && present == names.size()) {
      return ordered; // a table may hold one class of a published pair only
    }
  }
  if (names.size() == 1) {
    fail(
        "expected two or more classes, got only \"" + names[0] +
        "\"; TableOptions::classes says all of them");
  }
  if (names.size() == 2) {
    fail(
        "which of \"" + names[0] + "\" and \"" + names[1] +
        "\" is positive must be said (TableOptions::positive)");
  }
  return names;
}

/// Finds maps by file name in the folder of `options`, where a row has none.
inline void find_maps(
    Table& table, const TableOptions& options, const char* function) {
  namespace fs = std::filesystem;
  if (options.saliency().empty()) {
    return;
  }
  const fs::path folder = options.saliency();
  if (!fs::is_directory(folder)) {
    throw FileError(function, folder, "is not a folder of human maps");
  }
  std::unordered_map<std::string, std::string> picture_of;
  size_t annotated = 0;
  for (auto& row : table.rows) {
    const fs::path name = fs::path(row.path).filename();
    const auto has_one = [](const std::string& map) { return !map.empty(); };
    if (std::any_of(row.saliency.begin(), row.saliency.end(), has_one)) {
      ++annotated;
      continue;
    }
    for (const auto& place :
         {folder / row.split / row.cls, folder / row.cls, folder}) {
      auto map = place / name;
      if (!fs::is_regular_file(map)) {
        map.replace_extension(".png");
      }
      if (!fs::is_regular_file(map)) {
        continue;
      }
      const auto known = picture_of.emplace(map.string(), row.path);
      if (known.first->second != row.path) {
        throw FileError(
            function,
            map,
            "is the map of two pictures of that name, " + known.first->second +
                " and " + row.path + "; sort the maps into split/class");
      }
      row.saliency.assign(1, map.string());
      ++annotated;
      break;
    }
  }
  if (annotated == 0) {
    table.warnings.push_back(
        folder.string() + " holds no map of any picture of " + table.name);
  }
}

/// Gives labels and warnings to the rows read; `fail(line, reason)` throws.
template <typename Fail>
void finish_table(
    Table& table,
    const TableOptions& options,
    const char* function,
    const Fail& fail) {
  if (table.rows.empty()) {
    fail(0, "holds no rows");
  }
  std::set<std::string> found;
  for (const auto& row : table.rows) {
    found.insert(row.cls);
  }
  table.classes = order_classes(
      found, options, [&](const std::string& reason) { fail(0, reason); });
  const auto& classes = table.classes;
  for (auto& row : table.rows) {
    const auto at = std::find(classes.begin(), classes.end(), row.cls);
    if (at == classes.end()) {
      fail(row.line, "unknown class \"" + row.cls + "\"");
    }
    row.label = at - classes.begin();
  }
  find_maps(table, options, function);
  if (table.has("train") && !table.has("val")) {
    table.warnings.push_back(
        table.has("test")
            ? table.name + ": no val rows: the test rows validate, as published"
            : table.name + ": neither val nor test rows: nothing validates");
  }
  // The same subject or picture in two splits: scores would be too good.
  const auto warn_shared = [&](const char* what, auto field) {
    std::unordered_map<std::string, std::string> split_of;
    std::set<std::string> shared;
    for (const auto& row : table.rows) {
      const std::string& value = row.*field;
      if (!value.empty() &&
          split_of.emplace(value, row.split).first->second != row.split) {
        shared.insert(value);
      }
    }
    if (!shared.empty()) {
      table.warnings.push_back(
          table.name + ": " + std::to_string(shared.size()) + " " + what +
          (shared.size() == 1 ? " is" : "s are") +
          " in more than one split, e.g. \"" + *shared.begin() + "\"");
    }
  };
  warn_shared("subject", &Row::subject);
  warn_shared("picture", &Row::path);
}

} // namespace detail

/// Reads a table of pictures from a CSV file.
///
/// Without a header, as published: `split,class,path[,saliency]`. With a header
/// naming the columns, in any order: `split`, `class`, `path`, any number of
/// columns that begin with `saliency` (one an annotator), `attack`, `group`,
/// `subject`. `split` is `train`, `val` or `test`. Relative paths start at the
/// folder of the CSV. Quoting as RFC 4180; CRLF, a byte order mark and blank
/// lines are fine. Whether the pictures exist is seen when they are read.
/// Throws: `FileError` naming file and line.
/// Example:
///     auto table = cyborg::data::read_table("faces.csv");
///     for (const auto& warning : table.warnings) std::cerr << warning << '\n';
///     auto train = cyborg::data::PictureDataset(table.rows_of("train"));
inline Table read_table(
    const std::filesystem::path& csv, const TableOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::read_table";
  const auto fail = [&](size_t line, const std::string& reason) {
    throw FileError(
        kFunction,
        line == 0 ? csv.string() : csv.string() + ":" + std::to_string(line),
        reason);
  };
  const auto text =
      read_file(csv, /*max_bytes=*/uint64_t{1} << 31, kFunction);
  const auto records = detail::parse_csv(text, fail);
  if (records.empty()) {
    fail(0, "holds no rows");
  }
  Table table;
  table.name = csv.string();

  std::vector<std::string> columns;
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
        "expected a header naming split, class and path, or a row that begins "
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
          line,
          "expected " +
              (header ? std::to_string(columns.size()) : std::string("3 or 4")) +
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
        auto* target = column == "split" ? &row.split
            : column == "class"          ? &row.cls
            : column == "attack"         ? &row.attack
            : column == "group"          ? &row.group
            : column == "subject"        ? &row.subject
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
/// Folders beside train, val and test, and files that are no pictures by their
/// extension, are named in `Table::warnings`.
/// Throws: `FileError`.
inline Table read_folders(
    const std::filesystem::path& root, const TableOptions& options = {}) {
  namespace fs = std::filesystem;
  constexpr auto* kFunction = "cyborg::data::read_folders";
  const auto fail = [&](size_t /*line*/, const std::string& reason) {
    throw FileError(kFunction, root, reason);
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
      for (const auto& picture : sorted(cls)) {
        if (detail::promised_format(picture.extension().string()) ==
            detail::PictureFormat::kNone) {
          warn(picture);
          continue;
        }
        Row row;
        row.split = split.filename().string();
        row.cls = cls.filename().string();
        row.path = picture.string();
        table.rows.push_back(std::move(row));
      }
    }
  }
  if (table.rows.empty()) {
    fail(0, "holds no pictures in folders split/class, split one of train, "
            "val, test");
  }
  detail::finish_table(table, options, kFunction, fail);
  return table;
}

} // namespace cyborg::data
