// SPDX-License-Identifier: BSD-3-Clause
#include "inputs.hpp"

#include <cyborg/data/table.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <set>
#include <utility>

namespace explain {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;

/// A picture that is in no table.
data::Row row_without_class(const fs::path& path) {
  data::Row row;
  row.path = path.string();
  row.label = -1;
  return row;
}

/// Whether it has the folders split/class.
bool has_splits(const fs::path& folder) {
  for (const auto* split : {"train", "val", "test"}) {
    if (fs::is_directory(folder / split)) {
      return true;
    }
  }
  return false;
}

/// All pictures of a folder and the folders in it, by name.
std::vector<data::Row> in_folder(const fs::path& folder) {
  std::vector<data::Row> rows;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && data::is_picture(entry.path())) {
      rows.push_back(row_without_class(entry.path()));
    }
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.path < b.path;
  });
  return rows;
}

/// The pictures of one path of the command line.
std::vector<data::Row> read_path(const Inputs& inputs, const fs::path& path) {
  const auto options = data::TableOptions().classes(inputs.classes);
  const bool folder = fs::is_directory(path);
  const bool no_table = folder ? !has_splits(path) : data::is_picture(path);
  if (no_table && !inputs.split.empty()) {
    throw cyborg::io::FileError(
        "explain", path, "has no splits: leave --split out");
  }
  if (no_table) {
    return folder ? in_folder(path)
                  : std::vector<data::Row>{row_without_class(path)};
  }
  auto rows = (folder ? data::read_folders(path, options)
                      : data::read_table(path, options))
                  .rows;
  if (!inputs.split.empty()) {
    rows.erase(
        std::remove_if(
            rows.begin(), rows.end(),
            [&](const auto& row) { return row.split != inputs.split; }),
        rows.end());
  }
  return rows;
}

}  // namespace

data::Table find_pictures(const Inputs& inputs) {
  data::Table table;
  for (const auto& path : inputs.paths) {
    auto rows = read_path(inputs, path);
    if (rows.empty()) {
      throw cyborg::io::FileError(
          "explain", path,
          inputs.split.empty() ? "holds no pictures"
                               : "holds no pictures of split " + inputs.split);
    }
    std::move(rows.begin(), rows.end(), std::back_inserter(table.rows));
  }
  data::find_maps(table, data::TableOptions().saliency(inputs.saliency));
  return table;
}

std::vector<std::string> unique_names(const std::vector<data::Row>& rows) {
  std::vector<fs::path> rest;
  std::vector<std::string> names;
  for (const auto& row : rows) {
    rest.push_back(fs::path(row.path).lexically_normal().parent_path());
    names.push_back(fs::path(row.path).stem().string());
  }
  for (bool longer = true; longer;) {
    longer = false;
    std::map<std::string, int> count;
    for (const auto& name : names) {
      ++count[name];
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const auto folder = rest[i].filename().string();
      if (count[names[i]] > 1 && !folder.empty() && folder != "..") {
        names[i] = folder + "_" + names[i];
        rest[i] = rest[i].parent_path();
        longer = true;
      }
    }
  }
  // Equal names in one folder: a picture that is named twice, or a.png and
  // a.jpg.
  std::set<std::string> taken(names.begin(), names.end());
  std::set<std::string> used;
  for (auto& name : names) {
    const auto first = name;
    for (int i = 2; !used.insert(name).second; ++i) {
      do {
        name = first + "_" + std::to_string(i);
      } while (taken.count(name) > 0 && ++i > 0);
    }
  }
  return names;
}

}  // namespace explain
