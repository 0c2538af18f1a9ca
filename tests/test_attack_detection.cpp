// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/measure/attack_detection.hpp>

#include <cmath>
#include <string>
#include <vector>

using cyborg::measure::apcer_at_bpcer;
using cyborg::measure::apcer_at_threshold;
using cyborg::measure::attack_detection;
using cyborg::measure::bpcer_at_apcer;
using cyborg::measure::bpcer_at_threshold;
using cyborg::measure::threshold_at_min_acer;
using support::error_of;
using support::labels;
using support::t;

namespace {

// Two prints, four replays, four bona fide.
const auto kScores = t({.9, .2, .8, .7, .6, .1, .05, .3, .65, .15});
const auto kLabels = labels({1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
const std::vector<std::string> kTypes = {"print",  "print",  "replay", "replay",
                                         "replay", "replay", "",       "print",
                                         "",       "other"};

}  // namespace

TEST_CASE("Each type of attack has its own error", "[measure]") {
  const auto errors = attack_detection(kScores, kLabels, .5, kTypes);
  REQUIRE(errors.species.size() == 2);  // bona fide names are not read
  CHECK(errors.species[0].name == "print");
  CHECK(errors.species[0].count == 2);
  CHECK(errors.species[0].apcer == .5);
  CHECK(errors.species[1].name == "replay");
  CHECK(errors.species[1].count == 4);
  CHECK(errors.species[1].apcer == .25);
  CHECK(errors.apcer == .5);
  CHECK(errors.apcer_pooled == Approx(2. / 6));
  CHECK(errors.bpcer == .25);
  CHECK(errors.acer() == .375);
  CHECK(errors.acer_pooled() == Approx(7. / 24));
}

TEST_CASE("Without names, all attacks are of one type", "[measure]") {
  const auto errors = attack_detection(kScores, kLabels, .5);
  REQUIRE(errors.species.size() == 1);
  CHECK(errors.species[0].name.empty());
  CHECK(errors.apcer == errors.apcer_pooled);
}

TEST_CASE("A score at the threshold counts as an attack", "[measure]") {
  CHECK(attack_detection(kScores, kLabels, .65).bpcer == .25);
  CHECK(attack_detection(kScores, kLabels, .7, kTypes).species[1].apcer == .5);
  CHECK(attack_detection(kScores, kLabels, HUGE_VAL).apcer == 1);
  CHECK(attack_detection(kScores, kLabels, HUGE_VAL).bpcer == 0);
}

TEST_CASE("One class alone has its own error rate", "[measure]") {
  const auto attacks = kScores.slice(0, 0, 6);
  const std::vector<std::string> types(kTypes.begin(), kTypes.begin() + 6);
  for (const double threshold : {0., .2, .5, .65, .8, HUGE_VAL}) {
    const auto both = attack_detection(kScores, kLabels, threshold, kTypes);
    const auto alone = apcer_at_threshold(attacks, threshold, types);
    REQUIRE(alone.species.size() == 2);
    for (const size_t i : {0, 1}) {
      CHECK(alone.species[i].name == both.species[i].name);
      CHECK(alone.species[i].count == both.species[i].count);
      CHECK(alone.species[i].apcer == both.species[i].apcer);
    }
    CHECK(alone.apcer == both.apcer);
    CHECK(alone.apcer_pooled == both.apcer_pooled);
    CHECK(bpcer_at_threshold(kScores.slice(0, 6), threshold) == both.bpcer);
  }
  CHECK(apcer_at_threshold(t({.1, .6, .4, .9}), .5).apcer == .5);
  CHECK(bpcer_at_threshold(t({.1, .6, .4, .9}), .6) == .5);
  CHECK(
      error_of([] { apcer_at_threshold(t({}), .5); }) ==
      "cyborg::measure::apcer_at_threshold: expected scores [N] of one sample "
      "or more, got [0]");
  CHECK(
      error_of([] { bpcer_at_threshold(t({1, 2}, {1, 2}), .5); }) ==
      "cyborg::measure::bpcer_at_threshold: expected scores [N] of one sample "
      "or more, got [1, 2]");
  CHECK(
      error_of([] { bpcer_at_threshold(t({1, std::nan("")}), .5); }) ==
      "cyborg::measure::bpcer_at_threshold: expected finite or infinite "
      "scores, got NaN");
  CHECK(
      error_of([] { bpcer_at_threshold(t({1}), std::nan("")); }) ==
      "cyborg::measure::bpcer_at_threshold: expected a threshold, got NaN");
  CHECK(
      error_of([] { apcer_at_threshold(t({1}), std::nan("")); }) ==
      "cyborg::measure::apcer_at_threshold: expected a threshold, got NaN");
  CHECK(
      error_of([] { apcer_at_threshold(t({1, 2}), 1, {"print"}); }) ==
      "cyborg::measure::apcer_at_threshold: expected no types of attack or one "
      "for each of 2 samples, got 1");
}

TEST_CASE("One error rate is read at a limit of the other", "[measure]") {
  // No print may pass: the threshold is .2, with .3 and .65 above it.
  CHECK(bpcer_at_apcer(kScores, kLabels, .34, kTypes) == .5);
  // Pooled, two of six may pass: the threshold is .6.
  CHECK(bpcer_at_apcer(kScores, kLabels, .34) == .25);
  CHECK(bpcer_at_apcer(kScores, kLabels, 1. / 3) == .25);  // the limit counts
  CHECK(bpcer_at_apcer(kScores, kLabels, 1, kTypes) == 0);
  CHECK(bpcer_at_apcer(kScores, kLabels, 0) == .75);

  // One bona fide sample is above: the threshold is .6.
  CHECK(apcer_at_bpcer(kScores, kLabels, .25, kTypes) == .5);
  CHECK(apcer_at_bpcer(kScores, kLabels, .25) == Approx(2. / 6));
  CHECK(apcer_at_bpcer(kScores, kLabels, 0) == .5);
  CHECK(apcer_at_bpcer(kScores, kLabels, 1) == 0);
}

TEST_CASE("A limit is met when an error rate equals it exactly", "[measure]") {
  // 3 of 10 is exactly 0.3, and 1 - 0.7 is not.
  const auto scores = t({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 11});
  const auto label = labels({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
  CHECK(apcer_at_bpcer(scores, label, .3) == 0);
  CHECK(apcer_at_bpcer(scores, label, .29) == .5);
}

TEST_CASE("The threshold has the lowest ACER", "[measure]") {
  CHECK(threshold_at_min_acer(kScores, kLabels) == .7);
  CHECK(threshold_at_min_acer(kScores, kLabels, kTypes) == .7);
  CHECK(threshold_at_min_acer(t({3, 4, 1, 2}), labels({1, 1, 0, 0})) == 3);
  // Both thresholds, 1 and above it, have the ACER .5: the lower one is taken.
  CHECK(threshold_at_min_acer(t({1, 1}), labels({1, 0})) == 1);
  // Few of the attacks that passed are prints: only their own rate shows them.
  const auto scores = t({1, 5, 5, 5, 5, 5, 3, 3, 0, 0});
  const auto label = labels({1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
  CHECK(threshold_at_min_acer(scores, label) == 5);
  CHECK(
      threshold_at_min_acer(
          scores, label, {"print", "r", "r", "r", "r", "r", "", "", "", ""}) ==
      1);
}

TEST_CASE("Error rates that are not defined throw", "[measure]") {
  CHECK(
      error_of([] { attack_detection(t({1, 2}), labels({0, 0}), 1); }) ==
      "cyborg::measure::attack_detection: expected both classes, got 0 "
      "positives and 2 negatives");
  CHECK(
      error_of([] {
        attack_detection(t({1, 2}), labels({0, 1}), std::nan(""));
      }) == "cyborg::measure::attack_detection: expected a threshold, got NaN");
  CHECK(
      error_of(
          [] { attack_detection(t({1, 2}), labels({0, 1}), 1, {"print"}); }) ==
      "cyborg::measure::attack_detection: expected no types of attack or one "
      "for each of 2 samples, got 1");
  CHECK(
      error_of([] { bpcer_at_apcer(t({1, 2}), labels({0, 1}), 5); }) ==
      "cyborg::measure::bpcer_at_apcer: expected apcer in [0, 1], got 5");
  CHECK(
      error_of([] { apcer_at_bpcer(t({1, 2}), labels({0, 1}), -1); }) ==
      "cyborg::measure::apcer_at_bpcer: expected bpcer in [0, 1], got -1");
}
