// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/dataset.hpp>

// A program's own stb, included after ours: see test_image.cpp.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

#include <cmath>
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
    "Pictures are resized and normalised, maps are only resized",
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

  SECTION("by default a map has the size of the resized picture") {
    PictureDataset other(
        {row(picture, 0, {map}), row(picture, 0, {})},
        PictureDatasetOptions().size({3, 5}));
    CHECK(other.get(0).data.sizes() == at::IntArrayRef({3, 3, 5}));
    CHECK(other.get(0).saliency.sizes() == at::IntArrayRef({3, 5}));
    CHECK(other.get(1).saliency.sizes() == at::IntArrayRef({3, 5}));
  }
  SECTION(
      "mean and stddev: one per channel, one for all, or only one of them") {
    using O = PictureDatasetOptions;
    for (const auto& [options, expected] :
         {std::pair<O, Tensor>{
              O().mean({0, .2, .4}).stddev({1, 2, 4}), t({.4, .1, 0})},
          {O().mean({.2}).stddev({2}), t({.1, .1, .1})},
          {O().mean({.1, .2, .4}), t({.3, .2, 0})},
          {O().stddev({2, 4, 8}), t({.2, .1, .05})}}) {
      PictureDataset colour({row(picture, 0, {})}, options);
      CHECK(close(colour.get(0).data.select(2, 1).flatten(), expected, 1e-6));
    }
  }
}

TEST_CASE("Maps are shrunk as in the published code", "[data][dataset]") {
  // The weights of "A picture is halved by the antialiased weights" (12, 41);
  // a mean of cells would be 10.5 and 45.5. Maps are not rounded.
  const Folder folder;
  const auto picture = folder.write("p.png", grey(0, 0));
  const auto map =
      folder.write("m.png", pictures::png(4, 1, 8, 0, {7, 14, 21, 71}));
  using O = PictureDatasetOptions;
  for (const auto& [options, expected] :
       {std::pair<O, Tensor>{O(), t({12, 41 + 3 / 7.}, {1, 2})},
        {O().map_resize(cyborg::maps::Resize::kArea), t({10.5, 46}, {1, 2})},
        {O().map_resize(cyborg::maps::Resize::kNearest), t({7, 21}, {1, 2})}}) {
    PictureDataset set({row(picture, 0, {map})}, options);
    CHECK(close(set.get(0).saliency * 255, expected, 1e-4));
  }
  // A map in colour is read as grey, if that is asked for.
  const auto colour =
      folder.write("c.png", pictures::png(1, 1, 8, 2, {255, 102, 51}));
  PictureDataset set(
      {row(picture, 0, {colour})},
      O().map_size({1, 1}).map_values(data::MapValues::kLuminance));
  CHECK(close(
      set.get(0).saliency, t({.299 + .587 * .4 + .114 * .2}, {1, 1}), 1e-6));
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
  // The mean of one map is the map itself; its union is 0 and 1.
  PictureDataset one({row(picture, 0, {b})});
  CHECK(close(one.get(0).saliency, t({.2, 0}, {1, 2}), 1e-7));
  PictureDataset marked(
      {row(picture, 0, {b})},
      PictureDatasetOptions().combine(data::Combine::kUnion));
  CHECK(close(marked.get(0).saliency, t({1, 0}, {1, 2}), 1e-7));

  SECTION("maps of different sizes get the size of the first") {
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

  // Sigma .3 has weights a, 1 - 2a, a. Blurred first, 4 pixels wide, and then
  // halved with the weights .75 .75 .25 and .25 .75 .75, to sum 1.
  const double e = std::exp(-0.5 / (0.3 * 0.3));
  const double a = e / (1 + 2 * e);
  const auto wide =
      folder.write("w.png", pictures::png(4, 1, 8, 0, {255, 0, 0, 0}));
  PictureDataset small(
      {row(picture, 0, {wide})}, PictureDatasetOptions().map_blur(.3));
  CHECK(close(
      small.get(0).saliency, t({.75 / 1.75, .25 * a / 1.75}, {1, 2}), 1e-7));
  // Several annotators' maps are combined before they are blurred.
  PictureDataset both(
      {row(picture, 0, {map, folder.write("b.png", grey(51, 0))})},
      PictureDatasetOptions().map_blur(.3).combine(data::Combine::kUnion));
  CHECK(close(both.get(0).saliency, t({1 - a, a}, {1, 2}), 1e-7));
}

TEST_CASE(
    "By default a broken file throws an error with its name",
    "[data][dataset]") {
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

  SECTION("a skipped file stays skipped, and is listed once") {
    folder.write("b.png", grey(0, 0));
    CHECK(set.get_batch(std::vector<size_t>{0, 1, 2, 3}).size() == 2);
    CHECK(set.skipped().size() == 2);
  }
  SECTION("get throws also with kSkip") {
    CHECK(contains(error_of([&] { set.get(1); }), "b.png: is mislabelled"));
  }
  SECTION("a batch of which all is skipped is empty, also when it is stacked") {
    const auto none = set.get_batch(std::vector<size_t>{1, 2});
    CHECK(none.empty());
    CHECK(!data::Collate().apply_batch(none).data.defined());
  }
  SECTION("errors that do not come from files are not skipped") {
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

TEST_CASE("A data set keeps no picture that it returned", "[data][dataset]") {
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

TEST_CASE("Samples are stacked with their maps", "[data][dataset]") {
  const auto batch = data::Collate().apply_batch(
      {{at::full({1, 2, 2}, 1.), label(4), at::ones({2, 2})},
       {at::full({1, 2, 2}, 2.), label(5), Tensor()}});
  CHECK(batch.data.sizes() == at::IntArrayRef({2, 1, 2, 2}));
  CHECK(close(batch.target, support::labels({4, 5}), 0));
  CHECK(close(batch.saliency[0], at::ones({2, 2}), 0));
  CHECK(batch.saliency[1].isnan().all().item<bool>());

  SECTION("if no sample has a map, the maps have the size of the picture") {
    const auto none = data::Collate().apply_batch(
        {{at::rand({3, 4, 5}), label(0), Tensor()}});
    CHECK(none.saliency.sizes() == at::IntArrayRef({1, 4, 5}));
    CHECK(none.saliency.isnan().all().item<bool>());
  }
  SECTION("a missing map has the size and type of the others") {
    const auto mixed = data::Collate().apply_batch(
        {{at::rand({3, 4, 5}), label(0), Tensor()},
         {at::rand({3, 4, 5}), label(0), at::ones({2, 2}, at::kDouble)}});
    CHECK(mixed.saliency.scalar_type() == at::kDouble);
    CHECK(mixed.saliency.sizes() == at::IntArrayRef({2, 2, 2}));
    CHECK(mixed.saliency[0].isnan().all().item<bool>());
    CHECK(close(mixed.saliency[1], at::ones({2, 2}, at::kDouble), 0));
  }
  SECTION("an error names different sizes") {
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

TEST_CASE("Invalid options of a data set throw", "[data][dataset][error]") {
  const auto error = [](const PictureDatasetOptions& options) {
    return error_of([&] { PictureDataset({}, options); });
  };
  using O = PictureDatasetOptions;
  const std::string name = "cyborg::data::PictureDataset: ";
  CHECK(error(O().size({3})) == name + "expected size {H, W}, got [3]");
  CHECK(error(O().size({0, 3})) == name + "expected size {H, W}, got [0, 3]");
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
