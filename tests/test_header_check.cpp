// SPDX-License-Identifier: BSD-3-Clause
// Properties of picture files that tell the class: bits, formats, colours, sizes.
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/header_check.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/picture_header.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace data = cyborg::data;
using pictures::Folder;
using support::error_of;

namespace {

using Texts = std::vector<std::string>;

/// Rows "split class"; the path of each is its number.
data::Table rows_of(const Texts& rows) {
  data::Table table;
  table.classes = {"a", "b", "c"};
  for (const auto& text : rows) {
    data::Row row;
    row.split = text.substr(0, text.size() - 2);
    row.cls = text.substr(text.size() - 1);
    row.path = std::to_string(table.rows.size());
    table.rows.push_back(row);
  }
  return table;
}

Texts words(const std::vector<data::ClassSign>& signs) {
  Texts list;
  for (const auto& sign : signs) {
    list.push_back(data::to_string(sign));
  }
  return list;
}

Texts of_notes(const std::vector<data::FileNote>& notes) {
  Texts list;
  for (const auto& note : notes) {
    list.push_back(std::to_string(note.row) + ": " + note.text);
  }
  return list;
}

/// `count` copies.
Texts times(size_t count, const std::string& text) {
  return Texts(count, text);
}

Texts operator+(Texts a, const Texts& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string picture_of(uint32_t bits, uint32_t value) {
  return pictures::png(2, 1, bits, 0, {0, value});
}

}  // namespace

TEST_CASE("A value that goes with a class is its sign", "[data][check]") {
  const auto two = rows_of(times(3, "train a") + times(2, "train b"));
  const auto signs = data::class_signs(two, {"8", "8", "8", "16", "16"});
  CHECK(
      words(signs) ==
      Texts{
          "8: 3 of 3 pictures of class \"a\", and 0 of 2 others",
          "16: 2 of 2 pictures of class \"b\", and 0 of 3 others"});
  CHECK(signs[1].row == 3);

  SECTION("One value for all pictures says nothing") {
    CHECK(data::class_signs(two, times(5, "8")).empty());
  }
  SECTION("Half of a class does not tell it") {
    const auto half = rows_of(times(4, "train a") + times(4, "train b"));
    CHECK(data::class_signs(half, times(2, "8") + times(6, "16")).empty());
  }
  SECTION("Nearly all are 90 % of the class and 10 % of the others") {
    const auto ten = rows_of(times(10, "train a") + times(10, "train b"));
    const auto with = [&](size_t a, size_t b) {
      return words(data::class_signs(
                       ten, times(a, "x") + times(10 - a, "") + times(b, "x") +
                                times(10 - b, "y")))
          .size();
    };
    const auto first = [&](size_t a, size_t b) {
      return data::class_signs(
          ten, times(a, "x") + times(10 - a, "y") + times(b, "x") +
                   times(10 - b, "y"));
    };
    CHECK(first(9, 1).size() == 2);
    CHECK(first(8, 1).size() == 0);  // y is in 20 % of the others, too
    CHECK(first(9, 2).size() == 0);
    CHECK(with(8, 1) == 2);  // what is not known does not count
  }
  SECTION("One of three classes may be told alone") {
    CHECK(
        words(data::class_signs(
            rows_of(
                times(2, "train a") + times(2, "train b") +
                times(2, "train c")),
            times(2, "8") + times(4, "16"))) ==
        Texts{"8: 2 of 2 pictures of class \"a\", and 0 of 4 others"});
  }
  SECTION("One picture of a class is too few") {
    CHECK(data::class_signs(
              rows_of({"train a", "train b", "train b"}), {"8", "16", "16"})
              .empty());
  }
  SECTION("The training split counts, if there is one") {
    const auto both = times(2, "train a") + times(2, "train b") +
                      times(2, "test a") + times(2, "test b");
    CHECK(data::class_signs(
              rows_of(both), times(4, "8") + times(2, "8") + times(2, "16"))
              .empty());
    CHECK(
        data::class_signs(
            rows_of(times(2, "test a") + times(2, "test b")),
            times(2, "8") + times(2, "16"))
            .size() == 2);
  }
  SECTION("Each row needs a value") {
    CHECK(
        error_of([&] { data::class_signs(two, {"8"}); }) ==
        "cyborg::data::class_signs: expected a value for each of 5 rows, got "
        "1");
  }
}

TEST_CASE("Headers say bits, colours and sizes", "[data][check]") {
  const Folder folder;
  const auto header = [&](const std::string& name, const std::string& bytes) {
    return data::read_picture_header(folder.write(name, bytes));
  };
  CHECK(header("a.png", picture_of(16, 9)).channels == 1);
  CHECK(header("a.png", picture_of(16, 9)).bits == 16);
  CHECK(header("b.png", pictures::png(1, 1, 8, 2, {1, 2, 3})).channels == 3);
  CHECK(header("c.png", pictures::png(1, 1, 8, 4, {1, 2})).channels == 1);
  CHECK(header("d.png", pictures::png(1, 1, 8, 6, {1, 2, 3, 4})).channels == 3);
  CHECK(header("e.jpg", pictures::jpeg_grey()).channels == 1);
  CHECK(header("f.jpg", pictures::jpeg_rgb()).channels == 3);
  CHECK_FALSE(header("g.png", "text").found());
  CHECK(header("g.png", "text").size().empty());
  CHECK(header("a.png", picture_of(8, 9)).size() == std::vector<int64_t>{1, 2});
}

TEST_CASE("Pictures of several kinds are found", "[data][check]") {
  const Folder folder;
  auto table = rows_of(times(2, "train a") + times(3, "train b"));
  const auto set = [&](size_t i, const std::string& name,
                       const std::string& bytes) {
    table.rows[i].path = folder.write(name, bytes);
  };
  for (size_t i = 0; i < 5; ++i) {
    set(i, std::to_string(i) + ".png",
        picture_of(i < 2 ? 8 : 16, static_cast<uint32_t>(20 + i)));
  }
  CHECK(
      of_notes(data::check_several_bits(table)) ==
      Texts{
          "0: has 8 bits, and 3 others have 16",
          "1: has 8 bits, and 3 others have 16"});
  const Texts bits{
      "8 bits: 2 of 2 pictures of class \"a\", and 0 of 3 others",
      "16 bits: 3 of 3 pictures of class \"b\", and 0 of 2 others"};
  CHECK(words(data::bits_signs(table)) == bits);
  CHECK(data::header_signs(table).empty());
  auto found = data::check_pictures(table);
  CHECK(found.several_bits.size() == 2);
  CHECK(words(found.bits_signs) == bits);
  CHECK_FALSE(found.ok());

  SECTION("Of equally many the 8 bits are listed") {
    table.rows.pop_back();
    CHECK(
        of_notes(data::check_several_bits(table)) ==
        Texts{
            "0: has 8 bits, and 2 others have 16",
            "1: has 8 bits, and 2 others have 16"});
  }
  SECTION("Several bits in each class are a warning") {
    set(0, "0.png", picture_of(16, 60000));
    set(3, "3.png", picture_of(8, 7));
    found = data::check_pictures(table);
    CHECK(found.several_bits.size() == 2);
    CHECK(found.bits_signs.empty());
    CHECK(found.ok());
  }
  SECTION("12 bits in files of 16 may tell a class, too") {
    set(0, "0.png", picture_of(16, 60000));
    set(1, "1.png", picture_of(16, 60001));
    found = data::check_pictures(table);
    CHECK(found.several_bits.empty());
    CHECK(
        words(found.bits_signs) ==
        Texts{
            "16 bits: 2 of 2 pictures of class \"a\", and 0 of 3 others",
            "dark in 16 bits: 3 of 3 pictures of class \"b\", and 0 of 2 "
            "others"});
    CHECK_FALSE(found.ok());
    // In the window no picture is dark.
    found = data::check_pictures(
        table, data::PictureDatasetOptions().window({0, 100}));
    CHECK(found.bits_signs.empty());
  }
  SECTION("Formats, colours and sizes that tell a class are warnings") {
    set(0, "0.jpg", pictures::jpeg_grey());
    set(1, "1.jpg", pictures::jpeg_rgb());
    for (size_t i = 2; i < 5; ++i) {
      set(i, std::to_string(i) + ".png",
          picture_of(8, static_cast<uint32_t>(20 + i)));
    }
    CHECK(
        words(data::header_signs(table)) ==
        Texts{
            "JPEG: 2 of 2 pictures of class \"a\", and 0 of 3 others",
            "PNG: 3 of 3 pictures of class \"b\", and 0 of 2 others",
            "8 x 8: 2 of 2 pictures of class \"a\", and 0 of 3 others",
            "2 x 1: 3 of 3 pictures of class \"b\", and 0 of 2 others"});
    found = data::check_pictures(table);
    CHECK(found.header_signs.size() == 4);
    CHECK(found.bits_signs.empty());
    CHECK(found.ok());
    for (size_t i = 0; i < 2; ++i) {
      set(i, std::to_string(i) + ".png",
          pictures::png(1, 2, 8, 2, {1, 2, static_cast<uint32_t>(i), 4, 5, 6}));
    }
    CHECK(
        words(data::header_signs(table)) ==
        Texts{
            "colour: 2 of 2 pictures of class \"a\", and 0 of 3 others",
            "grey: 3 of 3 pictures of class \"b\", and 0 of 2 others",
            "1 x 2: 2 of 2 pictures of class \"a\", and 0 of 3 others",
            "2 x 1: 3 of 3 pictures of class \"b\", and 0 of 2 others"});
  }
  SECTION("Files that are no pictures are left out") {
    set(0, "0.png", "text");
    table.rows[1].path = folder / "none.png";
    CHECK(data::check_several_bits(table).empty());
    CHECK(data::bits_signs(table).empty());
    CHECK(data::header_signs(table).empty());
  }
}

TEST_CASE(
    "Formats of medicine and science are named by their content", "[data]") {
  const auto at = [](size_t position, const std::string& text) {
    return std::string(position, '\0') + text + std::string(200, '\1');
  };
  const std::string command =
      "convert it, for example with: mogrify -define png:bit-depth=16 -format "
      "png FILE";
  const std::string python =
      "convert it in Python, as docs/train.md shows under \"Other formats\": a "
      "window of its values becomes a PNG of 16 bits";
  struct Case {
    std::string bytes;
    std::string name;
    std::string advice;
  };
  for (const auto& one : std::vector<Case>{
           {at(128, "DICM"), "DICOM", python},
           {at(344, std::string("n+1\0", 4)), "NIfTI", python},
           {at(344, std::string("ni1\0", 4)), "NIfTI", python},
           {at(4, std::string("n+2\0\r\n\x1a\n", 8)), "NIfTI", python},
           {at(4, std::string("ni2\0\r\n\x1a\n", 8)), "NIfTI", python},
           {"\x1F\x8B\x08 more", "gzip (as .nii.gz)", python},
           {"NRRD0004\ntype: float", "NRRD", python},
           {"\x93NUMPY more", "NumPy", python},
           {"\x89HDF\r\n\x1a\n more", "HDF5", python},
           {std::string("II+\0\x08\0\0\0", 8), "BigTIFF", command},
           {std::string("MM\0+\0\x08\0\0", 8), "BigTIFF", command},
           {std::string("II*\0\x08\0\0\0", 8), "TIFF", command},
           {"RIFF1234WEBPVP8 ", "WebP", command}}) {
    CAPTURE(one.name);
    CHECK(data::content_name(one.bytes) == one.name);
    CHECK(
        data::format_problem(one.bytes) ==
        "its content is " + one.name +
            ", not a PNG, JPEG or BMP picture: " + one.advice);
  }
  CHECK(data::content_name("picture,WEBP\n") == "text");
  CHECK(
      data::format_problem("split,class,path\n") ==
      "its content is text, not a PNG, JPEG or BMP picture");
  CHECK(
      data::format_problem(std::string_view("\1\2\3")) ==
      "its content is not a PNG, JPEG or BMP picture");
  CHECK(data::content_name(at(127, "DICM")) == "");
  CHECK(data::content_name(pictures::jpeg_grey()) == "JPEG");
}
