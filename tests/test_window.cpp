// SPDX-License-Identifier: BSD-3-Clause
// Windows: the stored values of pictures that become black and white.
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/header_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/picture_look.hpp>
#include <cyborg/report/contact_sheet.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace data = cyborg::data;
using data::ImageOptions;
using data::read_image;
using pictures::Folder;
using support::close;
using support::contains;
using support::error_of;
using support::t;

namespace {

ImageOptions in_window(double low, double high) {
  return ImageOptions().channels(0).window({low, high});
}

/// A grey 16-bit PNG of one row.
std::string deep_png(const std::vector<uint32_t>& values) {
  return pictures::png(static_cast<uint32_t>(values.size()), 1, 16, 0, values);
}

/// A grey 8-bit PNG of one row.
std::string flat_png(const std::vector<uint32_t>& values) {
  return pictures::png(static_cast<uint32_t>(values.size()), 1, 8, 0, values);
}

/// The EXIF orientation 6: a quarter clockwise.
std::string turned_png(std::string png) {
  return png.insert(
      33,
      pictures::png_chunk(
          "eXIf",
          std::string(
              "II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0", 26)));
}

data::Row row_of(const std::string& path) {
  data::Row row;
  row.split = "train";
  row.cls = "a";
  row.path = path;
  return row;
}

data::Table table_of(const std::vector<std::string>& paths) {
  data::Table table;
  table.classes = {"a", "b"};
  for (const auto& path : paths) {
    table.rows.push_back(row_of(path));
  }
  return table;
}

/// "row: text" of each note.
std::vector<std::string> lines(const std::vector<data::FileNote>& notes) {
  std::vector<std::string> list;
  for (const auto& note : notes) {
    list.push_back(std::to_string(note.row) + ": " + note.text);
  }
  return list;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE(
    "A window stretches its stored values over [0, 1], and cuts the others",
    "[data][window]") {
  const Folder folder;
  const auto deep =
      folder.write("d.png", deep_png({0, 999, 1000, 2000, 3000, 5000, 65535}));
  CHECK(close(
      read_image(deep, in_window(1000, 5000)),
      t({0, 0, 0, .25, .5, 1, 1}, {1, 1, 7}), 1e-7));
  CHECK(close(
      read_image(
          folder.write("e.png", deep_png({4095, 0})), in_window(0, 4095)),
      t({1, 0}, {1, 1, 2}), 0));

  SECTION("Pictures of 8 bits have values up to 255") {
    const auto flat =
        folder.write("f.png", flat_png({0, 50, 100, 150, 250, 255}));
    CHECK(close(
        read_image(flat, in_window(50, 250)),
        t({0, 0, .25, .5, 1, 1}, {1, 1, 6}), 1e-7));
    CHECK(read_image(flat, in_window(0, 255))
              .equal(read_image(flat, ImageOptions().channels(0))));
  }
  SECTION("Bounds need not be whole numbers") {
    CHECK(close(
        read_image(deep, in_window(999.5, 2000.5)),
        t({0, 0, .5 / 1001, 1000.5 / 1001, 1, 1, 1}, {1, 1, 7}), 1e-6));
  }
}

TEST_CASE("A window is applied before a picture is resized", "[data][window]") {
  const Folder folder;
  // Cut first: the mean of 0 and 1. Resized first: 4095, which is 1.
  const auto deep = folder.write("d.png", deep_png({0, 8190}));
  CHECK(close(
      read_image(deep, in_window(0, 4095).size({1, 1})), t({.5}, {1, 1, 1}),
      1e-6));
  const auto flat = folder.write("f.png", flat_png({0, 200}));
  CHECK(close(
      read_image(flat, in_window(0, 100).size({1, 1})), t({.5}, {1, 1, 1}),
      1e-6));
  // In 8 bits the mean of 0 and 1 / 3 would be rounded to 42 or 43 of 255.
  const auto fine = folder.write("g.png", flat_png({0, 1}));
  CHECK(close(
      read_image(fine, in_window(0, 3).size({1, 1})), t({1 / 6.}, {1, 1, 1}),
      1e-6));
}

TEST_CASE(
    "A window is applied to each colour, before colour becomes grey",
    "[data][window]") {
  const Folder folder;
  const auto rgb =
      folder.write("c.png", pictures::png(1, 1, 16, 2, {0, 3000, 9000}));
  const auto window = in_window(1000, 5000);
  CHECK(close(read_image(rgb, window), t({0, .5, 1}, {3, 1, 1}), 1e-7));
  // Grey first: .587 3000 + .114 9000 = 2787, which is .44675.
  CHECK(close(
      read_image(rgb, ImageOptions(window).channels(1)),
      t({.587 / 2 + .114}, {1, 1, 1}), 1e-6));
  const auto grey = folder.write("g.png", deep_png({3000}));
  CHECK(close(
      read_image(grey, ImageOptions(window).channels(3)),
      t({.5, .5, .5}, {3, 1, 1}), 1e-7));
}

TEST_CASE("Alpha is dropped before a window", "[data][window]") {
  const Folder folder;
  const auto rgba =
      folder.write("a.png", pictures::png(1, 1, 16, 6, {1000, 3000, 5000, 7}));
  CHECK(close(
      read_image(rgba, in_window(1000, 5000)), t({0, .5, 1}, {3, 1, 1}), 1e-7));
  const auto grey = folder.write("b.png", pictures::png(1, 1, 8, 4, {51, 200}));
  CHECK(close(read_image(grey, in_window(50, 54)), t({.25}, {1, 1, 1}), 1e-7));
}

TEST_CASE("A picture is turned and windowed", "[data][window]") {
  const Folder folder;
  const auto file = folder.write("t.png", turned_png(deep_png({0, 100, 400})));
  CHECK(close(
      read_image(file, in_window(0, 200).apply_orientation(true)),
      t({0, .5, 1}, {1, 3, 1}), 1e-7));
}

TEST_CASE("An invalid window is an error", "[data][window][error]") {
  const Folder folder;
  const auto file = folder.write("d.png", deep_png({0, 8190}));
  const auto expected = [](const std::string& function,
                           const std::string& window) {
    return function +
           ": expected a window {low, high} of stored values, with 0 <= low < "
           "high <= 65535 and a whole number from low to high, got " +
           window;
  };
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  const auto infinity = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<std::vector<double>, std::string>> invalid{
      {{4095, 0}, "[4095, 0]"},       {{100, 100}, "[100, 100]"},
      {{nan, 4095}, "[nan, 4095]"},   {{0, nan}, "[0, nan]"},
      {{0, infinity}, "[0, inf]"},    {{-infinity, 4095}, "[-inf, 4095]"},
      {{-1000, 400}, "[-1000, 400]"}, {{0, 65536}, "[0, 65536]"},
      {{.25, .75}, "[0.25, 0.75]"},   {{4095}, "[4095]"},
      {{0, 1, 2}, "[0, 1, 2]"}};
  for (const auto& [window, text] : invalid) {
    CHECK(error_of([&, &window = window] {
            read_image(file, ImageOptions().window(window));
          }) == expected("cyborg::data::read_image", text));
    const auto options = data::PictureDatasetOptions().window(window);
    CHECK(error_of([&] {
            data::PictureDataset({row_of(file)}, options);
          }) == expected("cyborg::data::PictureDataset", text));
    CHECK(error_of([&] {
            data::check_pictures(table_of({file}), options);
          }) == expected("cyborg::data::check_pictures", text));
    CHECK(error_of([&, &window = window] {
            data::check_bits(table_of({file}), window);
          }) == expected("cyborg::data::check_bits", text));
  }
  for (const auto& window : std::vector<std::vector<double>>{
           {}, {0, 1}, {.5, 1.5}, {0, 65535}, {65534, 65535}}) {
    CHECK(error_of([&] {
            read_image(file, ImageOptions().window(window));
          }) == "");
  }
}

TEST_CASE(
    "A picture of 8 bits is rejected where a window reaches above them",
    "[data][window][error]") {
  const Folder folder;
  const auto flat = folder.write("f.png", flat_png({0, 200}));
  CHECK(
      error_of([&] { read_image(flat, in_window(0, 4095)); }) ==
      "cyborg::data::read_image: " + flat +
          ": has 8 bits, so no value above 255, and the window is 0 to 4095 "
          "(window; --window in the programs): the picture would be too dark. "
          "Save it with 16 bits and values like those of the others, or leave "
          "the window out if all pictures have 8 bits");
  CHECK(contains(
      error_of([&] { read_image(flat, in_window(0, 255.5)); }),
      "the window is 0 to 255.5"));
  const auto jpeg = folder.write("j.jpg", pictures::jpeg_grey());
  CHECK(contains(
      error_of([&] { read_image(jpeg, in_window(0, 4095)); }), "has 8 bits"));
  CHECK(read_image(jpeg, in_window(0, 240)).max().item<float>() == .5F);
}

TEST_CASE("Maps, masks and marks have no window", "[data][window]") {
  const Folder folder;
  const auto same = deep_png({0, 4095, 65535});
  auto row = row_of(folder.write("p.png", same));
  row.saliency = {folder.write("m.png", same)};
  row.wrong = folder.write("w.png", same);
  const auto options =
      data::PictureDatasetOptions().channels(1).window({0, 4095});
  const auto sample = data::PictureDataset({row}, options).get(0);
  CHECK(close(sample.data, t({0, 1, 1}, {1, 1, 3}), 1e-7));
  const auto stored = t({0, 4095 / 65535., 1}, {1, 3});
  CHECK(close(sample.saliency, stored, 1e-7));
  CHECK(close(sample.wrong, stored, 1e-7));

  SECTION("A mask of what a person marked may have 8 bits") {
    auto marked = row_of(row.path);
    data::Annotation mask;
    mask.mask = folder.write("mask.png", flat_png({0, 255, 0}));
    marked.annotations = {std::make_shared<const data::Annotation>(mask)};
    CHECK(close(
        data::PictureDataset({marked}, options).get(0).saliency,
        t({0, 1, 0}, {1, 3}), 1e-7));
  }
  SECTION("The sheet of maps shows the picture in its window") {
    auto table = table_of({row.path});
    const auto sheet = cyborg::report::contact_sheet(
        table, 1, 1, 3, data::PictureDatasetOptions().window({0, 4095}));
    // Three columns 0, 1, 1, of which none was resized.
    CHECK(close(sheet[0][1], t({0, 1, 1}, {3}), 1e-6));
  }
}

TEST_CASE(
    "Pictures whose bits do not fit a window are found by their headers",
    "[data][window][check]") {
  const Folder folder;
  const auto deep = folder.write("d.png", deep_png({0, 8190}));
  const auto flat = folder.write("f.png", flat_png({0, 200}));
  const auto jpeg = folder.write("j.jpg", pictures::jpeg_grey());
  const auto none = folder / "none.png";
  const auto table = table_of({deep, flat, none, jpeg});
  const auto eight = [](const std::string& row) {
    return row +
           ": has 8 bits, so no value above 255, and the window is 0 to 4095 "
           "(window; --window in the programs): the picture would be too dark. "
           "Save it with 16 bits and values like those of the others";
  };
  CHECK(
      lines(data::check_bits(table, {0, 4095})) ==
      Lines{eight("1"), eight("3")});
  CHECK(
      lines(data::check_bits(table, {0, 200})) ==
      Lines{"0: has 16 bits, and other pictures have 8: a window is for "
            "pictures of one kind"});
  CHECK(data::check_bits(table, {}).empty());
  CHECK(data::check_bits(table_of({deep, none}), {0, 200}).empty());
  CHECK(data::check_bits(table_of({flat, jpeg}), {0, 200}).empty());

  SECTION("A window above 255 is left out where all pictures have 8 bits") {
    const auto all = [](const std::string& row) {
      return row +
             ": has 8 bits, so no value above 255, and the window is 0 to 4095 "
             "(window; --window in the programs): the picture would be too "
             "dark. All pictures have 8 bits, so leave the window out";
    };
    CHECK(
        lines(data::check_bits(table_of({flat, none, jpeg}), {0, 4095})) ==
        Lines{all("0"), all("2")});
  }
  SECTION("Headers that were read before are not read again") {
    const data::TableHeaders headers(table);
    for (const auto& file : {deep, flat, jpeg}) {
      std::filesystem::remove(file);
    }
    CHECK(
        lines(data::check_bits(table, {0, 4095}, headers)) ==
        Lines{eight("1"), eight("3")});
    CHECK(data::check_bits(table, {0, 4095}).empty());
    CHECK(
        lines(data::check_several_bits(table, headers)) ==
        Lines{"0: has 16 bits, and 2 others have 8"});
  }
}

TEST_CASE(
    "A look says what a window leaves of the stored values",
    "[data][window][check]") {
  const Folder folder;
  const auto look = [&](const std::string& png,
                        const std::vector<double>& window) {
    return data::look_at_picture(
        folder.write("p.png", png), ImageOptions().window(window));
  };
  const auto deep = deep_png({0, 999, 1000, 2000, 3000, 5000, 5001, 65535});
  auto seen = look(deep, {1000, 5000});
  CHECK(seen.bits == 16);
  CHECK(seen.least == 0);
  CHECK(seen.largest == 65535);
  CHECK(seen.below == .25);  // 1000 and 5000 are not cut
  CHECK(seen.above == .25);
  CHECK(seen.mean == Approx((.25 + .5 + 1 + 1 + 1) / 8).epsilon(1e-6));
  CHECK_FALSE(seen.blank);
  seen = look(deep, {});
  CHECK(seen.below == 0);
  CHECK(seen.above == 0);
  CHECK(seen.mean == Approx(82535 / 8. / 65535).epsilon(1e-6));
  seen = look(flat_png({0, 51, 102}), {});
  CHECK(seen.bits == 8);
  CHECK(seen.largest == 102);
  CHECK(seen.mean == Approx(.2).epsilon(1e-6));
  CHECK(look(deep_png({1, 2, 3}), {1000, 5000}).blank);
  CHECK(look(deep_png({6000, 7000}), {1000, 5000}).mean == 1);
  // Each colour is the same everywhere, but the colours differ.
  CHECK(look(pictures::png(1, 2, 8, 2, {1, 2, 3, 1, 2, 3}), {}).blank);
  // Alpha does not count.
  seen = look(pictures::png(2, 1, 8, 4, {51, 0, 51, 255}), {100, 200});
  CHECK(seen.blank);
  CHECK(seen.below == 1);
  CHECK(seen.largest == 51);
  CHECK(contains(
      error_of([&] { look(flat_png({1, 2}), {0, 4095}); }),
      "cyborg::data::look_at_picture: "));
  CHECK(contains(
      error_of([&] { look(flat_png({1, 2}), {0, 4095}); }),
      "has 8 bits, so no value above 255"));
  CHECK(contains(
      error_of([&] { look(deep, {9, 3}); }),
      "cyborg::data::look_at_picture: expected a window"));
}

TEST_CASE("Pictures are checked in their window", "[data][window][check]") {
  const Folder folder;
  const auto table = table_of(
      {folder.write("0.png", deep_png({0, 4000})),
       folder.write("1.png", deep_png({0, 100})),
       folder.write("2.png", deep_png({3000, 3001})),
       folder.write("3.png", deep_png({70, 70})),
       folder.write("4.png", flat_png({0, 200})),
       folder.write(
           "5.png", pictures::png(
                        1, 2, 16, 2,
                        {9, 3000, 3000,  //
                         8, 3000, 3000})),
       folder.write("6.png", deep_png({0, 0}))});
  const auto found = data::check_pictures(
      table, data::PictureDatasetOptions().window({1000, 3000}));
  CHECK(
      lines(found.blank) ==
      Lines{
          "1: is black everywhere in the window 1000 to 3000",
          "2: is white everywhere in the window 1000 to 3000",
          "3: is black everywhere",
          "5: is the same everywhere in the window 1000 to 3000",
          "6: is black everywhere"});
  CHECK(found.unreadable.empty());
  REQUIRE(found.misfits.size() == 1);
  CHECK(found.misfits[0].path == table.rows[4].path);
  CHECK(contains(
      found.misfits[0].text,
      "has 8 bits, so no value above 255, and the "
      "window is 1000 to 3000"));
  CHECK_FALSE(found.ok());
  CHECK(found.dark.empty());
}

TEST_CASE(
    "A check counts for each class what a window cuts",
    "[data][window][check]") {
  const Folder folder;
  auto table = table_of(
      {folder.write("0.png", deep_png({0, 10, 2000, 9000})),
       folder.write("1.png", deep_png({0, 0, 0, 0})),
       folder.write("2.png", deep_png({9000, 9000, 2000, 2100})),
       folder.write("3.png", "not a picture")});
  table.rows[2].cls = "b";
  const auto found = data::check_pictures(
      table, data::PictureDatasetOptions().window({1000, 3000}));
  REQUIRE(found.counts.size() == 2);
  CHECK(found.counts[0].pictures == 3);
  CHECK(found.counts[0].below == .75);  // (.5 + 1) / 2, of two that are read
  CHECK(found.counts[0].above == .125);
  CHECK(found.counts[0].blank == 1);
  CHECK(found.counts[1].below == 0);
  CHECK(found.counts[1].above == .5);
  CHECK(found.counts[1].blank == 0);
  // Picture 2 is cut in half, and not more.
  CHECK(
      lines(found.cut) ==
      Lines{"0: 50 % of its values are below the window 1000 to 3000, and 25 % "
            "above it"});
}

TEST_CASE(
    "A burnt-in letter does not hide that a picture is dark",
    "[data][window][check]") {
  const Folder folder;
  const auto file = [&](uint32_t bright, size_t size) {
    std::vector<uint32_t> values(size, 300);
    values[0] = 0;
    std::fill_n(values.begin() + 1, bright, 65535);
    return deep_png(values);
  };
  const auto dark = [&](const std::string& png) {
    return lines(
        data::check_pictures(table_of({folder.write("p.png", png)})).dark);
  };
  const std::string but =
      "0: has 16 bits, and no value above 300 of 65535, but for 0.1 % of the "
      "values";
  CHECK(dark(file(2, 2000)) == Lines{but});
  CHECK(dark(file(3, 2000)).empty());
  CHECK(
      dark(file(0, 2000)) == Lines{"0: has 16 bits, and no value above 300 "
                                   "of 65535"});
  CHECK(dark(file(1, 999)).empty());  // a thousandth of it is not a value
  std::vector<uint32_t> black(1000, 0);
  CHECK(dark(deep_png(black)).empty());  // that is blank
  black[7] = 60000;
  CHECK(
      dark(deep_png(black)) ==
      Lines{"0: has 16 bits, and no value above 0 of 65535, but for 0.1 % of "
            "the values"});
  // A map that is bright in few places is not dark.
  auto table = table_of({folder.write("p.png", deep_png({0, 65535}))});
  table.rows[0].saliency = {folder.write("m.png", file(1, 2000))};
  CHECK(data::check_pictures(table).dark.empty());
}

TEST_CASE(
    "A window that makes 12 bits brighter ends the warning of them",
    "[data][window][check]") {
  const Folder folder;
  auto table = table_of({folder.write("p.png", deep_png({0, 2000}))});
  table.rows[0].saliency = {folder.write("m.png", deep_png({0, 900}))};
  const auto dark = [&](const std::vector<double>& window) {
    return lines(data::check_pictures(
                     table, data::PictureDatasetOptions().window(window))
                     .dark);
  };
  const std::string picture =
      "0: has 16 bits, and no value above 2000 of 65535";
  CHECK(dark({}) == Lines{picture});
  CHECK(dark({0, 65535}) == Lines{picture});
  CHECK(dark({0, 32000}) == Lines{picture});  // a sixteenth, still dark
  CHECK(dark({0, 31999}).empty());
  CHECK(dark({0, 4095}).empty());  // maps are not dark pictures: dark_maps
}
