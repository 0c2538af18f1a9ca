// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/file_check.hpp>
#include <cyborg/data/header_problems.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::picture_size;
using pictures::Folder;

namespace {

using Size = std::vector<int64_t>;
using Lines = std::vector<std::string>;

/// "row: name: text" of each note.
Lines lines_of(const std::vector<data::FileNote>& notes) {
  Lines lines;
  for (const auto& note : notes) {
    lines.push_back(
        std::to_string(note.row) + ": " +
        std::filesystem::path(note.path).filename().string() + ": " +
        note.text);
  }
  return lines;
}

/// EXIF data of one entry: the orientation.
std::string exif(char order, uint32_t value, uint32_t type = 3) {
  const auto number = [&](uint32_t n, int bytes) {
    return order == 'I' ? pictures::little_endian(n, bytes)
                        : pictures::big_endian(n, bytes);
  };
  return std::string(2, order) + number(42, 2) + number(8, 4) + number(1, 2) +
         number(0x0112, 2) + number(type, 2) + number(1, 4) + number(value, 2) +
         number(0, 2) + number(0, 4);
}

std::string grey_png(uint32_t width, uint32_t height) {
  return pictures::png(
      width, height, 8, 0, std::vector<uint32_t>(width * height, 0));
}

/// A JPEG with EXIF data after its first marker.
std::string jpeg_with(const std::string& exif_data) {
  auto bytes = pictures::jpeg_rgb();
  const auto data = std::string("Exif\0\0", 6) + exif_data;
  return bytes.insert(
      2, "\xFF\xE1" +
             pictures::big_endian(static_cast<uint32_t>(data.size() + 2), 2) +
             data);
}

}  // namespace

TEST_CASE("The size of a picture is in its header", "[data][file_check]") {
  const Folder folder;
  CHECK(picture_size(folder.write("a.png", grey_png(5, 3))) == Size{3, 5});
  CHECK(
      picture_size(folder.write(
          "a.bmp", pictures::bmp(2, 1, {1, 2, 3, 4, 5, 6}))) == Size{1, 2});
  CHECK(
      picture_size(folder.write("a.jpg", pictures::jpeg_rgb())) == Size{8, 8});
  CHECK(
      picture_size(folder.write("p.jpg", pictures::jpeg_progressive())) ==
      Size{8, 8});
  // After a large segment, as of a colour profile, and after fill bytes.
  auto large = pictures::jpeg_rgb();
  large.insert(2, "\xFF\xFF\xFF\xE2\xEA\x60" + std::string(0xEA60 - 2, 'x'));
  CHECK(picture_size(folder.write("l.jpg", large)) == Size{8, 8});

  SECTION("the pixels need not be there") {
    CHECK(
        picture_size(folder.write("b.png", grey_png(5, 3).substr(0, 33))) ==
        Size{3, 5});
    CHECK(
        picture_size(folder.write(
            "b.bmp", pictures::bmp(2, 1, {1, 2, 3, 4, 5, 6}).substr(0, 54))) ==
        Size{1, 2});
  }
  SECTION("a file without a header has no size") {
    CHECK(picture_size(folder / "none.png").empty());
    CHECK(picture_size(folder.path()).empty());
    CHECK(picture_size(folder.write("t.png", "text")).empty());
    CHECK(picture_size(folder.write("e.png", "")).empty());
    const auto cut = pictures::jpeg_rgb().substr(0, 40);
    CHECK(picture_size(folder.write("c.jpg", cut)).empty());
    CHECK(picture_size(
              folder.write("f.jpg", "\xFF\xD8" + std::string(100000, '\xFF')))
              .empty());
  }
}

TEST_CASE(
    "The size of a turned picture exchanges height and width",
    "[data][file_check]") {
  const Folder folder;
  auto bytes = grey_png(5, 3);
  for (const char order : {'I', 'M'}) {
    for (uint32_t value = 0; value <= 9; ++value) {
      auto turned = bytes;
      turned.insert(33, pictures::png_chunk("eXIf", exif(order, value)));
      const auto path = folder.write("a.png", turned);
      CHECK(picture_size(path) == Size{3, 5});
      CHECK(
          picture_size(path, /*turned=*/true) ==
          (value >= 5 && value <= 8 ? Size{5, 3} : Size{3, 5}));
      CHECK(
          data::detail::picture_header(jpeg_with(exif(order, value)))
              .orientation == (value >= 1 && value <= 8 ? value : 1));
    }
  }
  const auto orientation = [](const std::string& exif_data) {
    return data::detail::exif_orientation(exif_data);
  };
  CHECK(orientation(exif('I', 6, /*type=*/4)) == 1);
  CHECK(orientation("") == 1);
  CHECK(orientation("II*") == 1);
  CHECK(orientation(exif('I', 6).substr(0, 18)) == 1);
  CHECK(orientation(std::string("II*\0\xF0\xFF\xFF\xFF", 8)) == 1);
}

TEST_CASE("Files that are not there are named", "[data][file_check]") {
  const Folder folder;
  folder.write("a.png", grey_png(2, 2));
  folder.write("empty.png", "");
  std::filesystem::create_directory(folder / "dir.png");
  std::filesystem::create_symlink(folder / "gone", folder / "link.png");
  std::filesystem::create_symlink(folder / "a.png", folder / "good.png");
  data::Table table;
  for (const auto* name :
       {"a.png", "none.png", "dir.png", "empty.png", "link.png", "good.png"}) {
    table.rows.emplace_back();
    table.rows.back().path = folder / name;
  }
  table.rows[0].saliency = {"", folder / "no_map.png", folder / "a.png"};
  table.rows[1].saliency = {folder / "empty.png"};
  CHECK(
      lines_of(data::check_files(table)) ==
      Lines{
          "0: no_map.png: no such file", "1: none.png: no such file",
          "1: empty.png: is empty (0 bytes)",
          "2: dir.png: is a directory, expected a file",
          "3: empty.png: is empty (0 bytes)",
          "4: link.png: is a link to a file that is missing"});
  CHECK(data::check_files({}).empty());
}

TEST_CASE(
    "Files that are no pictures are found by their first bytes",
    "[data][file_check]") {
  const Folder folder;
  const auto text_of = [&](const std::string& name, const std::string& bytes,
                           bool check_extension = true,
                           int64_t max_pixels = 1 << 26) {
    data::Table table;
    table.rows.resize(1);
    table.rows[0].path = folder.write(name, bytes);
    const auto notes = data::check_headers(table, check_extension, max_pixels);
    return notes.empty() ? "" : notes[0].text;
  };
  const auto png = grey_png(2, 2);
  CHECK(text_of("good.png", png) == "");
  CHECK(text_of("good.JPG", pictures::jpeg_rgb()) == "");
  CHECK(text_of("empty.png", "") == "");  // check_files tells of it
  const std::string html =
      "is mislabelled: its content is HTML, not a PNG, JPEG or BMP picture: is "
      "it the page of a download that failed?";
  CHECK(text_of("1.png", "\n <!DOCTYPE HTML><title>404</title>") == html);
  CHECK(text_of("2.png", "<html lang=en>") == html);
  CHECK(
      text_of("2.png", "<html lang=en>", /*check_extension=*/false) ==
      html.substr(16));
  CHECK(
      text_of(
          "3.png",
          "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n") ==
      "is mislabelled: its content is a pointer of Git LFS, not a PNG, JPEG or "
      "BMP picture: fetch the file itself, with: git lfs pull");
  CHECK(
      text_of("4.png", "split,class,path\n") ==
      "is mislabelled: its content is text, not a PNG, JPEG or BMP picture");
  CHECK(
      text_of("5.bin", std::string("\1\2\0\3", 4)) ==
      "its content is not a PNG, JPEG or BMP picture");
  CHECK(
      text_of("6.webp", "RIFF....WEBPVP8 ") ==
      "its content is WebP, not a PNG, JPEG or BMP picture: convert it, for "
      "example with: mogrify -define png:bit-depth=16 -format png \"" +
          folder / "6.webp" + "\"");
  CHECK(
      text_of("7.jpg", png) ==
      "is mislabelled: named as JPEG but its content is PNG; rename it, or "
      "allow this (check_extension; --any-extension in the programs)");
  CHECK(text_of("7.jpg", png, /*check_extension=*/false) == "");
  // Cut before the size.
  CHECK(
      text_of("8.png", png.substr(0, 20)) ==
      "is truncated: it ends inside a PNG chunk");
  CHECK(support::contains(
      text_of("9.jpg", pictures::jpeg_rgb().substr(0, 100)), "is truncated: "));
  CHECK(
      text_of(
          "10.bmp", pictures::bmp(2, 1, {1, 2, 3, 4, 5, 6}).substr(0, 20)) ==
      "is mislabelled: its content is not a PNG, JPEG or BMP picture");
  CHECK(
      text_of("11.png", png, true, /*max_pixels=*/3) ==
      "is too large: 2 x 2 pixels, the limit is 3 (max_pixels; --max-pixels in "
      "the programs)");
  CHECK(text_of("11.png", png, true, /*max_pixels=*/4) == "");
  // What the header does not say is not seen.
  CHECK(text_of("12.png", png.substr(0, png.size() - 12)) == "");
}

TEST_CASE("The headers of all files of a row are read", "[data][file_check]") {
  const Folder folder;
  const auto text = folder.write("text.png", "text");
  data::Table table;
  table.rows.resize(2);
  table.rows[0].path = folder.write("a.png", grey_png(2, 2));
  table.rows[1].path = folder.write("no.png", "text");
  table.rows[1].saliency = {"", table.rows[0].path, text};
  table.rows[1].wrong = folder.write("wrong.jpg", grey_png(2, 2));
  data::Annotation mask;
  mask.mask = folder.write("mask.jpg", "text");
  table.rows[0].annotations = {
      std::make_shared<data::Annotation>(std::move(mask))};
  const std::string is_text =
      "its content is text, not a PNG, JPEG or BMP picture";
  CHECK(
      lines_of(data::check_headers(table)) ==
      Lines{
          "0: mask.jpg: " + is_text, "1: no.png: is mislabelled: " + is_text,
          "1: text.png: is mislabelled: " + is_text,
          "1: wrong.jpg: is mislabelled: named as JPEG but its content is PNG; "
          "rename it, or allow this (check_extension; --any-extension in the "
          "programs)"});
}

TEST_CASE(
    "Maps of other proportions are found without decoding",
    "[data][file_check]") {
  const Folder folder;
  const auto png = [&](uint32_t width, uint32_t height) {
    return folder.write(
        std::to_string(width) + "x" + std::to_string(height) + ".png",
        grey_png(width, height).substr(0, 33));
  };
  data::Table table;
  table.rows.resize(2);
  table.rows[0].path = png(8, 6);
  table.rows[0].saliency = {png(4, 3), "", png(6, 8), png(3, 2), png(8, 8)};
  table.rows[1].path = folder / "none.png";
  table.rows[1].saliency = {png(8, 8)};
  CHECK(
      lines_of(data::check_proportions(table)) ==
      Lines{
          "0: 6x8.png: is 6 x 8, the picture is 8 x 6",
          "0: 8x8.png: is 8 x 8, the picture is 8 x 6"});

  // A picture that is stored on its side, and an upright map.
  auto turned = grey_png(8, 6);
  turned.insert(33, pictures::png_chunk("eXIf", exif('M', 6)));
  table.rows.resize(1);
  table.rows[0].path = folder.write("turned.png", turned);
  table.rows[0].saliency = {png(6, 8)};
  CHECK(data::check_proportions(table).size() == 1);
  CHECK(data::check_proportions(table, /*turned_pictures=*/true).empty());
}
