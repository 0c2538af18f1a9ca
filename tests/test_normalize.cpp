// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/maps/normalize.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

using cyborg::Normalizer;
using cyborg::functional::normalize;
using support::close;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

const double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();
const std::vector<Normalizer> kScaling = {
    Normalizer::kMinMax, Normalizer::kMax, Normalizer::kSum,
    Normalizer::kSoftmax};

}  // namespace

TEST_CASE("Normalisers give the numbers worked out by hand", "[normalize]") {
  const Tensor maps = t({1, 2, 3, 5, -2, 0, 2, 6}, {2, 2, 2});
  CHECK(close(
      normalize(maps, Normalizer::kMinMax),
      t({0, .25, .5, 1, 0, .25, .5, 1}, {2, 2, 2})));
  CHECK(close(
      normalize(maps, Normalizer::kMax),
      t({.2, .4, .6, 1, -1. / 3, 0, 1. / 3, 1}, {2, 2, 2})));
  // The first is h / sum(h); the second is shifted by its minimum first.
  CHECK(close(
      normalize(maps, Normalizer::kSum),
      t({1. / 11, 2. / 11, 3. / 11, 5. / 11, 0, 2. / 14, 4. / 14, 8. / 14},
        {2, 2, 2})));
  CHECK(close(normalize(maps, Normalizer::kNone), maps, 0));
  const double z = std::exp(1) + std::exp(2) + std::exp(3) + std::exp(5);
  CHECK(close(
      normalize(maps, Normalizer::kSoftmax)[0],
      t({std::exp(1) / z, std::exp(2) / z, std::exp(3) / z, std::exp(5) / z},
        {2, 2})));
}

TEST_CASE("Each sample is normalised by itself", "[normalize]") {
  torch::manual_seed(1);
  const Tensor maps = torch::randn({3, 4, 5}, torch::kDouble);
  for (const Normalizer normalizer : kScaling) {
    const Tensor all = normalize(maps, normalizer);
    for (int64_t i = 0; i < 3; ++i) {
      CHECK(close(
          all[i], normalize(maps.slice(0, i, i + 1), normalizer)[0], 1e-15));
    }
  }
}

TEST_CASE("Min-max does not depend on scale and shift", "[normalize]") {
  torch::manual_seed(2);
  const Tensor maps = torch::randn({2, 6}, torch::kDouble);
  CHECK(close(
      normalize(maps * 37 - 5, Normalizer::kMinMax),
      normalize(maps, Normalizer::kMinMax)));
}

TEST_CASE("Maps may have one, two or three dimensions", "[normalize]") {
  torch::manual_seed(3);
  const Tensor maps = torch::randn({2, 24}, torch::kDouble);
  for (const Normalizer normalizer : kScaling) {
    const Tensor flat = normalize(maps, normalizer);
    CHECK(close(
        normalize(maps.reshape({2, 4, 6}), normalizer).flatten(1), flat, 0));
    CHECK(close(
        normalize(maps.reshape({2, 2, 3, 4}), normalizer).flatten(1), flat, 0));
  }
  CHECK(normalize(torch::zeros({0, 4}), Normalizer::kMinMax).size(0) == 0);
}

TEST_CASE(
    "Normalisation has the gradient of finite differences",
    "[normalize][gradient]") {
  torch::manual_seed(4);
  for (const Normalizer normalizer : kScaling) {
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) { return normalize(in[0], normalizer); },
        {torch::randn({2, 3, 2}) + 0.5}));
  }
}

TEST_CASE(
    "Ties share the gradient as a full reduction does",
    "[normalize][gradient]") {
  // Two minima and three maxima. min() and max() over everything distribute
  // evenly; min(dim) and max(dim) would pick one position.
  const Tensor value = t({0, 0, 1, 3, 3, 3}, {1, 6});
  const Tensor weight = t({1, 4, 9, 16, 25, 36}, {1, 6});
  const Tensor ours = value.clone().requires_grad_();
  (normalize(ours, Normalizer::kMinMax) * weight).sum().backward();
  const Tensor loop = value.clone().requires_grad_();
  const Tensor shifted = loop - loop.min();
  ((shifted / shifted.max()) * weight).sum().backward();
  CHECK(close(ours.grad(), loop.grad()));
  CHECK(close(ours.grad()[0][3] - ours.grad()[0][4], t({-3}, {})));
}

TEST_CASE(
    "A flat map gives zeros and no gradient, never NaN",
    "[normalize][gradient]") {
  const double big = 1000;
  for (const double noise : {0.0, 1e-7, 5e-4}) {  // 5e-4 is 5e-7 of 1000
    const Tensor maps =
        t({big, big + noise, big, big, 1, 2, 3, 4}, {2, 4}).requires_grad_();
    for (const Normalizer normalizer : kScaling) {
      maps.mutable_grad() = Tensor();
      const Tensor out = normalize(maps, normalizer);
      CHECK(close(out[0], t({0, 0, 0, 0}), 0));
      CHECK(out[1].abs().sum().item<double>() > 0);
      out.square().sum().backward();
      CHECK(close(maps.grad()[0], t({0, 0, 0, 0}), 0));
      CHECK(at::isfinite(maps.grad()).all().item<bool>());
    }
  }
  // Just above the limit it is normalised.
  const Tensor maps = t({big, big + 2e-3}, {1, 2});
  CHECK(close(normalize(maps, Normalizer::kMinMax), t({0, 1}, {1, 2}), 1e-6));
}

TEST_CASE("A map of tiny numbers is normalised", "[normalize]") {
  const Tensor maps = t({0, 1e-12, 4e-12}, {1, 3});
  CHECK(close(
      normalize(maps, Normalizer::kMinMax), t({0, .25, 1}, {1, 3}), 1e-9));
  CHECK(close(
      normalize(maps.to(torch::kFloat), Normalizer::kSum),
      t({0, .2, .8}, {1, 3}), 1e-6));
}

TEST_CASE("A model's map below the floor is flat", "[normalize]") {
  const Tensor maps = t({0, 0.9e-5, 0, 1.1e-5}, {2, 2});
  const auto out = cyborg::detail::normalize(
      maps, Normalizer::kMinMax, cyborg::detail::kModelFloor);
  CHECK(out.usable.equal(torch::tensor({false, true})));
  CHECK(close(out.maps, t({0, 0, 0, 1}, {2, 2})));
}

TEST_CASE("A map whose range is infinite gives zeros", "[maps]") {
  // Both ends are finite in float32, their difference is not.
  const Tensor map = torch::tensor({{-3e38F, 1.0F, 3e38F}});
  for (const auto normalizer :
       {Normalizer::kMinMax, Normalizer::kMax, Normalizer::kSum,
        Normalizer::kSoftmax}) {
    CHECK(normalize(map, normalizer).equal(torch::zeros({1, 3})));
  }
  CHECK(!cyborg::detail::usable_maps(map, Normalizer::kNone, 0).item<bool>());
}

TEST_CASE(
    "A map with a NaN or an infinity gives zeros and no gradient",
    "[normalize][gradient]") {
  for (const double bad : {kNaN, kInf, -kInf}) {
    const Tensor maps =
        t({bad, 2, 3, 1, 2, 3, bad, bad, bad}, {3, 3}).requires_grad_();
    for (const Normalizer normalizer : kScaling) {
      maps.mutable_grad() = Tensor();
      const Tensor out = normalize(maps, normalizer);
      CHECK(close(out[0], t({0, 0, 0}), 0));
      CHECK(close(out[2], t({0, 0, 0}), 0));
      CHECK(out[1].abs().sum().item<double>() > 0);
      out.square().sum().backward();
      CHECK(close(maps.grad()[0], t({0, 0, 0}), 0));
      CHECK(at::isfinite(maps.grad()).all().item<bool>());
    }
  }
}

TEST_CASE("kMax needs a maximum above zero", "[normalize]") {
  const Tensor maps = t({-3, -1, -2, 0, -1, 1}, {3, 2});
  CHECK(close(
      normalize(maps, Normalizer::kMax), t({0, 0, 0, 0, -1, 1}, {3, 2}), 0));
}

TEST_CASE("Maps are computed in float32 at least", "[normalize][dtype]") {
  const Tensor maps = t({1, 2, 3, 5}, {1, 4});
  const std::vector<std::pair<at::ScalarType, at::ScalarType>> types = {
      {at::kDouble, at::kDouble}, {at::kFloat, at::kFloat},
      {at::kHalf, at::kFloat},    {at::kBFloat16, at::kFloat},
      {at::kByte, at::kFloat},    {at::kLong, at::kFloat}};
  for (const auto& type : types) {
    const Tensor out = normalize(maps.to(type.first), Normalizer::kMinMax);
    CHECK(out.scalar_type() == type.second);
    CHECK(close(out, t({0, .25, .5, 1}, {1, 4}), 1e-7));
  }
  CHECK(
      normalize(maps.to(at::kHalf), Normalizer::kNone).scalar_type() ==
      at::kFloat);
  const support::CpuAutocast autocast;
  CHECK(
      normalize(maps.to(at::kBFloat16), Normalizer::kSoftmax).scalar_type() ==
      at::kFloat);
}

TEST_CASE("normalize says what it expected", "[normalize][error]") {
  CHECK(error_of([] {
          normalize(torch::rand({4}), Normalizer::kMinMax);
        }) == "cyborg::functional::normalize: expected maps [B, *S], got [4]");
  CHECK(
      error_of([] { normalize(torch::rand({2, 0}), Normalizer::kMax); }) ==
      "cyborg::functional::normalize: expected maps [B, *S], got [2, 0]");
  CHECK(error_of([] {
          normalize(Tensor(), Normalizer::kSum);
        }) == "cyborg::functional::normalize: expected maps [B, *S], got none");
}
