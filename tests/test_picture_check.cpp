// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"
#include "threads.hpp"

#include <cyborg/data/picture_check.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::check_pictures;
using data::PictureCheck;
using pictures::Folder;

namespace {

/// A grey picture of one row whose first value is `value` and others 0.
std::string grey_png(uint32_t width, uint32_t height, uint32_t value) {
  std::vector<uint32_t> samples(width * height, 0);
  samples[0] = value;
  return pictures::png(width, height, 8, 0, samples);
}

/// A table of the classes a and b whose pictures are files of a folder.
struct Set {
  Folder folder;
  data::Table table;

  Set() { table.classes = {"a", "b"}; }

  data::Row& add(
      const std::string& split, const std::string& cls,
      const std::string& picture) {
    data::Row row;
    row.split = split;
    row.cls = cls;
    row.label = cls == "a" ? 0 : 1;
    row.path =
        folder.write(std::to_string(table.rows.size()) + ".png", picture);
    table.rows.push_back(row);
    return table.rows.back();
  }

  std::string map(const std::string& bytes) {
    return folder.write("map" + std::to_string(maps++) + ".png", bytes);
  }

  int maps = 0;
};

/// "row: text" of each note.
std::vector<std::string> texts(const std::vector<PictureCheck::Note>& notes) {
  std::vector<std::string> list;
  for (const auto& note : notes) {
    list.push_back(std::to_string(note.row) + ": " + note.text);
  }
  return list;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("Pictures are counted by split and class", "[data][check]") {
  Set set;
  set.add("test", "b", grey_png(4, 4, 1)).saliency = {
      set.map(grey_png(4, 4, 9))};
  set.add("train", "b", grey_png(4, 4, 2)).saliency = {"", ""};
  set.add("train", "a", grey_png(4, 4, 3)).saliency = {
      "", set.map(grey_png(4, 4, 0)), set.map(grey_png(4, 4, 8))};
  set.add("train", "b", grey_png(4, 4, 4)).saliency = {
      set.map(grey_png(4, 4, 0))};
  set.add("train", "b", grey_png(4, 4, 5));
  const auto found = check_pictures(set.table);
  REQUIRE(found.counts.size() == 3);
  const auto is = [&](size_t i, const char* split, const char* cls,
                      std::vector<int64_t> numbers) {
    const auto& count = found.counts[i];
    CHECK(count.split == split);
    CHECK(count.cls == cls);
    CHECK(
        std::vector<int64_t>{count.pictures, count.annotated, count.without} ==
        numbers);
  };
  is(0, "train", "a", {1, 1, 0});
  is(1, "train", "b", {3, 0, 2});
  is(2, "test", "b", {1, 1, 0});
  CHECK(
      texts(found.constant) ==
      Texts{"2: is black everywhere", "3: is black everywhere"});
  CHECK(found.constant[0].path == set.table.rows[2].saliency[1]);
  CHECK_FALSE(found.ok());
}

TEST_CASE("Files that cannot be used are named", "[data][check]") {
  Set set;
  set.add("train", "a", "broken").saliency = {set.map(grey_png(4, 4, 1))};
  set.add("train", "a", grey_png(4, 4, 1)).saliency = {
      set.map(pictures::jpeg_grey()), set.folder / "none.png"};
  set.add("train", "b", grey_png(4, 4, 2).substr(0, 40));
  set.add("train", "b", grey_png(9, 9, 2));
  const auto found =
      check_pictures(set.table, data::PictureDatasetOptions().max_pixels(64));
  CHECK_FALSE(found.ok());
  CHECK(
      texts(found.unreadable) ==
      Texts{
          "0: is mislabelled: its content is text, not a PNG, JPEG or BMP "
          "picture",
          "1: is mislabelled: named as PNG but its content is JPEG; rename it, "
          "or allow this (check_extension; --any-extension in the programs)",
          "1: no such file",
          "2: is truncated: it ends before the PNG's last chunk",
          "3: is too large: 9 x 9 pixels, the limit is 64 "
          "(max_pixels; --max-pixels in the programs)"});
  CHECK(found.unreadable[0].path == set.table.rows[0].path);
  CHECK(found.unreadable[2].path == set.folder / "none.png");
  REQUIRE(found.counts.size() == 2);
  CHECK(found.counts[0].pictures == 2);
  CHECK(found.counts[0].annotated == 1);
  CHECK(found.counts[0].without == 0);
}

TEST_CASE("Maps of another size or shape are named", "[data][check]") {
  Set set;
  set.add("train", "a", grey_png(8, 6, 1)).saliency = {
      set.map(grey_png(8, 6, 1)),    // the same
      set.map(grey_png(4, 3, 1)),    // half as large
      set.map(grey_png(16, 12, 1)),  // twice as large
      set.map(grey_png(3, 2, 1)),    // 2.67 x 2: rounded
      set.map(grey_png(6, 8, 1)),    // upright
      set.map(grey_png(8, 8, 1))};
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.other_size) == Texts{
                                     "0: is 4 x 3, the picture is 8 x 6",
                                     "0: is 16 x 12, the picture is 8 x 6",
                                     "0: is 3 x 2, the picture is 8 x 6"});
  CHECK(
      texts(found.other_aspect) == Texts{
                                       "0: is 6 x 8, the picture is 8 x 6",
                                       "0: is 8 x 8, the picture is 8 x 6"});
  CHECK(found.ok());  // they are resized
}

TEST_CASE(
    "The same picture in two splits or classes is found", "[data][check]") {
  Set set;
  set.add("train", "a", grey_png(4, 4, 1));
  set.add("train", "a", grey_png(4, 4, 2));
  set.add("train", "b", grey_png(4, 4, 3));
  set.add("test", "a", grey_png(4, 4, 2));   // in another split
  set.add("train", "a", grey_png(4, 4, 3));  // of another class
  set.add(
      "train", "a", grey_png(4, 4, 1));  // the same split and class: allowed
  set.add("val", "a", grey_png(4, 4, 2));
  const auto found = check_pictures(set.table);
  CHECK(
      found.duplicates == std::vector<std::vector<size_t>>{{1, 3, 6}, {2, 4}});
  CHECK_FALSE(found.ok());
  // FNV-1a's published values.
  CHECK(cyborg::io::fnv1a("") == 0xCBF29CE484222325ULL);
  CHECK(cyborg::io::fnv1a("a") == 0xAF63DC4C8601EC8CULL);
  CHECK(cyborg::io::fnv1a("foobar") == 0x85944171F73967E8ULL);
}

TEST_CASE("A picture that is twice in one class is named", "[data][check]") {
  Set set;
  set.add("train", "a", grey_png(4, 4, 1)).line = 7;
  set.add("train", "a", grey_png(4, 4, 2));
  set.add("train", "a", grey_png(4, 4, 1));
  for (const auto* name : {"0.png", "1.png"}) {
    set.add("train", "a", grey_png(4, 4, 3)).path = set.folder / name;
  }
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.repeated) ==
      Texts{
          "2: is the same picture as " + set.table.rows[0].path,
          "3: is in line 7 already", "4: is in the table already"});
  CHECK(found.ok());
}

TEST_CASE(
    "A file is found under two classes by another path", "[data][check]") {
  Set set;
  const auto file = set.add("train", "a", grey_png(4, 4, 1)).path;
  const auto link = set.folder / "link.png";
  std::filesystem::create_symlink(file, link);
  set.add("train", "b", grey_png(4, 4, 2)).path = link;
  set.add("train", "b", grey_png(4, 4, 3));
  std::filesystem::create_directory(set.folder / "dir");
  set.add("test", "b", grey_png(4, 4, 4)).path = set.folder / "dir/../2.png";
  const auto found = check_pictures(set.table);
  CHECK(found.duplicates == std::vector<std::vector<size_t>>{{0, 1}, {2, 3}});
  CHECK_FALSE(found.ok());
}

TEST_CASE("Maps whose values are not clear are faults", "[data][check]") {
  Set set;
  const auto jet = set.map(pictures::png(2, 1, 8, 2, {0, 0, 128, 128, 0, 0}));
  const auto alpha = set.map(pictures::png(2, 1, 8, 4, {9, 0, 9, 255}));
  const auto both = set.map(pictures::png(2, 1, 8, 4, {0, 255, 99, 128}));
  set.add("train", "a", grey_png(2, 1, 1)).saliency = {jet, alpha, both};
  const auto found = check_pictures(set.table);
  REQUIRE(found.unclear.size() == 2);
  CHECK(found.unclear[0].path == jet);
  CHECK(support::contains(found.unclear[0].text, "is a map of colours"));
  CHECK(found.unclear[1].path == alpha);
  CHECK(support::contains(found.unclear[1].text, "a map in its alpha channel"));
  CHECK(
      texts(found.transparent) ==
      Texts{"0: has transparent parts, which are read as if they were opaque"});
  CHECK(found.counts[0].annotated == 1);
  CHECK_FALSE(found.ok());
  const auto as = [&](data::MapValues values) {
    return check_pictures(
        set.table, data::PictureDatasetOptions().map_values(values));
  };
  CHECK(as(data::MapValues::kLuminance).unclear.size() == 1);
  CHECK(
      texts(as(data::MapValues::kAlpha).unclear) ==
      Texts{"0: has no alpha channel, from which maps are to be read"});
  CHECK(as(data::MapValues::kAlpha).transparent.empty());
}

TEST_CASE("Pictures that show nothing are warned of", "[data][check]") {
  Set set;
  set.add("train", "a", grey_png(4, 4, 0));
  set.add("train", "a", pictures::png(2, 1, 8, 2, {5, 6, 7, 5, 6, 7}));
  set.add("train", "a", grey_png(1, 1, 9));
  set.add("train", "a", pictures::png(2, 1, 8, 2, {5, 6, 7, 5, 6, 8}));
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.blank) == Texts{
                                "0: is black everywhere",
                                "1: is the same everywhere",
                                "2: is 1 x 1 pixels"});
  CHECK(found.ok());
}

TEST_CASE("16-bit files of 12 bits are warned of", "[data][check]") {
  Set set;
  const auto deep = [](uint32_t value) {
    return pictures::png(2, 1, 16, 0, {0, value});
  };
  set.add("train", "a", deep(4095)).saliency = {set.map(deep(900))};
  set.add("train", "a", deep(4096));
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.dark) ==
      Texts{"0: has 16 bits, and no value above 4095 of 65535"});
  CHECK(texts(found.dark_maps) == Texts{"0: has no value above 900 of 65535"});
  CHECK(found.ok());
}

TEST_CASE(
    "An EXIF orientation that is not applied is warned of", "[data][check]") {
  Set set;
  auto turned = grey_png(4, 2, 1);
  turned.insert(
      33,
      pictures::png_chunk(
          "eXIf",
          std::string(
              "II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0", 26)));
  set.add("train", "a", turned).saliency = {set.map(grey_png(2, 4, 1))};
  const auto with = [&](data::Orientation orientation) {
    return check_pictures(
        set.table, data::PictureDatasetOptions().orientation(orientation));
  };
  const auto stored = with(data::Orientation::kIgnore);
  CHECK(
      texts(stored.turned) ==
      Texts{"0: has the EXIF orientation 6, which is ignored"});
  CHECK(stored.other_aspect.size() == 1);
  CHECK(with(data::Orientation::kPicture).turned.empty());
  CHECK(with(data::Orientation::kPicture).other_aspect.empty());
  set.table.rows[0].saliency = {set.map(turned)};
  CHECK(with(data::Orientation::kPicture).turned.size() == 1);
  CHECK(with(data::Orientation::kPicture).other_aspect.size() == 1);
  CHECK(with(data::Orientation::kBoth).turned.empty());
  CHECK(with(data::Orientation::kBoth).other_aspect.empty());
}

TEST_CASE("Maps with small values only are warned of", "[data][check]") {
  Set set;
  const auto map = [&](int depth, uint32_t value) {
    return set.map(pictures::png(2, 1, depth, 0, {0, value}));
  };
  auto& row = set.add("train", "a", grey_png(2, 1, 99));
  row.saliency = {
      map(8, 1),     map(8, 15),    map(8, 16),  // 15 * 16 < 255 < 16 * 16
      map(16, 4095), map(16, 4096), map(16, 1)};
  auto& masked = set.add("train", "a", grey_png(2, 1, 98));
  masked.wrong = map(8, 1);
  auto& clean = set.add("train", "a", grey_png(2, 1, 97));
  clean.wrong = map(8, 0);  // nothing is wrong
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.dark_maps) ==
      Texts{
          "0: has no value above 1 of 255: were values from 0 to 1 saved "
          "without being multiplied by 255?",
          "0: has no value above 15 of 255",
          "0: has no value above 4095 of 65535",
          "0: has no value above 1 of 65535: were values from 0 to 1 saved "
          "without being multiplied by 65535?"});
  CHECK(
      texts(found.dark_masks) ==
      Texts{"1: has no value above 1 of 255: were values from 0 to 1 saved "
            "without being multiplied by 255?"});
  CHECK(found.counts[0].annotated == 1);
  CHECK(found.dark.empty());
  CHECK_FALSE(found.ok());  // a dark mask does nearly nothing
  set.table.rows[1].wrong.clear();
  CHECK(check_pictures(set.table).ok());
}

TEST_CASE("Maps of one value say which one", "[data][check]") {
  Set set;
  const auto flat = [&](uint32_t value) {
    return set.map(pictures::png(2, 1, 8, 0, {value, value}));
  };
  set.add("train", "a", grey_png(2, 1, 99)).saliency = {
      flat(0), flat(255), flat(3)};
  const auto found = check_pictures(set.table);
  CHECK(
      texts(found.constant) == Texts{
                                   "0: is black everywhere",
                                   "0: is white everywhere",
                                   "0: is the same everywhere"});
  CHECK(found.dark_maps.empty());
  CHECK(found.counts[0].annotated == 0);
}

TEST_CASE("Maps that look inverted are warned of", "[data][check]") {
  Set set;
  // 4 x 3 pixels with this border and these two pixels inside.
  const auto map = [&](uint32_t border, uint32_t left, uint32_t right) {
    std::vector<uint32_t> values(12, border);
    values[5] = left;
    values[6] = right;
    return values;
  };
  const auto png = [&](const std::vector<uint32_t>& values) {
    return set.map(pictures::png(4, 3, 8, 0, values));
  };
  auto& row = set.add("train", "a", grey_png(4, 3, 99));
  auto one_corner = map(255, 0, 0);
  one_corner[11] = 0;
  row.saliency = {
      png(map(255, 0, 255)), png(map(0, 255, 255)), png(one_corner),
      // A border at 75 % of the range, and just below it.
      png(map(175, 100, 200)), png(map(174, 100, 200)),
      set.map(pictures::png(4, 2, 8, 0, {9, 9, 9, 9, 9, 9, 9, 200}))};
  row.wrong = png(map(255, 0, 0));  // all but the middle may be wrong
  const auto found = check_pictures(set.table);
  REQUIRE(
      texts(found.inverted) ==
      Texts{
          "0: is bright along its whole border and dark inside",
          "0: is bright along its whole border and dark inside"});
  CHECK(found.inverted[0].path == row.saliency[0]);
  CHECK(found.inverted[1].path == row.saliency[3]);
  CHECK(found.ok());
}

TEST_CASE("Subjects in two splits are found", "[data][check]") {
  Set set;
  const auto add = [&](const char* split, const char* subject) {
    const auto count = static_cast<uint32_t>(set.table.rows.size());
    set.add(split, "a", grey_png(4, 4, count)).subject = subject;
  };
  add("train", "Zoe");
  add("train", "Ann");
  add("train", "");
  add("val", "Zoe");
  add("test", "Ann");
  add("test", "");
  add("test", "Bob");
  add("test", "Bob");
  const auto found = check_pictures(set.table);
  CHECK(found.shared_subjects == Texts{"Ann", "Zoe"});
  CHECK_FALSE(found.ok());
}

TEST_CASE("Any number of threads finds the same", "[data][check]") {
  Set set;
  for (uint32_t i = 0; i < 60; ++i) {
    set.add(
           i % 2 == 0 ? "train" : "test", i % 3 == 0 ? "a" : "b",
           i % 7 == 0 ? "broken" : grey_png(4, 4, i % 20))
        .saliency = {set.map(grey_png(3 + i % 3, 3, i % 5))};
  }
  const auto threads = at::get_num_threads();
  PictureCheck alone;
  PictureCheck many;
  at::set_num_threads(1);
  const auto one =
      support::threads_of([&] { alone = check_pictures(set.table); });
  at::set_num_threads(4);
  const auto four =
      support::threads_of([&] { many = check_pictures(set.table); });
  at::set_num_threads(threads);
  CHECK(one == 1);
  CHECK(four == 4);
  CHECK(alone.unreadable.size() == 9);
  CHECK(texts(alone.unreadable) == texts(many.unreadable));
  CHECK(alone.constant.size() == 12);
  CHECK(texts(alone.constant) == texts(many.constant));
  CHECK(texts(alone.other_size) == texts(many.other_size));
  CHECK(texts(alone.other_aspect) == texts(many.other_aspect));
  CHECK(alone.duplicates == many.duplicates);
  CHECK(alone.counts.size() == many.counts.size());
}

TEST_CASE("In an empty table nothing is found", "[data][check]") {
  const auto found = check_pictures({});
  CHECK(found.counts.empty());
  CHECK(found.ok());
}
