// SPDX-License-Identifier: BSD-3-Clause
#include "inputs.hpp"

#include "../common/annotations/read.hpp"
#include "../common/map_folders.hpp"
#include "../common/splits.hpp"

#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

namespace explain {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& reason) {
  throw cyborg::io::FileError("explain", path, reason);
}

/// The entries of a folder, by name.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    found.push_back(at->path());
  }
  if (error) {
    fail(folder, "cannot be read: " + error.message());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Whether it has folders split/class.
bool has_splits(const fs::path& folder) {
  for (const auto& entry : entries(folder)) {
    if (fs::is_directory(entry) &&
        programs::is_picture_split(
            programs::split_named(entry.filename().string()))) {
      const auto inside = entries(entry);
      if (std::any_of(inside.begin(), inside.end(), [](const auto& one) {
            return fs::is_directory(one);
          })) {
        return true;
      }
    }
  }
  return false;
}

/// The first bytes of a file.
std::string first_bytes(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(data::kFormatBytes, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (stream.bad() || (!stream && !stream.eof())) {
    fail(path, "cannot be read");
  }
  bytes.resize(static_cast<size_t>(stream.gcount()));
  return bytes;
}

/// What the command line can name.
enum class Kind { kPicture, kTable, kFolder, kSplits };

/// What a path is. Its content decides, except that a file named as a picture
/// is one: why it cannot be read is said by `read_image`.
Kind kind_of(const fs::path& path) {
  constexpr auto* kExpected =
      "expected a picture (PNG, JPEG or BMP), a folder of pictures or a CSV";
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    fail(path, "no such file or folder");
  }
  if (error) {
    fail(path, error.message());
  }
  if (fs::is_directory(status)) {
    return has_splits(path) ? Kind::kSplits : Kind::kFolder;
  }
  if (!fs::is_regular_file(status)) {
    fail(path, std::string("is not a regular file, ") + kExpected);
  }
  if (data::is_picture(path)) {
    return Kind::kPicture;
  }
  const auto bytes = first_bytes(path);
  if (bytes.empty()) {
    fail(path, std::string("is empty, ") + kExpected);
  }
  if (data::picture_format(bytes) != data::PictureFormat::kNone) {
    return Kind::kPicture;
  }
  const auto begins = [&](const char* text) {
    return bytes.rfind(text, 0) == 0;
  };
  if (begins("PK")) {
    fail(
        path, "is a checkpoint or a zip archive, " + std::string(kExpected) +
                  ": name one checkpoint, before the pictures");
  }
  if (begins("\xFF\xFE") || begins("\xFE\xFF")) {
    fail(path, "is text in UTF-16: save it as a CSV in UTF-8");
  }
  const auto foreign = data::content_name(bytes);
  if (foreign == "text") {
    return Kind::kTable;
  }
  if (foreign.empty()) {
    fail(path, std::string("is of an unknown format, ") + kExpected);
  }
  fail(
      path, "its content is " + foreign + ", " + kExpected +
                data::conversion_advice(bytes, "\"" + path.string() + "\""));
}

/// A picture that is in no table.
data::Row row_without_class(const fs::path& path) {
  data::Row row;
  row.path = path.string();
  row.label = -1;
  return row;
}

/// The pictures below a folder, and the files that are none.
struct Found {
  std::vector<data::Row> rows;
  std::vector<std::string> others;
};

/// Adds what is below a folder. Links to folders are followed. `above` are the
/// real folders that lead here: a link to one of them would never end.
void add_folder(
    const fs::path& folder, const std::set<fs::path>& above, Found& found) {
  auto here = above;
  if (!here.insert(fs::canonical(folder)).second) {
    fail(
        folder,
        "a link leads back to this folder, which holds the link, so its "
        "pictures have no end: remove the link");
  }
  for (const auto& entry : entries(folder)) {
    std::error_code error;
    const auto status = fs::status(entry, error);
    if (fs::is_directory(status)) {
      add_folder(entry, here, found);
    } else if (fs::is_regular_file(status) && data::is_picture(entry)) {
      found.rows.push_back(row_without_class(entry));
    } else {
      found.others.push_back(entry.string());
    }
  }
}

std::string not_used(const std::vector<std::string>& others) {
  return std::to_string(others.size()) +
         (others.size() == 1 ? " file is" : " files are") +
         " not used, because the name does not end like that of a PNG, JPEG or "
         "BMP picture, or the link leads nowhere, e.g. " +
         others.front();
}

/// The pictures of one path of the command line. Adds to `warnings`.
std::vector<data::Row> read_path(
    const Inputs& inputs, const fs::path& path,
    std::vector<std::string>& warnings) {
  const auto kind = kind_of(path);
  const bool no_table = kind == Kind::kPicture || kind == Kind::kFolder;
  if (no_table && !inputs.split.empty()) {
    fail(
        path,
        "has no splits, expected " +
            std::string(
                kind == Kind::kPicture ? "a CSV" : "folders split/class") +
            ": leave --split out");
  }
  if (kind == Kind::kPicture) {
    return {row_without_class(path)};
  }
  if (kind == Kind::kFolder) {
    Found found;
    add_folder(path, {}, found);
    if (found.rows.empty()) {
      fail(
          path,
          "holds no pictures" +
              (found.others.empty() ? "" : ": " + not_used(found.others)));
    }
    if (!found.others.empty()) {
      warnings.push_back(path.string() + ": " + not_used(found.others));
    }
    return std::move(found.rows);
  }
  const auto options = data::TableOptions().classes(inputs.classes);
  auto table = kind == Kind::kSplits ? data::read_folders(path, options)
                                     : data::read_table(path, options);
  // The others are about splits of a training, which is over.
  std::copy_if(
      table.warnings.begin(), table.warnings.end(),
      std::back_inserter(warnings), [](const std::string& warning) {
        return warning.find("not used") != std::string::npos;
      });
  if (!inputs.split.empty()) {
    std::set<std::string> splits;
    for (const auto& row : table.rows) {
      splits.insert(row.split);
    }
    if (splits.count(inputs.split) == 0) {
      std::string list;
      for (const auto& split : splits) {
        list += (list.empty() ? "" : ", ") + split;
      }
      fail(
          path, "holds no pictures of split " + inputs.split + ", but of " +
                    list + ": choose one of them with --split");
    }
    table.rows.erase(
        std::remove_if(
            table.rows.begin(), table.rows.end(),
            [&](const auto& row) { return row.split != inputs.split; }),
        table.rows.end());
  }
  return std::move(table.rows);
}

}  // namespace

data::Table find_pictures(const Inputs& inputs) {
  data::Table table;
  table.name = "the pictures";
  for (const auto& path : inputs.paths) {
    auto rows = read_path(inputs, path, table.warnings);
    std::move(rows.begin(), rows.end(), std::back_inserter(table.rows));
  }
  programs::check_map_folder("--saliency", inputs.saliency);
  data::find_maps(table, data::TableOptions().saliency(inputs.saliency));
  programs::attach_annotations(table, inputs.annotations);
  programs::check_maps_found("--saliency", inputs.saliency, table);
  programs::check_point_width(table.rows, inputs.annotations);
  return table;
}

}  // namespace explain
