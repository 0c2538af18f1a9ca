// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "explain.hpp"
#include "inputs.hpp"

#include "../common/command_line.hpp"
#include "../common/report/html.hpp"

#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/measure/statistics.hpp>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

template <>
struct programs::Choices<cyborg::CamMethod> {
  static constexpr Choice<cyborg::CamMethod> kAll[] = {
      {cyborg::CamMethod::kAuto, "auto",
       "cam where it is exact, else grad-cam"},
      {cyborg::CamMethod::kCam, "cam", ""},
      {cyborg::CamMethod::kGradCam, "grad-cam", ""},
      {cyborg::CamMethod::kHiResCam, "hirescam", ""}};
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
namespace report = programs::report;
using cyborg::io::number;
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

struct Column {
  const char* name;
  double Agreement::*value;
};
const std::vector<Column> kAgreement = {
    {"correlation", &Agreement::correlation},
    {"similarity", &Agreement::similarity},
    {"divergence", &Agreement::divergence},
    {"iou", &Agreement::iou}};

/// "mean ± std" of each measure over the pictures that have a human map.
std::vector<std::string> agreement_text(const ExplainResult& result) {
  std::vector<std::string> out;
  for (const auto& column : kAgreement) {
    std::vector<double> values;
    for (const auto& one : result.pictures) {
      if (one.agreement) {
        values.push_back((*one.agreement).*column.value);
      }
    }
    if (!values.empty()) {
      const auto all = cyborg::measure::mean_std(values);
      out.push_back(
          fmt::format("{} ± {}", number(all.mean, 3), number(all.std, 3)));
    }
  }
  return out;
}

/// Writes the report: agreement with human maps, and the first pictures.
void write_page(const ExplainResult& result, const ExplainOptions& options) {
  report::HtmlPage page(
      "Where the network looks",
      fmt::format(
          "{}, {} pictures, {}.", options.checkpoint.string(),
          result.pictures.size(), result.method));
  const auto agreement = agreement_text(result);
  if (!agreement.empty()) {
    report::HtmlTable table;
    table.caption =
        "Mean ± standard deviation over the pictures that have a human map. "
        "Full agreement is 1 for correlation, similarity and IoU (of the parts "
        "above one half), and 0 for divergence.";
    for (const auto& column : kAgreement) {
      table.head.emplace_back(column.name);
    }
    table.rows = {agreement};
    page.section("Agreement with people").table(table);
  }
  report::HtmlPictures grid;
  grid.head = {"picture", "people", "network"};
  grid.pixels = 160;
  for (const auto& one : result.pictures) {
    if (!one.png.empty()) {
      grid.rows.push_back(
          {fmt::format(
               "{}: {} {}{}", one.name, one.explained,
               number(one.probability, 3),
               one.truth.empty() ? std::string() : ", is " + one.truth),
           one.png});
    }
  }
  grid.caption = fmt::format(
      "The first {} of {} pictures, with the class whose map is shown and its "
      "probability. Each map has its own scale.",
      grid.rows.size(), result.pictures.size());
  page.section("Pictures").pictures(grid);
  page.write(options.out / "report.html");
}

int run(Arguments& arguments) {
  auto& options = arguments.options;
  if (fs::exists(options.out) &&
      (!fs::is_directory(options.out) || !fs::is_empty(options.out))) {
    throw cyborg::io::FileError(
        "--out", options.out, "is not empty: name a new or an empty folder");
  }
  if (arguments.threads > 0) {
    at::set_num_threads(static_cast<int>(arguments.threads));
  }
  set_map_class(arguments.map_class, options);
  options.overlay.opacity(arguments.opacity).colormap(arguments.colormap);
  arguments.inputs.classes = known_classes(options.checkpoint);
  const auto table = find_pictures(arguments.inputs);
  for (const auto& warning : table.warnings) {
    fmt::print(stderr, "warning: {}\n", warning);
  }
  const auto result = explain_pictures(table.rows, options);
  for (const auto& one : result.skipped) {
    fmt::print(stderr, "warning: left out: {}\n", one);
  }
  if (result.pictures.empty()) {
    throw cyborg::io::FileError(
        "explain", arguments.inputs.paths.front(), "no picture could be read");
  }
  cyborg::io::write_file(options.out / "explain.csv", to_csv(result));
  write_page(result, options);
  fmt::print("{} pictures, {}\n", result.pictures.size(), result.method);
  const auto agreement = agreement_text(result);
  for (size_t i = 0; i < agreement.size(); ++i) {
    fmt::print("{:<12} {}\n", kAgreement[i].name, agreement[i]);
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
      "explain.csv and report.html.\nExample: explain runs/faces/best.pt "
      "faces.csv --split "
      "test --out looks");
  app.add_option(
         "checkpoint", options.checkpoint, "best.pt or last.pt of `train`")
      ->required();
  app.add_option(
         "pictures", arguments.inputs.paths,
         "pictures, folders of them, or CSV files as `train` reads")
      ->required();
  app.add_option("--out", options.out, "a new folder for all output files")
      ->default_val("explained");
  app.add_option(
         "--split", arguments.inputs.split,
         "the split of CSV files and of folders split/class: train, val or "
         "test")
      ->default_str("all");
  app.add_option(
         "--saliency", arguments.inputs.saliency,
         "folder of human maps with the names of the pictures, for pictures "
         "without a map")
      ->type_name("DIR");
  app.add_option(
         "--class", arguments.map_class,
         programs::choice_help<MapClass>("the class whose map is made") +
             "; any other text: the class of that name")
      ->capture_default_str();
  add_choice(app, "--method", options.method, "how maps are made");
  app.add_option(
         "--layer", options.layer, "the layer whose output gives the map")
      ->default_str("that of the training");
  add_choice(app, "--colormap", arguments.colormap, "colours of the maps");
  app.add_option(
         "--opacity", arguments.opacity, "opacity of the map over the picture")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_choice(app, "--maps", options.maps, "a file of each map itself");
  app.add_flag(
      "--skip-unreadable", options.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them");
  programs::add_running_options(
      app, options.device, arguments.threads, options.workers, options.batch);
  try {
    app.parse(argc, argv);
    return run(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const cyborg::io::FileError& error) {
    fmt::print(stderr, "explain: {}: {}\n", error.path(), error.reason());
  } catch (const c10::Error& error) {
    fmt::print(stderr, "explain: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "explain: {}\n", error.what());
  }
  return 2;
}

}  // namespace explain
