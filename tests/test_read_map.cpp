// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "jpegs.hpp"
#include "pictures.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/read_map.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace data = cyborg::data;
using data::ImageOptions;
using data::MapOptions;
using data::MapValues;
using data::read_map;
using pictures::Folder;
using support::close;
using support::error_of;
using support::t;

namespace {

const std::string kAlphaHint =
    "read its alpha channel (MapValues::kAlpha; --map-values alpha in the "
    "programs)";
const std::string kColourReason =
    "is a map of colours, whose brightness need not rise with its values (that "
    "of \"jet\" falls at the peak): save the values themselves in grey. Where "
    "the brightness does rise with them, read the luminance "
    "(MapValues::kLuminance; --map-values luminance in the programs)";
const std::string kAlphaReason =
    "has the same colour everywhere, and a map in its alpha channel: " +
    kAlphaHint;

/// Why a map is rejected; "" if it is read.
std::string reason_of(
    const Folder& folder, const std::string& bytes,
    MapValues values = MapValues::kGrey) {
  try {
    read_map(
        folder.write("m.png", bytes),
        MapOptions().values(values).check_extension(false));
  } catch (const cyborg::io::FileError& error) {
    return error.reason();
  }
  return "";
}

/// A picture of 3 x 2 grey pixels, 10 to 60, with an EXIF orientation.
std::string oriented(uint32_t orientation) {
  auto bytes = pictures::png(3, 2, 8, 0, {10, 20, 30, 40, 50, 60});
  const auto exif =
      std::string("MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0", 19) +
      static_cast<char>(orientation) + std::string(6, '\0');
  return bytes.insert(33, pictures::png_chunk("eXIf", exif));
}

}  // namespace

TEST_CASE("A grey map is read as it is", "[data][map]") {
  const Folder folder;
  const auto grey = folder.write("g.png", pictures::png(2, 1, 8, 0, {51, 255}));
  CHECK(close(read_map(grey), t({.2, 1}, {1, 2}), 1e-7));
  CHECK(read_map(grey).is_contiguous());
  const auto deep =
      folder.write("d.png", pictures::png(2, 1, 16, 0, {13107, 0}));
  CHECK(close(read_map(deep), t({.2, 0}, {1, 2}), 1e-7));
  const auto rgb = folder.write(
      "c.png", pictures::png(2, 1, 8, 2, {51, 51, 51, 255, 255, 255}));
  CHECK(close(read_map(rgb), t({.2, 1}, {1, 2}), 1e-6));
  CHECK(close(
      read_map(folder.write("a.jpg", pictures::jpeg_grey())),
      at::full({8, 8}, 120 / 255.), 1e-6));
}

TEST_CASE("A map of colours is an error", "[data][map][error]") {
  const Folder folder;
  // Blue to dark red, as the scale "jet" has them.
  const auto jet = pictures::png(2, 1, 8, 2, {0, 0, 128, 128, 0, 0});
  CHECK(reason_of(folder, jet) == kColourReason);
  CHECK(reason_of(folder, jet, MapValues::kLuminance) == "");
  CHECK(close(
      read_map(
          folder.write("j.png", jet),
          MapOptions().values(MapValues::kLuminance)),
      t({.114, .299}, {1, 2}) * 128 / 255, 1e-6));
  CHECK(
      error_of([&] { read_map(folder / "j.png"); }) ==
      "cyborg::data::read_map: " + folder / "j.png" + ": " + kColourReason);
  CHECK(reason_of(folder, jpegs::colours()) == kColourReason);

  SECTION("JPEG changes grey a little: up to 16 of 255") {
    const auto map = [](uint32_t blue) {
      return pictures::png(2, 1, 8, 2, {100, 100, 100, 100, 100, blue});
    };
    CHECK(reason_of(folder, map(116)) == "");
    CHECK(reason_of(folder, map(84)) == "");
    CHECK(reason_of(folder, map(117)) == kColourReason);
    CHECK(reason_of(folder, map(83)) == kColourReason);
    const auto deep = [](uint32_t blue) {
      return pictures::png(1, 1, 16, 2, {20000, 20000, blue});
    };
    CHECK(reason_of(folder, deep(20000 + 16 * 257)) == "");
    CHECK(reason_of(folder, deep(20001 + 16 * 257)) == kColourReason);
  }
  SECTION("with an alpha channel, the way out may be that one") {
    const auto strokes =
        pictures::png(2, 1, 8, 6, {255, 0, 0, 255, 0, 0, 0, 0});
    CHECK(reason_of(folder, strokes) == kColourReason + ", or " + kAlphaHint);
    CHECK(reason_of(folder, strokes, MapValues::kAlpha) == "");
    const auto opaque =
        pictures::png(2, 1, 8, 6, {255, 0, 0, 255, 0, 0, 0, 255});
    CHECK(reason_of(folder, opaque) == kColourReason);
  }
}

TEST_CASE("A map in the alpha channel is an error", "[data][map][error]") {
  const Folder folder;
  const auto rgba = pictures::png(2, 1, 8, 6, {9, 8, 7, 51, 9, 8, 7, 255});
  const auto grey = pictures::png(2, 1, 8, 4, {255, 51, 255, 255});
  const auto deep = pictures::png(2, 1, 16, 4, {9, 13107, 9, 65535});
  for (const auto& bytes : {rgba, grey, deep}) {
    CHECK(reason_of(folder, bytes) == kAlphaReason);
    CHECK(reason_of(folder, bytes, MapValues::kLuminance) == kAlphaReason);
    CHECK(close(
        read_map(
            folder.write("a.png", bytes),
            MapOptions().values(MapValues::kAlpha)),
        t({.2, 1}, {1, 2}), 1e-7));
  }
  // A palette with transparency, as a drawing program writes it.
  CHECK(
      reason_of(
          folder, pictures::png_of_rows(
                      2, 1, 8, 3, std::string("\0\0\1", 3),
                      pictures::png_chunk("PLTE", "\xFF\xFF\xFF\xFF\xFF\xFF") +
                          pictures::png_chunk("tRNS", "\x33"))) ==
      kAlphaReason);

  SECTION("it is not where a map in grey has transparent parts") {
    const auto both = pictures::png(2, 1, 8, 4, {51, 255, 255, 0});
    CHECK(reason_of(folder, both) == "");
  }
  SECTION("a map of one value that is opaque is only constant") {
    CHECK(reason_of(folder, pictures::png(2, 1, 8, 4, {7, 9, 7, 9})) == "");
  }
  SECTION("it is needed where it is asked for") {
    CHECK(
        reason_of(folder, pictures::png(1, 1, 8, 0, {7}), MapValues::kAlpha) ==
        "has no alpha channel, from which maps are to be read");
  }
}

TEST_CASE(
    "Pictures are turned as their EXIF orientation says", "[data][image]") {
  const Folder folder;
  // As Pillow's ImageOps.exif_transpose turns 10 20 30 / 40 50 60.
  const std::vector<std::vector<double>> rows = {
      {10, 20, 30, 40, 50, 60}, {30, 20, 10, 60, 50, 40},
      {60, 50, 40, 30, 20, 10}, {40, 50, 60, 10, 20, 30},
      {10, 40, 20, 50, 30, 60}, {40, 10, 50, 20, 60, 30},
      {60, 30, 50, 20, 40, 10}, {30, 60, 20, 50, 10, 40}};
  for (uint32_t i = 1; i <= 8; ++i) {
    CAPTURE(i);
    const auto file = folder.write("a.png", oriented(i));
    const auto image = data::read_image(
        file, ImageOptions().channels(1).apply_orientation(true));
    const auto expected = torch::tensor(rows[i - 1], at::kDouble)
                              .view(
                                  i < 5 ? std::vector<int64_t>{1, 2, 3}
                                        : std::vector<int64_t>{1, 3, 2}) /
                          255;
    CHECK(image.is_contiguous());
    CHECK(close(image, expected, 1e-7));
    CHECK(close(
        read_map(file, MapOptions().apply_orientation(true)), expected[0],
        1e-7));
    CHECK(close(
        data::read_image(file, ImageOptions().channels(1)),
        t({10, 20, 30, 40, 50, 60}, {1, 2, 3}) / 255, 1e-7));
    // The size is that of the turned picture.
    const auto small = ImageOptions().channels(1).size({1, 3});
    CHECK(close(
        data::read_image(file, ImageOptions(small).apply_orientation(true)),
        data::resize_image(image, {1, 3}), 1. / 255));
  }
}

TEST_CASE(
    "A data set turns pictures alone, or pictures and maps",
    "[data][dataset]") {
  const Folder folder;
  data::Row row;
  row.path = folder.write("a.png", oriented(6));
  row.saliency = {row.path};
  const auto sample = [&](data::Orientation orientation) {
    return data::PictureDataset(
               {row}, data::PictureDatasetOptions().channels(1).orientation(
                          orientation))
        .get(0);
  };
  const auto stored = sample(data::Orientation::kIgnore);
  CHECK(stored.data.sizes() == at::IntArrayRef({1, 2, 3}));
  CHECK(close(stored.data[0], stored.saliency, 1e-7));
  const auto both = sample(data::Orientation::kBoth);
  CHECK(both.data.sizes() == at::IntArrayRef({1, 3, 2}));
  CHECK(close(both.data[0], both.saliency, 1e-7));
  const auto picture = sample(data::Orientation::kPicture);
  CHECK(close(picture.data, both.data, 0));
  CHECK(close(
      picture.saliency,
      cyborg::maps::resize(
          stored.saliency, {3, 2}, cyborg::maps::Resize::kAntialias),
      1e-7));
}

TEST_CASE(
    "A data set rejects a map of colours unless it is told how to read it",
    "[data][dataset][error]") {
  const Folder folder;
  data::Row row;
  row.path = folder.write("a.png", pictures::png(2, 1, 8, 0, {1, 2}));
  row.saliency = {folder.write(
      "m.png", pictures::png(2, 1, 8, 6, {0, 0, 128, 51, 128, 0, 0, 255}))};
  const auto map = [&](MapValues values) {
    return data::PictureDataset(
               {row}, data::PictureDatasetOptions().map_values(values))
        .get(0)
        .saliency;
  };
  CHECK(
      error_of([&] { map(MapValues::kGrey); }) ==
      "cyborg::data::read_map: " + row.saliency[0] + ": " + kColourReason +
          ", or " + kAlphaHint);
  CHECK(close(
      map(MapValues::kLuminance), t({.114, .299}, {1, 2}) * 128 / 255, 1e-6));
  CHECK(close(map(MapValues::kAlpha), t({.2, 1}, {1, 2}), 1e-7));
}
