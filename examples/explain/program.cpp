// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "explain.hpp"
#include "inputs.hpp"
#include "page.hpp"

#include "../common/annotations/options.hpp"
#include "../common/annotations/read.hpp"
#include "../common/command_line.hpp"
#include "../common/errors.hpp"
#include "../common/file_checks.hpp"
#include "../common/mistakes.hpp"
#include "../common/numbers.hpp"
#include "../common/splits.hpp"

#include <cyborg/io/file.hpp>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

template <>
struct programs::Choices<cyborg::CamMethod> {
  static constexpr Choice<cyborg::CamMethod> kAll[] = {
      {cyborg::CamMethod::kAuto, "auto",
       "cam where it is exact, else grad-cam"},
      {cyborg::CamMethod::kCam, "cam", ""},
      {cyborg::CamMethod::kGradCam, "grad-cam", ""},
      {cyborg::CamMethod::kHiResCam, "hirescam", ""},
      {cyborg::CamMethod::kLayerCam, "layercam", ""},
      {cyborg::CamMethod::kXGradCam, "xgrad-cam", ""},
      {cyborg::CamMethod::kGradCamPlusPlus, "grad-cam++", ""},
      {cyborg::CamMethod::kEigenCam, "eigen-cam", "of no class"}};
};

template <>
struct programs::Choices<cyborg::report::Colormap> {
  static constexpr Choice<cyborg::report::Colormap> kAll[] = {
      {cyborg::report::Colormap::kTurbo, "turbo", ""},
      {cyborg::report::Colormap::kViridis, "viridis", ""},
      {cyborg::report::Colormap::kJet, "jet", ""},
      {cyborg::report::Colormap::kGrey, "grey", ""}};
};

template <>
struct programs::Choices<explain::MapFile> {
  static constexpr Choice<explain::MapFile> kAll[] = {
      {explain::MapFile::kNone, "none", ""},
      {explain::MapFile::kTensor, "pt", "the tensor, for torch.load"},
      {explain::MapFile::kGrey, "png",
       "8-bit grey, stretched, which `train` reads as a human map"}};
};

// Without kNamed: any other text is the name of a class.
template <>
struct programs::Choices<explain::MapClass> {
  static constexpr Choice<explain::MapClass> kAll[] = {
      {explain::MapClass::kPredicted, "predicted",
       "the class that the network predicts"},
      {explain::MapClass::kLabel, "label", "the true class"}};
};

namespace explain {

namespace {

namespace fs = std::filesystem;
using programs::add_choice;

struct Arguments {
  Inputs inputs;
  ExplainOptions options;
  std::string map_class = "predicted";
  int64_t threads = 0;
  cyborg::report::Colormap colormap = cyborg::report::Colormap::kTurbo;
  double opacity = 0.5;
};

/// Sets whose map is made: a choice, or else the name of a class.
void set_map_class(const std::string& name, ExplainOptions& options) {
  options.map_class = MapClass::kNamed;
  options.class_name = name;
  for (const auto& choice : programs::Choices<MapClass>::kAll) {
    if (name == choice.name) {
      options.map_class = choice.value;
    }
  }
}

/// Checks the split, and changes it into the name that tables use.
void set_split(std::string& split) {
  const auto name = programs::split_named(split);
  if (!name.empty() && name != "all" && !programs::is_picture_split(name)) {
    throw std::invalid_argument(
        "--split: expected train, val, test or all, got \"" + split + "\"");
  }
  split = name == "all" ? "" : name;
}

void print_warnings(const std::vector<std::string>& warnings) {
  for (const auto& warning : warnings) {
    fmt::print(
        stderr, "warning: {}\n", programs::with_flags(warning, "explain"));
  }
}

int run(Arguments& arguments, const CLI::App& app) {
  auto& options = arguments.options;
  set_split(arguments.inputs.split);
  programs::check_new_folder("--out", options.out);
  if (arguments.threads > 0) {
    at::set_num_threads(static_cast<int>(arguments.threads));
  }
  set_map_class(arguments.map_class, options);
  options.overlay.opacity(arguments.opacity).colormap(arguments.colormap);
  const auto settings = settings_of(options.checkpoint);
  arguments.inputs.classes = settings.classes;
  auto drawn = settings.annotations;  // as in the training
  drawn.file.clear();
  drawn.name.clear();
  drawn = programs::with_given(app, arguments.inputs.annotations, drawn);
  programs::check_annotation_settings(drawn);
  if (!drawn.file.empty() && drawn.name != settings.annotations.name) {
    print_warnings({fmt::format(
        "the training was given --annotation-name \"{}\", and this run \"{}\"",
        settings.annotations.name, drawn.name)});
  }
  arguments.inputs.annotations = drawn;
  options.annotations = drawn;
  const auto table = find_pictures(arguments.inputs);
  print_warnings(table.warnings);
  const auto result = explain_pictures(table.rows, options);
  print_warnings(warnings_of(result));
  if (result.pictures.empty()) {
    throw cyborg::io::FileError(
        "explain", arguments.inputs.paths.front(), "no picture could be read");
  }
  cyborg::io::write_file(options.out / "explain.csv", to_csv(result));
  if (!result.maps_table.empty()) {
    cyborg::io::write_file(options.out / "maps.csv", result.maps_table);
  }
  write_page(result, options);
  size_t compared = 0;
  for (const auto& one : result.pictures) {
    compared += one.agreement ? 1 : 0;
  }
  fmt::print(
      "{} pictures, {} of them with a human map; {}\n", result.pictures.size(),
      compared, result.method);
  for (const auto& [name, value] : agreement_text(result)) {
    fmt::print("{:<12} {}\n", name, value);
  }
  fmt::print("open {}\n", fs::absolute(options.out / "report.html").string());
  return 0;
}

}  // namespace

int program(int argc, const char* const* argv) {
  Arguments arguments;
  auto& options = arguments.options;
  CLI::App app(
      "Shows where a network that `train` trained looks: its map over each "
      "picture, beside the human map where there is one, and how well the two "
      "agree.");
  app.footer(
      "Writes to the output folder: NAME_overlay.png, NAME_compare.png, "
      "explain.csv and report.html; with --maps also NAME_map.pt or "
      "NAME_map.png and, for `train`, maps.csv.\nExample: explain "
      "runs/faces/best.pt "
      "faces.csv --split "
      "test --out looks");
  app.add_option(
         "checkpoint", options.checkpoint, "best.pt or last.pt of `train`")
      ->required();
  app.add_option(
         "pictures", arguments.inputs.paths,
         "pictures (PNG, JPEG, BMP), folders of them, or CSV files as `train` "
         "reads")
      ->required();
  app.add_option("--out", options.out, "a new folder for all output files")
      ->default_val("explained");
  app.add_option(
         "--split", arguments.inputs.split,
         "the split of CSV files and of folders split/class: train, val, "
         "test or all")
      ->default_str("all");
  app.add_option(
         "--saliency", arguments.inputs.saliency,
         "folder of human maps with the names of the pictures, for pictures "
         "without a map")
      ->type_name("DIR");
  programs::add_annotation_options(app, arguments.inputs.annotations);
  app.add_option(
         "--class", arguments.map_class,
         programs::choice_help<MapClass>("the class whose map is made") +
             "; any other text: the class of that name")
      ->capture_default_str();
  add_choice(app, "--method", options.method, "how maps are made");
  app.add_option(
         "--rise", options.rise_masks,
         "maps by RISE with so many random masks instead (2000 in the paper), "
         "which any network has; 0: no")
      ->check(programs::whole_number(0, 1000000))
      ->capture_default_str();
  app.add_option(
         "--layer", options.layer, "the layer whose output gives the map")
      ->default_str("that of the training");
  add_choice(app, "--colormap", arguments.colormap, "colours of the maps");
  app.add_option(
         "--opacity", arguments.opacity, "opacity of the map over the picture")
      ->check(programs::kShare)
      ->capture_default_str();
  app.add_option(
         "--overlay-size", options.overlay_size,
         "longest side of the written pictures in pixels: larger ones are "
         "shrunk, and smaller ones are not enlarged; 0: the size of each "
         "picture")
      ->check(programs::whole_number(0, int64_t{1} << 20))
      ->capture_default_str();
  add_choice(app, "--maps", options.maps, "a file of each map itself");
  app.add_flag(
      "--skip-unreadable", options.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them");
  programs::add_running_options(
      app, options.device, arguments.threads, options.workers, options.batch);
  programs::explain_mistakes(app, "explain", argc, argv);
  try {
    app.parse(argc, argv);
    return run(arguments, app);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception&) {
    fmt::print(stderr, "{}", programs::current_error("explain"));
  }
  return 2;
}

}  // namespace explain
