// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "explain.hpp"
#include "inputs.hpp"

#include "../common/running.hpp"

#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/measure/statistics.hpp>
#include <cyborg/report/html.hpp>

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

namespace explain {

namespace {

namespace fs = std::filesystem;
using cyborg::io::number;
using cyborg::report::Colormap;

struct Arguments {
  Inputs inputs;
  Question question;
  int64_t threads = 0;
  std::string method = "auto", colormap = "turbo", maps = "none";
  double opacity = 0.5;
};

/// What names stand for, in the order of the help.
template <class T>
using Choice = std::vector<std::pair<std::string, T>>;

const Choice<cyborg::CamMethod> kMethods = {
    {"auto", cyborg::CamMethod::kAuto},
    {"cam", cyborg::CamMethod::kCam},
    {"grad-cam", cyborg::CamMethod::kGradCam},
    {"hirescam", cyborg::CamMethod::kHiResCam}};
const Choice<Colormap> kColormaps = {
    {"turbo", Colormap::kTurbo},
    {"viridis", Colormap::kViridis},
    {"jet", Colormap::kJet},
    {"grey", Colormap::kGrey}};
const Choice<MapFile> kMaps = {
    {"none", MapFile::kNone},
    {"pt", MapFile::kTensor},
    {"png", MapFile::kGrey}};

template <class T>
void add_choice(
    CLI::App& app, const char* flag, std::string& name, const Choice<T>& choice,
    const char* text) {
  std::vector<std::string> names;
  for (const auto& one : choice) {
    names.push_back(one.first);
  }
  app.add_option(flag, name, text)
      ->check(CLI::IsMember(names))
      ->capture_default_str();
}

/// The name was checked.
template <class T>
T chosen(const std::string& name, const Choice<T>& choice) {
  return std::find_if(
             choice.begin(), choice.end(),
             [&](const auto& one) { return one.first == name; })
      ->second;
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

/// "mean ± std" of each measure over the annotated pictures.
std::vector<std::string> agreement_text(const Result& result) {
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

/// The first pictures, and how far the network agrees with people.
void write_page(const Result& result, const Question& question) {
  cyborg::report::HtmlPage page(
      "Where the network looks",
      fmt::format(
          "{}, {} pictures, {}.", question.checkpoint.string(),
          result.pictures.size(), result.method));
  const auto agreement = agreement_text(result);
  if (!agreement.empty()) {
    cyborg::report::HtmlTable table;
    table.caption =
        "Mean ± standard deviation over the pictures that people drew a map "
        "of. Correlation, similarity and IoU (of what lies above half): 1 is "
        "agreement; divergence: 0 is.";
    for (const auto& column : kAgreement) {
      table.head.emplace_back(column.name);
    }
    table.rows = {agreement};
    page.section("Agreement with people").table(table);
  }
  cyborg::report::HtmlPictures grid;
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
      "The first {} of {} pictures: the class whose map is shown and its "
      "probability. Each map is on a scale of its own.",
      grid.rows.size(), result.pictures.size());
  page.section("Pictures").pictures(grid);
  page.write(question.out / "report.html");
}

int run(Arguments& arguments) {
  auto& question = arguments.question;
  if (fs::exists(question.out) &&
      (!fs::is_directory(question.out) || !fs::is_empty(question.out))) {
    throw cyborg::io::FileError(
        "--out", question.out,
        "holds something already: name a new or an empty folder");
  }
  if (arguments.threads > 0) {
    at::set_num_threads(static_cast<int>(arguments.threads));
  }
  question.method = chosen(arguments.method, kMethods);
  question.maps = chosen(arguments.maps, kMaps);
  question.overlay.opacity(arguments.opacity)
      .colormap(chosen(arguments.colormap, kColormaps));
  arguments.inputs.classes = known_classes(question.checkpoint);
  const auto table = find_pictures(arguments.inputs);
  for (const auto& warning : table.warnings) {
    fmt::print(stderr, "warning: {}\n", warning);
  }
  const auto result = explain_pictures(table.rows, question);
  for (const auto& one : result.skipped) {
    fmt::print(stderr, "warning: left out: {}\n", one);
  }
  if (result.pictures.empty()) {
    throw cyborg::io::FileError(
        "explain", arguments.inputs.paths.front(), "no picture could be read");
  }
  cyborg::io::write_file(question.out / "explain.csv", to_csv(result));
  write_page(result, question);
  fmt::print("{} pictures, {}\n", result.pictures.size(), result.method);
  const auto agreement = agreement_text(result);
  for (size_t i = 0; i < agreement.size(); ++i) {
    fmt::print("{:<12} {}\n", kAgreement[i].name, agreement[i]);
  }
  fmt::print("open {}\n", fs::absolute(question.out / "report.html").string());
  return 0;
}

}  // namespace

int program(int argc, const char* const* argv) {
  Arguments arguments;
  auto& question = arguments.question;
  CLI::App app(
      "Shows where a network that `train` trained looks: its map over each "
      "picture, beside people's where they drew one, and how far the two "
      "agree.");
  app.footer(
      "Writes to --out: NAME_overlay.png, NAME_compare.png, explain.csv and "
      "report.html.\nExample: explain runs/faces/best.pt faces.csv --split "
      "test --out looks");
  app.add_option(
         "checkpoint", question.checkpoint, "best.pt or last.pt of `train`")
      ->required();
  app.add_option(
         "pictures", arguments.inputs.paths,
         "pictures, folders of them, or CSV files as `train` reads")
      ->required();
  app.add_option("--out", question.out, "a new folder for all that is written")
      ->default_val("explained");
  app.add_option(
         "--split", arguments.inputs.split,
         "of CSV files and folders split/class: train, val or test")
      ->default_str("all");
  app.add_option(
         "--saliency", arguments.inputs.saliency,
         "folder of human maps named as the pictures, for those without one")
      ->type_name("DIR");
  app.add_option(
         "--class", question.which,
         "whose map: predicted (the network's choice), label (the true one), "
         "or the name of a class")
      ->capture_default_str();
  add_choice(
      app, "--method", arguments.method, kMethods,
      "how maps are made; auto: CAM where it is exact, else Grad-CAM");
  app.add_option(
         "--layer", question.layer, "the layer whose output gives the map")
      ->default_str("as trained");
  add_choice(
      app, "--colormap", arguments.colormap, kColormaps, "colours of maps");
  app.add_option("--opacity", arguments.opacity, "of the map over the picture")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  add_choice(
      app, "--maps", arguments.maps, kMaps,
      "keep each map as well; pt: a tensor as it is, for torch.load; png: "
      "8-bit grey, stretched, which `train` takes as a human map");
  app.add_flag(
      "--skip-unreadable", question.skip_unreadable,
      "leave out pictures and maps that cannot be read, and list them");
  programs::add_running_options(
      app, question.device, arguments.threads, question.workers,
      question.batch);
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
