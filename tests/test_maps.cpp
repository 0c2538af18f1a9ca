// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/human/maps.hpp>

#include <cmath>
#include <limits>

namespace human = cyborg::human;
using cyborg::maps::Resize;
using support::close;
using support::contains;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

const double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

bool all_nan(const Tensor& x) {
  return x.isnan().all().item<bool>();
}

}  // namespace

TEST_CASE(
    "Halving a map by area takes the mean of its cells", "[human][maps]") {
  const auto map = t({0, 2, 4, 6, 8, 10, 12, 14}, {2, 4});
  CHECK(close(
      cyborg::maps::resize(map, {1, 2}, Resize::kArea), t({5, 9}, {1, 2})));
}

TEST_CASE(
    "Antialiasing uses a triangle whose width follows the scale",
    "[human][maps]") {
  // 4 -> 2: output 0 has its centre at 1 in input units, and its support is 2
  // to each side. The inputs at .5, 1.5, 2.5 have the weights .75, .75, .25,
  // divided by their sum.
  const auto map = t({7, 14, 21, 70}, {1, 4});
  const auto left = (7 * .75 + 14 * .75 + 21 * .25) / 1.75;
  const auto right = (14 * .25 + 21 * .75 + 70 * .75) / 1.75;
  CHECK(close(cyborg::maps::resize(map, {1, 2}), t({left, right}, {1, 2})));
}

TEST_CASE("Growing a map interpolates between pixel centres", "[human][maps]") {
  CHECK(close(
      cyborg::maps::resize(t({0, 1}, {1, 2}), {1, 4}),
      t({0, .25, .75, 1}, {1, 4})));
}

TEST_CASE(
    "Nearest takes the value at floor(i * input / output)", "[human][maps]") {
  CHECK(close(
      cyborg::maps::resize(
          t({1, 2, 3, 4, 5}, {1, 5}), {1, 3}, Resize::kNearest),
      t({1, 2, 4}, {1, 3})));
}

TEST_CASE("A constant map stays constant in every mode", "[human][maps]") {
  const auto map = at::full({2, 5, 7}, 0.3, at::kDouble);
  for (const auto mode :
       {Resize::kAntialias, Resize::kArea, Resize::kNearest}) {
    CHECK(close(
        cyborg::maps::resize(map, {3, 2}, mode),
        at::full({2, 3, 2}, 0.3, at::kDouble)));
  }
}

TEST_CASE("A map shrinks to one row or one column", "[human][maps]") {
  const auto map = torch::arange(16, torch::kDouble).reshape({1, 4, 4});
  const auto column = cyborg::maps::resize(map, {2, 1});
  const auto row = cyborg::maps::resize(map.transpose(1, 2), {1, 2});
  CHECK(support::close(column, row.transpose(1, 2)));
  CHECK(
      column.flatten()[0].item<double>() < column.flatten()[1].item<double>());
}

TEST_CASE("A map of the wanted size is returned unchanged", "[human][maps]") {
  const auto map = t({1, 2, 3, 4}, {1, 2, 2});
  for (const auto mode :
       {Resize::kAntialias, Resize::kArea, Resize::kNearest}) {
    CHECK(close(cyborg::maps::resize(map, {2, 2}, mode), map, 0));
  }
}

TEST_CASE("The dimensions before the spatial ones are kept", "[human][maps]") {
  const auto map = t({0, 2, 4, 6, 8, 10, 12, 14}, {1, 2, 4});
  const auto expected = t({5, 9}, {1, 2});
  CHECK(close(cyborg::maps::resize(map[0], {1, 2}, Resize::kArea), expected));
  CHECK(close(
      cyborg::maps::resize(map, {1, 2}, Resize::kArea), expected.unsqueeze(0)));
  CHECK(close(
      cyborg::maps::resize(map.unsqueeze(1), {1, 2}, Resize::kArea),
      expected.view({1, 1, 1, 2})));
  CHECK(
      cyborg::maps::resize(at::rand({0, 4, 4}), {2, 2}).sizes() ==
      at::IntArrayRef({0, 2, 2}));
}

TEST_CASE(
    "One and three spatial dimensions are resized by area", "[human][maps]") {
  CHECK(close(
      cyborg::maps::resize(t({1, 3, 5, 7}, {1, 4}), {2}), t({2, 6}, {1, 2})));
  CHECK(close(
      cyborg::maps::resize(
          t({1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 2, 2}), {1, 1, 1}),
      t({4.5}, {1, 1, 1, 1})));
  CHECK(close(
      cyborg::maps::resize(t({1, 3, 5, 7}, {1, 4}), {2}, Resize::kNearest),
      t({1, 5}, {1, 2})));
}

TEST_CASE(
    "A map with one NaN or infinity is missing, the other maps are not",
    "[human][maps]") {
  auto maps = at::ones({3, 4, 4}, at::kDouble);
  maps[0][3][3] = kNaN;
  maps[2][0][0] = -kInfinity;
  for (const auto& out :
       {cyborg::maps::resize(maps, {2, 2}), cyborg::maps::resize(maps, {4, 4}),
        cyborg::maps::resize(maps, {2, 2}, Resize::kNearest),
        human::blur(maps, 1.0), human::blur(maps, 0.0)}) {
    CHECK(all_nan(out[0]));
    CHECK(close(out[1], at::ones_like(out[1])));
    CHECK(all_nan(out[2]));
  }
}

TEST_CASE(
    "Whole numbers and half precision are computed in float32",
    "[human][maps]") {
  const auto bytes = at::tensor({0, 255}, at::kByte).view({1, 2});
  const auto out = cyborg::maps::resize(bytes, {1, 1});
  CHECK(out.scalar_type() == at::kFloat);
  CHECK(out.item<float>() == 127.5F);
  CHECK(
      cyborg::maps::resize(at::ones({2, 2}, at::kHalf), {1, 1}).scalar_type() ==
      at::kFloat);
  CHECK(
      cyborg::maps::resize(at::ones({2, 2}, at::kDouble), {1, 1})
          .scalar_type() == at::kDouble);
  for (const double sigma : {0., 50.}) {
    const auto blurred = human::blur(bytes, sigma);
    CHECK(blurred.scalar_type() == at::kFloat);
    CHECK(blurred.sum().item<float>() == Approx(255));
  }
}

TEST_CASE(
    "Resizing and blurring have the gradient of finite differences",
    "[human][maps][gradient]") {
  const auto maps = at::arange(24, at::kDouble).sin().view({2, 3, 4});
  for (const auto mode :
       {Resize::kAntialias, Resize::kArea, Resize::kNearest}) {
    CHECK(support::gradcheck(
        [mode](std::vector<Tensor> in) {
          return cyborg::maps::resize(in[0], {2, 2}, mode);
        },
        {maps}));
  }
  CHECK(support::gradcheck(
      [](std::vector<Tensor> in) { return human::blur(in[0], 0.8); }, {maps}));
}

TEST_CASE("Resizing reads nothing back from the device", "[human][maps]") {
  const auto maps = at::rand({4, 8, 8});
  const auto names = support::operators_of([&] {
    cyborg::maps::resize(maps, {3, 3});
    cyborg::maps::resize(maps, {3, 3}, Resize::kArea);
    cyborg::maps::resize(maps, {3, 3}, Resize::kNearest);
  });
  CHECK(!names.empty());
  CHECK(support::host_reads(names) == 0);
}

TEST_CASE("A blurred point is the product of two Gaussians", "[human][maps]") {
  auto map = at::zeros({9, 11}, at::kDouble);
  map[4][5] = 1;
  const auto blurred = human::blur(map, /*sigma=*/1.0);
  double sum = 0;
  for (int d = -4; d <= 4; ++d) {
    sum += std::exp(-0.5 * d * d);
  }
  const auto g = [&](int d) { return std::exp(-0.5 * d * d) / sum; };
  CHECK(blurred[4][5].item<double>() == Approx(g(0) * g(0)));
  CHECK(blurred[3][7].item<double>() == Approx(g(1) * g(2)));
  CHECK(blurred[0][5].item<double>() == Approx(g(4) * g(0)));
  CHECK(blurred.sum().item<double>() == Approx(1.0));
}

TEST_CASE(
    "At the border a blur reflects, or replicates the edge", "[human][maps]") {
  // Sigma .3 is cut at radius 1, with weights 1 - 2a and a.
  const double e = std::exp(-0.5 / (0.3 * 0.3));
  const double a = e / (1 + 2 * e);
  const auto row = t({8, 0, 0}, {1, 3});
  const auto expected = t({8 * (1 - a), 8 * a, 0}, {1, 3});
  CHECK(close(human::blur(row, 0.3), expected));
  CHECK(close(human::blur(row, 0.3, human::Border::kReplicate), expected));

  SECTION(
      "reflection keeps the sum even where the kernel is wider than "
      "the map") {
    const auto blurred = human::blur(t({1, 2, 6}, {1, 3}), 10.0);
    CHECK(blurred.sum().item<double>() == Approx(9.0));
    CHECK(blurred[0][0].item<double>() == Approx(3.0).margin(0.01));
  }
  SECTION("replication repeats the edge") {
    const auto blurred =
        human::blur(t({1, 0, 3}, {1, 3}), 1e3, human::Border::kReplicate);
    CHECK(blurred[0][1].item<double>() == Approx(2.0).margin(0.01));
  }
}

TEST_CASE("Sigma 0 changes nothing", "[human][maps]") {
  const auto map = t({1, 2, 3, 4}, {2, 2});
  CHECK(close(human::blur(map, 0), map, 0));
}

TEST_CASE("A missing map is NaN and is not annotated", "[human][maps]") {
  CHECK(all_nan(human::missing({2, 3})));
  CHECK(human::missing({2, 3}).sizes() == at::IntArrayRef({2, 3}));
  CHECK(human::missing({2}, at::kDouble).scalar_type() == at::kDouble);
  auto maps = at::rand({4, 2, 2}, at::kDouble);
  maps[1] = human::missing({2, 2});
  maps[2].fill_(0.5);  // a constant map is not an annotation
  maps[3][0][0] = kInfinity;
  const auto annotated = human::annotated(maps);
  CHECK(annotated.equal(at::tensor({1, 0, 0, 0}).to(at::kBool)));
  CHECK(human::annotated(at::zeros({0, 2, 2})).numel() == 0);
}

TEST_CASE(
    "Invalid maps are rejected with an explanation", "[human][maps][error]") {
  CHECK(
      error_of([] { cyborg::maps::resize(at::rand({2, 2}), {}); }) ==
      "cyborg::maps::resize: expected a size of 1, 2 or 3 numbers, got []");
  CHECK(
      error_of([] { cyborg::maps::resize(at::rand({4}), {2, 2}); }) ==
      "cyborg::maps::resize: expected maps with at least 2 dimensions for "
      "size [2, 2], got [4]");
  CHECK(contains(
      error_of([] { cyborg::maps::resize(Tensor(), {2, 2}); }),
      "cyborg::maps::resize: expected maps"));
  CHECK(
      error_of([] { cyborg::maps::resize(at::rand({1, 4, 4}), {0, 2}); }) ==
      "cyborg::maps::resize: expected positive sizes, got [0, 2] for maps "
      "[1, 4, 4]");
  CHECK(error_of([] {
          human::blur(at::rand({4}), 1);
        }) == "cyborg::human::blur: expected maps [*, H, W], got [4]");
  CHECK(error_of([] {
          human::blur(at::rand({4, 4}), -1);
        }) == "cyborg::human::blur: expected sigma >= 0, got -1");
  CHECK(contains(
      error_of([] { human::blur(at::rand({4, 4}), kNaN); }),
      "expected sigma >= 0, got "));
  CHECK(error_of([] {
          human::blur(at::rand({4, 4}), kInfinity);
        }) == "cyborg::human::blur: expected sigma >= 0, got inf");
  CHECK(error_of([] {
          human::blur(Tensor(), 1);
        }) == "cyborg::human::blur: expected maps [*, H, W], got []");
  CHECK(error_of([] {
          human::annotated(at::rand({4}));
        }) == "cyborg::human::annotated: expected maps [B, *S], got [4]");
  CHECK(contains(
      error_of([] { human::annotated(at::rand({4, 0})); }),
      "expected maps [B, *S], got [4, 0]"));
}
