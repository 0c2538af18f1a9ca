// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/report/contact_sheet.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace data = cyborg::data;
using cyborg::report::contact_sheet;
using pictures::Folder;
using support::close;
using support::error_of;
using torch::Tensor;

namespace {

data::Row row(const Folder& folder, const std::string& name, uint32_t red) {
  data::Row made;
  made.path = folder.write(
      name, red > 255 ? "broken" : pictures::png(1, 1, 8, 2, {red, 0, 0}));
  return made;
}

Tensor tile(const Tensor& sheet, int64_t y, int64_t x, int64_t size) {
  return sheet.narrow(1, y * (size + 2), size).narrow(2, x * (size + 2), size);
}

}  // namespace

TEST_CASE("A contact sheet shows maps over pictures", "[report]") {
  const Folder folder;
  const auto map = folder.write("m.png", pictures::png(2, 1, 8, 0, {0, 255}));
  const auto flat = folder.write("f.png", pictures::png(1, 1, 8, 0, {9}));
  data::Table table;
  table.rows = {
      row(folder, "0.png", 51), row(folder, "1.png", 102),
      row(folder, "2.png", 153), row(folder, "3.png", 999),
      row(folder, "4.png", 204)};
  table.rows[0].saliency = {map};
  table.rows[1].saliency = {""};  // names no map: not shown
  table.rows[2].saliency = {"", flat};
  table.rows[3].saliency = {map};
  table.rows[4].saliency = {map, map};
  const auto sheet = contact_sheet(table, 2, 3, /*tile=*/8);
  REQUIRE(sheet.sizes() == at::IntArrayRef({3, 18, 28}));
  CHECK(sheet.slice(1, 8, 10).eq(1).all().item<bool>());
  CHECK(sheet.slice(2, 8, 10).eq(1).all().item<bool>());

  data::PictureDataset set(
      {table.rows[0], table.rows[4]},
      data::PictureDatasetOptions().size({8, 8}));
  for (const int64_t i : {0, 1}) {
    const auto sample = set.get(static_cast<size_t>(i));
    CHECK(close(
        tile(sheet, i, 0, 8),
        cyborg::report::overlay(sample.data, sample.saliency)));
  }
  // This map is constant, so the picture has its own colours.
  CHECK(close(tile(sheet, 0, 1, 8)[0], torch::full({8, 8}, .6), 1e-6));
  CHECK(close(tile(sheet, 0, 1, 8)[1], torch::zeros({8, 8})));
  CHECK(close(tile(sheet, 0, 2, 8), torch::full({3, 8, 8}, .5)));  // broken
  CHECK(tile(sheet, 1, 1, 8).eq(1).all().item<bool>());  // no more pictures
}

TEST_CASE("A contact sheet takes pictures at equal distances", "[report]") {
  const Folder folder;
  data::Table table;
  for (uint32_t i = 0; i < 10; ++i) {
    table.rows.push_back(row(folder, std::to_string(i) + ".png", i * 25));
  }
  // No row names a map, so all count. Rows 0, 2, 5 and 7 of 10 are shown.
  const auto sheet = contact_sheet(table, 1, 4, 2);
  REQUIRE(sheet.sizes() == at::IntArrayRef({3, 2, 14}));
  const std::vector<double> red{0, 50, 125, 175};
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(
        tile(sheet, 0, i, 2)[0][0][0].item<double>() * 255 ==
        Approx(red[static_cast<size_t>(i)]).margin(1e-3));
  }
  // With fewer pictures than tiles, there are only the rows that are needed.
  CHECK(contact_sheet(table, 9, 4, 2).sizes() == at::IntArrayRef({3, 10, 14}));
}

TEST_CASE("A contact sheet reads maps as it is told", "[report]") {
  const Folder folder;
  data::Table table;
  table.rows = {row(folder, "0.png", 51)};
  table.rows[0].saliency = {
      folder.write("m.png", pictures::png(2, 1, 8, 2, {0, 0, 255, 255, 0, 0}))};
  CHECK(close(contact_sheet(table, 1, 1, 2), torch::full({3, 2, 2}, .5)));
  const auto sheet = contact_sheet(
      table, 1, 1, 2,
      data::PictureDatasetOptions()
          .map_values(data::MapValues::kLuminance)
          .size({7, 7})
          .map_size({9, 9})
          .channels(1)
          .mean({.5})
          .stddev({2}));
  data::PictureDataset set(
      table.rows, data::PictureDatasetOptions()
                      .map_values(data::MapValues::kLuminance)
                      .size({2, 2}));
  const auto sample = set.get(0);
  CHECK(close(
      sheet, cyborg::report::overlay(sample.data, sample.saliency), 1e-6));
}

TEST_CASE("A contact sheet rejects invalid arguments", "[report][error]") {
  data::Table table;
  CHECK(
      error_of([&] { contact_sheet(table); }) ==
      "cyborg::report::contact_sheet: expected a table with rows, got none");
  CHECK(
      error_of([&] { contact_sheet(table, 0, 6, 128); }) ==
      "cyborg::report::contact_sheet: expected rows, columns and tile > 0, got "
      "0, 6 and 128");
}
