// SPDX-License-Identifier: BSD-3-Clause
#include "map_folders.hpp"

#include <cyborg/data/table.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace programs {

namespace {

namespace fs = std::filesystem;
using cyborg::data::Row;
using cyborg::io::FileError;

/// What the files of the folder are called.
const char* name_of_maps(const std::string& flag) {
  return flag == "--wrong" ? "mask of what is wrong" : "human map";
}

/// What is in a folder: a picture where there is one, or else any file.
std::string example_of(const fs::path& folder) {
  constexpr int kMost = 100000;  // files that are looked at
  std::string other;
  std::error_code error;
  fs::recursive_directory_iterator at(
      folder, fs::directory_options::follow_directory_symlink, error);
  for (int i = 0;
       !error && at != fs::recursive_directory_iterator() && i < kMost;
       at.increment(error), ++i) {
    std::error_code ignored;
    if (!at->is_regular_file(ignored)) {
      continue;
    }
    const auto name = at->path().lexically_relative(folder).string();
    if (cyborg::data::is_picture(at->path())) {
      return "it holds, for example, " + name;
    }
    other = other.empty() ? name : other;
  }
  return other.empty()
             ? "it is empty"
             : "it holds no PNG, JPEG or BMP, but for example " + other;
}

}  // namespace

void check_map_folder(const std::string& flag, const std::string& folder) {
  if (folder.empty()) {
    return;
  }
  std::error_code error;
  if (!fs::exists(folder, error)) {
    throw FileError(
        flag, folder,
        fmt::format(
            "no such folder: expected a folder with a {} of each picture",
            name_of_maps(flag)));
  }
  if (!fs::is_directory(folder, error)) {
    throw FileError(
        flag, folder,
        fmt::format(
            "is a file: expected a folder with a {} of each picture",
            name_of_maps(flag)));
  }
}

void check_maps_found(
    const std::string& flag, const std::string& folder,
    const cyborg::data::Table& table) {
  const auto& rows = table.rows;
  if (folder.empty() || rows.empty() ||
      std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
        return flag == "--wrong" ? !row.wrong.empty() : row.has_map();
      })) {
    return;
  }
  const auto& row = rows.front();
  const fs::path path = row.path, root = folder;
  std::error_code error;
  // Whether the picture is in the folder, or below it.
  const auto inside =
      fs::weakly_canonical(path, error)
          .lexically_relative(fs::weakly_canonical(root, error));
  const bool own = !inside.empty() && *inside.begin() != "..";
  auto places = root.string();
  if (!row.cls.empty()) {
    places = fmt::format(
        "{}, {} or {}", (root / row.split / row.cls).string(),
        (root / row.cls).string(), places);
  }
  throw FileError(
      flag, folder,
      fmt::format(
          "0 of {0} pictures have a {1} in this folder. For the picture {2} a "
          "file {3}.png or {3}_map.png (or .jpg, .bmp) is looked for in {4}; "
          "{5}",
          rows.size(), name_of_maps(flag), row.path, path.stem().string(),
          places,
          own ? "it holds the pictures themselves, which are no maps"
              : example_of(folder)));
}

}  // namespace programs
