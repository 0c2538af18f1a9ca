// SPDX-License-Identifier: BSD-3-Clause
// Masks of what must not be used, sample weights, and the numbers of people, on
// their way from a table to a batch.

#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <cyborg/data/augment.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/table.hpp>

#include <cmath>
#include <string>

namespace {

namespace data = cyborg::data;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;

/// Three pictures of 8 x 6; the first two have masks, the first a map, too.
std::string rich_table(const pictures::Folder& folder) {
  auto mask = torch::zeros({8, 6});
  mask.narrow(0, 0, 4).narrow(1, 3, 3).fill_(1);
  data::write_png(folder / "mask.png", mask);
  data::write_png(folder / "map.png", 1 - mask);
  for (const auto* name : {"a.png", "b.png", "c.png"}) {
    data::write_png(folder / name, torch::rand({8, 6}));
  }
  return folder.write(
      "table.csv",
      "split,class,path,saliency,Wrong,weight,reaction_time,accuracy\n"
      "train,live,a.png,map.png,mask.png,2.5,1.25,0.75\n"
      "train,spoof,b.png,,mask.png,,,\n"
      "train,live,c.png,,,0,3,1\n");
}

data::GuidedExample batch_of(
    const data::Table& table, const std::vector<size_t>& indices) {
  data::PictureDataset set(
      table.rows, data::PictureDatasetOptions().channels(1));
  return data::Collate().apply_batch(set.get_batch(indices));
}

}  // namespace

TEST_CASE("A table names masks, weights and people's numbers", "[data]") {
  const pictures::Folder folder;
  const auto table = data::read_table(rich_table(folder));
  CHECK_FALSE(contains(table.warnings_text(), "is not used"));
  CHECK(contains(table.rows[0].wrong, "mask.png"));
  CHECK(table.rows[0].weight == 2.5);
  CHECK(table.rows[0].reaction_time == 1.25);
  CHECK(table.rows[0].accuracy == 0.75);
  CHECK(table.rows[1].weight == 1);
  CHECK(std::isnan(table.rows[1].reaction_time));
  CHECK(std::isnan(table.rows[1].accuracy));
  CHECK(table.rows[2].wrong.empty());
  CHECK(table.rows[2].weight == 0);
  CHECK(table.rows[0].map_files().size() == 2);
  CHECK(table.rows[1].map_files().size() == 1);
}

TEST_CASE("Numbers of a table that make no sense are refused", "[data]") {
  const pictures::Folder folder;
  const auto error = [&](const std::string& column, const std::string& cell) {
    const auto path = folder.write(
        "t.csv", "split,class,path," + column + "\ntrain,live,a.png," + cell +
                     "\ntrain,spoof,b.png,\n");
    return error_of([&] { data::read_table(path); });
  };
  CHECK(contains(
      error("weight", "-1"),
      ":2: column \"weight\": expected a number from 0, got \"-1\""));
  CHECK(contains(error("weight", "nan"), "expected a number from 0"));
  CHECK(contains(error("weight", "2,5"), "expected 4 fields, got 5"));
  CHECK(contains(error("weight", "two"), "got \"two\""));
  CHECK(contains(
      error("accuracy", "75"), "expected a number from 0 to 1, got \"75\""));
  CHECK(contains(
      error("reaction_time", "0"), "expected a number above 0, got \"0\""));
}

TEST_CASE("Masks and weights come with their pictures", "[data]") {
  const pictures::Folder folder;
  const auto table = data::read_table(rich_table(folder));
  const auto batch = batch_of(table, {0, 1, 2});
  REQUIRE(batch.wrong.sizes() == at::IntArrayRef({3, 8, 6}));
  CHECK(batch.wrong[0].sum().item<double>() == 12);
  CHECK(batch.wrong[0].equal(batch.wrong[1]));
  CHECK(close(batch.saliency[0], 1 - batch.wrong[0], 1e-6));
  CHECK(batch.wrong[2].isnan().all().item<bool>());  // nobody drew one
  CHECK(close(batch.weight, torch::tensor({2.5, 1., 0.}), 1e-6));
  const auto none = batch_of(
      data::read_table(
          folder.write("plain.csv", "train,live,a.png\ntrain,spoof,b.png\n")),
      {0, 1});
  CHECK_FALSE(none.wrong.defined());
  CHECK_FALSE(none.weight.defined());
}

TEST_CASE("An augmentation moves masks as it moves maps", "[data]") {
  torch::manual_seed(4);
  data::GuidedExample example;
  example.data = torch::rand({3, 12, 10});
  example.saliency = torch::rand({12, 10});
  example.wrong = example.saliency.clone();
  const data::Augment augment(data::AugmentOptions()
                                  .vertical_flip(0.5)
                                  .min_area(0.4)
                                  .rotation(30)
                                  .scale(1.3));
  for (uint64_t draw = 0; draw < 8; ++draw) {
    const auto moved = augment(example, draw);
    CHECK(moved.wrong.equal(moved.saliency));
    CHECK_FALSE(moved.wrong.equal(example.wrong));
  }
  example.wrong = Tensor();
  CHECK_FALSE(augment(example, 1).wrong.defined());
}

TEST_CASE("Masks are found in a folder, by the pictures' names", "[data]") {
  const pictures::Folder folder;
  rich_table(folder);
  folder.write("masks/x", "");
  data::write_png(folder / "masks/b.png", torch::eye(8).narrow(1, 0, 6));
  const auto plain = folder.write(
      "plain.csv",
      "split,class,path,wrong\ntrain,live,a.png,mask.png\n"
      "train,spoof,b.png,\ntrain,spoof,c.png,\n");
  const auto table =
      data::read_table(plain, data::TableOptions().wrong(folder / "masks"));
  CHECK(contains(table.rows[0].wrong, "mask.png"));
  CHECK(contains(table.rows[1].wrong, "masks/b.png"));
  CHECK(table.rows[2].wrong.empty());
  CHECK(contains(
      data::read_table(
          folder.write("none.csv", "train,live,a.png\ntrain,spoof,c.png\n"),
          data::TableOptions().wrong(folder / "masks"))
          .warnings_text(),
      "masks holds no mask for a picture of "));
  CHECK(contains(
      error_of([&] {
        data::read_table(plain, data::TableOptions().wrong(folder / "none"));
      }),
      "none: is not a folder of masks"));
}

TEST_CASE("Masks that cannot be read are found before a training", "[data]") {
  const pictures::Folder folder;
  rich_table(folder);
  data::write_png(folder / "black.png", torch::zeros({8, 6}));
  data::write_png(folder / "wide.png", torch::eye(6).repeat({1, 4}));
  const auto table = data::read_table(folder.write(
      "t.csv",
      "split,class,path,wrong\ntrain,live,a.png,missing.png\n"
      "train,spoof,b.png,black.png\ntrain,live,c.png,wide.png\n"));
  const auto notes = data::check_files(table);
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0].path, "missing.png"));
  CHECK(data::check_proportions(table).size() == 1);
  auto readable = table;
  readable.rows.erase(readable.rows.begin());
  const auto check = data::check_pictures(readable);
  CHECK(check.constant.empty());  // a black mask says that nothing is wrong
  CHECK(check.other_aspect.size() == 1);
}
