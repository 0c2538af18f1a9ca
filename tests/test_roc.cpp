// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/measure/detection.hpp>
#include <cyborg/measure/roc.hpp>

#include <cmath>
#include <vector>

using cyborg::measure::equal_error_rate;
using cyborg::measure::roc_curve;
using cyborg::measure::RocPoint;
using cyborg::measure::threshold_at_eer;
using cyborg::measure::threshold_at_fpr;
using cyborg::measure::tpr_at_fpr;
using support::error_of;
using support::labels;
using support::t;

namespace {

bool same(const RocPoint& point, double threshold, double fpr, double tpr) {
  return point.threshold == threshold && point.fpr == fpr && point.tpr == tpr;
}

std::vector<RocPoint> four() {
  return roc_curve(t({.1, .4, .35, .8}), labels({0, 0, 1, 1}));
}

// A tie between the classes: the curve goes from (0, .5) directly to (.5, 1).
std::vector<RocPoint> tied() {
  return roc_curve(t({2, 1, 1, 0}), labels({1, 1, 0, 0}));
}

}  // namespace

TEST_CASE("The curve has a point for each distinct score", "[measure]") {
  const auto curve = four();
  REQUIRE(curve.size() == 5);
  CHECK(same(curve[0], HUGE_VAL, 0, 0));
  CHECK(same(curve[1], .8, 0, .5));
  CHECK(same(curve[2], .4, .5, .5));
  CHECK(same(curve[3], .35, .5, 1));
  CHECK(same(curve[4], .1, 1, 1));
  REQUIRE(tied().size() == 4);
  CHECK(same(tied()[2], 1, .5, 1));
}

TEST_CASE("The area under the curve is the AUC", "[measure]") {
  torch::manual_seed(5);
  const auto score = torch::randint(0, 15, {90}).to(torch::kFloat);
  const auto label = torch::randint(0, 2, {90}, torch::kLong);
  const auto curve = roc_curve(score, label);
  double area = 0;
  for (size_t i = 1; i < curve.size(); ++i) {
    area += (curve[i].fpr - curve[i - 1].fpr) *
            (curve[i].tpr + curve[i - 1].tpr) / 2;
  }
  CHECK(area == Approx(cyborg::measure::roc_auc(score, label)).epsilon(1e-14));
}

TEST_CASE("The rate between two points is interpolated", "[measure]") {
  CHECK(tpr_at_fpr(four(), 0) == .5);
  CHECK(tpr_at_fpr(four(), .25) == .5);
  CHECK(tpr_at_fpr(four(), .5) == 1);  // vertical there: the highest rate
  CHECK(tpr_at_fpr(four(), 1) == 1);
  CHECK(tpr_at_fpr(tied(), .25) == .75);
  CHECK(tpr_at_fpr(tied(), .5) == 1);
}

TEST_CASE("The equal error rate is where the errors cross", "[measure]") {
  CHECK(equal_error_rate(four()) == .5);  // met at a point
  CHECK(threshold_at_eer(four()) == .4);
  CHECK(equal_error_rate(tied()) == .25);  // halfway from (0, .5) to (.5, 1)
  CHECK(threshold_at_eer(tied()) == 1);    // both are equally close: the lower
  const auto perfect = roc_curve(t({1, 2, 3, 4}), labels({0, 0, 1, 1}));
  CHECK(equal_error_rate(perfect) == 0);
  CHECK(threshold_at_eer(perfect) == 3);
  const auto wrong = roc_curve(t({1, 2, 3, 4}), labels({1, 1, 0, 0}));
  CHECK(equal_error_rate(wrong) == 1);
  // At (0, .75) the errors differ by .25, at (.75, 1) by .75. They cross a
  // quarter of the way, and the threshold is that of the nearer point.
  const auto uneven =
      roc_curve(t({9, 8, 7, 1, 1, 1, 1, 0}), labels({1, 1, 1, 1, 0, 0, 0, 0}));
  CHECK(equal_error_rate(uneven) == .1875);
  CHECK(threshold_at_eer(uneven) == 7);
  const auto constant = roc_curve(t({3, 3}), labels({0, 1}));
  CHECK(equal_error_rate(constant) == .5);
  CHECK(threshold_at_eer(constant) == 3);
}

TEST_CASE("A threshold keeps the false positives within a limit", "[measure]") {
  CHECK(threshold_at_fpr(four(), 0) == .8);
  CHECK(threshold_at_fpr(four(), .49) == .8);
  CHECK(threshold_at_fpr(four(), .5) == .35);
  CHECK(threshold_at_fpr(four(), 1) == .1);
  const auto wrong = roc_curve(t({1, 2}), labels({1, 0}));
  CHECK(threshold_at_fpr(wrong, .5) == HUGE_VAL);
}

TEST_CASE("Curves and measures that are not defined throw", "[measure]") {
  CHECK(
      error_of([] { roc_curve(t({1, 2}), labels({1, 1})); }) ==
      "cyborg::measure::roc_curve: expected both classes, got 2 positives and "
      "0 negatives");
  CHECK(
      error_of([] { roc_curve(t({std::nan(""), 2}), labels({0, 1})); }) ==
      "cyborg::measure::roc_curve: expected finite or infinite scores, got "
      "NaN");
  CHECK(
      error_of([] { roc_curve(t({HUGE_VAL, 2}), labels({0, 1})); }) ==
      "cyborg::measure::roc_curve: expected scores below infinity, got inf");
  CHECK(roc_curve(t({-HUGE_VAL, 2}), labels({0, 1})).size() == 3);
  CHECK(error_of([] {
          tpr_at_fpr(four(), 1.5);
        }) == "cyborg::measure::tpr_at_fpr: expected fpr in [0, 1], got 1.5");
  CHECK(
      error_of([] { threshold_at_fpr(four(), std::nan("")); }) ==
      "cyborg::measure::threshold_at_fpr: expected fpr in [0, 1], got nan");
  CHECK(
      error_of([] { equal_error_rate({}); }) ==
      "cyborg::measure::equal_error_rate: expected a curve made by roc_curve, "
      "got 0 points");
}
