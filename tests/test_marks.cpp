// SPDX-License-Identifier: BSD-3-Clause
// What people marked: in columns of a table, in tables of fixations, and drawn
// when a picture is read.
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/fixations.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/report/contact_sheet.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace data = cyborg::data;
namespace human = cyborg::human;
using support::close;
using support::contains;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

const auto kWide = human::GaussianWidth::full_width_at_half_maximum(4);

/// A folder of pictures of 8 x 6 pixels: 1.png, 2.png, sub/1.png.
struct MarkedPictures : pictures::Folder {
  MarkedPictures() {
    for (const auto* name : {"1.png", "2.png", "sub/1.png"}) {
      write(name, pictures::png(8, 6, 8, 0, std::vector<uint32_t>(48, 100)));
    }
  }
  data::Table table(const std::string& csv) const {
    return data::read_table(
        write("table.csv", csv),
        data::TableOptions().classes({"live", "spoof"}));
  }
  data::AnnotationFile fixations(const std::string& csv) const {
    return data::read_fixations(write("fix.csv", csv));
  }
  std::string table_error(const std::string& csv) const {
    const auto error = error_of([&] { table(csv); });
    const auto at = error.find("table.csv");
    return at == std::string::npos ? error : error.substr(at);
  }
};

data::PictureDatasetOptions drawing() {
  return data::PictureDatasetOptions().channels(1).point_width(kWide);
}

}  // namespace

TEST_CASE("Marks are columns of a table", "[data][marks]") {
  const MarkedPictures folder;
  const auto table = folder.table(
      "split,class,path,boxes,points,fixations_anna,Fixations_Ben,mask2\n"
      "train,live,1.png,1 1 3 4; 5 0 8 2,,,,\n"
      "train,spoof,2.png,,2.5 3.5,1 1 200; 2 2 50.5,4 4,\n"
      "test,spoof,sub/1.png,,,,,m.png\n");
  CHECK(table.warnings.size() == 1);  // no validation rows
  const auto& boxes = table.rows[0].annotations;
  REQUIRE(boxes.size() == 1);
  CHECK(boxes[0]->annotator.empty());
  CHECK(close(boxes[0]->boxes, t({1, 1, 3, 4, 5, 0, 8, 2}, {2, 4})));
  CHECK(boxes[0]->source == folder / "table.csv:2");
  const auto& three = table.rows[1].annotations;
  REQUIRE(three.size() == 3);
  CHECK(close(three[0]->points, t({2.5, 3.5, 1}, {1, 3})));
  CHECK(three[1]->annotator == "anna");
  CHECK(close(three[1]->points, t({1, 1, 200, 2, 2, 50.5}, {2, 3})));
  CHECK(three[2]->annotator == "ben");
  CHECK(close(three[2]->points, t({4, 4, 1}, {1, 3})));
  REQUIRE(table.rows[2].annotations.size() == 1);
  CHECK(table.rows[2].annotations[0]->mask == folder / "m.png");
  CHECK(table.rows[2].annotations[0]->annotator == "2");
}

TEST_CASE("Names that only begin alike are no marks", "[data][marks]") {
  const MarkedPictures folder;
  const auto table = folder.table(
      "split,class,path,pointsize,masked\ntrain,live,1.png,3,no\n");
  CHECK(table.rows[0].annotations.empty());
  CHECK(contains(table.warnings_text(), "column \"pointsize\" is not used"));
  CHECK(contains(table.warnings_text(), "column \"masked\" is not used"));
}

TEST_CASE("Marks that make no sense name line and column", "[data][marks]") {
  const MarkedPictures folder;
  const auto error = [&](const std::string& column, const std::string& cell) {
    return folder.table_error(
        "split,class,path," + column + "\ntrain,live,1.png,\"" + cell + "\"\n");
  };
  CHECK(
      error("boxes", "1 2 3") ==
      "table.csv:2: column \"boxes\": expected x0 y0 x1 y1 with semicolons "
      "between them, got \"1 2 3\"");
  CHECK(
      error("boxes", "1 2 3 nan") ==
      "table.csv:2: column \"boxes\": expected numbers of at most 1e9 (x0 y0 "
      "x1 y1), got \"nan\"");
  CHECK(contains(error("boxes", "1 2 3 1e300"), "got \"1e300\""));
  CHECK(contains(error("boxes", "1 2 3 1e999"), "got \"1e999\""));
  CHECK(contains(error("boxes", "1 2 3 inf"), "got \"inf\""));
  CHECK(contains(error("boxes", "1,5 2 3 4"), "got \"1,5\""));
  CHECK(contains(error("boxes", "5 5 2 9"), "with x0 <= x1 and y0 <= y1"));
  CHECK(contains(error("boxes", ";"), "expected x0 y0 x1 y1"));
  CHECK(contains(error("points", "1 2 3"), "expected x y with semicolons"));
  CHECK(contains(error("fixations", "1 2 3; 4 5"), "got \" 4 5\""));
  CHECK(contains(error("fixations", "1 2 -3"), "expected durations >= 0"));
  CHECK(error("points", "1 2; 3 4;").empty());  // a semicolon at the end
  CHECK(
      folder.table_error(
          "split,class,path,points,fixations\ntrain,live,1.png,1 2,1 2\n") ==
      "table.csv:2: column \"fixations\": one annotator has points and "
      "fixations: keep one of them");
  CHECK(
      folder.table_error("split,class,path,boxes,saliency\ntrain,live,1.png,1 "
                         "1 2 2,a.png\n") ==
      "table.csv:2: the picture has a human map and marks (boxes, points, "
      "fixations or mask): keep one of them");
  CHECK(contains(
      folder.table_error(
          "split,class,path,boxes,Boxes\ntrain,live,1.png,1 1 2 2,\n"),
      "two columns are named \"boxes\""));
}

TEST_CASE("Marks are drawn when a picture is read", "[data][marks]") {
  const MarkedPictures folder;
  folder.write(
      "m.png",
      pictures::png(4, 3, 8, 0, {0, 1, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0}));
  const auto table = folder.table(
      "split,class,path,boxes,fixations_a,fixations_b,mask\n"
      "train,live,1.png,1 1 3 4; 2 0 8 2,,,\n"
      "train,spoof,2.png,,0.5 0.5 7; 4.5 3.5 7,4.5 3.5,\n"
      "test,spoof,sub/1.png,,,,m.png\n");
  data::PictureDataset set(table.rows, drawing());
  const auto boxes = set.get(0).saliency;
  CHECK(boxes.sizes() == at::IntArrayRef({6, 8}));
  CHECK(close(boxes[1], t({0, 1, 1, 1, 1, 1, 1, 1})));
  CHECK(close(boxes[3], t({0, 1, 1, 0, 0, 0, 0, 0})));
  // The mean of two observers, each with the maximum 1.
  const auto gazes = set.get(1).saliency;
  const double far = std::exp(
      -(16 + 9) / (2 * kWide.sigma() * kWide.sigma()));  // between both places
  CHECK(std::abs(gazes[0][0].item<double>() - (1 + far) / 2) < 1e-6);
  CHECK(std::abs(gazes[3][4].item<double>() - 1) < 1e-6);
  // A mask of half the size shows the same part.
  const auto mask = set.get(2).saliency;
  CHECK(mask.sum().item<double>() == 8);
  CHECK(mask[1][3].item<double>() == 1);
  CHECK(mask[5][1].item<double>() == 1);

  SECTION("at any size of pictures and maps") {
    data::PictureDataset small(
        table.rows, drawing().size({3, 4}).map_size({2, 2}));
    // The box 1 1 3 4 alone covers the lower left: 1 row of 3, 2 columns of 4.
    CHECK(close(small.get(0).saliency[1], t({2.0 / 12, 0}), 1e-6));
  }
  SECTION("an annotator's area, or the box around it") {
    auto options = drawing().combine(data::Combine::kUnion).threshold(.5);
    data::PictureDataset area(table.rows, options);
    CHECK(area.get(1).saliency[0][0].item<double>() == 1);
    CHECK(area.get(1).saliency[0][7].item<double>() == 0);
    data::PictureDataset box(table.rows, options.combine(data::Combine::kBox));
    CHECK(box.get(0).saliency[3][7].item<double>() == 1);
    CHECK(box.get(0).saliency[4][7].item<double>() == 0);
  }
}

TEST_CASE("What cannot be drawn is an error, or skipped", "[data][marks]") {
  const MarkedPictures folder;
  const auto table = folder.table(
      "split,class,path,points,mask\n"
      "train,live,1.png,1 1,\n"
      "train,spoof,2.png,,absent.png\n");
  data::PictureDataset set(table.rows, data::PictureDatasetOptions());
  CHECK(contains(
      error_of([&] { set.get(0); }),
      "table.csv:2: has points, whose width nobody said (point_width; "
      "--annotation-width in the programs)"));
  CHECK(contains(error_of([&] { set.get(1); }), "absent.png: no such file"));
  data::PictureDataset skipping(
      table.rows, drawing().on_error(data::OnError::kSkip));
  CHECK(skipping.get_batch({0, 1}).size() == 1);
  CHECK(skipping.skipped().at(0).path == folder / "absent.png");
  CHECK(data::check_files(table).at(0).path == folder / "absent.png");

  auto both = table.rows;
  both[0].saliency = {"map.png"};
  data::PictureDataset twice(both, drawing());
  CHECK(contains(
      error_of([&] { twice.get(0); }),
      "has human maps and annotations: keep one of them"));

  data::Annotation jpeg;
  jpeg.mask = folder.write("m.jpg", pictures::jpeg_grey());
  CHECK(contains(
      error_of([&] { data::draw_annotation(jpeg, {6, 8}, {6, 8}); }),
      "m.jpg: is a JPEG, whose pixels beside the mask are not quite black"));
  data::Annotation opaque;
  opaque.source = "tool.json: [3]";
  opaque.alpha_png = pictures::png(2, 2, 8, 0, std::vector<uint32_t>(4, 255));
  CHECK(
      error_of([&] { data::draw_annotation(opaque, {6, 8}, {6, 8}); }) ==
      "cyborg::data::draw_annotation: tool.json: [3]: has no alpha channel, in "
      "which the strokes are expected");
  data::Annotation wrong;
  wrong.source = "here";
  wrong.polygons = {t({0, 0, 1, 1}, {2, 2})};
  CHECK(contains(
      error_of([&] { data::draw_annotation(wrong, {6, 8}, {6, 8}); }),
      "here: cyborg::human::draw_polygons: expected a polygon of at least 3"));
}

TEST_CASE(
    "Strokes in an alpha channel are marked however faint they are",
    "[data][marks]") {
  data::Annotation strokes;
  // Green of alpha 85, as the tool draws; a transparent pixel may be white.
  strokes.alpha_png =
      pictures::png(2, 1, 8, 6, {0, 255, 0, 85, 255, 255, 255, 0});
  CHECK(
      close(data::draw_annotation(strokes, {1, 2}, {1, 2}), t({1, 0}, {1, 2})));
}

TEST_CASE(
    "Coordinates of another size of the picture are scaled", "[data][marks]") {
  data::Annotation half;
  half.size = {3, 4};
  half.boxes = t({1, 1, 2, 2}, {1, 4});
  const auto map = data::draw_annotation(half, {6, 8}, {6, 8});
  CHECK(map.sum().item<double>() == 4);
  CHECK(map[3][3].item<double>() == 1);
  CHECK(data::draw_annotation({}, {6, 8}, {2, 2}).sum().item<double>() == 0);
}

TEST_CASE(
    "A check finds marks outside, of nothing and of other proportions",
    "[data][marks]") {
  const MarkedPictures folder;
  folder.write(
      "m.png", pictures::png(2, 6, 8, 0, std::vector<uint32_t>(12, 255)));
  auto table = folder.table(
      "split,class,path,boxes,points,mask\n"
      "train,live,1.png,1 1 3 4; 9 0 12 2,,\n"
      "train,spoof,2.png,,20 20; 30 30,\n"
      "test,spoof,sub/1.png,,,m.png\n");
  const auto found = data::check_pictures(table, drawing());
  REQUIRE(found.outside.size() == 2);
  CHECK(
      found.outside[0].text ==
      "1 of 2 marks are outside of the picture, which is 8 x 6");
  CHECK(found.outside[0].path == folder / "table.csv:2");
  REQUIRE(found.constant.size() == 2);
  CHECK(found.constant[0].text == "marks nothing of the picture");
  CHECK(found.constant[1].text == "marks all of the picture");
  CHECK_FALSE(found.ok());
  CHECK(found.other_aspect.at(0).text == "is 2 x 6, the picture is 8 x 6");
  CHECK(data::check_proportions(table).at(0).row == 2);
  CHECK(data::check_outside(table).size() == 2);
  CHECK(found.counts.at(0).annotated == 1);
  CHECK(found.counts.at(0).without == 0);
  // The marks are seen on the sheet.
  const auto sheet = cyborg::report::contact_sheet(table, 1, 3, 16, drawing());
  CHECK(sheet.narrow(2, 0, 16).std(0).max().item<double>() > .1);
}

TEST_CASE("Fixations are read from a CSV", "[data][marks]") {
  const MarkedPictures folder;
  const auto read = [&](const std::string& csv) {
    return folder.fixations(csv);
  };
  const auto file = read(
      "Observer,image,x,y,duration,time,pupil\n"
      "anna,1.png,1,2,200,0,3.1\n"
      "ben,1.png,3,4,100,0,\n"
      "anna,1.png,5,6,300,0.25,3\n"
      "anna,2.png,1,2,10,0,3\n");
  REQUIRE(file.items.size() == 3);
  CHECK(file.items[0].picture == "1.png");
  CHECK(file.items[0].annotation->annotator == "anna");
  CHECK(file.items[0].annotation->source == folder / "fix.csv:2");
  CHECK(close(
      file.items[0].annotation->points, t({1, 2, 200, 5, 6, 300}, {2, 3})));
  CHECK(file.items[1].annotation->annotator == "ben");
  // Without names; without durations each counts 1.
  CHECK(close(
      read("1.png;1.5;2\n1.png;3;4\n").items.at(0).annotation->points,
      t({1.5, 2, 1, 3, 4, 1}, {2, 3})));
  // The separator is the one that splits the first line into image, x and y.
  for (const char* csv :
       {"\n\nimage,x,y\n1.png,1.5,2\n", "\"image\"\t\"x\"\ty\n1.png\t1.5\t2\n",
        "image;x;y;a, b\n1.png;1.5;2;c\n",
        "image\tx\ty\tp;q\n1.png\t1.5\t2\t0\n",
        "\xEF\xBB\xBFimage;x;y\r\n1.png;1.5;2\r\n",
        "  \nimage\tx\ty\n1.png\t1.5\t2\n",
        "image;x;y;\"pupil\nsize\"\n1.png;1.5;2;3\n"}) {
    INFO(csv);
    CHECK(close(
        read(csv).items.at(0).annotation->points, t({1.5, 2, 1}, {1, 3})));
  }

  const auto error = [&](const std::string& csv) {
    const auto text = error_of([&] { read(csv); });
    return text.substr(std::min(text.size(), text.find("fix.csv")));
  };
  CHECK(
      error("image,x\n1.png,3\n") ==
      "fix.csv:1: expected the columns image,x,y[,duration,observer,time], got "
      "no \"y\"");
  CHECK(
      error("image,x,y\n1.png,3,\n") ==
      "fix.csv:2: expected y to be a number of at most 1e9, got \"\"");
  CHECK(contains(error("image,x,y\n1.png,nan,3\n"), "fix.csv:2: expected x"));
  CHECK(contains(error("image,x,y\n1.png,1e300,3\n"), "got \"1e300\""));
  CHECK(
      error("image,x,y,duration\n1.png,3,3,-1\n") ==
      "fix.csv:2: expected a duration >= 0, got \"-1\"");
  CHECK(contains(error("image,x,y\n,3,3\n"), "fix.csv:2: the image is empty"));
  CHECK(
      error("image,x,y\n1.png,3,3\n1.png,3\n") ==
      "fix.csv:3: expected 3 fields, got 2");
  CHECK(
      error("image,x,y,time\n1.png,1,1,0\n1.png,2,2,0\n") ==
      "fix.csv:3: the same observer, image and time are in line 2 already: is "
      "the table in the file twice?");
  CHECK(contains(
      error("image,x,y,X\n1.png,3,3,4\n"), "two columns are named \"x\""));
  CHECK(error("image,x,y\n") == "fix.csv: holds no fixations");
  // The columns are named with the separator that the line has.
  CHECK(contains(error("image;x\n1.png;3\n"), "got no \"y\""));
  CHECK(contains(error("image\tx\ty_pos\n"), "got no \"y\""));
  CHECK(contains(error("image;x;y;x\n"), "two columns are named \"x\""));
  CHECK(contains(error("1.png;1;2;300\n"), "nobody knows what they are"));
}

TEST_CASE(
    "What a table of fixations does not say is not guessed in silence",
    "[data][marks]") {
  const MarkedPictures folder;
  const auto read = [&](const std::string& csv) {
    return folder.fixations(csv);
  };
  const auto file = read(
      "image,x,y,fixation_duration,observer\n"
      "1.png,1,1,100,anna\n1.png,2,2,200, anna \n1.png,3,3,100,Anna\n");
  const std::string name = folder / "fix.csv";
  REQUIRE(file.warnings.size() == 2);
  CHECK(
      file.warnings[0] ==
      name +
          ": the columns fixation_duration are not used; known are image, x, "
          "y, duration, observer and time");
  CHECK(
      file.warnings[1] ==
      name + ": the observers \"anna\" and \"Anna\" are taken for two people");
  REQUIRE(file.notes.size() == 1);
  CHECK(
      file.notes[0] ==
      name +
          ": 3 fixations of 2 observers: Anna, anna; all weigh the same (there "
          "is no column duration)");
  CHECK(file.items.size() == 2);
  CHECK(
      read("image,x,y,duration\n1.png,1,1,3\n").notes.at(0) ==
      name +
          ": 1 fixations, all of one observer (there is no column observer); "
          "their durations are their weights");
  // Without names, only the places may be there.
  CHECK(contains(
      error_of([&] { read("1.png,1,2,300,anna\n"); }),
      "fix.csv:1: expected a first line that names the columns"));
}

TEST_CASE("Boxes and polygons over the border are reported", "[data][marks]") {
  const MarkedPictures folder;
  const auto outside = [&](const std::string& boxes) {
    const auto found = data::check_outside(folder.table(
        "split,class,path,boxes\ntrain,live,1.png," + boxes +
        "\ntrain,spoof,2.png,0 0 2 2\n"));
    return found.empty() ? std::string() : found[0].text;
  };
  // The picture is 8 x 6. A pixel over the border is how tools round.
  CHECK(outside("1 1 9 7") == "");
  CHECK(outside("-1 -1 3 3") == "");
  CHECK(
      outside("1 1 3 3; 4 4 11 9.5") ==
      "1 of 2 marks reach over the border of the picture, which is 8 x 6, by "
      "up to 4 pixels (are corners and width and height confused? The column "
      "boxes wants x0 y0 x1 y1, COCO's bbox x y width height)");
  CHECK(contains(
      outside("20 20 22 22; -9 0 3 3"),
      "1 of 2 marks are outside of the picture, which is 8 x 6; 1 of 2 marks "
      "reach over the border of the picture, by up to 9 pixels"));
}

TEST_CASE("Maps of annotators without a picture are counted", "[data][marks]") {
  const MarkedPictures folder;
  const auto map = pictures::png(2, 6, 8, 0, std::vector<uint32_t>(12, 255));
  std::filesystem::create_directories(folder / "maps/anna");
  std::filesystem::create_directories(folder / "maps/ben");
  folder.write("maps/anna/1.png", map);
  folder.write("maps/anna/2_map.png", map);
  folder.write("maps/ben/reel.png", map);
  folder.write("maps/ben/2.png", map);
  auto table =
      folder.table("split,class,path\ntrain,live,1.png\ntrain,spoof,2.png\n");
  const auto before = table.warnings.size();
  data::find_maps_of_annotators(table, folder / "maps");
  REQUIRE(table.warnings.size() == before + 1);
  CHECK(
      table.warnings.back() == (folder / "maps/ben") +
                                   ": 1 maps have no picture in " + table.name +
                                   ", e.g. " + (folder / "maps/ben/reel.png"));
}

TEST_CASE("Annotations find their pictures by name", "[data][marks]") {
  const MarkedPictures folder;
  const std::string rows =
      "split,class,path\ntrain,live,1.png\ntrain,spoof,2.png\n"
      "test,spoof,sub/1.png\ntest,live,2.png\n";
  auto table = folder.table(rows);
  const auto attach = [&](const std::string& fixations) {
    const auto path = folder.write("fix.csv", fixations);
    return error_of(
        [&] { data::attach_annotations(table, data::read_fixations(path)); });
  };
  SECTION("a picture in two rows gets them in both") {
    REQUIRE(attach("2,3,3\nsub/1.png,4,4\nabsent.png,1,1\n").empty());
    CHECK(table.rows[0].annotations.empty());
    CHECK(table.rows[1].annotations.size() == 1);
    CHECK(table.rows[2].annotations.size() == 1);
    CHECK(table.rows[1].annotations == table.rows[3].annotations);
    CHECK(contains(
        table.warnings.back(), "fix.csv: 1 of 3 pictures are not in " +
                                   (folder / "table.csv") +
                                   ", e.g. \"absent.png\""));
  }
  SECTION("a name that fits two pictures is an error") {
    CHECK(contains(
        attach("1.png,3,3\n"), "\"1.png\" may be " + (folder / "1.png") +
                                   " or " + (folder / "sub/1.png") +
                                   ": name the folders of the pictures"));
  }
  SECTION("two names of one picture are an error") {
    CHECK(contains(
        attach("2.png,3,3\n2,4,4\n"),
        "\"2.png\" and \"2\" are both " + (folder / "2.png")));
  }
  SECTION("names of which none fits are an error") {
    CHECK(contains(
        attach("other/2.png,3,3\n"),
        "fix.csv: names no picture of " + (folder / "table.csv") +
            ": it has \"other/2.png\", and the table has \"" +
            (folder / "1.png") + "\""));
  }
  SECTION("a picture with a map keeps it alone") {
    table.rows[1].saliency = {"map.png"};
    CHECK(contains(
        attach("2.png,3,3\n"),
        "\"2.png\" is " + (folder / "2.png") +
            ", which has a human map or annotations in " +
            (folder / "table.csv") + ":3 already: keep one of them"));
  }
}

TEST_CASE("Each annotator has a folder of maps", "[data][marks]") {
  const MarkedPictures folder;
  const auto map = pictures::png(2, 1, 8, 0, {0, 255});
  folder.write("maps/anna/2.png", map);
  folder.write("maps/ben/2_map.png", map);
  folder.write("maps/ben/live/1.png", map);
  auto table =
      folder.table("split,class,path\ntrain,live,1.png\ntrain,spoof,2.png\n");
  data::find_maps_of_annotators(table, folder / "maps");
  CHECK(
      table.rows[0].saliency ==
      std::vector<std::string>{"", folder / "maps/ben/live/1.png"});
  CHECK(
      table.rows[1].saliency ==
      std::vector<std::string>{
          folder / "maps/anna/2.png", folder / "maps/ben/2_map.png"});
  auto again = folder.table("split,class,path\ntrain,live,1.png\n");
  CHECK(contains(
      error_of(
          [&] { data::find_maps_of_annotators(again, folder / "maps/anna"); }),
      "holds no folder for each annotator"));
  CHECK_FALSE(error_of([&] {
                data::find_maps_of_annotators(again, folder / "absent");
              }).empty());
}
