// SPDX-License-Identifier: BSD-3-Clause
// Networks that are trained on what people marked: boxes in a table, fixations
// of three observers, COCO, and CVRL's tool. And the maps that `rasterize`
// writes.
#include "base64.hpp"
#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"
#include "training.hpp"

#include <common/annotations/read.hpp>
#include <rasterize/rasterize.hpp>

#include <cyborg/data/read_map.hpp>
#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using nlohmann::json;
using support::close;
using support::contains;
using support::error_of;

namespace {

/// The pictures of `training::write_table`: a bright square of 6 x 6 pixels,
/// whose place depends on the class.
struct Square {
  std::string name;  ///< "p0.png"
  int64_t side;      ///< of the picture
  int64_t at;        ///< x and y of the square
  std::string row;   ///< "train,live,p0.png"
};

std::vector<Square> squares() {
  std::vector<Square> all;
  for (int64_t i = 0; i < 60; ++i) {
    const int64_t side = 24 + 4 * (i % 4), label = i % 2;
    const auto name = "p" + std::to_string(i) + ".png";
    all.push_back(
        {name, side, label == 0 ? 2 : side / 2,
         std::string(i < 48 ? "train," : "val,") +
             (label == 0 ? "live," : "spoof,") + name});
  }
  return all;
}

struct Run {
  int status;
  std::string errors;
  json epoch;  ///< the last line of log.jsonl
};

/// Pictures, and programs that are run on them.
struct Marked : pictures::Folder {
  Marked() { training::write_table(*this); }

  /// A table without maps, with more columns.
  std::string table(
      const std::string& columns,
      const std::function<std::string(const Square&)>& cells) const {
    std::string csv = "split,class,path" + columns + "\n";
    for (const auto& square : squares()) {
      csv += square.row + cells(square) + "\n";
    }
    return write("marked.csv", csv);
  }
  std::string plain_table() const {
    return table("", [](const Square&) { return ""; });
  }

  Run train(
      const std::string& table, const std::vector<std::string>& more,
      const std::string& out = "run") const {
    auto words = training::command(table, *this / out);
    for (size_t i = 0; i + 1 < words.size(); ++i) {
      words[i + 1] = words[i] == "--epochs" ? "1" : words[i + 1];
    }
    words.insert(words.end(), more.begin(), more.end());
    return run(CYBORG_TRAIN, words, out);
  }
  Run run(
      const char* program, const std::vector<std::string>& words,
      const std::string& out = "run") const {
    const std::string errors = *this / "errors";
    fs::remove(errors);
    Run result;
    result.status =
        programs_test::end_of(programs_test::start(program, words, {}, errors));
    if (fs::exists(errors) && fs::file_size(errors) > 0) {
      result.errors = cyborg::io::read_file(errors);
    }
    const std::string log = *this / (out + "/log.jsonl");
    if (fs::exists(log)) {
      std::istringstream lines(cyborg::io::read_file(log));
      for (std::string line; std::getline(lines, line);) {
        result.epoch = json::parse(line);
      }
    }
    return result;
  }
};

/// Checks that the training went well, and that this many pictures guided it.
void check_guided(const Run& run, int64_t annotated) {
  INFO(run.errors);
  REQUIRE(run.status == 0);
  CHECK(run.epoch.at("annotated") == annotated);
  CHECK(run.epoch.at("saliency").get<double>() > 0);
}

std::string box_of(const Square& square) {
  const auto first = std::to_string(square.at);
  const auto last = std::to_string(square.at + 6);
  return first + " " + first + " " + last + " " + last;
}

}  // namespace

TEST_CASE("A table with boxes trains a network", "[annotations][training]") {
  const Marked folder;
  const auto table = folder.table(
      ",boxes", [](const Square& square) { return "," + box_of(square); });
  check_guided(folder.train(table, {}), 48);

  SECTION("a training that goes on notices other boxes") {
    folder.table(",boxes", [](const Square& square) {
      return "," + box_of(square) + "; 0 0 1 1";
    });
    const auto resumed = folder.run(
        CYBORG_TRAIN,
        {"--resume", "--out", folder / "run", "--epochs", "2", "--quiet"});
    CHECK(resumed.status == 2);
    CHECK(contains(
        resumed.errors, "is not the table that this training began with"));
  }
  SECTION("a training keeps how maps are made") {
    const auto resumed = folder.run(
        CYBORG_TRAIN, {"--resume", "--out", folder / "run",
                       "--combine-annotators", "box", "--quiet"});
    CHECK(resumed.status == 2);
    CHECK(contains(
        resumed.errors,
        "was trained with --combine-annotators mean, got "
        "--combine-annotators box"));
  }
  SECTION("explain and evaluate read the table, too") {
    const std::string network = folder / "run/best.pt";
    const auto explained = folder.run(
        CYBORG_EXPLAIN, {network, table, "--split", "val", "--out",
                         folder / "looks", "--threads", "1"});
    INFO(explained.errors);
    CHECK(explained.status == 0);
    CHECK(fs::exists(folder / "looks/p48_compare.png"));
    const auto evaluated = folder.run(
        CYBORG_EVALUATE, {network, "--split", "val", "--threads", "1"});
    INFO(evaluated.errors);
    CHECK(evaluated.status == 0);
  }
}

TEST_CASE(
    "Fixations of three observers train a network", "[annotations][training]") {
  const Marked folder;
  const auto table = folder.plain_table();
  std::string csv = "image,x,y,duration,observer\n";
  for (const auto& square : squares()) {
    for (const auto* observer : {"anna", "ben", "cho"}) {
      const auto middle = std::to_string(square.at + 3);
      csv += square.name + "," + middle + "," + middle + ",250," + observer +
             "\n" + square.name + "," + middle + ",1,40," + observer + "\n";
    }
  }
  const auto fixations = folder.write("fixations.csv", csv);
  check_guided(
      folder.train(
          table, {"--annotations", fixations, "--annotation-width", "6",
                  "--combine-annotators", "agreement"}),
      48);

  SECTION("a width is needed, and the error says how to give it") {
    const auto run = folder.train(table, {"--annotations", fixations}, "none");
    CHECK(run.status == 2);
    CHECK(contains(
        run.errors, "--annotation-width: " + fixations +
                        ":2 has points or fixations, and nobody said how wide "
                        "the Gaussian of each is"));
  }
  SECTION("a training goes on with the file in another place") {
    fs::rename(fixations, folder / "moved.csv");
    const auto resumed = folder.run(
        CYBORG_TRAIN,
        {"--resume", "--out", folder / "run", "--epochs", "2", "--annotations",
         folder / "moved.csv", "--threads", "1", "--quiet"});
    check_guided(resumed, 48);
  }
}

TEST_CASE("A COCO file trains a network", "[annotations][training]") {
  const Marked folder;
  json coco{
      {"images", json::array()},
      {"annotations", json::array()},
      {"categories", {{{"id", 1}, {"name", "square"}}}}};
  for (const auto& square : squares()) {
    const auto id = coco["images"].size();
    const auto a = square.at, b = square.at + 6;
    coco["images"].push_back(
        {{"id", id},
         {"file_name", square.name},
         {"width", square.side},
         {"height", square.side}});
    coco["annotations"].push_back(
        {{"id", id},
         {"image_id", id},
         {"category_id", 1},
         {"segmentation", {{a, a, b, a, b, b, a, b}}},
         {"bbox", {a, a, 6, 6}}});
  }
  const auto file = folder.write("coco.json", coco.dump());
  check_guided(
      folder.train(
          folder.plain_table(),
          {"--annotations", file, "--annotation-name", "square"}),
      48);
}

TEST_CASE(
    "An export of CVRL's tool trains a network", "[annotations][training]") {
  const Marked folder;
  json list = json::array();
  for (const auto& square : squares()) {
    if (contains(square.row, "val")) {
      continue;
    }
    std::vector<uint32_t> pixels;
    for (int64_t i = 0; i < square.side * square.side; ++i) {
      const auto x = i % square.side - square.at;
      const auto y = i / square.side - square.at;
      const bool marked = x >= 0 && x < 6 && y >= 0 && y < 6;
      pixels.insert(pixels.end(), {0, 255, 0, marked ? 85U : 0U});
    }
    const auto side = static_cast<uint32_t>(square.side);
    list.push_back(
        {{"annotator", 4},
         {"image", fs::path(square.name).stem().string()},
         {"annotation",
          pictures::data_url(pictures::png(side, side, 8, 6, pixels))}});
  }
  check_guided(
      folder.train(
          folder.plain_table(),
          {"--annotations", folder.write("tool.json", list.dump())}),
      48);
}

TEST_CASE(
    "The check shows what is wrong with marks", "[annotations][training]") {
  const Marked folder;
  const auto table = folder.table(",boxes", [](const Square& square) {
    return square.name == "p1.png"   ? std::string(",100 100 120 120")
           : square.name == "p2.png" ? "," + box_of(square) + "; 90 90 95 95"
                                     : "," + box_of(square);
  });
  const auto run = folder.run(
      CYBORG_TRAIN, {"--check", "--data", table, "--out", folder / "check",
                     "--threads", "1"});
  CHECK(run.status == 2);
  const auto csv = cyborg::io::read_file(folder / "check/check.csv");
  CHECK(contains(
      csv, "constant map," + table + ":3,3,marks nothing of the picture"));
  CHECK(contains(
      csv,
      "outside," + table + ":4,4,\"1 of 2 marks are outside of the picture"));
}

TEST_CASE("Maps are written as PNG", "[annotations][training]") {
  const Marked folder;
  const auto table = folder.table(",boxes", [](const Square& square) {
    return square.name == "p3.png" ? std::string(",") : "," + box_of(square);
  });
  rasterize::RasterizeOptions options;
  options.settings.data = table;
  options.settings.size.clear();
  options.out = folder / "maps";
  const auto written = rasterize::write_maps(options);
  CHECK(written.pictures == 60);
  CHECK(written.maps == 59);
  const auto map = cyborg::data::read_map(folder / "maps/p0.png");
  CHECK(map.sizes() == at::IntArrayRef({24, 24}));
  CHECK(map.sum().item<double>() == 36);
  CHECK(map[2][2].item<double>() == 1);
  CHECK_FALSE(fs::exists(folder / "maps/p3.png"));
  const auto csv = cyborg::io::read_file(folder / "maps/maps.csv");
  CHECK(contains(csv, (folder / "maps/p0.png") + ",,,\n"));

  SECTION("of a table in the current folder") {
    const auto here = fs::current_path();
    fs::current_path(folder.path());
    options.settings.data = "marked.csv";
    options.out = "here";
    const auto again = rasterize::write_maps(options);
    fs::current_path(here);
    CHECK(again.maps == 59);
    CHECK(fs::exists(folder / "here/p0.png"));
  }
  SECTION("of a folder of pictures, in another size") {
    options.settings.data = folder.path().string();
    options.settings.size = {10, 12};
    options.settings.annotations.file =
        folder.write("fix.csv", "image,x,y\np5,12,13\n");
    options.settings.annotations.width = 5;
    fs::remove_all(folder / "maps");
    const auto one = rasterize::write_maps(options);
    CHECK(one.maps == 1);
    CHECK(
        cyborg::data::read_map(folder / "maps/p5.png").sizes() ==
        at::IntArrayRef({10, 12}));
    CHECK_FALSE(fs::exists(folder / "maps/maps.csv"));
  }
  SECTION("a map that would be the same everywhere is left out") {
    options.settings.data =
        folder.table(",boxes", [](const Square& square) -> std::string {
          return square.name == "p3.png"   ? ",5 5 5 9"
                 : square.name == "p4.png" ? ",0 0 99 99"
                                           : "," + box_of(square);
        });
    options.out = folder / "some";
    const auto some = rasterize::write_maps(options);
    CHECK(some.maps == 58);
    CHECK_FALSE(fs::exists(folder / "some/p3.png"));
    CHECK_FALSE(fs::exists(folder / "some/p4.png"));
    REQUIRE(some.warnings.size() == 2);
    CHECK(contains(some.warnings[0], "1 annotations are partly outside"));
    CHECK(contains(
        some.warnings[1],
        "2 pictures get no map, because it would be the same everywhere:"));
    CHECK(contains(some.warnings[1], "nothing of it is marked"));
    CHECK(contains(some.warnings[1], "all of it is marked"));
  }
  SECTION("nothing to write is an error") {
    options.settings.data = folder.plain_table();
    options.out = folder / "none";
    CHECK(contains(
        error_of([&] { rasterize::write_maps(options); }),
        "no picture has a human map or annotations"));
  }
}
