// SPDX-License-Identifier: BSD-3-Clause
#include "file_checks.hpp"

#include <cyborg/data/header_problems.hpp>
#include <cyborg/data/same_files.hpp>
#include <cyborg/data/table.hpp>

#include <algorithm>
#include <cstddef>
#include <system_error>
#include <utility>

namespace programs {

namespace fs = std::filesystem;
using cyborg::io::FileError;

namespace {

/// Throws, with the path that the user named, where no file can be written into
/// a folder.
void check_folder_writable(
    const std::string& flag, const fs::path& folder, const fs::path& named) {
  const auto probe = folder / ".cyborg-can-write";
  try {
    cyborg::io::write_file(probe, "can be written");
  } catch (const FileError& error) {
    throw FileError(flag, named, error.reason());
  }
  std::error_code ignored;
  fs::remove(probe, ignored);
}

/// The rows as a table.
cyborg::data::Table table_of(const std::vector<cyborg::data::Row>& rows) {
  cyborg::data::Table table;
  table.rows = rows;
  return table;
}

/// Whether a picture, map or mask of the rows does not exist, so that its path may
/// be wrong.
bool any_is_missing(const std::vector<cyborg::data::Row>& rows) {
  std::error_code ignored;
  const auto missing = [&](const std::string& path) {
    return !fs::exists(path, ignored);
  };
  return std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    const auto maps = row.map_files();
    return missing(row.path) ||
           std::any_of(maps.begin(), maps.end(), missing) ||
           std::any_of(
               row.annotations.begin(), row.annotations.end(),
               [&](const auto& one) {
                 return !one->mask.empty() && missing(one->mask);
               });
  });
}

}  // namespace

fs::path writable_file(const std::string& flag, const fs::path& path) {
  const auto check_not_device = [&](const fs::path& one) {
    const auto status = fs::status(one);
    if (one.string().compare(0, 5, "/dev/") == 0 ||
        (fs::exists(status) && !fs::is_regular_file(status) &&
         !fs::is_directory(status))) {
      throw FileError(
          flag, path,
          "is not a regular file: it would be replaced; name another file");
    }
  };
  std::error_code error;
  check_not_device(fs::absolute(path));
  const auto file = fs::weakly_canonical(fs::absolute(path), error);
  if (error) {
    throw FileError(flag, path, error.message());
  }
  check_not_device(file);
  const auto folder = file.parent_path();
  if (!fs::is_directory(folder, error)) {
    throw FileError(
        flag, path,
        "cannot be written: the folder " + folder.string() +
            " does not exist; make it first");
  }
  if (fs::is_directory(file, error)) {
    throw FileError(
        flag, path,
        "is a folder: name a file, for example " +
            (path / ("result." + (flag == "--scores" ? "csv" : flag.substr(2))))
                .string());
  }
  check_folder_writable(flag, folder, path);
  return file;
}

void check_new_folder(const std::string& flag, const fs::path& path) {
  std::error_code error;
  auto existing = fs::absolute(path);
  while (!fs::exists(existing, error) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  if (!fs::is_directory(existing, error)) {
    throw FileError(
        flag, path,
        existing == fs::absolute(path)
            ? "is a file: name a new or an empty folder"
            : "cannot be made: " + existing.string() + " is not a folder");
  }
  if (existing == fs::absolute(path) &&
      fs::directory_iterator(existing, error) != fs::directory_iterator()) {
    throw FileError(flag, path, "is not empty: name a new or an empty folder");
  }
  check_folder_writable(flag, existing, path);
}

std::string list_of_notes(
    const std::vector<cyborg::data::FileNote>& notes,
    const std::vector<cyborg::data::Row>& rows) {
  constexpr size_t kListed = 10;
  std::string text;
  for (size_t i = 0; i < std::min(kListed, notes.size()); ++i) {
    const auto line = rows[notes[i].row].line;
    text += "\n  " + notes[i].path +
            (line == 0 ? "" : " (line " + std::to_string(line) + ")") + ": " +
            notes[i].text;
  }
  if (notes.size() > kListed) {
    text += "\n  and " + std::to_string(notes.size() - kListed) + " more";
  }
  return text;
}

std::string unreadable_files(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings) {
  const auto table = table_of(rows);
  auto notes = cyborg::data::check_files(table);
  for (auto& note : cyborg::data::check_headers(
           table, !settings.any_extension, settings.max_pixels)) {
    notes.push_back(std::move(note));
  }
  return notes.empty() ? ""
                       : std::to_string(notes.size()) +
                             (notes.size() == 1 ? " file" : " files") +
                             " cannot be read:" + list_of_notes(notes, rows);
}

std::vector<std::string> header_warnings(
    const cyborg::data::Table& table, cyborg::data::Orientation orientation,
    const cyborg::data::TableHeaders& headers) {
  using cyborg::data::Orientation;
  std::vector<std::string> warnings;
  const auto add = [&](const std::vector<cyborg::data::FileNote>& notes,
                       const char* text) {
    if (!notes.empty()) {
      warnings.push_back(
          std::to_string(notes.size()) + " " + text + ":" +
          list_of_notes(notes, table.rows));
    }
  };
  const bool turned = orientation != Orientation::kIgnore;
  if (!turned) {
    add(cyborg::data::check_orientation(table, headers),
        "files are stored turned, and are used as they are stored; "
        "--exif-orientation says otherwise");
  }
  add(cyborg::data::check_proportions(
          table, turned, orientation == Orientation::kBoth, headers),
      "human maps have other proportions than their pictures, and are "
      "stretched");
  add(cyborg::data::check_shared_maps(table),
      "files are the human map of several pictures");
  add(cyborg::data::check_outside(table, turned, headers),
      "annotations are partly outside of their pictures, and what is outside "
      "is not used");
  return warnings;
}

void check_files(
    const std::string& name, const std::vector<cyborg::data::Row>& rows,
    const Settings& settings) {
  const auto unreadable = unreadable_files(rows, settings);
  if (!unreadable.empty()) {
    throw FileError(
        "check_files", name,
        unreadable + (any_is_missing(rows)
                          ? "\nmend the paths (those of a CSV start at its "
                            "folder), or leave them out with --skip-unreadable"
                          : "\nmend the files, or leave them out with "
                            "--skip-unreadable"));
  }
  check_maps_are_others(name, rows);
}

void check_maps_are_others(
    const std::string& name, const std::vector<cyborg::data::Row>& rows) {
  const auto notes = cyborg::data::check_maps_are_others(table_of(rows));
  if (!notes.empty()) {
    throw FileError(
        "check_maps_are_others", name,
        std::to_string(notes.size()) +
            (notes.size() == 1 ? " file is" : " files are") +
            " named for two things:" + list_of_notes(notes, rows) +
            "\nname other files, or none where there are none (columns "
            "saliency, mask and wrong, --saliency, --wrong)");
  }
}

FileError with_way_out(
    const FileError& error, const std::vector<cyborg::data::Row>& rows) {
  const bool listed =
      std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
        const auto maps = row.map_files();
        return row.path == error.path() ||
               std::find(maps.begin(), maps.end(), error.path()) !=
                   maps.end() ||
               std::any_of(
                   row.annotations.begin(), row.annotations.end(),
                   [&](const auto& one) {
                     return one->source == error.path() ||
                            (!one->mask.empty() && one->mask == error.path());
                   });
      });
  return listed
             ? FileError(
                   "with_way_out", error.path(),
                   error.reason() + "; --skip-unreadable leaves such files out")
             : error;
}

}  // namespace programs
