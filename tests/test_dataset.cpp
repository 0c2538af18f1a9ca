// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/dataset.hpp>

// A program's own stb after ours: see test_image.cpp.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <string>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::OnError;
using data::PictureDataset;
using data::PictureDatasetOptions;
using data::Row;
using pictures::Folder;
using support::close;
using support::contains;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

Row row(std::string path, int64_t label, std::vector<std::string> saliency) {
  Row row;
  row.path = std::move(path);
  row.label = label;
  row.saliency = std::move(saliency);
  return row;
}

Tensor label(int64_t value) {
  return at::scalar_tensor(value, at::kLong);
}

/// A 2 x 1 grey picture.
std::string grey(uint32_t left, uint32_t right) {
  return pictures::png(2, 1, 8, 0, {left, right});
}

}  // namespace

TEST_CASE(
    "A sample is the picture, its label and its human map", "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(51, 102));
  const auto map = folder.write("m.png", grey(0, 255));
  PictureDataset set(
      {row(picture, 1, {map}), row(picture, 0, {}), row(picture, 0, {""})});
  CHECK(*set.size() == 3);
  const auto sample = set.get(0);
  CHECK(close(sample.data, t({.2, .4, .2, .4, .2, .4}, {3, 1, 2}), 1e-7));
  CHECK(sample.target.scalar_type() == at::kLong);
  CHECK(sample.target.dim() == 0);
  CHECK(sample.target.item<int64_t>() == 1);
  CHECK(close(sample.saliency, t({0, 1}, {1, 2}), 1e-7));
  for (const size_t i : {1, 2}) {
    CHECK(set.get(i).saliency.sizes() == at::IntArrayRef({1, 2}));
    CHECK(set.get(i).saliency.isnan().all().item<bool>());
  }
}

TEST_CASE(
    "Pictures are resized and normalised, maps resized only",
    "[data][dataset]") {
  const Folder folder;
  const auto picture =
      folder.write("p.png", pictures::png(4, 1, 8, 0, {51, 102, 0, 204}));
  const auto map = folder.write("m.png", grey(255, 0));
  PictureDataset set(
      {row(picture, 0, {map}), row(picture, 0, {})}, PictureDatasetOptions()
                                                         .size({1, 4})
                                                         .channels(1)
                                                         .mean({0.2})
                                                         .stddev({0.4})
                                                         .map_size({1, 1}));
  CHECK(close(set.get(0).data, t({0, .5, -.5, 1.5}, {1, 1, 4}), 1e-6));
  CHECK(close(set.get(0).saliency, t({.5}, {1, 1}), 1e-7));
  CHECK(set.get(1).saliency.sizes() == at::IntArrayRef({1, 1}));

  SECTION("a map is as large as the resized picture unless said otherwise") {
    PictureDataset other(
        {row(picture, 0, {map}), row(picture, 0, {})},
        PictureDatasetOptions().size({3, 5}));
    CHECK(other.get(0).data.sizes() == at::IntArrayRef({3, 3, 5}));
    CHECK(other.get(0).saliency.sizes() == at::IntArrayRef({3, 5}));
    CHECK(other.get(1).saliency.sizes() == at::IntArrayRef({3, 5}));
  }
  SECTION("mean and deviation per channel") {
    PictureDataset colour(
        {row(picture, 0, {})},
        PictureDatasetOptions().mean({0, .2, .4}).stddev({1, 2, 4}));
    CHECK(
        close(colour.get(0).data.select(2, 1).flatten(), t({.4, .1, 0}), 1e-6));
  }
}

TEST_CASE("Several annotators become one map", "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(0, 0));
  const auto a = folder.write("a.png", grey(255, 0));
  const auto b = folder.write("b.png", grey(51, 0));
  const auto wide =
      folder.write("w.png", pictures::png(4, 1, 8, 0, {0, 0, 255, 255}));
  const std::vector<Row> rows{
      row(picture, 0, {a, "", b}), row(picture, 0, {a, wide})};
  PictureDataset mean(rows);
  CHECK(close(mean.get(0).saliency, t({.6, 0}, {1, 2}), 1e-6));
  PictureDataset either(
      rows, PictureDatasetOptions()
                .combine(data::Combine::kUnion)
                .map_resize(cyborg::maps::Resize::kArea));
  CHECK(close(either.get(0).saliency, t({1, 0}, {1, 2}), 1e-7));

  SECTION("maps of several sizes are brought to that of the first") {
    CHECK(close(either.get(1).saliency, t({1, 1}, {1, 2}), 1e-7));
  }
}

TEST_CASE("Maps can be blurred, in pixels of the map file", "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(0, 0));
  const auto map = folder.write("m.png", grey(255, 0));
  PictureDataset set(
      {row(picture, 0, {map})}, PictureDatasetOptions().map_blur(100));
  CHECK(close(set.get(0).saliency, t({.5, .5}, {1, 2}), 1e-3));
}

TEST_CASE("By default a broken file stops, by name", "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(0, 0));
  const auto broken = folder.write("b.png", grey(0, 0).substr(0, 50));
  PictureDataset set(
      {row(picture, 0, {}), row(broken, 0, {}), row(picture, 0, {broken}),
       row(picture, 0, {folder / "none.png"})});
  CHECK_NOTHROW(set.get_batch(std::vector<size_t>{0}));
  CHECK(contains(
      error_of([&] { set.get_batch(std::vector<size_t>{0, 1}); }),
      "b.png: is truncated"));
  CHECK(contains(error_of([&] { set.get(2); }), "b.png: is truncated"));
  CHECK(contains(error_of([&] { set.get(3); }), "none.png: no such file"));
  CHECK(set.skipped().empty());
}

TEST_CASE(
    "On request broken files are skipped, counted and listed",
    "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(0, 0));
  const auto broken = folder.write("b.png", "hello");
  const std::vector<Row> rows{
      row(picture, 0, {}), row(broken, 1, {}), row(picture, 2, {broken}),
      row(picture, 3, {})};
  PictureDataset set(rows, PictureDatasetOptions().on_error(OnError::kSkip));
  auto copy = set;  // as a worker thread has one
  const auto batch = copy.get_batch(std::vector<size_t>{3, 2, 1, 0});
  REQUIRE(batch.size() == 2);
  CHECK(batch[0].target.item<int64_t>() == 3);
  CHECK(batch[1].target.item<int64_t>() == 0);
  const auto skipped = set.skipped();
  REQUIRE(skipped.size() == 2);
  CHECK(skipped[0].index == 1);
  CHECK(skipped[0].path == broken);
  CHECK(
      skipped[0].reason ==
      "is mislabelled: its content is text, not a PNG, JPEG or BMP picture");
  CHECK(skipped[1].index == 2);
  CHECK(*set.size() == 4);

  SECTION("once skipped, always skipped, and listed once") {
    folder.write("b.png", grey(0, 0));
    CHECK(set.get_batch(std::vector<size_t>{0, 1, 2, 3}).size() == 2);
    CHECK(set.skipped().size() == 2);
  }
  SECTION("one sample alone cannot be left out of itself") {
    CHECK(contains(error_of([&] { set.get(1); }), "b.png: is mislabelled"));
  }
  SECTION("a batch of which nothing is left is empty, and stacks to nothing") {
    const auto none = set.get_batch(std::vector<size_t>{1, 2});
    CHECK(none.empty());
    CHECK(!data::Collate().apply_batch(none).data.defined());
  }
  SECTION("what is no matter of files is not skipped") {
    CHECK(contains(
        error_of([&] { set.get_batch(std::vector<size_t>{0, 4}); }),
        "cyborg::data::PictureDataset: expected an index below 4, got 4"));
  }
}

TEST_CASE(
    "The options of read_image reach pictures and maps", "[data][dataset]") {
  const Folder folder;
  const auto small = folder.write("s.png", grey(0, 0));
  const auto large =
      folder.write("l.png", pictures::png(3, 1, 8, 0, {0, 0, 0}));
  const auto jpeg = folder.write("j.png", pictures::jpeg_grey());
  PictureDataset set(
      {row(large, 0, {}), row(small, 0, {large})},
      PictureDatasetOptions().max_pixels(2));
  CHECK(contains(error_of([&] { set.get(0); }), "l.png: is too large"));
  CHECK(contains(error_of([&] { set.get(1); }), "l.png: is too large"));
  PictureDataset lenient(
      {row(jpeg, 0, {jpeg})}, PictureDatasetOptions().check_extension(false));
  CHECK(lenient.get(0).saliency.sizes() == at::IntArrayRef({8, 8}));
}

TEST_CASE("A data set keeps no picture that it handed out", "[data][dataset]") {
  const Folder folder;
  const auto picture = folder.write("p.png", grey(51, 102));
  PictureDataset set(std::vector<Row>(100, row(picture, 0, {picture})));
  std::vector<c10::weak_intrusive_ptr<at::TensorImpl>> seen;
  for (size_t i = 0; i < 100; ++i) {
    const auto sample = set.get(i);
    seen.emplace_back(sample.data.getIntrusivePtr());
    seen.emplace_back(sample.saliency.getIntrusivePtr());
  }
  size_t alive = 0;
  for (const auto& tensor : seen) {
    alive += tensor.expired() ? 0 : 1;
  }
  CHECK(alive == 0);
}

TEST_CASE("Samples are stacked, maps with them", "[data][dataset]") {
  const auto batch = data::Collate().apply_batch(
      {{at::full({1, 2, 2}, 1.), label(4), at::ones({2, 2})},
       {at::full({1, 2, 2}, 2.), label(5), Tensor()}});
  CHECK(batch.data.sizes() == at::IntArrayRef({2, 1, 2, 2}));
  CHECK(close(batch.target, support::labels({4, 5}), 0));
  CHECK(close(batch.saliency[0], at::ones({2, 2}), 0));
  CHECK(batch.saliency[1].isnan().all().item<bool>());

  SECTION("where no sample has a map, it is as large as the picture") {
    const auto none = data::Collate().apply_batch(
        {{at::rand({3, 4, 5}), label(0), Tensor()}});
    CHECK(none.saliency.sizes() == at::IntArrayRef({1, 4, 5}));
    CHECK(none.saliency.isnan().all().item<bool>());
  }
  SECTION("sizes that differ are named") {
    CHECK(
        error_of([] {
          data::Collate().apply_batch(
              {{at::rand({1, 2, 2}), label(0), at::rand({2, 2})},
               {at::rand({1, 2, 2}), label(0), at::rand({3, 2})}});
        }) ==
        "cyborg::data::Collate: expected human maps of one size in a batch, "
        "got [2, 2] and [3, 2]");
    CHECK(
        error_of([] {
          data::Collate().apply_batch(
              {{at::rand({1, 2, 2}), label(0), Tensor()},
               {at::rand({1, 3, 2}), label(0), Tensor()}});
        }) ==
        "cyborg::data::Collate: expected pictures of one size in a batch, got "
        "[1, 2, 2] and [1, 3, 2]");
  }
}

TEST_CASE(
    "A data set refuses options that make no sense", "[data][dataset][error]") {
  const auto error = [](const PictureDatasetOptions& options) {
    return error_of([&] { PictureDataset({}, options); });
  };
  using O = PictureDatasetOptions;
  const std::string name = "cyborg::data::PictureDataset: ";
  CHECK(error(O().size({3})) == name + "expected size {H, W}, got [3]");
  CHECK(
      error(O().map_size({3, 0})) ==
      name + "expected map_size {H, W}, got [3, 0]");
  CHECK(error(O().channels(4)) == name + "expected 1 or 3 channels, got 4");
  CHECK(
      error(O().mean({1, 2})) ==
      name + "expected 1 or 3 numbers in mean, got 2");
  CHECK(
      error(O().channels(1).stddev({1, 2, 3})) ==
      name + "expected 1 number in stddev, got 3");
  CHECK(error(O().stddev({1, 0, 1})) == name + "expected stddev > 0, got 0");
}
