// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/detail/blend.hpp>
#include <cyborg/guide/distances.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>
#include <vector>

using cyborg::BceWithLogits;
using cyborg::Cosine;
using cyborg::Dice;
using cyborg::EnergyInside;
using cyborg::KL;
using cyborg::L1;
using cyborg::L2;
using cyborg::Normalizer;
using cyborg::OutsideSquare;
using cyborg::Pearson;
using cyborg::Ssim;
using support::close;
using support::t;
using torch::Tensor;

namespace {

/// The distance of raw maps after their normalisation, as a term computes it.
template <class Distance>
cyborg::PerSample distances_after_normalisation(
    const Tensor& model, const Tensor& human) {
  return cyborg::detail::sample_distances(
      "test", Distance(), Distance::map_normalizer, Distance::human_normalizer,
      model, {human, {}});
}

/// Checks what is true of any distance of maps: finite differences, and nothing
/// of a map that is flat or not finite.
template <class Distance>
void check_any_distance(double largest_slope = 2) {
  torch::manual_seed(5);
  const Tensor human = torch::rand({2, 7}, torch::kDouble);
  const Tensor model = torch::randn({2, 7}, torch::kDouble);
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) {
        return distances_after_normalisation<Distance>(in[0], human).value;
      },
      {model}));
  Tensor odd = model.repeat({2, 1});
  odd[0] = 0;
  odd[1] = 3;
  odd[2] *= 1e-6;
  odd[3][2] = NAN;
  odd.requires_grad_();
  const cyborg::PerSample found =
      distances_after_normalisation<Distance>(odd, human.repeat({2, 1}));
  const bool flat = Distance::map_normalizer == Normalizer::kNone;
  CHECK(close(found.usable, torch::tensor({flat, flat, flat, false}), 0));
  found.value.sum().backward();
  CHECK(at::isfinite(found.value).all().item<bool>());
  CHECK(at::isfinite(odd.grad()).all().item<bool>());
  CHECK(close(odd.grad()[3], torch::zeros({7}), 0));
  // Published code divides by the range plus 1e-8: 48000 for the small map.
  CHECK(odd.grad().abs().max().item<double>() < largest_slope);
  // Without people's map a sample has neither value nor gradient.
  const Tensor alone = model.clone().requires_grad_();
  Tensor missing = human.clone();
  missing[1][0] = NAN;
  const cyborg::PerSample some =
      distances_after_normalisation<Distance>(alone, missing);
  some.value.sum().backward();
  CHECK(close(some.usable, torch::tensor({true, false}), 0));
  CHECK(some.value[1].item<double>() == 0);
  CHECK(close(alone.grad()[1], torch::zeros({7}), 0));
  CHECK(alone.grad()[0].abs().max().item<double>() > 0);
}

/// A distance that says how people's maps are resized.
struct NearestL1 : L1 {
  static constexpr auto resize = cyborg::maps::Resize::kNearest;
};

}  // namespace

TEST_CASE("Distances give the numbers worked out by hand", "[distance]") {
  const Tensor model = t({0, .5, 1, .25, .25, .5}, {2, 3});
  const Tensor human = t({1, .5, .5, .25, 0, .75}, {2, 3});
  CHECK(close(L1()(model, human), t({1.5 / 3, .5 / 3})));
  CHECK(close(L2()(model, human), t({1.25 / 3, .125 / 3})));
  // sum h ln(h / m); the zero of h adds nothing.
  const Tensor q = t({.5, .5, 0, .25, 0, .75}, {2, 3});
  const Tensor p = t({.25, .25, .5, .25, .25, .5}, {2, 3});
  CHECK(close(KL()(p, q), t({std::log(2), .75 * std::log(1.5)})));
}

TEST_CASE("The distance of a map from itself is zero", "[distance]") {
  torch::manual_seed(1);
  const Tensor maps = torch::rand({3, 6}, torch::kDouble).softmax(1);
  const Tensor zero = torch::zeros({3}, torch::kDouble);
  CHECK(close(L1()(maps, maps), zero, 0));
  CHECK(close(L2()(maps, maps), zero, 0));
  CHECK(close(KL()(maps, maps), zero));
  CHECK(close(KL::from_scores(maps.log() + 3, maps), zero));
}

TEST_CASE("The divergence is never negative", "[distance]") {
  torch::manual_seed(2);
  const Tensor p = torch::randn({50, 6}, torch::kDouble).softmax(1);
  const Tensor q = torch::randn({50, 6}, torch::kDouble).softmax(1);
  CHECK(KL()(p, q).min().item<double>() > 0);
}

TEST_CASE(
    "Distances have the gradient of finite differences",
    "[distance][gradient]") {
  torch::manual_seed(3);
  const Tensor human = torch::rand({2, 5}, torch::kDouble);
  const Tensor q = human / human.sum(1, true);
  const Tensor model = torch::rand({2, 5}, torch::kDouble) + 0.1;
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return L1()(in[0], human); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return L2()(in[0], human); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return KL()(in[0], q); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return KL::from_scores(in[0], q); },
      {model}));
}

TEST_CASE("The divergence of scores is that of their softmax", "[distance]") {
  torch::manual_seed(4);
  const Tensor scores = torch::randn({4, 7}, torch::kDouble);
  const Tensor q = torch::rand({4, 7}, torch::kDouble).softmax(1);
  CHECK(close(KL::from_scores(scores, q), KL()(scores.softmax(1), q)));
}

TEST_CASE(
    "The divergence stays finite where a softmax underflows", "[distance]") {
  const Tensor q = torch::tensor({{1.f, 0.f}});
  const Tensor scores = torch::tensor({{0.f, 1000.f}}).requires_grad_();
  const Tensor exact = KL::from_scores(scores, q);
  CHECK(close(exact, t({1000})));
  exact.sum().backward();
  CHECK(close(scores.grad(), t({-1, 1}, {1, 2})));
  // From probabilities it is finite too, but not exact any more.
  const Tensor p = torch::tensor({{0.f, 1.f}}).requires_grad_();
  const Tensor clamped = KL()(p, q);
  CHECK(close(clamped, t({-std::log(1.1754943508222875e-38)}), 1e-4));
  clamped.sum().backward();
  CHECK(at::isfinite(p.grad()).all().item<bool>());
  CHECK(close(
      KL()(t({0, 1}, {1, 2}), t({1, 0}, {1, 2})),
      t({-std::log(2.2250738585072014e-308)})));
}

TEST_CASE("Distances name their normalisers", "[distance]") {
  CHECK(L1::map_normalizer == Normalizer::kMinMax);
  CHECK(L1::human_normalizer == Normalizer::kMinMax);
  CHECK(L2::map_normalizer == Normalizer::kMinMax);
  CHECK(L2::human_normalizer == Normalizer::kMinMax);
  CHECK(KL::map_normalizer == Normalizer::kSoftmax);
  CHECK(KL::human_normalizer == Normalizer::kSum);
}

TEST_CASE(
    "Distances of vectors give the numbers worked out by hand", "[distance]") {
  const Tensor m = t({0, 1, 1, 0}, {1, 4}), h = t({0, 1, 0, 0}, {1, 4});
  CHECK(close(Cosine()(m, h), t({1 - std::sqrt(.5)})));
  CHECK(close(Pearson()(m, h), t({1 - .5 / std::sqrt(.75)})));
  CHECK(close(Dice()(m, h), t({1. / 3})));
  const Tensor x = t({std::log(3), std::log(3)}, {1, 2});
  CHECK(close(
      BceWithLogits()(x, t({1, 0}, {1, 2})),
      t({-(std::log(.75) + std::log(.25)) / 2})));
  CHECK(close(
      Ssim()(t({0, 1}, {1, 2}), t({1, 0}, {1, 2})),
      t({1 + (.5 - .0009) / (.5 + .0009)})));
  CHECK(close(
      EnergyInside()(t({-2, 1, 3, 0}, {1, 4}), t({1, 1, 0, 1}, {1, 4})),
      t({.75})));
  CHECK(
      close(OutsideSquare()(t({.5, 1}, {1, 2}), t({1, .5}, {1, 2})), t({.5})));
  for (const Tensor& same :
       {Cosine()(m, m), Pearson()(m, m), Dice()(m, m), Ssim()(m, m),
        EnergyInside()(m, m)}) {
    CHECK(close(same, t({0})));
  }
}

TEST_CASE(
    "Distances of raw maps have the gradient of finite differences, and none "
    "of a map that says nothing",
    "[distance][gradient]") {
  check_any_distance<L1>();
  check_any_distance<L2>();
  check_any_distance<KL>();
  check_any_distance<Cosine>();
  check_any_distance<Pearson>();
  check_any_distance<Dice>();
  check_any_distance<BceWithLogits>();
  check_any_distance<Ssim>();
  check_any_distance<EnergyInside>(1e5);  // the floor of its divisor
  check_any_distance<OutsideSquare>();
}

TEST_CASE(
    "The cross entropy of a map has the gradient sigmoid minus map, also at 0",
    "[distance][gradient]") {
  const Tensor h = t({1, 0, .25, 1, 0}, {1, 5});
  const Tensor x = t({0, 0, 0, 800, -800}, {1, 5}).requires_grad_();
  const Tensor value = BceWithLogits()(x, h);
  CHECK(close(value, t({3 * std::log(2) / 5})));
  value.sum().backward();
  CHECK(close(x.grad(), t({-.1, .1, .05, 0, 0}, {1, 5})));
  const Tensor wrong = torch::tensor({{1000.f, -1000.f}}).requires_grad_();
  const Tensor large = BceWithLogits()(wrong, torch::tensor({{0.f, 1.f}}));
  large.sum().backward();
  CHECK(close(large, t({1000}), 0));
  CHECK(close(wrong.grad(), t({.5, -.5}, {1, 2}), 0));
}

TEST_CASE(
    "Energy has a gradient where the map is positive, alone",
    "[distance][gradient]") {
  const Tensor m = t({0, -1, 2, 2}, {1, 4}).requires_grad_();
  EnergyInside()(m, t({1, 1, 1, 0}, {1, 4})).sum().backward();
  CHECK(close(m.grad(), t({0, 0, -.125, .125}, {1, 4})));
  const Tensor none = t({0, -1, 0, -2}, {1, 4}).requires_grad_();
  const Tensor value = EnergyInside()(none, t({1, 1, 1, 0}, {1, 4}));
  CHECK(close(value, t({1})));
  value.sum().backward();
  CHECK(close(none.grad(), torch::zeros({1, 4}), 0));
}

TEST_CASE("A distance says what it compares with, and how", "[distance]") {
  using cyborg::detail::DistanceTraits;
  CHECK(DistanceTraits<OutsideSquare>::reads_wrong());
  CHECK_FALSE(DistanceTraits<EnergyInside>::reads_wrong());
  CHECK(DistanceTraits<L2>::resize() == cyborg::maps::Resize::kAntialias);
  CHECK(DistanceTraits<NearestL1>::resize() == cyborg::maps::Resize::kNearest);
  CHECK(BceWithLogits::map_normalizer == Normalizer::kNone);
  CHECK(EnergyInside::map_normalizer == Normalizer::kNone);
  CHECK(EnergyInside::human_normalizer == Normalizer::kMax);
  CHECK(OutsideSquare::human_normalizer == Normalizer::kNone);
}

TEST_CASE("Nothing wrong costs nothing", "[distance]") {
  const Tensor model = torch::rand({1, 6}, torch::kDouble).requires_grad_();
  const auto found = distances_after_normalisation<OutsideSquare>(
      model, torch::zeros({1, 6}, torch::kDouble));
  CHECK(found.usable.item<bool>());
  CHECK(found.value.item<double>() == 0);
  found.value.sum().backward();
  CHECK(close(model.grad(), torch::zeros({1, 6}), 0));
}
