// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/measure/overlap.hpp>
#include <cyborg/measure/saliency.hpp>

#include <cmath>
#include <limits>
#include <vector>

using cyborg::measure::auc_judd;
using cyborg::measure::AucJuddOptions;
using cyborg::measure::energy_inside;
using cyborg::measure::map_absolute_error;
using cyborg::measure::map_correlation;
using cyborg::measure::map_dice;
using cyborg::measure::map_divergence;
using cyborg::measure::map_entropy;
using cyborg::measure::map_iou;
using cyborg::measure::map_rank_correlation;
using cyborg::measure::map_similarity;
using cyborg::measure::MapThreshold;
using cyborg::measure::nss;
using cyborg::measure::OverlapOptions;
using cyborg::measure::pointing_hit;
using support::close;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

// A map of two rows.
Tensor map(std::initializer_list<double> values) {
  return t(values, {2, -1});
}

double value(const Tensor& result) {
  REQUIRE(result.dim() == 0);
  REQUIRE(result.scalar_type() == torch::kDouble);
  return result.item<double>();
}

const double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("The correlation of two maps is Pearson's", "[measure]") {
  const auto a = map({0, 1, 2, 10});
  const auto b = map({0, 0, 1, 1});
  CHECK(value(map_correlation(a, b)) == Approx(5.5 / std::sqrt(62.75)));
  CHECK(value(map_correlation(a, 3 * a + 7)) == Approx(1));
  CHECK(value(map_correlation(a, -a)) == Approx(-1));
  // A constant whose mean is not exactly itself.
  CHECK(
      value(map_correlation(a, torch::full({2, 2}, .1, torch::kDouble))) == 0);
  CHECK(value(map_correlation(torch::zeros({2, 2}), a)) == 0);
}

TEST_CASE("Rank correlation shares the ranks of equal pixels", "[measure]") {
  // Ranks 1 2 3 4 and 1.5 1.5 3.5 3.5: 4 / sqrt(5 * 4).
  const auto a = map({0, 1, 2, 10});
  CHECK(
      value(map_rank_correlation(a, map({0, 0, 1, 1}))) ==
      Approx(4 / std::sqrt(20.)));
  CHECK(value(map_rank_correlation(a, a.pow(3))) == Approx(1));
  CHECK(value(map_rank_correlation(a, map({5, 5, 5, 5}))) == 0);
}

TEST_CASE("Similarity is what two stretched maps share", "[measure]") {
  // (0 .25 .5 .25) and (0 0 0 1).
  const auto a = map({0, 1, 2, 1});
  CHECK(value(map_similarity(a, map({0, 0, 0, 2}))) == .25);
  CHECK(value(map_similarity(a, 3 * a - 2)) == Approx(1));
  CHECK(value(map_similarity(a, map({0, 0, 0, 0}))) == 0);
  CHECK(value(map_similarity(a, map({3, 3, 3, 3}))) == 0);
}

TEST_CASE(
    "Divergence is that of the prediction from the human map", "[measure]") {
  const auto p = map({1, 1, 0, 0});
  const auto q = map({1, 3, 0, 0});
  CHECK(
      value(map_divergence(p, q)) ==
      Approx(.25 * std::log(.5) + .75 * std::log(1.5)));
  CHECK(
      value(map_divergence(q, p)) ==
      Approx(.5 * std::log(2.) + .5 * std::log(2. / 3)));
  CHECK(std::abs(value(map_divergence(q, 5 * q))) < 1e-14);
  // Nothing is predicted where people looked: the value is as large as eps
  // allows.
  const auto eps = 2.220446049250313e-16;
  CHECK(
      value(map_divergence(map({0, 0, 0, 0}), map({1, 0, 0, 0}))) ==
      Approx(-std::log(eps)));
  CHECK(std::isnan(value(map_divergence(p, map({0, 0, 0, 0})))));
  CHECK(
      error_of([&] { map_divergence(-p, q); }) ==
      "cyborg::measure::map_divergence: expected maps without negative "
      "values, got -1");
}

TEST_CASE("NSS is in population standard deviations", "[measure]") {
  const auto s = map({0, 0, 0, 4});  // mean 1, variance 3
  CHECK(value(nss(s, map({0, 0, 0, 1}))) == Approx(std::sqrt(3.)));
  CHECK(value(nss(s, map({1, 0, 0, 1}))) == Approx(1 / std::sqrt(3.)));
  CHECK(value(nss(map({.1, .1, .1, .1}), map({1, 0, 0, 0}))) == 0);
  CHECK(std::isnan(value(nss(s, map({0, 0, 0, 0})))));
  CHECK(
      error_of([&] { nss(s, map({0, 0, 0, .5})); }) ==
      "cyborg::measure::nss: expected a second map of 0 and 1, got 0.5");
}

TEST_CASE("Judd's AUC takes its thresholds at the fixations", "[measure]") {
  const auto plain = AucJuddOptions().jitter(false);
  const auto s = map({.9, .5, .1, 0});
  const auto looked = map({1, 0, 1, 0});
  // (0, .5), (.5, 1), (1, 1): 0 + .5 * .75 + .5.
  CHECK(value(auc_judd(s, looked, plain)) == .875);
  CHECK(value(auc_judd(s, looked)) == .875);  // the noise moves nothing here
  CHECK(value(auc_judd(s, map({1, 1, 0, 0}), plain)) == 1);
  CHECK(value(auc_judd(s, map({0, 0, 0, 1}), plain)) == .5);  // one line
  // Equal pixels are counted together, which gives one half.
  const auto flat = torch::ones({8, 8});
  const auto half = torch::arange(64, torch::kFloat).fmod(2).reshape({8, 8});
  CHECK(value(auc_judd(flat, half, plain)) == .5);
  CHECK(std::isnan(value(auc_judd(s, map({0, 0, 0, 0})))));
  CHECK(std::isnan(value(auc_judd(s, map({1, 1, 1, 1})))));
}

TEST_CASE("Judd's noise depends only on its seed", "[measure]") {
  const auto flat = torch::ones({8, 8});
  const auto half = torch::arange(64, torch::kFloat).fmod(2).reshape({8, 8});
  const auto with = [](uint64_t seed) { return AucJuddOptions().seed(seed); };
  const double one = value(auc_judd(flat, half, with(1)));
  CHECK(one == value(auc_judd(flat, half, with(1))));
  CHECK(one != value(auc_judd(flat, half, with(2))));
  CHECK(std::abs(one - .5) < .35);
  // It does not depend on the map's place in the batch.
  const auto batch = auc_judd(
      torch::stack({half, flat, flat}), torch::stack({half, half, half}),
      with(1));
  CHECK(close(batch, t({1, one, one}), 0));
}

TEST_CASE("The absolute error is a mean over pixels", "[measure]") {
  CHECK(value(map_absolute_error(map({1, 2, 3, 4}), map({1, 0, 3, 8}))) == 1.5);
}

TEST_CASE("Overlap counts the pixels above a threshold", "[measure]") {
  const auto a = map({.9, .6, .5, 0});  // .5 is not above .5
  const auto b = map({1, 0, 1, 0});
  CHECK(value(map_iou(a, b)) == Approx(1. / 3));
  CHECK(value(map_dice(a, b)) == .5);
  const auto lower = OverlapOptions().prediction(MapThreshold().value(.4));
  CHECK(value(map_iou(a, b, lower)) == Approx(2. / 3));
  CHECK(value(map_dice(a, b, lower)) == Approx(.8));
}

TEST_CASE("A threshold can be a share of the highest pixels", "[measure]") {
  const auto a = map({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const auto b = map({0, 0, 0, 0, 0, 0, 0, 1, 0, 0});
  const auto top = [](double share) {
    return OverlapOptions().prediction(MapThreshold().top(share));
  };
  CHECK(value(map_iou(a, b, top(.25))) == Approx(1. / 3));  // 7, 8 and 9
  CHECK(value(map_iou(a, b, top(.1))) == 0);                // 9
  // Nothing is above the quantile of a constant map.
  CHECK(value(map_dice(map({1, 1, 1, 1}), map({1, 0, 0, 0}), top(.5))) == 0);
  CHECK(error_of([&] {
          map_iou(a, b, top(1));
        }) == "cyborg::measure::map_iou: expected top in [0, 1), got 1");
}

TEST_CASE("An option is the overlap of two empty maps", "[measure]") {
  const auto zero = map({0, 0, 0, 0});
  for (const double chosen : {0., 1.}) {
    const auto options = OverlapOptions().empty(chosen);
    CHECK(value(map_iou(zero, zero, options)) == chosen);
    CHECK(value(map_dice(zero, zero, options)) == chosen);
  }
  CHECK(value(map_iou(zero, zero)) == 0);
  CHECK(std::isnan(value(map_dice(zero, zero, OverlapOptions().empty(kNan)))));
}

TEST_CASE("Only positive energy counts", "[measure]") {
  const auto s = map({-1, 1, 2, 1});
  CHECK(value(energy_inside(s, map({1, 1, 0, 0}))) == .25);
  CHECK(value(energy_inside(s, map({0, 0, .5, 0}))) == .25);
  CHECK(value(energy_inside(-s.abs(), map({1, 1, 0, 0}))) == 0);
  CHECK(value(energy_inside(s * 1e-8, map({1, 1, 1, 1}))) == 0);
  CHECK(
      error_of([&] { energy_inside(s, map({0, 0, 2, 0})); }) ==
      "cyborg::measure::energy_inside: expected a region in [0, 1], got 2");
}

TEST_CASE("A map points at its highest pixel", "[measure]") {
  CHECK(value(pointing_hit(map({0, 5, 1, 2}), map({0, 1, 0, 0}))) == 1);
  CHECK(value(pointing_hit(map({0, 5, 1, 2}), map({1, 0, 1, 1}))) == 0);
  CHECK(value(pointing_hit(map({0, 5, 5, 2}), map({0, 0, 1, 0}))) == 0);
  CHECK(value(pointing_hit(map({3, 3, 3, 3}), map({1, 1, 1, 1}))) == 0);
}

TEST_CASE("Entropy says how spread out a map is", "[measure]") {
  CHECK(value(map_entropy(map({1, 1, 0, 0}))) == Approx(.5));
  CHECK(value(map_entropy(map({7, 7, 7, 7}))) == Approx(1));
  CHECK(value(map_entropy(map({0, 0, 3, 0}))) == 0);
  CHECK(std::isnan(value(map_entropy(map({0, 0, 0, 0})))));
  CHECK(
      error_of([] { map_entropy(torch::ones({1, 1})); }) ==
      "cyborg::measure::map_entropy: expected maps of more than one pixel");
  CHECK(
      error_of([] { map_entropy(map({1, -2, 0, 0})); }) ==
      "cyborg::measure::map_entropy: expected maps without negative values, "
      "got -2");
}

TEST_CASE(
    "A map that is not annotated gives NaN only for its sample", "[measure]") {
  const auto s = torch::stack({map({0, 1, 2, 3}), map({0, 1, 2, 3})});
  auto human = torch::stack({map({0, 0, 0, 1}), map({0, 0, 0, 1})});
  human[1].fill_(kNan);
  const std::vector<Tensor> results = {
      map_correlation(s, human),
      map_rank_correlation(s, human),
      map_similarity(s, human),
      map_divergence(s, human),
      nss(s, human),
      auc_judd(s, human),
      map_absolute_error(s, human),
      map_iou(s, human),
      map_dice(s, human),
      energy_inside(s, human),
      pointing_hit(s, human),
      map_entropy(human)};
  for (const auto& result : results) {
    REQUIRE(result.sizes() == torch::IntArrayRef{2});
    CHECK(std::isfinite(result[0].item<double>()));
    CHECK(std::isnan(result[1].item<double>()));
  }
}

TEST_CASE("A batch gives the measure of each map, for any type", "[measure]") {
  torch::manual_seed(1);
  const auto a = torch::rand({3, 4, 5}).requires_grad_();
  const auto b = torch::rand({3, 5, 4}).transpose(1, 2);  // not contiguous
  const auto together = map_correlation(a, b);
  for (int64_t i = 0; i < 3; ++i) {
    CHECK(value(together[i]) == value(map_correlation(a[i], b[i])));
  }
  CHECK(!together.requires_grad());
  CHECK(
      value(map_iou(map({1, 0, 1, 0}).to(torch::kBool), map({1, 0, 0, 0}))) ==
      .5);
}

TEST_CASE("Maps must have one shape and finite values", "[measure]") {
  CHECK(
      error_of([] { map_iou(torch::ones({2, 2}), torch::ones({2, 3})); }) ==
      "cyborg::measure::map_iou: expected two maps of one shape, got [2, 2] "
      "and [2, 3]");
  CHECK(
      error_of([] { map_entropy(torch::ones({2, 1, 3, 3})); }) ==
      "cyborg::measure::map_entropy: expected maps [B, H, W] or [H, W], got "
      "[2, 1, 3, 3]");
  CHECK(
      error_of([] { map_entropy(map({1, HUGE_VAL})); }) ==
      "cyborg::measure::map_entropy: expected finite maps, or NaN for what is "
      "not annotated, got an infinite value");
  CHECK(
      error_of([] { map_entropy(torch::ones({1, 0, 2})); }) ==
      "cyborg::measure::map_entropy: expected maps [B, H, W] or [H, W], got "
      "[1, 0, 2]");
}
