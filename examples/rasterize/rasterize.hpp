// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Human maps as PNG files.

#include "../common/settings.hpp"

#include <cyborg/data/table_types.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace rasterize {

/// What is written, and where.
struct RasterizeOptions {
  /// `data` is a CSV, folders split/class, or a folder of pictures; `size` is
  /// that of the maps, empty: of each picture.
  programs::Settings settings;
  std::filesystem::path out;  ///< a new folder
};

/// What was written.
struct Rasterized {
  size_t pictures = 0;
  size_t maps = 0;
  std::vector<std::string> notes;  ///< what was read
  std::vector<std::string> warnings;
};

/// The pictures that the settings name, with their annotations. Labels mean
/// nothing, and pictures of a folder without splits have no split.
/// Throws: `cyborg::io::FileError`.
cyborg::data::Table read_marked(const programs::Settings& settings);

/// Writes the map of each picture that has one: grey, black where the value is
/// 0 and white where it is 1. In the output folder a map has the path that its
/// picture has below the folder of the CSV or of all pictures, with the
/// extension .png. If the pictures have splits, maps.csv is a table of all
/// pictures with these maps, for `train`.
/// Throws: `cyborg::io::FileError` for what cannot be read or written, and if
/// no picture has a map; `std::invalid_argument` for a width that is missing.
Rasterized write_maps(const RasterizeOptions& options);

}  // namespace rasterize
