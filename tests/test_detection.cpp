// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/measure/detection.hpp>

#include <cmath>
#include <limits>

using cyborg::measure::accuracy;
using cyborg::measure::balanced_accuracy;
using cyborg::measure::confusion_matrix;
using cyborg::measure::d_prime;
using cyborg::measure::group_accuracy;
using cyborg::measure::roc_auc;
using support::error_of;
using support::labels;
using support::t;

TEST_CASE("The AUC is the share of pairs in the right order", "[measure]") {
  // Pairs (positive, negative): .8>.1, .8>.4, .35>.1, .35<.4: three of four.
  CHECK(roc_auc(t({.1, .4, .35, .8}), labels({0, 0, 1, 1})) == 0.75);
  CHECK(roc_auc(t({1, 2, 3, 4}), labels({0, 0, 1, 1})) == 1);
  CHECK(roc_auc(t({1, 2, 3, 4}), labels({1, 1, 0, 0})) == 0);
}

TEST_CASE("A tie between the classes counts one half", "[measure]") {
  CHECK(roc_auc(t({5, 5, 5}), labels({0, 1, 1})) == 0.5);
  // Positives 2, 3; negatives 2, 1: .5 + 1 + 1 + 1 of 4.
  CHECK(roc_auc(t({2, 3, 2, 1}), labels({1, 1, 0, 0})) == 0.875);
  // Ties within a class change nothing.
  CHECK(roc_auc(t({1, 1, 2, 2}), labels({0, 0, 1, 1})) == 1);
}

TEST_CASE("The AUC equals a count over all pairs", "[measure]") {
  torch::manual_seed(3);
  const auto score = torch::randint(0, 12, {80}).to(torch::kFloat);
  const auto label = torch::randint(0, 2, {80}, torch::kLong);
  double right = 0;
  double pairs = 0;
  for (int64_t i = 0; i < 80; ++i) {
    for (int64_t k = 0; k < 80; ++k) {
      if (label[i].item<int64_t>() == 1 && label[k].item<int64_t>() == 0) {
        const double difference = (score[i] - score[k]).item<double>();
        right += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
        ++pairs;
      }
    }
  }
  CHECK(roc_auc(score, label) == Approx(right / pairs).epsilon(1e-14));
}

TEST_CASE("The AUC takes any type, and infinite scores", "[measure]") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(roc_auc(t({-inf, 0, inf}), labels({0, 1, 1})) == 1);
  CHECK(roc_auc(t({inf, inf}), labels({0, 1})) == 0.5);
  const auto half = t({1, 2}).to(torch::kHalf).requires_grad_();
  CHECK(roc_auc(half, torch::tensor({false, true})) == 1);
  // Every second element of a larger tensor: not contiguous.
  const auto wide = t({1, 9, 2, 9}).slice(0, 0, 4, 2);
  CHECK(roc_auc(wide, labels({0, 1})) == 1);
}

TEST_CASE("The AUC throws where it is not defined", "[measure]") {
  CHECK(
      error_of([] { roc_auc(t({1, 2}), labels({1})); }) ==
      "cyborg::measure::roc_auc: expected scores [N] and labels [N], got [2] "
      "and [1]");
  CHECK(error_of([] {
          roc_auc(t({1, 2}), t({0, 1}));
        }) == "cyborg::measure::roc_auc: expected integral labels, got Double");
  CHECK(
      error_of([] { roc_auc(t({1, 2}), labels({1, 1})); }) ==
      "cyborg::measure::roc_auc: expected both classes, got 2 positives and 0 "
      "negatives");
  CHECK(
      error_of([] { roc_auc(t({}), labels({})); }) ==
      "cyborg::measure::roc_auc: expected both classes, got 0 positives and 0 "
      "negatives");
  CHECK(error_of([] {
          roc_auc(t({1, 2}), labels({0, 2}));
        }) == "cyborg::measure::roc_auc: expected labels 0 and 1, got 2");
  CHECK(
      error_of([] { roc_auc(t({std::nan(""), 2}), labels({0, 1})); }) ==
      "cyborg::measure::roc_auc: expected finite or infinite scores, got NaN");
}

TEST_CASE("Accuracy is the share of labels that were predicted", "[measure]") {
  const auto logits = t({2, 1, 0, 0, 3, 1, 1, 0, 5}, {3, 3});
  CHECK(accuracy(logits, labels({0, 1, 0})) == Approx(2.0 / 3));
  CHECK(accuracy(logits, labels({1, 0, 0})) == 0);
  // One logit: above 0 is class 1.
  CHECK(accuracy(t({-1, 2, 0, 3}), labels({0, 1, 0, 0})) == 0.75);
  CHECK(accuracy(t({-1, 2}, {2, 1}), labels({0, 1})) == 1);
}

TEST_CASE("Accuracy refuses shapes that do not fit", "[measure]") {
  CHECK(
      error_of([] { accuracy(t({1, 2, 3, 4}, {2, 2}), labels({1})); }) ==
      "cyborg::measure::accuracy: expected logits [N, K] or [N] and labels "
      "[N] with N > 0, got [2, 2] and [1]");
  CHECK(
      error_of([] { accuracy(t({}), labels({})); }) ==
      "cyborg::measure::accuracy: expected logits [N, K] or [N] and labels "
      "[N] with N > 0, got [0] and [0]");
}

TEST_CASE("The decidability is in units of the classes' spread", "[measure]") {
  // Means 3 and 1, both population variances 1.
  CHECK(d_prime(t({2, 4, 0, 2}), labels({1, 1, 0, 0})) == 2);
  CHECK(d_prime(t({2, 4, 0, 2}), labels({0, 0, 1, 1})) == 2);
  CHECK(std::isinf(d_prime(t({.1, .1, .1, 0}), labels({1, 1, 1, 0}))));
  CHECK(std::isnan(d_prime(t({.1, .1, .1, .1}), labels({1, 1, 1, 0}))));
  CHECK(
      error_of([] { d_prime(t({HUGE_VAL, 1}), labels({1, 0})); }) ==
      "cyborg::measure::d_prime: expected finite scores, got infinite ones");
}

TEST_CASE("The confusion matrix has a row for each true class", "[measure]") {
  const auto counts = confusion_matrix(
      labels({0, 1, 1, 2, 0}), labels({0, 1, 2, 2, 1}), /*classes=*/3);
  CHECK(counts.equal(labels({1, 0, 0, 1, 1, 0, 0, 1, 1}).reshape({3, 3})));
  const auto two = confusion_matrix(
      t({.2, .7, .5}).ge(.5), torch::tensor({false, true, false}), 2);
  CHECK(two.equal(labels({1, 1, 0, 1}).reshape({2, 2})));
  CHECK(
      error_of([] { confusion_matrix(labels({0, 2}), labels({0, 1}), 2); }) ==
      "cyborg::measure::confusion_matrix: expected classes in [0, 2), got 2");
  CHECK(
      error_of([] { confusion_matrix(labels({0}), labels({-1}), 2); }) ==
      "cyborg::measure::confusion_matrix: expected classes in [0, 2), got -1");
  CHECK(
      error_of([] { confusion_matrix(t({0, 1}), labels({0, 1}), 2); }) ==
      "cyborg::measure::confusion_matrix: expected integral classes, got "
      "Double");
  CHECK(
      error_of([] { confusion_matrix(labels({0, 1}), labels({0}), 2); }) ==
      "cyborg::measure::confusion_matrix: expected predicted [N] and labels "
      "[N], got [2] and [1]");
  CHECK(
      error_of([] { confusion_matrix(labels({}), labels({}), 0); }) ==
      "cyborg::measure::confusion_matrix: expected one class or more, got 0");
}

TEST_CASE("Balanced accuracy counts every class the same", "[measure]") {
  // Nine of ten right in class 0, one of two in class 1.
  CHECK(
      balanced_accuracy(labels({9, 1, 1, 1}).reshape({2, 2})) ==
      Approx((.9 + .5) / 2));
  CHECK(
      error_of(
          [] { balanced_accuracy(labels({3, 1, 0, 0}).reshape({2, 2})); }) ==
      "cyborg::measure::balanced_accuracy: expected samples of every class, "
      "got none of class 1");
  CHECK(
      error_of([] { balanced_accuracy(t({1, 2})); }) ==
      "cyborg::measure::balanced_accuracy: expected counts [K, K] of int64, "
      "got [2] of Double");
}

TEST_CASE("The worst group is named", "[measure]") {
  const auto share = group_accuracy(
      labels({1, 1, 0, 0, 0}), labels({1, 0, 0, 0, 0}),
      {"land", "air", "air", "land", "land"});
  REQUIRE(share.groups.size() == 2);
  CHECK(share.groups[0].name == "air");
  CHECK(share.groups[0].count == 2);
  CHECK(share.groups[0].accuracy == 0.5);
  CHECK(share.groups[1].accuracy == 1);
  CHECK(share.mean == 0.75);
  CHECK(share.worst.name == "air");
  CHECK(share.worst.accuracy == 0.5);
  CHECK(
      error_of([] { group_accuracy(labels({1}), labels({1}), {"a", "b"}); }) ==
      "cyborg::measure::group_accuracy: expected one group for each of 1 "
      "samples, and samples, got 2");
  CHECK(
      error_of([] { group_accuracy(labels({}), labels({}), {}); }) ==
      "cyborg::measure::group_accuracy: expected one group for each of 0 "
      "samples, and samples, got 0");
}
