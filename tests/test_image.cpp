// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

// A program has its own stb in the same file, with all formats and external
// linkage. Ours must neither clash with it nor change it.
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <cyborg/data/image.hpp>

#include <atomic>
#include <limits>
#include <thread>
#include <vector>

namespace data = cyborg::data;
using data::ImageOptions;
using data::read_image;
using pictures::Folder;
using support::close;
using support::contains;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

/// The reason with which `read_image` rejects these bytes under this name.
std::string reason_of(
    const Folder& folder, const std::string& name, const std::string& bytes,
    const ImageOptions& options = {}) {
  try {
    read_image(folder.write(name, bytes), options);
  } catch (const cyborg::io::FileError& error) {
    return error.reason();
  }
  return "";
}

}  // namespace

TEST_CASE("8-bit values are divided by 255", "[data][image]") {
  const Folder folder;
  const auto file = folder.write(
      "a.png", pictures::png(2, 1, 8, 2, {0, 51, 102, 153, 204, 255}));
  const auto image = read_image(file);
  CHECK(image.scalar_type() == at::kFloat);
  CHECK(image.is_contiguous());
  CHECK(close(image, t({0, .6, .2, .8, .4, 1}, {3, 1, 2}), 1e-7));
}

TEST_CASE("A 16-bit PNG is read in 16 bits", "[data][image]") {
  const Folder folder;
  const auto grey =
      folder.write("g.png", pictures::png(3, 1, 16, 0, {1, 32768, 65535}));
  const auto map = read_image(grey, ImageOptions().channels(1));
  CHECK(close(map, t({1 / 65535., 32768 / 65535., 1}, {1, 1, 3}), 1e-9));
  const auto rgb =
      folder.write("c.png", pictures::png(1, 1, 16, 2, {1000, 40000, 65534}));
  CHECK(close(
      read_image(rgb),
      t({1000 / 65535., 40000 / 65535., 65534 / 65535.}, {3, 1, 1}), 1e-7));
}

TEST_CASE(
    "Grey becomes three equal channels, and colour becomes its luma",
    "[data][image]") {
  const Folder folder;
  const auto grey = folder.write("g.png", pictures::png(1, 1, 8, 0, {51}));
  CHECK(close(read_image(grey), t({.2, .2, .2}, {3, 1, 1}), 1e-7));
  const auto rgb =
      folder.write("c.png", pictures::png(1, 1, 8, 2, {255, 102, 51}));
  CHECK(close(
      read_image(rgb, ImageOptions().channels(1)),
      t({.299 + .587 * .4 + .114 * .2}, {1, 1, 1}), 1e-6));

  SECTION("0 channels: as in the file") {
    CHECK(read_image(grey, ImageOptions().channels(0)).size(0) == 1);
    CHECK(read_image(rgb, ImageOptions().channels(0)).size(0) == 3);
  }
}

TEST_CASE("Alpha is dropped without composing", "[data][image]") {
  const Folder folder;
  const auto rgba =
      folder.write("a.png", pictures::png(1, 1, 8, 6, {255, 102, 51, 0}));
  CHECK(close(read_image(rgba), t({1, .4, .2}, {3, 1, 1}), 1e-7));
  const auto grey = folder.write("b.png", pictures::png(1, 1, 8, 4, {51, 9}));
  CHECK(close(
      read_image(grey, ImageOptions().channels(0)), t({.2}, {1, 1, 1}), 1e-7));
}

TEST_CASE("BMP and JPEG are read", "[data][image]") {
  const Folder folder;
  const auto bitmap =
      folder.write("a.bmp", pictures::bmp(1, 2, {255, 102, 51, 0, 51, 102}));
  CHECK(close(read_image(bitmap), t({1, 0, .4, .2, .2, .4}, {3, 2, 1}), 1e-7));
  for (const auto& bytes :
       {pictures::jpeg_rgb(), pictures::jpeg_progressive()}) {
    const auto image = read_image(folder.write("a.jpg", bytes));
    CHECK(image.sizes() == at::IntArrayRef({3, 8, 8}));
    CHECK(close(image[0], at::full({8, 8}, 198 / 255.), 1e-6));
    CHECK(close(image[1], at::full({8, 8}, 101 / 255.), 1e-6));
    CHECK(close(image[2], at::full({8, 8}, 50 / 255.), 1e-6));
  }
  CHECK(close(
      read_image(
          folder.write("g.JPEG", pictures::jpeg_grey()),
          ImageOptions().channels(0)),
      at::full({1, 8, 8}, 120 / 255.), 1e-6));
}

TEST_CASE(
    "A pixel of a colour that the palette lacks is an error", "[data][image]") {
  const Folder folder;
  const auto palette =
      pictures::png_chunk("PLTE", std::string("\1\2\3\xFF\0\0", 6));
  const auto file = [&](int bits, const std::string& row,
                        const std::string& more = "") {
    return pictures::png_of_rows(
        static_cast<uint32_t>(row.size() - 1) * 8 / static_cast<uint32_t>(bits),
        1, bits, /*kind=*/3, row, palette + more);
  };
  const std::string problem =
      "is damaged: a pixel of the PNG has a colour that its palette lacks";
  CHECK(close(
      read_image(folder.write("a.png", file(8, std::string("\0\1\0", 3)))),
      t({255, 1, 0, 2, 0, 3}, {3, 1, 2}) / 255, 1e-7));
  CHECK(
      reason_of(folder, "a.png", file(8, std::string("\0\1\2", 3))) == problem);
  CHECK(reason_of(folder, "a.png", file(4, std::string("\0\x11", 2))) == "");
  CHECK(
      reason_of(folder, "a.png", file(4, std::string("\0\x12", 2))) == problem);
  CHECK(reason_of(folder, "a.png", file(2, std::string("\0\x14", 2))) == "");
  CHECK(
      reason_of(folder, "a.png", file(2, std::string("\0\x18", 2))) == problem);
  CHECK(reason_of(folder, "a.png", file(1, std::string("\0\xFF", 2))) == "");
  // Also with transparency, whose chunk has another meaning in a grey PNG.
  const auto alpha = pictures::png_chunk("tRNS", "\x80");
  CHECK(
      reason_of(folder, "a.png", file(8, std::string("\0\1", 2), alpha)) == "");
  CHECK(
      reason_of(folder, "a.png", file(8, std::string("\0\3", 2), alpha)) ==
      problem);
}

namespace {

/// A BMP with a palette of the colours (1, 2, 3) and (4, 5, 6): of the old
/// format of OS/2, or of Windows.
std::string palette_bmp(
    bool old, uint32_t width, uint32_t bits, const std::string& row,
    uint32_t start_less = 0) {
  using pictures::little_endian;
  const uint32_t start = old ? 14 + 12 + 6 : 14 + 40 + 8;
  auto bytes = "BM" + little_endian(0) + little_endian(0) +
               little_endian(start - start_less) + little_endian(old ? 12 : 40);
  if (old) {
    bytes += little_endian(width, 2) + little_endian(1, 2) +
             little_endian(1, 2) + little_endian(bits, 2) + "\3\2\1\6\5\4";
  } else {
    bytes += little_endian(width) + little_endian(1) + little_endian(1, 2) +
             little_endian(bits, 2) + std::string(24, '\0') +
             std::string("\3\2\1\0\6\5\4\0", 8);
  }
  return bytes + row;
}

}  // namespace

TEST_CASE("A BMP with a palette is read", "[data][image]") {
  const Folder folder;
  const std::string problem =
      "is damaged: a pixel of the BMP has a colour that its palette lacks";
  for (const bool old : {false, true}) {
    const auto read = [&](uint32_t bits, const std::string& row) {
      return read_image(folder.write("a.bmp", palette_bmp(old, 2, bits, row)));
    };
    const auto expected = t({4, 1, 5, 2, 6, 3}, {3, 1, 2}) / 255;
    CHECK(close(read(8, std::string("\1\0\0\0", 4)), expected, 1e-7));
    CHECK(close(read(4, std::string("\x10\0\0\0", 4)), expected, 1e-7));
    CHECK(close(read(1, std::string("\x80\0\0\0", 4)), expected, 1e-7));
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 2, 8, "\1\2\1\1")) ==
        problem);
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 2, 4, "\x12\1\1\1")) ==
        problem);
    // Only the first pixel of the byte is part of the picture.
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 1, 4, "\x12\1\1\1")) == "");
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 2, 8, "\1\1\1\1", 9)) ==
        "is damaged: the BMP's pixels begin inside its header");
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 2, 2, "\1\1\1\1")) ==
        "is a BMP of 2 bits, which cannot be decoded");
    CHECK(
        reason_of(folder, "a.bmp", palette_bmp(old, 0, 8, "\1\1\1\1")) ==
        "holds no pixels");
  }
}

TEST_CASE(
    "A file with an unknown extension is read by its content",
    "[data][image]") {
  const Folder folder;
  CHECK(reason_of(folder, "a", pictures::jpeg_rgb()) == "");
  CHECK(reason_of(folder, "a.dat", pictures::png(1, 1, 8, 0, {1})) == "");
}

TEST_CASE(
    "An error names what is not a file, with the reason",
    "[data][image][error]") {
  const Folder folder;
  const auto missing = folder / "none.png";
  CHECK(error_of([&] {
          read_image(missing);
        }) == "cyborg::data::read_image: " + missing + ": no such file");
  CHECK(
      error_of([&] { read_image(folder.path()); }) ==
      "cyborg::data::read_image: " + folder.path().string() +
          ": is a directory, expected a file");
  const auto empty = folder.write("e.png", "");
  CHECK(error_of([&] {
          read_image(empty);
        }) == "cyborg::data::read_image: " + empty + ": is empty (0 bytes)");
  CHECK(contains(
      error_of([] { read_image("/dev/null"); }), "is not a regular file"));

  SECTION("the error gives path and reason separately") {
    try {
      read_image(missing);
      FAIL("nothing was thrown");
    } catch (const cyborg::io::FileError& error) {
      CHECK(error.path() == missing);
      CHECK(error.reason() == "no such file");
    }
  }
}

TEST_CASE(
    "A picture that is truncated anywhere is an error",
    "[data][image][error]") {
  const Folder folder;
  const std::vector<std::pair<std::string, std::string>> whole{
      {"a.png", pictures::png(2, 2, 8, 0, {1, 2, 3, 4})},
      {"b.bmp", pictures::bmp(4, 2, std::vector<uint32_t>(24, 7))},
      {"c.jpg", pictures::jpeg_rgb()},
      {"d.jpg", pictures::jpeg_progressive()}};
  for (const auto& [name, bytes] : whole) {
    CHECK(reason_of(folder, name, bytes) == "");
    size_t unnoticed = 0;
    for (size_t length = 0; length < bytes.size(); ++length) {
      const auto reason = reason_of(folder, name, bytes.substr(0, length));
      unnoticed += reason.empty() ? 1 : 0;
      if (length > 100) {
        CHECK(contains(reason, "is truncated"));
      }
    }
    CHECK(unnoticed == 0);
    CHECK(reason_of(folder, name, bytes + "trailing bytes") == "");
  }
  CHECK(
      reason_of(folder, "a.png", whole[0].second.substr(0, 65)) ==
      "is truncated: it ends before the PNG's last chunk");
  CHECK(
      reason_of(folder, "a.png", whole[0].second.substr(0, 50)) ==
      "is truncated: it ends inside a PNG chunk");
  CHECK(
      reason_of(folder, "b.bmp", whole[1].second.substr(0, 70)) ==
      "is truncated: 70 of 78 bytes");
  CHECK(
      reason_of(folder, "c.jpg", whole[2].second.substr(0, 280)) ==
      "is truncated: the JPEG's end-of-image marker is missing");
}

TEST_CASE(
    "A PNG with any one byte changed is an error", "[data][image][error]") {
  const Folder folder;
  const auto whole = pictures::png(2, 2, 8, 0, {1, 2, 3, 4});
  size_t unnoticed = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    auto bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    unnoticed += reason_of(folder, "a.png", bytes).empty() ? 1 : 0;
  }
  CHECK(unnoticed == 0);
  auto bytes = whole;
  bytes[45] ^= 1;
  CHECK(
      reason_of(folder, "a.png", bytes) ==
      "is damaged: a PNG chunk has a wrong checksum");
}

TEST_CASE("Damaged pictures neither crash nor hang", "[data][image][error]") {
  const Folder folder;
  for (const auto& [name, whole] :
       {std::pair<std::string, std::string>{"a.jpg", pictures::jpeg_rgb()},
        {"p.jpg", pictures::jpeg_progressive()},
        {"b.bmp", pictures::bmp(4, 2, std::vector<uint32_t>(24, 7))}}) {
    size_t refused = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        auto bytes = whole;
        bytes[i] = static_cast<char>(bytes[i] ^ flip);
        refused += reason_of(folder, name, bytes).empty() ? 0 : 1;
      }
    }
    CHECK(refused > 0);
  }
  // More codes than a Huffman table may have: stb 2.27 writes past its own.
  auto codes = pictures::jpeg_grey();
  const auto tables = codes.find("\xFF\xC4");
  REQUIRE(tables != std::string::npos);
  codes[tables + 20] = '\xFF';
  codes[tables + 19] = '\xFF';
  CHECK(
      reason_of(folder, "a.jpg", codes) ==
      "is damaged: a JPEG Huffman table does not fit its segment");
  const auto frame = std::string("\xFF\xC0\0\x0B", 4);
  auto twice = pictures::jpeg_grey();
  const auto at = twice.find(frame);
  REQUIRE(at != std::string::npos);
  twice.insert(at, twice.substr(at, 13));
  CHECK(
      reason_of(folder, "a.jpg", twice) ==
      "is damaged: the JPEG holds two frames");
  auto headless = pictures::png(1, 1, 8, 0, {1});
  headless.erase(8, 25);
  CHECK(
      reason_of(folder, "a.png", headless) ==
      "is damaged: the PNG does not begin with its header");
  CHECK(
      reason_of(folder, "a.jpg", "\xFF\xD8\xFF\xD9") ==
      "is damaged: the JPEG holds no picture");
}

TEST_CASE(
    "A file of another format than its name says is an error",
    "[data][image][error]") {
  const Folder folder;
  CHECK(
      reason_of(folder, "a.png", pictures::jpeg_rgb()) ==
      "is mislabelled: named as PNG but its content is JPEG; rename it, or "
      "allow this (check_extension; --any-extension in the programs)");
  CHECK(
      reason_of(folder, "a.JPG", pictures::png(1, 1, 8, 0, {1})) ==
      "is mislabelled: named as JPEG but its content is PNG; rename it, or "
      "allow this (check_extension; --any-extension in the programs)");
  CHECK(
      reason_of(
          folder, "a.png", pictures::jpeg_rgb(),
          ImageOptions().check_extension(false)) == "");
  CHECK(
      reason_of(folder, "t.png", "not a picture at all\n") ==
      "is mislabelled: its content is text, not a PNG, JPEG or BMP picture");
  CHECK(
      reason_of(folder, "t.webp", std::string("RIFF\0\0\0\0WEBPVP8 ", 16)) ==
      "its content is WebP, not a PNG, JPEG or BMP picture: convert it, for "
      "example with: mogrify -define png:bit-depth=16 -format png FILE");
  CHECK(
      reason_of(folder, "t.jpg", std::string("\x01\x02\x03\x04", 4)) ==
      "is mislabelled: its content is not a PNG, JPEG or BMP picture");
  CHECK(contains(reason_of(folder, "t.png", "GIF89a"), "content is GIF,"));
  CHECK(contains(reason_of(folder, "t.png", std::string("II*\0", 4)), "TIFF,"));
}

TEST_CASE(
    "CMYK and other JPEGs that stb would decode wrongly are errors",
    "[data][image][error]") {
  const Folder folder;
  CHECK(
      reason_of(folder, "c.jpg", pictures::jpeg_cmyk()) ==
      "is a CMYK JPEG (4 components); convert it to RGB");
  auto deep = pictures::jpeg_grey();
  const auto frame = deep.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  deep[frame + 4] = 12;
  CHECK(
      reason_of(folder, "d.jpg", deep) ==
      "is a JPEG of 12 bits, which cannot be decoded; expected 8");
  auto arithmetic = pictures::jpeg_grey();
  arithmetic[frame + 1] = '\xC9';
  CHECK(contains(
      reason_of(folder, "e.jpg", arithmetic), "arithmetic JPEG, which cannot"));
}

TEST_CASE(
    "A picture of too many pixels is rejected before it is decoded",
    "[data][image][error]") {
  const Folder folder;
  // A header that promises 10 gigapixels, and no pixels at all.
  const auto huge =
      std::string("\x89PNG\r\n\x1a\n") +
      pictures::png_chunk(
          "IHDR", pictures::big_endian(100000) + pictures::big_endian(100000) +
                      std::string("\x08\x02\0\0\0", 5)) +
      pictures::png_chunk("IEND", "");
  CHECK(
      reason_of(folder, "h.png", huge) ==
      "is too large: 100000 x 100000 pixels, the limit is 67108864 "
      "(max_pixels; --max-pixels in the programs)");
  const auto four = pictures::png(2, 2, 8, 0, {1, 2, 3, 4});
  CHECK(reason_of(folder, "a.png", four, ImageOptions().max_pixels(4)) == "");
  CHECK(
      reason_of(folder, "a.png", four, ImageOptions().max_pixels(3)) ==
      "is too large: 2 x 2 pixels, the limit is 3 (max_pixels; --max-pixels in "
      "the programs)");

  SECTION("a large file is not read") {
    const auto file = folder.write("l.png", "x");
    std::filesystem::resize_file(file, (1 << 24) + 9);  // sparse
    CHECK(contains(
        error_of([&] { read_image(file, ImageOptions().max_pixels(1)); }),
        "l.png: is too large: 16777225 bytes, the limit is 16777224"));
  }
}

TEST_CASE("Invalid options of read_image throw", "[data][image][error]") {
  CHECK(error_of([] {
          read_image("a.png", ImageOptions().channels(2));
        }) == "cyborg::data::read_image: expected 0, 1 or 3 channels, got 2");
  CHECK(error_of([] {
          read_image("a.png", ImageOptions().max_pixels(0));
        }) == "cyborg::data::read_image: expected max_pixels > 0, got 0");
}

TEST_CASE("read_image reads what write_png wrote", "[data][image]") {
  const Folder folder;
  const auto file = folder / "a.png";
  const auto bytes = at::arange(3 * 4 * 5, at::kByte).view({3, 4, 5}) * 4;
  data::write_png(file, bytes);
  CHECK(close(read_image(file), bytes.to(at::kDouble) / 255, 1e-7));
  CHECK(folder.entries() == 1);  // no temporary file is left

  SECTION("float values are rounded to the nearest of 256, and clamped") {
    data::write_png(file, t({0, .5, 1, 1.2, -3, 0.2498}, {2, 3}));
    CHECK(close(
        read_image(file, ImageOptions().channels(0)) * 255,
        t({0, 128, 255, 255, 0, 64}, {1, 2, 3}), 1e-4));
  }
  SECTION("tensors of any layout in memory") {
    data::write_png(file, bytes.transpose(1, 2));
    CHECK(close(
        read_image(file), bytes.transpose(1, 2).to(at::kDouble) / 255, 1e-7));
  }
}

TEST_CASE("encode_png rejects what is not a picture", "[data][image][error]") {
  CHECK(
      error_of([] { data::encode_png(at::rand({2, 4, 4})); }) ==
      "cyborg::data::encode_png: expected an image [H, W], [1, H, W] or "
      "[3, H, W], got [2, 4, 4]");
  CHECK(
      error_of([] { data::encode_png(at::ones({2, 2}, at::kLong)); }) ==
      "cyborg::data::encode_png: expected uint8 or floating point, got Long");
  CHECK(
      error_of([] {
        data::encode_png(
            t({0, std::numeric_limits<double>::quiet_NaN()}, {1, 2}));
      }) ==
      "cyborg::data::encode_png: expected finite values, got NaN or infinity");
  CHECK(contains(
      error_of([] { data::encode_png(at::rand({3, 0, 4})); }),
      "got [3, 0, 4]"));
}

TEST_CASE(
    "If a file cannot be written, the old one stays", "[data][image][error]") {
  const Folder folder;
  const auto lost = folder / "no/such/folder/a.png";
  CHECK(
      error_of([&] { data::write_png(lost, at::rand({2, 2})); }) ==
      "cyborg::data::write_png: " + lost +
          ": cannot be written: No such file or directory");
  folder.write("taken/file", "x");
  CHECK(contains(
      error_of([&] { data::write_png(folder / "taken", at::rand({2, 2})); }),
      "taken: cannot be replaced: "));
  CHECK(folder.entries() == 1);
}

TEST_CASE(
    "A picture is halved by the antialiased weights, channel by channel",
    "[data][image]") {
  const auto image = t({7, 14, 21, 70, 0, 0, 0, 7}, {2, 1, 4});
  CHECK(close(
      data::resize_image(image, {1, 2}), t({12, 41, 0, 3}, {2, 1, 2}), 1e-9));
  CHECK(
      error_of([] { data::resize_image(at::rand({2, 2}), {1, 1}); }) ==
      "cyborg::data::resize_image: expected an image [C, H, W] and a size "
      "{H, W}, got [2, 2] and [1, 1]");
}

TEST_CASE(
    "A picture that is resized while it is read is resized in its own depth",
    "[data][image]") {
  const Folder folder;
  // The weights of the case above give 12 and 41 + 3 / 7, that is 41.
  const auto grey =
      folder.write("g.png", pictures::png(4, 1, 8, 0, {7, 14, 21, 71}));
  const auto options = ImageOptions().size({1, 2});
  CHECK(close(
      read_image(grey, options)[2], t({12 / 255., 41 / 255.}, {1, 2}), 1e-7));
  const auto rgba = folder.write(
      "c.png",
      pictures::png(
          4, 1, 8, 6, {7, 0, 9, 255, 14, 0, 9, 0, 21, 0, 9, 3, 71, 7, 9, 0}));
  CHECK(close(
      read_image(rgba, options) * 255, t({12, 41, 0, 3, 9, 9}, {3, 1, 2}),
      1e-4));
  const auto deep = folder.write(
      "d.png", pictures::png(4, 1, 16, 0, {700, 1400, 2100, 7100}));
  CHECK(close(
      read_image(deep, options)[0],
      t({1200 / 65535., (4100 + 300 / 7.) / 65535.}, {1, 2}), 1e-7));

  SECTION("for photographs the result is that of resize_image, rounded") {
    const auto noise = (at::rand({3, 50, 40}) * 255).to(at::kByte);
    data::write_png(folder / "n.png", noise);
    const auto small =
        read_image(folder / "n.png", ImageOptions().size({17, 23}));
    const auto exact = data::resize_image(noise.to(at::kFloat) / 255, {17, 23});
    CHECK(small.is_contiguous());
    CHECK(support::distance(small, exact) * 255 < 1.0);
  }
  SECTION("an invalid size throws") {
    CHECK(error_of([&] {
            read_image(grey, ImageOptions().size({4}));
          }) == "cyborg::data::read_image: expected size {H, W}, got [4]");
    CHECK(error_of([&] {
            read_image(grey, ImageOptions().size({1, 0}));
          }) == "cyborg::data::read_image: expected size {H, W}, got [1, 0]");
  }
  SECTION("only the height can change, too") {
    const auto tall =
        folder.write("t.png", pictures::png(1, 4, 8, 0, {7, 14, 21, 71}));
    CHECK(close(
        read_image(tall, ImageOptions().size({2, 1}).channels(1)) * 255,
        t({12, 41}, {1, 2, 1}), 1e-4));
  }
}

TEST_CASE(
    "Threads that read good and broken files do not mix up their errors",
    "[data][image]") {
  const Folder folder;
  const auto good = folder.write("a.png", pictures::png(1, 1, 8, 0, {51}));
  auto bad_bytes = pictures::jpeg_rgb();
  bad_bytes[bad_bytes.find("\xFF\xC0") + 11] = 0;  // a sampling factor of 0
  const auto bad = folder.write("b.jpg", bad_bytes);
  const auto expected = error_of([&] { read_image(bad); });
  CHECK(contains(expected, "cannot be decoded: "));
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int k = 0; k < 4; ++k) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        wrong += error_of([&] { read_image(bad); }) == expected ? 0 : 1;
        wrong += read_image(good).max().item<float>() == 0.2F ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(wrong == 0);
}

TEST_CASE(
    "A program's own stb in the same file keeps its formats", "[data][image]") {
  // A GIF of 1 x 1, a format that cyborg's copy of stb leaves out.
  const auto gif = pictures::from_hex(
      "47494638396101000100800000ff0000ffffff2c000000000100010000020244010"
      "03b");
  int width = 0;
  int height = 0;
  int channels = 0;
  CHECK(
      stbi_info_from_memory(
          reinterpret_cast<const stbi_uc*>(gif.data()),
          static_cast<int>(gif.size()), &width, &height, &channels) == 1);
  CHECK(width == 1);
}
