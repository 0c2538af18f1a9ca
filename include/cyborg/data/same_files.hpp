// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/file_check.hpp>
#include <cyborg/data/table_types.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <sys/stat.h>
#endif

// Files of a table that are named for two things: a picture that is its own map,
// one map of several pictures. Links and other spellings of a path are followed.
namespace cyborg::data {

namespace detail {

/// What all paths of a file have in common, and no path of another file; "" if
/// there is no such file.
inline std::string file_identity(const std::filesystem::path& path) {
#if defined(_WIN32)
  std::error_code error;
  const auto canonical = std::filesystem::canonical(path, error);
  return error ? "" : canonical.string();
#else
  struct stat found {};
  return ::stat(path.c_str(), &found) != 0
             ? ""
             : std::to_string(found.st_dev) + ":" +
                   std::to_string(found.st_ino);
#endif
}

/// Whether two files are there and hold the same bytes. Files of different
/// sizes are not opened, and others are read up to the first difference.
inline bool same_bytes(
    const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  const auto size = std::filesystem::file_size(a, error);
  if (error || std::filesystem::file_size(b, error) != size || error) {
    return false;
  }
  std::ifstream first(a, std::ios::binary);
  std::ifstream second(b, std::ios::binary);
  std::string one(1 << 14, '\0');
  std::string two(one.size(), '\0');
  const auto length = static_cast<std::streamsize>(one.size());
  while (first && second) {
    first.read(one.data(), length);
    second.read(two.data(), length);
    if (first.gcount() != second.gcount() ||
        one.compare(
            0, static_cast<size_t>(first.gcount()), two, 0,
            static_cast<size_t>(second.gcount())) != 0) {
      return false;
    }
  }
  return first.eof() && second.eof();
}

/// The files of a row's human maps, and of the masks that annotators marked.
inline std::vector<std::string> human_files(const Row& row) {
  std::vector<std::string> files;
  for (const auto& map : row.saliency) {
    if (!map.empty()) {
      files.push_back(map);
    }
  }
  for (const auto& annotation : row.annotations) {
    if (!annotation->mask.empty()) {
      files.push_back(annotation->mask);
    }
  }
  return files;
}

/// " (line 7)"; "" for a table without lines.
inline std::string line_text(const Row& row) {
  return row.line == 0 ? "" : " (line " + std::to_string(row.line) + ")";
}

}  // namespace detail

/// The human maps and masks that are a picture, and the masks of what is wrong
/// that are a human map: the same file by whatever path, or a copy of it. A
/// training with them would teach nonsense. In the order of the rows. Files are
/// opened only where picture and map have the same number of bytes.
///
/// Example:
///     for (const auto& note : cyborg::data::check_maps_are_others(table))
///       std::cerr << note.path << ": " << note.text << '\n';
inline std::vector<FileNote> check_maps_are_others(const Table& table) {
  std::unordered_map<std::string, size_t> row_of;  // of each picture's file
  const bool any =
      std::any_of(table.rows.begin(), table.rows.end(), [](const Row& row) {
        return !row.wrong.empty() || !detail::human_files(row).empty();
      });
  for (size_t i = 0; any && i < table.rows.size(); ++i) {
    row_of.emplace(detail::file_identity(table.rows[i].path), i);
  }
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        const auto human = detail::human_files(row);
        if (human.empty() && row.wrong.empty()) {
          return;
        }
        const auto picture = detail::file_identity(row.path);
        const auto text_of = [&](const std::string& file) -> std::string {
          const auto identity = detail::file_identity(file);
          if (identity.empty()) {
            return "";
          }
          if (identity == picture) {
            return "is the picture itself";
          }
          const auto other = row_of.find(identity);
          if (other != row_of.end()) {
            const auto& of = table.rows[other->second];
            return "is a picture of the table, " + of.path +
                   detail::line_text(of);
          }
          return detail::same_bytes(file, row.path)
                     ? "is a copy of the picture " + row.path
                     : "";
        };
        for (const auto& file : human) {
          auto text = text_of(file);
          if (!text.empty()) {
            notes.push_back(
                {i, file, text + ", and is named as its human map"});
          }
        }
        if (row.wrong.empty()) {
          return;
        }
        auto text = text_of(row.wrong);
        for (size_t k = 0; text.empty() && k < human.size(); ++k) {
          text = detail::file_identity(human[k]) ==
                         detail::file_identity(row.wrong)
                     ? "is the human map"
                 : detail::same_bytes(human[k], row.wrong)
                     ? "is a copy of the human map " + human[k]
                     : "";
        }
        if (!text.empty()) {
          notes.push_back(
              {i, row.wrong,
               text + ", and is named as its mask of what is wrong"});
        }
      });
}

/// The files that are the human map of several different pictures, each with the
/// number of these: one map for all of them (of the middle, say) may be meant,
/// and a table with shifted rows is not. In the order of the rows. Masks of what
/// is wrong are not looked at, since many pictures may have the same wrong part.
/// No file is opened.
inline std::vector<FileNote> check_shared_maps(const Table& table) {
  struct Use {
    size_t row = 0;  ///< the first one
    std::string path;
    std::unordered_set<std::string> pictures;  ///< their files
    std::string example;                       ///< of another picture
  };
  std::vector<Use> uses;
  std::unordered_map<std::string, size_t> use_of;  // of each map's file
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    const auto files = detail::human_files(row);
    const auto picture =
        files.empty() ? std::string() : detail::file_identity(row.path);
    for (const auto& file : files) {
      const auto identity = detail::file_identity(file);
      if (identity.empty()) {
        continue;  // check_files tells of it
      }
      const auto [at, added] = use_of.emplace(identity, uses.size());
      if (added) {
        uses.push_back({i, file, {}, ""});
      }
      auto& use = uses[at->second];
      if (use.pictures.insert(picture.empty() ? row.path : picture).second &&
          use.pictures.size() == 2) {
        use.example = row.path + detail::line_text(row);
      }
    }
  }
  std::vector<FileNote> notes;
  for (auto& use : uses) {
    if (use.pictures.size() > 1) {
      notes.push_back(
          {use.row, use.path,
           "is the human map of " + std::to_string(use.pictures.size()) +
               " pictures: " + table.rows[use.row].path + ", " + use.example +
               (use.pictures.size() > 2 ? ", ..." : "")});
    }
  }
  return notes;
}

}  // namespace cyborg::data
