// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/network.hpp>
#include <explain/explain.hpp>
#include <explain/inputs.hpp>
#include <explain/program.hpp>

#include <cyborg/data/image.hpp>

#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/serialize.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace {

using explain::ExplainOptions;
using support::contains;
using support::error_of;

/// A checkpoint of the demo's network as it begins.
std::string write_checkpoint(const pictures::Folder& folder) {
  programs::Settings settings;
  settings.network = programs::Architecture::kDemo;
  settings.classes = {"live", "spoof"};
  settings.size = {32, 32};
  settings.channels = 1;
  settings.mean = {0.5};
  settings.stddev = {0.25};
  const programs::Network network(
      settings, 2, [] { return torch::zeros({1, 32, 32}); });
  cyborg::train::Checkpoint checkpoint;
  checkpoint.texts["settings"] = nlohmann::json(settings).dump();
  checkpoint.tensors["model"] = network.state();
  cyborg::train::save_checkpoint(folder / "net.pt", checkpoint);
  return folder / "net.pt";
}

std::string picture(
    const pictures::Folder& folder, const std::string& name, int64_t height,
    int64_t width) {
  std::filesystem::create_directories(
      std::filesystem::path(folder / name).parent_path());
  torch::manual_seed(height * width);
  cyborg::data::write_png(folder / name, torch::rand({height, width}));
  return folder / name;
}

int program(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"explain"};
  for (const auto& one : arguments) {
    argv.push_back(one.c_str());
  }
  return explain::program(static_cast<int>(argv.size()), argv.data());
}

std::vector<std::string> names(const std::vector<std::string>& paths) {
  std::vector<cyborg::data::Row> rows;
  for (const auto& path : paths) {
    cyborg::data::Row row;
    row.path = path;
    rows.push_back(row);
  }
  return explain::unique_names(rows);
}

}  // namespace

TEST_CASE("Every picture has a name of its own, and a short one", "[explain]") {
  using Names = std::vector<std::string>;
  CHECK(names({"a/x.png", "a/y.png"}) == Names{"x", "y"});
  CHECK(names({"a/x.png", "b/x.png", "b/y.png"}) == Names{"a_x", "b_x", "y"});
  CHECK(names({"u/a/x.png", "v/a/x.png"}) == Names{"u_a_x", "v_a_x"});
  CHECK(names({"a/x.png", "./a/../b/x.png"}) == Names{"a_x", "b_x"});
  CHECK(names({"x.png", "x.jpg", "x_2.png"}) == Names{"x", "x_3", "x_2"});
  CHECK(names({"a/x.png", "a/x.png"}) == Names{"a_x", "a_x_2"});
}

TEST_CASE("Pictures are named one by one, by folder or by table", "[explain]") {
  const pictures::Folder folder;
  const auto one = picture(folder, "loose/b.png", 8, 8);
  picture(folder, "loose/deep/a.png", 8, 8);
  folder.write("loose/notes.txt", "no picture");
  picture(folder, "sets/test/live/c.png", 8, 8);
  picture(folder, "sets/train/spoof/d.png", 8, 8);
  picture(folder, "maps/b.png", 8, 8);
  const std::vector<std::string> classes = {"live", "spoof"};
  const auto rows =
      explain::find_pictures({{folder / "loose", folder / "sets", one},
                              folder / "maps",
                              "",
                              classes})
          .rows;
  REQUIRE(rows.size() == 5);
  CHECK(rows[0].path == one);
  CHECK(rows[0].label == -1);
  CHECK(rows[0].saliency == std::vector<std::string>{folder / "maps/b.png"});
  CHECK(rows[1].path == folder / "loose/deep/a.png");
  CHECK(rows[1].saliency.empty());
  CHECK(rows[2].cls == "live");
  CHECK(rows[3].label == 1);
  CHECK(rows[4].path == one);
  CHECK(
      explain::find_pictures({{folder / "sets"}, "", "test", classes})
          .rows.size() == 1);
  CHECK(contains(
      error_of([&] {
        explain::find_pictures({{folder / "sets"}, "", "val", classes});
      }),
      "holds no pictures of split val"));
  CHECK(contains(
      error_of([&] { explain::find_pictures({{one}, "", "val", classes}); }),
      "has no splits: leave --split out"));
}

TEST_CASE("Maps are written as they are and as pictures", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.map_class = explain::MapClass::kNamed;
  options.class_name = "spoof";
  const auto rows = explain::find_pictures({{picture(folder, "a.png", 40, 60),
                                             picture(folder, "b.png", 30, 30)},
                                            "",
                                            "",
                                            {"live", "spoof"}})
                        .rows;
  const auto run = [&](const std::string& out) {
    options.out = folder / out;
    return explain::explain_pictures(rows, options);
  };
  options.maps = explain::MapFile::kTensor;
  const auto result = run("pt");
  REQUIRE(result.pictures.size() == 2);
  CHECK(result.pictures[0].explained == "spoof");
  CHECK(result.pictures[0].truth.empty());
  CHECK(!result.pictures[0].agreement);
  const auto bytes = cyborg::io::read_file(folder / "pt/a_map.pt");
  const auto map =
      torch::jit::pickle_load({bytes.begin(), bytes.end()}).toTensor();
  REQUIRE(map.dim() == 2);
  CHECK(map.isfinite().all().item<bool>());

  options.maps = explain::MapFile::kGrey;
  run("png");
  const auto grey = cyborg::data::read_image(
      folder / "png/a_map.png", cyborg::data::ImageOptions().channels(1))[0];
  CHECK(grey.sizes() == map.sizes());
  const auto stretched = (map - map.min()) / (map.max() - map.min());
  CHECK((grey - stretched).abs().max().item<double>() <= 0.5 / 255 + 1e-6);

  SECTION("one picture at a time gives the same as a batch") {
    options.maps = explain::MapFile::kTensor;
    options.batch = 1;
    run("one");
    const auto again = cyborg::io::read_file(folder / "one/a_map.pt");
    const auto other =
        torch::jit::pickle_load({again.begin(), again.end()}).toTensor();
    CHECK(at::allclose(other, map, 1e-4, 1e-5));
  }
  SECTION("by every method") {
    for (const auto method :
         {cyborg::CamMethod::kCam, cyborg::CamMethod::kGradCam,
          cyborg::CamMethod::kHiResCam}) {
      options.method = method;
      run("method" + std::to_string(static_cast<int>(method)));
    }
    CHECK(std::filesystem::exists(folder / "method2/b_overlay.png"));
  }
}

TEST_CASE(
    "A map that people drew is compared with the network's", "[explain]") {
  const pictures::Folder folder;
  ExplainOptions options;
  options.checkpoint = write_checkpoint(folder);
  options.maps = explain::MapFile::kGrey;
  const auto path = picture(folder, "a.png", 32, 32);
  options.out = folder / "first";
  explain::explain_pictures(
      explain::find_pictures({{path}, "", "", {"live", "spoof"}}).rows,
      options);
  // The network's own map, as if people had drawn it.
  std::filesystem::create_directories(folder / "people");
  std::filesystem::copy_file(
      folder / "first/a_map.png", folder / "people/a.png");
  options.out = folder / "second";
  const auto result = explain::explain_pictures(
      explain::find_pictures({{path}, folder / "people", "", {"live", "spoof"}})
          .rows,
      options);
  REQUIRE(result.pictures[0].agreement);
  // Not 1 exactly: two interpolations enlarge them.
  CHECK(result.pictures[0].agreement->correlation > 0.95);
  CHECK(result.pictures[0].agreement->similarity > 0.9);
  CHECK(result.pictures[0].agreement->divergence < 0.1);
  CHECK(std::filesystem::exists(folder / "second/a_compare.png"));
  const auto csv = explain::to_csv(result);
  CHECK(contains(csv, "path,name,class,explained,probability,correlation,"));
}

TEST_CASE("What cannot be explained is said, with status 2", "[explain]") {
  const pictures::Folder folder;
  const auto net = write_checkpoint(folder);
  const auto one = picture(folder, "a.png", 32, 32);
  const auto out = folder / "out";
  CHECK(program({}) == 2);
  CHECK(program({net}) == 2);
  CHECK(program({net, one, "--method", "magic"}) == 2);
  CHECK(program({folder / "none.pt", one, "--out", out}) == 2);
  CHECK(program({one, one, "--out", out}) == 2);  // no checkpoint
  CHECK(program({net, folder / "none.png", "--out", out}) == 2);
  CHECK(program({net, one, "--class", "dog", "--out", out}) == 2);
  CHECK(program({net, one, "--class", "label", "--out", out}) == 2);
  CHECK(program({net, one, "--device", "toaster", "--out", out}) == 2);
  CHECK(!std::filesystem::exists(out));
  CHECK(
      program({net, one, folder.write("b.png", "broken"), "--out", out}) == 2);
  const auto other = folder / "other";
  CHECK(
      program(
          {net, one, folder / "b.png", "--skip-unreadable", "--out", other}) ==
      0);
  CHECK(std::filesystem::exists(folder / "other/a_overlay.png"));
  CHECK(program({net, one, "--out", other}) == 2);  // would write over it
  CHECK(program({"--help"}) == 0);
}
