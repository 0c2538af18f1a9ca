// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <vector>

// Human maps that are found by the names of their pictures.
namespace cyborg::data::detail {

/// Finds the maps of a folder.
class MapLookup {
 public:
  /// `pictures` are those that want maps, and `what` is what a map is called
  /// in errors. Throws an `io::FileError` of `function` where the folder does
  /// not exist.
  MapLookup(
      std::filesystem::path folder, const std::vector<Row>& pictures,
      std::string what, const char* function)
      : folder_(std::move(folder)),
        what_(std::move(what)),
        function_(function) {
    std::error_code error;
    if (!std::filesystem::is_directory(folder_, error)) {
      throw io::FileError(
          function_, folder_, "is not a folder of " + what_ + "s");
    }
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_, error)) {
      const auto name = entry.path().filename().string();
      const auto split = split_named(name);
      if (!split.empty()) {
        folders_of_split_[split].push_back(name);
      }
    }
    for (const auto& row : pictures) {
      const std::filesystem::path path = row.path;
      names_.insert(path.filename().string());
      stems_.insert(path.stem().string());
    }
  }

  /// The map of a picture; "" if there is none. The folder that says most comes
  /// first: split/class, then class, then the folder itself.
  std::string map_of(const Row& row) {
    std::vector<std::filesystem::path> places;
    for (const auto& split : folders_of_split_[row.split]) {
      places.push_back(folder_ / split / row.cls);
    }
    places.push_back(folder_ / row.cls);
    places.push_back(folder_);
    for (const auto& place : places) {
      const auto maps = candidates(place, row.path);
      if (maps.size() > 1) {
        throw io::FileError(
            function_, maps[0],
            "and " + maps[1] + " may both be the " + what_ + " of " + row.path +
                "; keep one of them");
      }
      if (!maps.empty()) {
        return maps[0];
      }
    }
    return "";
  }

 private:
  using Files = std::unordered_map<std::string, std::vector<std::string>>;

  /// The names of the files of a folder, by their names without extensions.
  const Files& files_of(const std::filesystem::path& place) {
    const auto [at, added] = files_.try_emplace(place.string());
    std::error_code error;
    if (added && std::filesystem::is_directory(place, error)) {
      for (const auto& entry :
           std::filesystem::directory_iterator(place, error)) {
        if (entry.is_regular_file(error)) {
          const auto name = entry.path().filename();
          at->second[name.stem().string()].push_back(name.string());
        }
      }
    }
    return at->second;
  }

  /// The files in `place` that may be the map of a picture, sorted.
  std::vector<std::string> candidates(
      const std::filesystem::path& place,
      const std::filesystem::path& picture) {
    const auto& files = files_of(place);
    const auto own = picture.filename().string();
    std::vector<std::string> names;
    const auto add = [&](const std::string& stem) {
      const auto at = files.find(stem);
      for (size_t i = 0; at != files.end() && i < at->second.size(); ++i) {
        const auto& name = at->second[i];
        const std::filesystem::path extension =
            std::filesystem::path(name).extension();
        std::error_code error;
        if ((name == own ||
             promised_format(extension.string()) != PictureFormat::kNone) &&
            // Maps and pictures may lie in one folder.
            !std::filesystem::equivalent(place / name, picture, error)) {
          names.push_back(name);
        }
      }
    };
    const auto stem = picture.stem().string();
    add(stem);
    if (stems_.count(stem + "_map") == 0) {  // not the map of that picture
      add(stem + "_map");
    }
    // With pictures a.png and a.jpg, maps of these names are no doubt.
    if (std::count(names.begin(), names.end(), own) > 0) {
      names.erase(
          std::remove_if(
              names.begin(), names.end(),
              [&](const auto& name) {
                return name != own && names_.count(name) > 0;
              }),
          names.end());
    }
    for (auto& name : names) {
      name = (place / name).string();
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::filesystem::path folder_;
  std::string what_;  ///< what a map is called
  const char* function_;
  std::map<std::string, std::vector<std::string>> folders_of_split_;
  std::unordered_map<std::string, Files> files_;  ///< of each folder
  std::unordered_set<std::string> names_;         ///< of the pictures
  std::unordered_set<std::string> stems_;         ///< without extensions
};

/// Gives each row that has none the file of its name in `folder`, if there is
/// one: `has(row)` says whether it has one, `set(row, file)` gives it. Two
/// pictures must not get the same file, except if both rows name the same
/// picture. `what` is what a file is called in errors and warnings.
template <class Has, class Set>
void find_files_of_rows(
    Table& table, const std::string& folder, const char* what,
    const char* function, const Has& has, const Set& set) {
  if (folder.empty()) {
    return;
  }
  MapLookup lookup(folder, table.rows, what, function);
  // From a map to the picture that has it. `annotated` counts the rows with a
  // map, also those that name their own: if it stays 0, the folder is probably
  // wrong.
  std::unordered_map<std::string, std::string> picture_of;
  size_t annotated = 0;
  for (auto& row : table.rows) {
    if (has(row)) {
      ++annotated;
      continue;
    }
    const auto map = lookup.map_of(row);
    if (map.empty()) {
      continue;
    }
    const auto known = picture_of.emplace(map, row.path);
    if (known.first->second != row.path) {
      throw io::FileError(
          function, map,
          "is the " + std::string(what) +
              " of two pictures of the same name, " + known.first->second +
              " and " + row.path + "; put the " + what +
              "s into folders split/class");
    }
    set(row, map);
    ++annotated;
  }
  if (annotated == 0) {
    table.warnings.push_back(
        folder + " holds no " + what + " for a picture of " + table.name);
  }
}

/// Gives the rows their human maps and masks from the folders of `options`.
inline void find_maps(
    Table& table, const TableOptions& options, const char* function) {
  find_files_of_rows(
      table, options.saliency(), "human map", function,
      [](const Row& row) { return row.has_map(); },
      [](Row& row, const std::string& map) { row.saliency.assign(1, map); });
  find_files_of_rows(
      table, options.wrong(), "mask", function,
      [](const Row& row) { return !row.wrong.empty(); },
      [](Row& row, const std::string& mask) { row.wrong = mask; });
}

}  // namespace cyborg::data::detail
