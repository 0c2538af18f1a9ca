// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/picture_format.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

namespace cyborg::data::detail {

/// The files and folders in a folder, sorted by their names. Throws an
/// `io::FileError` of `function` where the folder cannot be read.
inline std::vector<std::filesystem::path> sorted_entries(
    const std::filesystem::path& folder, const char* function) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    entries.push_back(at->path());
  }
  if (error) {
    throw io::FileError(function, folder, error.message());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// Adds the pictures of a folder and of the folders in it. `around` holds the
/// real paths of the folders that it is in.
inline void add_pictures(
    const std::filesystem::path& folder,
    std::vector<std::filesystem::path>& around,
    std::vector<std::filesystem::path>& pictures) {
  namespace fs = std::filesystem;
  constexpr auto* kFunction = "cyborg::data::pictures_in";
  std::error_code error;
  const auto real = fs::canonical(folder, error);
  if (error) {
    throw io::FileError(kFunction, folder, error.message());
  }
  if (std::find(around.begin(), around.end(), real) != around.end()) {
    throw io::FileError(
        kFunction, folder,
        "is a link to a folder that it is in, so the pictures never end");
  }
  around.push_back(real);
  for (const auto& entry : sorted_entries(folder, kFunction)) {
    if (fs::is_directory(entry, error)) {
      add_pictures(entry, around, pictures);
    } else if (
        promised_format(entry.extension().string()) != PictureFormat::kNone &&
        fs::is_regular_file(entry, error)) {
      pictures.push_back(entry);
    }
  }
  around.pop_back();
}

}  // namespace cyborg::data::detail
