// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/human/controls.hpp>

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <set>

namespace human = cyborg::human;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

at::Generator generator(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

/// Ten maps [1, 2] that hold (n, n + .5); 2 and 7 missing, 4 constant.
Tensor ten_maps() {
  auto maps = at::arange(10, at::kDouble).view({10, 1, 1}).repeat({1, 1, 2});
  maps.select(2, 1).add_(0.5);
  maps[2] = human::missing({1, 2});
  maps[7] = human::missing({1, 2});
  maps[4].fill_(4);
  return maps;
}

/// Whether tensors are equal, where NaN equals NaN.
bool same(const Tensor& a, const Tensor& b) {
  return close(a.nan_to_num(-1), b.nan_to_num(-1), 0) &&
         a.isnan().equal(b.isnan());
}

}  // namespace

TEST_CASE(
    "Shuffling gives each annotated map to another picture",
    "[human][controls]") {
  const auto maps = ten_maps();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto out = human::shuffled(maps, generator(seed));
    std::set<double> seen;
    for (const int64_t i : {0, 1, 3, 5, 6, 8, 9}) {
      const auto first = out[i][0][0].item<double>();
      CHECK(first != static_cast<double>(i));
      CHECK(out[i][0][1].item<double>() == first + 0.5);
      seen.insert(first);
    }
    CHECK(seen == std::set<double>{0, 1, 3, 5, 6, 8, 9});
    CHECK(human::annotated(out).equal(human::annotated(maps)));
    CHECK(same(out[4], maps[4]));
    CHECK(same(out[2], maps[2]));
  }
}

TEST_CASE(
    "Shuffling can give any annotated map to any other picture",
    "[human][controls]") {
  auto landed = at::zeros({4, 4}, at::kLong);
  const auto all = at::ones({4}, at::kBool);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto indices = human::shuffled_indices(all, generator(seed));
    for (int64_t i = 0; i < 4; ++i) {
      landed[i][indices[i].item<int64_t>()] += 1;
    }
  }
  CHECK(landed.diagonal().sum().item<int64_t>() == 0);
  CHECK(landed.gt(0).sum().item<int64_t>() == 12);
}

TEST_CASE(
    "Within-class shuffling keeps each map in its class", "[human][controls]") {
  const auto maps = ten_maps();
  const auto classes = labels({0, 1, 0, 1, 0, 1, 0, 1, 0, 7});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto out =
        human::shuffled_within_class(maps, classes, generator(seed));
    for (const int64_t i : {0, 1, 3, 5, 6, 8}) {
      const auto from = static_cast<int64_t>(out[i][0][0].item<double>());
      CHECK(from != i);
      CHECK(classes[from].item<int64_t>() == classes[i].item<int64_t>());
    }
    // 9 is alone in its class; the rest are not annotated.
    for (const int64_t i : {2, 4, 7, 9}) {
      CHECK(same(out[i], maps[i]));
    }
  }
}

TEST_CASE(
    "The same seed gives the same control, and other generators are not used",
    "[human][controls]") {
  const auto maps = ten_maps();
  auto global = at::globalContext().defaultGenerator(at::kCPU);
  const auto before = global.get_state();
  const auto first = human::shuffled(maps, generator(3));
  CHECK(same(first, human::shuffled(maps, generator(3))));
  CHECK(!same(first, human::shuffled(maps, generator(4))));
  const auto noise = human::random_like(maps, generator(3));
  CHECK(same(noise, human::random_like(maps, generator(3))));
  CHECK(global.get_state().equal(before));

  SECTION("a generator continues where it stopped") {
    auto one = generator(3);
    CHECK(same(first, human::shuffled(maps, one)));
    CHECK(!same(first, human::shuffled(maps, one)));
  }
}

TEST_CASE(
    "An inverted map is its largest value minus the map", "[human][controls]") {
  auto maps = t({0, .25, 1, .5, 2, 6, 3, 4}, {2, 2, 2});
  CHECK(
      close(human::inverted(maps), t({1, .75, 0, .5, 4, 0, 3, 2}, {2, 2, 2})));
  const auto ten = ten_maps();
  const auto out = human::inverted(ten);
  CHECK(close(out[9], t({.5, 0}, {1, 2})));
  CHECK(same(out[2], ten[2]));
  CHECK(same(out[4], ten[4]));  // a constant map is not an annotation
}

TEST_CASE(
    "Random maps are uniform in [0, 1) where there was a map",
    "[human][controls]") {
  auto maps = at::rand({3, 100, 100});
  maps[1] = human::missing({100, 100});
  const auto out = human::random_like(maps, generator(1));
  CHECK(out.scalar_type() == at::kFloat);
  CHECK(out[0].min().item<float>() >= 0);
  CHECK(out[0].max().item<float>() < 1);
  // 10,000 numbers: the mean's standard deviation is .0029.
  CHECK(out[0].mean().item<double>() == Approx(0.5).margin(0.015));
  CHECK(out[0].ne(out[2]).any().item<bool>());
  CHECK(out[1].isnan().all().item<bool>());
  // The same numbers in the maps' own type.
  const auto wide = human::random_like(maps.to(at::kDouble), generator(1));
  CHECK(wide.scalar_type() == at::kDouble);
  CHECK(close(wide[2], out[2], 0));
}

TEST_CASE("Uniform maps are ones", "[human][controls]") {
  CHECK(close(human::uniform(2, {2, 3}), at::ones({2, 2, 3}), 0));
  CHECK(human::uniform(1, {2}, at::kDouble).scalar_type() == at::kDouble);
}

TEST_CASE(
    "The centre Gaussian falls off from the middle", "[human][controls]") {
  const auto maps = human::centre_gaussian(2, {3, 4}, 2.0, at::kDouble);
  CHECK(maps.sizes() == at::IntArrayRef({2, 3, 4}));
  // Rows are at -1, 0, 1, columns at -1.5, -.5, .5, 1.5 from the centre.
  CHECK(maps[0][1][1].item<double>() == Approx(std::exp(-.25 / 8)));
  CHECK(maps[1][0][3].item<double>() == Approx(std::exp(-(1 + 2.25) / 8)));
  CHECK(close(maps[0], maps[1], 0));
  CHECK(close(
      human::centre_gaussian(1, {5}, 1.0),
      human::centre_gaussian(1, {5}, 1.0).flip(1), 0));
}

TEST_CASE(
    "A control made from sizes can leave out samples without a map",
    "[human][controls]") {
  const auto maps = ten_maps();
  const auto out =
      human::like_annotated(human::uniform(10, {1, 2}, at::kDouble), maps);
  CHECK(close(out[0], at::ones({1, 2}, at::kDouble), 0));
  CHECK(same(out[2], maps[2]));
  CHECK(same(out[4], maps[4]));
}

TEST_CASE("Invalid arguments of controls throw", "[human][controls][error]") {
  CHECK(error_of([] {
          human::shuffled(at::rand({4}), generator(0));
        }) == "cyborg::human::shuffled: expected maps [B, *S], got [4]");
  CHECK(error_of([] {
          human::shuffled(at::rand({4, 2, 2}), at::Generator());
        }) == "cyborg::human::shuffled_indices: expected a CPU generator");
  CHECK(
      error_of([] {
        human::shuffled_within_class(
            at::rand({4, 2, 2}), labels({0, 1}), generator(0));
      }) ==
      "cyborg::human::shuffled_within_class: expected labels [4], got [2]");
  CHECK(
      error_of([] {
        human::shuffled_indices(
            at::ones({2}, at::kBool), generator(0), at::rand({2}));
      }) ==
      "cyborg::human::shuffled_indices: expected integer labels [2], got [2]");
  CHECK(
      error_of([] {
        human::shuffled_indices(
            at::ones({2}, at::kBool), generator(0), labels({0, 1, 0}));
      }) ==
      "cyborg::human::shuffled_indices: expected integer labels [2], got [3]");
  CHECK(
      error_of([] { human::shuffled_indices(Tensor(), generator(0)); }) ==
      "cyborg::human::shuffled_indices: expected annotated bool [B], got []");
  CHECK(
      error_of([] {
        human::shuffled_within_class(
            at::rand({4}), labels({0, 1, 0, 1}), generator(0));
      }) ==
      "cyborg::human::shuffled_within_class: expected maps [B, *S], got [4]");
  CHECK(
      error_of([] { human::shuffled_indices(at::ones({2}), generator(0)); }) ==
      "cyborg::human::shuffled_indices: expected annotated bool [B], got [2]");
  CHECK(error_of([] {
          human::random_like(at::rand({2, 2}), at::Generator());
        }) == "cyborg::human::random_like: expected a CPU generator");
  CHECK(
      error_of([] { human::inverted(at::ones({2, 2}, at::kLong)); }) ==
      "cyborg::human::inverted: expected maps of floating point, got Long");
  CHECK(error_of([] {
          human::centre_gaussian(1, {3}, 0);
        }) == "cyborg::human::centre_gaussian: expected sigma > 0, got 0");
  CHECK(
      error_of(
          [] { human::like_annotated(at::rand({2, 2}), at::rand({2, 3})); }) ==
      "cyborg::human::like_annotated: expected a control [2, 3], got [2, 2]");
}
