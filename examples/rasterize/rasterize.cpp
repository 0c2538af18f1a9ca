// SPDX-License-Identifier: BSD-3-Clause
#include "rasterize.hpp"

#include "../common/annotations/read.hpp"
#include "../common/file_checks.hpp"
#include "../common/pictures.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <set>
#include <system_error>

namespace rasterize {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;
using cyborg::io::csv_field;

/// Whether a folder has folders that are named as splits.
bool has_splits(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory() &&
        !data::split_named(entry.path().filename().string()).empty()) {
      return true;
    }
  }
  return false;
}

/// Where the map of a picture is written, below the output folder; each path
/// once.
fs::path map_path(
    const fs::path& picture, const fs::path& folder,
    std::set<fs::path>& taken) {
  const auto whole = fs::absolute(picture).lexically_normal();
  auto path = whole.lexically_relative(fs::absolute(folder).lexically_normal());
  if (path.empty() || *path.begin() == "..") {  // of another folder
    path = whole.relative_path();
  }
  auto map = path;
  map.replace_extension(".png");
  if (!taken.insert(map).second) {  // a.png and a.jpg
    map = path;
    map += ".png";
    taken.insert(map);
  }
  return map;
}

}  // namespace

data::Table read_marked(const programs::Settings& settings) {
  const fs::path path = settings.data;
  const auto options = data::TableOptions()
                           .need_labels(false)
                           .saliency(settings.saliency)
                           .path_column(settings.path_column)
                           .class_column(settings.class_column)
                           .split_column(settings.split_column);
  data::Table table;
  if (!fs::is_directory(path)) {
    table = data::read_table(path, options);
  } else if (has_splits(path)) {
    table = data::read_folders(path, options);
  } else {
    table.name = path.string();
    for (const auto& picture : data::pictures_in(path)) {
      data::Row row;
      row.path = picture.string();
      table.rows.push_back(std::move(row));
    }
    data::find_maps(table, options);
  }
  programs::attach_annotations(table, settings.annotations);
  programs::check_point_width(table.rows, settings.annotations);
  return table;
}

Rasterized write_maps(const RasterizeOptions& options) {
  const auto& settings = options.settings;
  const auto table = read_marked(settings);
  auto any_name = settings;  // of a picture the header is read, and no more
  any_name.any_extension = true;
  programs::check_files(table.name, table.rows, any_name);
  const auto reading = programs::dataset_options(settings);
  const bool turned = settings.exif_orientation != data::Orientation::kIgnore;
  const auto source = fs::absolute(settings.data);
  const auto folder = fs::is_directory(source) ? source : source.parent_path();
  Rasterized result;
  result.notes = table.notes;
  result.warnings = table.warnings;
  const auto warnings = programs::header_warnings(
      table, settings.exif_orientation, data::TableHeaders(table));
  result.warnings.insert(
      result.warnings.end(), warnings.begin(), warnings.end());
  std::vector<data::FileNote> blank;
  std::set<fs::path> taken;
  std::string csv = "split,class,path,saliency,attack,group,subject\n";
  bool splits = true;
  const auto from_root = [](const fs::path& path) {
    return csv_field(fs::absolute(path).lexically_normal().string());
  };
  for (const auto& row : table.rows) {
    splits = splits && !row.split.empty();
    std::string map;
    if (row.has_map()) {
      const auto size = settings.size.empty()
                            ? data::picture_size(row.path, turned)
                            : settings.size;
      if (size.empty()) {
        throw cyborg::io::FileError(
            "rasterize", row.path, "is no PNG, JPEG or BMP picture");
      }
      const auto values = data::read_human_map(row, size, reading);
      if (values.max().item<double>() == values.min().item<double>()) {
        // It says nothing: `train` would not use it, and other tools might.
        blank.push_back(
            {static_cast<size_t>(&row - table.rows.data()), row.path,
             values.max().item<double>() == 0 ? "nothing of it is marked"
                                              : "all of it is marked"});
      } else {
        const auto path = options.out / map_path(row.path, folder, taken);
        fs::create_directories(path.parent_path());
        data::write_png(path, values);
        map = from_root(path);
        ++result.maps;
      }
    }
    ++result.pictures;
    csv += fmt::format(
        "{},{},{},{},{},{},{}\n", row.split, csv_field(row.cls),
        from_root(row.path), map, csv_field(row.attack), csv_field(row.group),
        csv_field(row.subject));
  }
  if (!blank.empty()) {
    result.warnings.push_back(fmt::format(
        "{} pictures get no map, because it would be the same everywhere:{}",
        blank.size(), programs::list_of_notes(blank, table.rows)));
  }
  if (result.maps == 0 && !blank.empty()) {
    throw cyborg::io::FileError(
        "rasterize", table.name, result.warnings.back());
  }
  if (result.maps == 0) {
    throw cyborg::io::FileError(
        "rasterize", table.name,
        "no picture has a human map or annotations (--annotations, --saliency, "
        "or columns of the CSV)" +
            table.warnings_text());
  }
  if (splits) {
    cyborg::io::write_file(options.out / "maps.csv", csv);
  }
  return result;
}

}  // namespace rasterize
