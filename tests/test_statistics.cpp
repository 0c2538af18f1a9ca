// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/measure/statistics.hpp>

#include <cmath>
#include <limits>

using cyborg::measure::BootstrapOptions;
using cyborg::measure::mean_std;
using cyborg::measure::median_error_ratio;
using cyborg::measure::paired_difference;
using cyborg::measure::quantile;
using support::error_of;

namespace {
const double kInf = std::numeric_limits<double>::infinity();
}

TEST_CASE("Mean and spread are those of a sample", "[measure]") {
  const auto [mean, std] = mean_std({2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(mean == 5);
  CHECK(std == Approx(std::sqrt(32.0 / 7)).epsilon(1e-15));
  // Two passes: a large common part does not change the spread.
  CHECK(mean_std({1e9 + 1, 1e9 + 2, 1e9 + 3}).std == 1);
  CHECK(mean_std({3}).mean == 3);
  CHECK(std::isnan(mean_std({3}).std));
  CHECK(std::isnan(mean_std({1, std::nan("")}).mean));
  CHECK(
      error_of([] { mean_std({}); }) ==
      "cyborg::measure::mean_std: expected one value or more, got none");
}

TEST_CASE("Quantiles interpolate between order statistics", "[measure]") {
  CHECK(quantile({3, 1, 2}, 0.5) == 2);
  CHECK(quantile({4, 1, 3, 2}, 0.5) == 2.5);
  CHECK(quantile({10, 20}, 0.25) == 12.5);
  CHECK(quantile({5, 1, 9}, 0) == 1);
  CHECK(quantile({5, 1, 9}, 1) == 9);
  CHECK(quantile({7}, 0.3) == 7);
  CHECK(quantile({1, 2, kInf}, 0.5) == 2);
  CHECK(quantile({kInf, kInf}, 0.5) == kInf);
  CHECK(std::isnan(quantile({1, std::nan(""), 3}, 0.5)));
  CHECK(
      error_of([] { quantile({}, 0.5); }) ==
      "cyborg::measure::quantile: expected one value or more, got none");
  CHECK(error_of([] {
          quantile({1}, 1.5);
        }) == "cyborg::measure::quantile: expected q in [0, 1], got 1.5");
}

TEST_CASE("A constant difference has an interval of no width", "[measure]") {
  const auto d = paired_difference({0.75, 1, 0.5}, {0.5, 0.75, 0.25});
  CHECK(d.difference == 0.25);
  CHECK(d.low == 0.25);
  CHECK(d.high == 0.25);
  CHECK(d.excludes_zero());
}

TEST_CASE("The interval of two pairs follows the binomial", "[measure]") {
  // Means of two draws from {0, 1}: 0, .5, 1 with chances 1/4, 1/2, 1/4. The
  // 50 % interval ends at the quartiles, which are at the jumps; the ends of the
  // 40 % and 60 % intervals are not.
  const std::vector<double> row = {1, 1};
  const std::vector<double> against = {1, 0};
  auto d = paired_difference(row, against, BootstrapOptions().confidence(0.4));
  CHECK(d.difference == 0.5);
  CHECK(d.low == 0.5);
  CHECK(d.high == 0.5);
  d = paired_difference(row, against, BootstrapOptions().confidence(0.6));
  CHECK(d.low == 0);
  CHECK(d.high == 1);
  CHECK_FALSE(d.excludes_zero());
}

TEST_CASE("The bootstrap is reproducible and covers the mean", "[measure]") {
  const std::vector<double> row = {.9, .95, .92, .97, .99, .91, .96, .94};
  const std::vector<double> against = {.9, .9, .93, .9, .91, .9, .92, .9};
  const auto d = paired_difference(row, against);
  CHECK(d.difference == Approx(0.035));
  CHECK(d.low < d.difference);
  CHECK(d.high > d.difference);
  CHECK(d.low > 0);
  const auto again = paired_difference(row, against);
  CHECK(again.low == d.low);
  CHECK(again.high == d.high);
  const auto other =
      paired_difference(row, against, BootstrapOptions().seed(1));
  CHECK(other.low != d.low);
  CHECK(other.low == Approx(d.low).margin(0.003));
  // About mean +- 1.96 standard errors (of the population's spread).
  std::vector<double> difference;
  for (size_t i = 0; i < row.size(); ++i) {
    difference.push_back(row[i] - against[i]);
  }
  const double error = mean_std(difference).std / std::sqrt(8.0);
  CHECK(d.high - d.low == Approx(2 * 1.96 * error).epsilon(0.15));
}

TEST_CASE("Rows that cannot be paired are refused", "[measure]") {
  CHECK(
      error_of([] { paired_difference({1, 2}, {1}); }) ==
      "cyborg::measure::paired_difference: expected two rows of one length, "
      "got 2 and 1 values");
  CHECK(
      error_of([] { paired_difference({}, {}); }) ==
      "cyborg::measure::paired_difference: expected two rows of one length, "
      "got 0 and 0 values");
  CHECK(
      error_of([] {
        paired_difference({1}, {1}, BootstrapOptions().confidence(1));
      }) ==
      "cyborg::measure::paired_difference: expected confidence in (0, 1), "
      "got 1");
  CHECK(
      error_of([] {
        paired_difference({1}, {1}, BootstrapOptions().resamples(0));
      }) ==
      "cyborg::measure::paired_difference: expected one resample or more, "
      "got 0");
  CHECK(
      error_of([] { median_error_ratio({1, 2}, {1}); }) ==
      "cyborg::measure::median_error_ratio: expected two rows of one length, "
      "got 2 and 1 values");
  CHECK(
      error_of([] { median_error_ratio({.5}, {1.5}); }) ==
      "cyborg::measure::median_error_ratio: expected scores up to 1, got 1.5");
}

TEST_CASE("A NaN score makes a comparison unknown, not wrong", "[measure]") {
  const auto d = paired_difference({std::nan(""), 1}, {0, 0});
  CHECK(std::isnan(d.difference));
  CHECK(std::isnan(d.low));
  CHECK(std::isnan(d.high));
  CHECK_FALSE(d.excludes_zero());
  CHECK(std::isnan(median_error_ratio({std::nan(""), 1}, {0, 0})));
}

TEST_CASE("The error ratio is the median over pairs", "[measure]") {
  // .25/.5 = .5, .5/.25 = 2, .125/.5 = .25.
  CHECK(median_error_ratio({.75, .5, .875}, {.5, .75, .5}) == 0.5);
  CHECK(median_error_ratio({1, 1}, {1, 1}) == 1);  // both perfect: equal
  CHECK(median_error_ratio({.5}, {1}) == kInf);
  CHECK(median_error_ratio({1}, {.5}) == 0);
}
