// SPDX-License-Identifier: BSD-3-Clause
// The files that annotation tools write: COCO, VISER, and CVRL's tool.
#include "base64.hpp"
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/annotations/read.hpp>
#include <common/annotations/readers.hpp>

#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/table.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace data = cyborg::data;
using nlohmann::json;
using support::close;
using support::contains;
using support::error_of;
using support::t;

namespace {

/// Reads a file with this content; its errors begin with the file's name.
struct Given : pictures::Folder {
  data::AnnotationFile read(
      const std::string& text, const std::string& name = "",
      const std::string& file = "a.json") const {
    return programs::read_annotations(write(file, text), name);
  }
  data::AnnotationFile read(
      const json& content, const std::string& name = "") const {
    return read(content.dump(), name);
  }
  template <class Content>
  std::string error(
      const Content& content, const std::string& name = "",
      const std::string& file = "a.json") const {
    const auto text = error_of([&] {
      if constexpr (std::is_same_v<Content, json>) {
        read(content.dump(), name, file);
      } else {
        read(content, name, file);
      }
    });
    return text.substr(std::min(text.size(), text.find(file)));
  }
};

json coco() {
  return json::parse(R"({
    "info": {"year": 2024},
    "licenses": [],
    "categories": [{"id": 1, "name": "nose"}, {"id": 7, "name": "eye"}],
    "images": [
      {"id": 3, "file_name": "1.png", "width": 8, "height": 6, "flag": null},
      {"id": 4, "file_name": "train/2.png"},
      {"id": 5, "file_name": "3.png"}],
    "annotations": [
      {"id": 1, "image_id": 3, "category_id": 1, "iscrowd": 0, "area": 4,
       "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3], [4, 4, 6, 4, 6, 6]],
       "bbox": [1, 1, 5, 5]},
      {"id": 2, "image_id": 3, "category_id": 7,
       "segmentation": {"size": [6, 8], "counts": [42, 6]}},
      {"id": 3, "image_id": 4, "category_id": 1, "bbox": [1, 2, 3, 4],
       "segmentation": []}]})");
}

const json& golden_masks() {
  static const json all = [] {
    std::ifstream file(std::string(CYBORG_TEST_DIR) + "/golden/rasterize.json");
    return json::parse(file)["masks"];
  }();
  return all;
}

}  // namespace

TEST_CASE("COCO has polygons, run lengths and boxes", "[annotations]") {
  const Given given;
  const auto file = given.read(coco());
  REQUIRE(file.items.size() == 2);  // nobody annotated 3.png
  const auto& first = *file.items[0].annotation;
  CHECK(file.items[0].picture == "1.png");
  CHECK(first.size == std::vector<int64_t>{6, 8});
  CHECK(first.source == (given / "a.json") + ": images[0] (1.png)");
  REQUIRE(first.polygons.size() == 2);
  REQUIRE(first.runs.size() == 1);
  CHECK_FALSE(first.boxes.defined());  // the segmentation says more
  const auto map = data::draw_annotation(first, {6, 8}, {6, 8});
  CHECK(close(map[1], t({0, 1, 1, 0, 0, 0, 0, 1})));
  CHECK(close(file.items[1].annotation->boxes, t({1, 2, 4, 6}, {1, 4})));
  CHECK(file.items[1].annotation->size.empty());

  SECTION("objects of one category") {
    const auto eyes = given.read(coco(), "eye");
    REQUIRE(eyes.items.size() == 1);
    CHECK(eyes.items[0].annotation->polygons.empty());
    CHECK(eyes.items[0].annotation->runs.size() == 1);
    CHECK(
        given.error(coco(), "ear") ==
        "a.json: categories: expected the category \"ear\", got \"nose\", "
        "\"eye\"");
  }
}

TEST_CASE("Compressed run lengths are those of pycocotools", "[annotations]") {
  for (const auto& mask : golden_masks()) {
    CHECK(
        programs::coco_runs(
            mask["counts"].get<std::string>(), [](const std::string& reason) {
              FAIL(reason);
            }) == mask["runs"].get<std::vector<int64_t>>());
  }
  const Given given;
  auto file = coco();
  auto& segmentation = file["annotations"][1]["segmentation"];
  segmentation["size"] = golden_masks()[0]["size"];
  segmentation["counts"] = golden_masks()[0]["counts"];
  file["images"][0].erase("width");
  file["images"][0].erase("height");
  CHECK(
      given.read(file).items[0].annotation->runs[0].runs ==
      golden_masks()[0]["runs"].get<std::vector<int64_t>>());
  for (const auto* damaged : {"0`", "\x7f", "oooooooooooo0", " 1", "N"}) {
    segmentation["counts"] = damaged;
    CHECK(contains(
        given.error(file), "a.json: annotations[1].segmentation.counts: "));
  }
}

TEST_CASE("Errors of a COCO file name the key", "[annotations]") {
  const Given given;
  const auto error = [&](const std::function<void(json&)>& change) {
    auto file = coco();
    change(file);
    return given.error(file);
  };
  CHECK(error([](json& file) {
          file["images"][1]["id"] = 3;
        }) == "a.json: images[1]: the id 3 is in the list twice");
  CHECK(error([](json& file) {
          file["images"][1]["file_name"] = "1.png";
        }) == "a.json: images[1]: the picture \"1.png\" is in the list twice");
  CHECK(error([](json& file) {
          file["annotations"][2]["id"] = 1;
        }) == "a.json: annotations[2]: the id 1 is in the list twice");
  CHECK(error([](json& file) {
          file["annotations"][2]["image_id"] = 9;
        }) == "a.json: annotations[2]: no picture has the image_id 9");
  CHECK(error([](json& file) {
          file["annotations"][2].erase("image_id");
        }) == "a.json: annotations[2]: the key \"image_id\" is missing");
  CHECK(error([](json& file) {
          file["annotations"][2].erase("bbox");
        }) == "a.json: annotations[2]: has neither a segmentation nor a bbox");
  CHECK(
      error(
          [](json& file) { file["annotations"][2]["bbox"] = {1, 2, -3, 4}; }) ==
      "a.json: annotations[2].bbox: expected [x, y, width, height] with width "
      "and height >= 0, got [1,2,-3,4]");
  CHECK(
      error([](json& file) {
        file["annotations"][0]["segmentation"][1] = {1, 2, 3, 4};
      }) ==
      "a.json: annotations[0].segmentation[1]: expected x, y of at least 3 "
      "corners, got 4 numbers");
  CHECK(
      error([](json& file) {
        file["annotations"][0]["segmentation"][1][2] = "x";
      }) ==
      "a.json: annotations[0].segmentation[1][2]: expected a number of at most "
      "1e9, got \"x\"");
  CHECK(contains(
      error([](json& file) {
        file["annotations"][0]["segmentation"][1][2] = 1e300;
      }),
      "segmentation[1][2]: expected a number of at most 1e9, got 1e+300"));
  CHECK(
      error([](json& file) {
        file["annotations"][1]["segmentation"]["counts"] = {40, 6};
      }) ==
      "a.json: annotations[1].segmentation.counts: expected runs that add up "
      "to 48 pixels");
  CHECK(contains(
      error([](json& file) {
        file["annotations"][1]["segmentation"]["counts"] = {54, -6};
      }),
      "counts[1]: expected a whole number of at least 0, got -6"));
  CHECK(
      error([](json& file) {
        file["annotations"][1]["segmentation"]["size"] = {8, 6};
      }) ==
      "a.json: annotations[1].segmentation.size: is [8,6], but the picture is "
      "[6,8]");
  CHECK(contains(
      error([](json& file) { file["images"][0]["width"] = 0; }),
      "images[0].width: expected 1 to 1048576 pixels, got 0"));
  CHECK(contains(
      error([](json& file) { file["images"] = 3; }),
      "images: expected a list, got number"));
}

TEST_CASE("VISER names a map for each configuration", "[annotations]") {
  const Given given;
  auto list = json::parse(R"([
    {"irisImageLink": "9_5.png", "label": "Live", "attackType": "Live",
     "saliencyMaps": {"Full": "Full/9_5_blended.png", "Masks": "M/9_5.png"}},
    {"irisImageLink": "9_6.png", "label": "Spoof", "attackType": "Print",
     "saliencyMaps": {"Masks": "M/9_6.png"}}])");
  const auto file = given.read(list, "Full");
  REQUIRE(file.items.size() == 1);
  CHECK(file.items[0].picture == "9_5.png");
  CHECK(file.items[0].map == given / "Full/9_5_blended.png");
  CHECK(given.read(list, "Masks").items.size() == 2);
  CHECK(
      given.error(list) ==
      "a.json: saliencyMaps: choose one of the configurations with "
      "--annotation-name: \"Full\", \"Masks\"");
  CHECK(
      given.error(list, "full") ==
      "a.json: saliencyMaps: expected the configuration \"full\", got "
      "\"Full\", \"Masks\"");
  list[1]["irisImageLink"] = "9_5.png";
  CHECK(
      given.error(list, "Masks") ==
      "a.json: [1]: the picture \"9_5.png\" is in the list twice");
  list[1].erase("saliencyMaps");
  CHECK(
      given.error(list, "Masks") ==
      "a.json: [1]: the key \"saliencyMaps\" is missing");
}

TEST_CASE(
    "CVRL's tool has a picture for each annotator, in four forms",
    "[annotations]") {
  const Given given;
  // One stroke over two of four pixels; the canvas has the picture's size.
  const auto url = pictures::data_url(pictures::png(
      2, 2, 8, 6, {0, 255, 0, 85, 0, 0, 0, 0, 0, 255, 0, 170, 0, 0, 0, 0}));
  const json list = {
      {{"pk", 1}, {"annotator", 2}, {"image", "cat"}, {"annotation", url}},
      {{"pk", 2}, {"annotator", 3}, {"image", "cat"}, {"annotation", url}},
      {{"pk", 3}, {"annotator", 3}, {"image", "dog"}, {"annotation", ""}}};
  const auto check = [&](const data::AnnotationFile& file) {
    REQUIRE(file.items.size() == 2);
    CHECK(file.items[0].picture == "cat");
    CHECK(file.items[1].annotation->annotator == "3");
    CHECK(close(
        data::draw_annotation(*file.items[0].annotation, {2, 2}, {2, 2}),
        t({1, 0, 1, 0}, {2, 2})));
    REQUIRE(file.warnings.size() == 1);
    CHECK(contains(
        file.warnings[0], "1 annotations are empty and count as not made"));
  };
  check(given.read(list));
  check(given.read(json{{"count", 3}, {"next", nullptr}, {"results", list}}));
  json dump = {
      {{"model", "auth.user"}, {"pk", 2}, {"fields", {{"username", "x"}}}}};
  std::string csv = "id,annotation,text,annotator_id,image_id\n";
  json sent = json::array();
  for (const auto& one : list) {
    dump.push_back(
        {{"model", "api.annotation"}, {"pk", one["pk"]}, {"fields", one}});
    csv += one["pk"].dump() + "," +
           (one["annotation"] == "" ? "" : "\"" + url + "\"") + ",testing," +
           one["annotator"].dump() + "," + one["image"].get<std::string>() +
           "\n";
  }
  check(given.read(dump));
  check(given.read(csv, "", "a.csv"));
  // What a browser sends has one annotator, whose name it lacks.
  for (const auto* image : {"cat", "dog"}) {
    sent.push_back(
        {{"img_id", image}, {"annotation", url}, {"textbox", "testing"}});
  }
  CHECK(given.read(sent).items.at(1).picture == "dog");
}

TEST_CASE("Errors of CVRL's tool name the place", "[annotations]") {
  const Given given;
  const auto url = pictures::data_url(
      pictures::png(1, 1, 8, 6, std::vector<uint32_t>(4, 255)));
  json list = {
      {{"annotator", 2}, {"image", "cat"}, {"annotation", url}},
      {{"annotator", 2}, {"image", "cat"}, {"annotation", url}}};
  CHECK(
      given.error(list) ==
      "a.json: [1]: annotator 2 has annotated \"cat\" at [0] already");
  list[1]["image"] = "dog";
  const auto with = [&](const json& annotation) {
    list[1]["annotation"] = annotation;
    return given.error(list);
  };
  CHECK(with(url).empty());
  CHECK(contains(
      with("data:image/jpeg;base64,AAAA"),
      "a.json: [1]: expected an annotation that begins with "
      "data:image/png;base64,, got \"data:image/jpeg;base64,AAAA\""));
  CHECK(contains(
      with("data:image/png;base64,AAA"), "[1]: the base64 text is cut off"));
  CHECK(contains(
      with("data:image/png;base64,A*AA"), "[1]: the text is not base64"));
  CHECK(contains(
      with("data:image/png;base64,AAAA"),
      "[1]: the content of the annotation "
      "is not a PNG"));
  CHECK(contains(with(5), "[1].annotation: expected a text, got number"));
  list[1].erase("image");
  CHECK(contains(with(url), "[1]: the key \"image\" is missing"));
  CHECK(contains(
      given.error(json{{"results", json::array({list[0]})}, {"next", "x"}}),
      "next: this is one page of several"));
  CHECK(
      given.error("image_id,annotation\ncat," + url + "\n", "", "a.csv") ==
      "a.csv:1: the column \"annotator_id\" is missing");
  CHECK(contains(
      given.error(
          "image_id,annotator_id,annotation\ncat,1,\"" + url + "\"\ncat,1,\"" +
              url + "\"\n",
          "", "a.csv"),
      "a.csv:3: annotator 1 has annotated \"cat\" at line 2 already"));
}

TEST_CASE(
    "Files that are no annotations say what was expected", "[annotations]") {
  const Given given;
  CHECK(contains(
      given.error(std::string("{\"images\": [}")),
      "a.json: is not JSON: parse error at line 1, column 13"));
  CHECK(
      given.error(std::string("{\"images\": [], \"images\": []}")) ==
      "a.json: an object has the key \"images\" twice");
  CHECK(contains(
      given.error(std::string("{}")), "a.json: is JSON of an unknown kind"));
  CHECK(contains(
      given.error(std::string("[]")), "a.json: is JSON of an unknown kind"));
  CHECK(contains(
      given.error(std::string("hello"), "", "a.txt"),
      "a.txt:1: expected the columns image,x,y"));
  CHECK(contains(given.error(std::string("\"hello"), "", "a.txt"), "a.txt"));
  CHECK(contains(
      given.error(std::string(""), "", "a.txt"), "a.txt: is empty (0 bytes)"));
  CHECK(contains(
      given.error(std::string("image,x,y\n1.png,1,1\n"), "eye", "a.csv"),
      "a.csv: is no JSON, so it has no categories"));
  CHECK(contains(
      error_of([&] { programs::read_annotations(given / "absent", ""); }),
      "absent: no such file"));
}

TEST_CASE(
    "Coordinates that are shares of the picture are refused", "[annotations]") {
  data::Table table;
  table.rows.resize(1);
  auto marks = std::make_shared<data::Annotation>();
  marks->source = "t.csv:2";
  marks->points = t({.25, .5, 300}, {1, 3});
  table.rows[0].annotations = {marks};
  // A single mark may lie in the first pixel.
  programs::attach_annotations(table, {});
  REQUIRE(table.warnings.size() == 1);
  CHECK(
      table.warnings[0] ==
      "t.csv:2: 2 of 2 coordinates are in [0, 1]: pixels are expected, not "
      "shares of the picture; multiply x by its width and y by its height");
  auto pixels = std::make_shared<data::Annotation>(*marks);
  pixels->boxes = t({0, 0, 1, 2}, {1, 4});
  table.rows[0].annotations = {marks, pixels};
  table.warnings.clear();
  programs::attach_annotations(table, {});
  CHECK(table.warnings.empty());
  // Many are shares, also where one of them leaves the picture a little.
  auto many = std::make_shared<data::Annotation>(*marks);
  many->points = torch::rand({12, 3}, torch::kDouble);
  many->points[3][0] = 1.02;
  table.rows[0].annotations = {many};
  CHECK(contains(
      error_of([&] { programs::attach_annotations(table, {}); }),
      "t.csv:2: 23 of 24 coordinates are in [0, 1]: pixels are expected"));
}

TEST_CASE("A folder of annotators has no categories", "[annotations]") {
  const pictures::Folder folder;
  std::filesystem::create_directories(folder / "maps/anna");
  data::Table table;
  programs::AnnotationSettings settings;
  settings.file = folder / "maps";
  settings.name = "anna";
  CHECK(contains(
      error_of([&] { programs::attach_annotations(table, settings); }),
      "maps: is a folder of annotators, which has no categories or "
      "configurations: leave the option out"));
}

TEST_CASE("Settings of annotations must fit together", "[annotations]") {
  programs::AnnotationSettings settings;
  const auto error = [&] {
    return error_of([&] { programs::check_annotation_settings(settings); });
  };
  CHECK(error().empty());
  CHECK_FALSE(programs::point_width(settings).has_value());
  settings.width = 25;
  CHECK(std::abs(programs::point_width(settings)->sigma() - 10.6165) < 1e-4);
  settings.unit = programs::WidthUnit::kSigma;
  CHECK(programs::point_width(settings)->sigma() == 25);
  settings.unit = programs::WidthUnit::kDegrees;
  CHECK(contains(error(), "--annotation-unit degrees: expected --screen"));
  settings.screen = {57, 38};
  settings.width = 1;
  CHECK(error().empty());
  CHECK(std::abs(programs::point_width(settings)->sigma() - 37.8044) < 1e-3);
  settings.width = 200;
  CHECK(contains(error(), "--annotation-width: "));
  settings.unit = programs::WidthUnit::kFullWidth;
  CHECK(contains(error(), "--screen: expected --annotation-unit degrees"));
  settings.screen.clear();
  settings.name = "eye";
  CHECK(contains(error(), "--annotation-name: expected --annotations"));

  data::Row row;
  auto points = std::make_shared<data::Annotation>();
  points->source = "fix.csv:2";
  points->points = t({1, 2, 1}, {1, 3});
  row.annotations = {points};
  CHECK(
      error_of([&] { programs::check_point_width({row}, settings); }).empty());
  settings.width = 0;
  CHECK(contains(
      error_of([&] { programs::check_point_width({row}, settings); }),
      "--annotation-width: fix.csv:2 has points or fixations, and nobody said "
      "how wide the Gaussian of each is"));
}
