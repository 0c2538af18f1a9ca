// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "rasterize.hpp"

#include "../common/annotations/options.hpp"
#include "../common/annotations/read.hpp"
#include "../common/command_line.hpp"
#include "../common/errors.hpp"
#include "../common/file_checks.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>

namespace rasterize {

namespace {

int run(RasterizeOptions& options) {
  programs::check_annotation_settings(options.settings.annotations);
  programs::check_new_folder("--out", options.out);
  const auto result = write_maps(options);
  for (const auto& note : result.notes) {
    fmt::print("{}\n", note);
  }
  for (const auto& warning : result.warnings) {
    fmt::print(stderr, "warning: {}\n", warning);
  }
  fmt::print(
      "{} maps of {} pictures are in {}\n", result.maps, result.pictures,
      options.out.string());
  return 0;
}

}  // namespace

int program(int argc, const char* const* argv) {
  RasterizeOptions options;
  auto& settings = options.settings;
  settings.size.clear();
  CLI::App app(
      "Writes what people marked on pictures (boxes, points, fixations, "
      "polygons, masks, strokes) as human maps: grey PNG files, for `train` "
      "and "
      "for other tools.");
  app.footer(
      "Example: rasterize faces.csv --annotations fixations.csv "
      "--annotation-width 25 --out maps");
  app.add_option(
         "pictures", settings.data,
         "a CSV as `train` reads, folders split/class, or a folder of pictures")
      ->required();
  app.add_option("--out", options.out, "a new folder for the maps")
      ->default_val("maps");
  app.add_option(
         "--size", settings.size,
         "height and width of the maps; without it, those of each picture")
      ->expected(2)
      ->check(CLI::Range(1, 1 << 20));
  programs::add_annotation_options(app, settings.annotations);
  app.add_option(
         "--saliency", settings.saliency,
         "folder of human maps with the names of the pictures, for rows that "
         "name no map")
      ->type_name("DIR");
  app.add_option(
         "--path-column", settings.path_column, "the CSV's column of pictures")
      ->capture_default_str();
  app.add_option(
         "--class-column", settings.class_column, "the CSV's column of classes")
      ->capture_default_str();
  app.add_option(
         "--split-column", settings.split_column, "the CSV's column of splits")
      ->capture_default_str();
  app.add_option(
         "--map-blur", settings.map_blur,
         "standard deviation of a Gaussian blur of human maps, in pixels of "
         "the "
         "map; 0: no blur")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  programs::add_choice(
      app, "--map-values", settings.map_values,
      "how the values of a human map are read");
  programs::add_choice(
      app, "--exif-orientation", settings.exif_orientation,
      "which files are turned as their EXIF orientation says");
  try {
    app.parse(argc, argv);
    return run(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception&) {
    fmt::print(stderr, "{}", programs::current_error("rasterize"));
  }
  return 2;
}

}  // namespace rasterize
