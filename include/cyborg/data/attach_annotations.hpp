// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/annotation.hpp>
#include <cyborg/data/detail/map_lookup.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cyborg::data {

/// What a file of annotations says about one picture.
struct PictureAnnotation {
  /// The name of the picture, as the file gives it: "cat.jpg",
  /// "train/cat.jpg", or without an extension, "cat".
  std::string picture;
  AnnotationPtr annotation;  ///< what was marked; or
  std::string map;           ///< a file of a human map
};

/// The content of a file of annotations.
struct AnnotationFile {
  std::string name;  ///< the file
  std::vector<PictureAnnotation> items;
  std::vector<std::string> warnings;  ///< what may be wrong
  std::vector<std::string> notes;     ///< what was read
};

namespace detail {

/// The parts of a path, the last one first.
inline std::vector<std::string> reversed_parts(
    const std::filesystem::path& path) {
  std::vector<std::string> parts;
  for (const auto& part : path.lexically_normal()) {
    if (!part.empty() && part != ".") {
      parts.push_back(part.string());
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

/// Whether a picture's path ends with `name`, part by part. A name without the
/// extension of a picture may lack it.
inline bool ends_with_name(
    std::vector<std::string> path, const std::vector<std::string>& name) {
  if (path.size() < name.size()) {
    return false;
  }
  if (path[0] != name[0]) {
    path[0] = std::filesystem::path(path[0]).stem().string();
  }
  return std::equal(name.begin(), name.end(), path.begin());
}

/// The rows of each picture of a table, by the picture's name.
class PictureNames {
 public:
  explicit PictureNames(const Table& table) : table_(table) {
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const std::filesystem::path path = table.rows[i].path;
      rows_of_[path.filename().string()].push_back(i);
      rows_of_stem_[path.stem().string()].push_back(i);
    }
  }

  /// The rows whose picture has this name. Throws an `io::FileError` of the
  /// file if they have different pictures.
  std::vector<size_t> rows_of(
      const std::string& name, const std::string& file,
      const char* function) const {
    const auto parts = reversed_parts(name);
    if (parts.empty()) {
      return {};
    }
    const bool whole =
        promised_format(std::filesystem::path(parts[0]).extension().string()) !=
        PictureFormat::kNone;
    const auto& by_name = whole ? rows_of_ : rows_of_stem_;
    const auto at = by_name.find(parts[0]);
    std::vector<size_t> rows;
    for (size_t k = 0; at != by_name.end() && k < at->second.size(); ++k) {
      const auto i = at->second[k];
      const auto& path = table_.rows[i].path;
      if (!ends_with_name(reversed_parts(path), parts)) {
        continue;
      }
      if (!rows.empty() && table_.rows[rows[0]].path != path) {
        throw io::FileError(
            function, file,
            "\"" + name + "\" may be " + table_.rows[rows[0]].path + " or " +
                path + ": name the folders of the pictures in the file");
      }
      rows.push_back(i);
    }
    return rows;
  }

 private:
  const Table& table_;
  std::unordered_map<std::string, std::vector<size_t>> rows_of_;
  std::unordered_map<std::string, std::vector<size_t>> rows_of_stem_;
};

}  // namespace detail

/// Gives the rows of a table the annotations of a file, by the names of the
/// pictures.
///
/// A name belongs to the picture whose path ends with it: "cat.jpg" and
/// "train/cat.jpg" to "/data/train/cat.jpg", but "val/cat.jpg" does not. A name
/// without the extension of a picture may lack it. A picture that is in several
/// rows gets its annotations in each. Pictures of the file that are not in the
/// table are counted in a warning.
/// Throws: `io::FileError` of the file for a name that fits two pictures, for
///         two names that fit one picture, for a picture with a human map or
///         annotations already, and if no name fits.
inline void attach_annotations(Table& table, const AnnotationFile& file) {
  constexpr auto* kFunction = "cyborg::data::attach_annotations";
  const auto fail = [&](const std::string& reason) {
    throw io::FileError(kFunction, file.name, reason);
  };
  const detail::PictureNames names(table);
  std::map<std::string, std::vector<size_t>> rows_of;  // of each name
  std::unordered_map<size_t, std::string> name_of;     // of each row
  std::set<std::string> unknown;
  for (const auto& item : file.items) {
    if (rows_of.count(item.picture) > 0) {
      continue;
    }
    auto rows = names.rows_of(item.picture, file.name, kFunction);
    if (rows.empty()) {
      unknown.insert(item.picture);
    }
    for (const auto i : rows) {
      const auto& row = table.rows[i];
      if (row.has_map()) {
        fail(
            "\"" + item.picture + "\" is " + row.path +
            ", which has a human map or annotations in " + table.name +
            (row.line > 0 ? ":" + std::to_string(row.line) : "") +
            " already: keep one of them");
      }
      const auto known = name_of.emplace(i, item.picture);
      if (!known.second) {
        fail(
            "\"" + known.first->second + "\" and \"" + item.picture +
            "\" are both " + row.path + ": name each picture in one way");
      }
    }
    rows_of.emplace(item.picture, std::move(rows));
  }
  if (name_of.empty()) {
    fail(
        file.items.empty()
            ? "holds no annotations"
            : "names no picture of " + table.name + ": it has \"" +
                  file.items.front().picture + "\", and the table has \"" +
                  (table.rows.empty() ? "" : table.rows.front().path) + "\"");
  }
  for (const auto& item : file.items) {
    for (const auto i : rows_of.at(item.picture)) {
      if (item.annotation) {
        table.rows[i].annotations.push_back(item.annotation);
      } else {
        table.rows[i].saliency.push_back(item.map);
      }
    }
  }
  table.warnings.insert(
      table.warnings.end(), file.warnings.begin(), file.warnings.end());
  table.notes.insert(table.notes.end(), file.notes.begin(), file.notes.end());
  if (!unknown.empty()) {
    table.warnings.push_back(
        file.name + ": " + std::to_string(unknown.size()) + " of " +
        std::to_string(rows_of.size()) + " pictures are not in " + table.name +
        ", e.g. \"" + *unknown.begin() + "\"");
  }
}

namespace detail {

/// Adds a warning of the maps below a folder whose name is that of no picture.
inline void warn_of_maps_without_picture(
    const std::filesystem::path& folder, const std::set<std::string>& stems,
    Table& table) {
  const std::string suffix = "_map";
  std::vector<std::string> others;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator at(folder, error), end;
       !error && at != end; at.increment(error)) {
    const auto& path = at->path();
    auto stem = path.stem().string();
    const bool map =
        stem.size() > suffix.size() &&
        stem.compare(stem.size() - suffix.size(), suffix.size(), suffix) == 0;
    if (promised_format(path.extension().string()) != PictureFormat::kNone &&
        stems.count(stem) == 0 &&
        (!map ||
         stems.count(stem.substr(0, stem.size() - suffix.size())) == 0)) {
      others.push_back(path.string());
    }
  }
  if (!others.empty()) {
    table.warnings.push_back(
        folder.string() + ": " + std::to_string(others.size()) +
        " maps have no picture in " + table.name + ", e.g. " +
        *std::min_element(others.begin(), others.end()));
  }
}

}  // namespace detail

/// Gives the rows of a table the human maps of several annotators: `folder`
/// holds one folder for each, which is as `TableOptions::saliency` says.
///
/// Rows with a map or annotations already keep them alone. A warning counts the
/// maps of an annotator that have no picture.
/// Throws: `io::FileError` if there is no such folder, if it holds no folders,
///         and as `find_maps`.
/// Example:
///     // maps/anna/1.png, maps/ben/1.png, ...
///     cyborg::data::find_maps_of_annotators(table, "maps");
inline void find_maps_of_annotators(
    Table& table, const std::filesystem::path& folder) {
  constexpr auto* kFunction = "cyborg::data::find_maps_of_annotators";
  std::error_code error;
  std::vector<std::filesystem::path> annotators;
  for (std::filesystem::directory_iterator at(folder, error), end;
       !error && at != end; at.increment(error)) {
    if (std::filesystem::is_directory(at->path())) {
      annotators.push_back(at->path());
    }
  }
  if (error || annotators.empty()) {
    throw io::FileError(
        kFunction, folder,
        error ? "is not a folder of annotators: " + error.message()
              : "holds no folder for each annotator; a folder of one map for "
                "each picture is a folder of human maps (--saliency in the "
                "programs)");
  }
  std::sort(annotators.begin(), annotators.end());
  std::vector<size_t> open;  // the rows without a map
  for (size_t i = 0; i < table.rows.size(); ++i) {
    if (!table.rows[i].has_map()) {
      open.push_back(i);
    }
  }
  std::set<std::string> stems;  // of the pictures
  for (const auto& row : table.rows) {
    stems.insert(std::filesystem::path(row.path).stem().string());
  }
  bool any = false;
  for (const auto& annotator : annotators) {
    detail::warn_of_maps_without_picture(annotator, stems, table);
    Table one;
    one.name = table.name;
    for (const auto i : open) {
      one.rows.push_back(table.rows[i]);
      one.rows.back().saliency.clear();
    }
    detail::find_maps(
        one, TableOptions().saliency(annotator.string()), kFunction);
    table.warnings.insert(
        table.warnings.end(), one.warnings.begin(), one.warnings.end());
    for (size_t k = 0; k < open.size(); ++k) {
      const auto& found = one.rows[k].saliency;
      any = any || !found.empty();
      table.rows[open[k]].saliency.push_back(found.empty() ? "" : found[0]);
    }
  }
  if (!any) {
    throw io::FileError(
        kFunction, folder, "holds no map for a picture of " + table.name);
  }
}

}  // namespace cyborg::data
