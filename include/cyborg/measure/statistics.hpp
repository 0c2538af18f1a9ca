// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>
#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

// What a few repeated runs show: mean and spread, and the paired comparison of
// two rows of runs that share their seeds.
//
// Random numbers come from std::mt19937_64, whose sequence the standard fixes.
// They do not come from a distribution, whose output the standard leaves open.
// So the same seed gives the same interval with every compiler.

namespace cyborg::measure {

/// Mean and sample standard deviation (n - 1 in the denominator).
struct MeanStd {
  double mean;
  double std;  ///< NaN for a single value: one run has no spread
};

/// Mean and sample standard deviation of some values.
///
/// Range: the unit of the values. A NaN among them gives NaN.
/// Throws: no values.
/// Example:
///     auto [mean, std] = cyborg::measure::mean_std({0.9, 0.8, 1.0});
inline MeanStd mean_std(const std::vector<double>& values) {
  TORCH_CHECK_VALUE(
      !values.empty(),
      "cyborg::measure::mean_std: expected one value or more, got none");
  const double count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) {
    sum += value;
  }
  const double mean = sum / count;
  double squares = 0;  // of centred values: a large mean then costs no digits
  for (const double value : values) {
    squares += (value - mean) * (value - mean);
  }
  return {
      mean, values.size() > 1 ? std::sqrt(squares / (count - 1))
                              : std::numeric_limits<double>::quiet_NaN()};
}

/// Quantile by linear interpolation between order statistics (the "type 7" of
/// R and NumPy's default); 0.5 is the median.
///
/// Range: q in [0, 1]. A NaN among the values gives NaN.
/// Throws: no values, q outside [0, 1].
/// Source: Hyndman and Fan, The American Statistician 50(4), 1996.
/// Example:
///     double median = cyborg::measure::quantile({3, 1, 2}, 0.5);   // 2
inline double quantile(std::vector<double> values, double q) {
  TORCH_CHECK_VALUE(
      !values.empty(),
      "cyborg::measure::quantile: expected one value or more, got none");
  TORCH_CHECK_VALUE(
      q >= 0 && q <= 1, "cyborg::measure::quantile: expected q in [0, 1], got ",
      q);
  for (const double value : values) {
    if (std::isnan(value)) {
      return value;  // values with a NaN cannot be sorted
    }
  }
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double part = position - static_cast<double>(below);
  if (part == 0 || values[below] == values[above]) {
    return values[below];  // also where the next one, or both, are infinite
  }
  return values[below] + part * (values[above] - values[below]);
}

/// Options of `paired_difference`.
struct BootstrapOptions {
  /// Share of the resampled means inside the interval. Default 0.95.
  TORCH_ARG(double, confidence) = 0.95;
  /// Number of resamples. With the default of 10,000 the ends vary by a few
  /// percent of the interval's width.
  TORCH_ARG(int64_t, resamples) = 10000;
  /// Seed of the resampling, so that an interval can be reproduced. Default 0.
  TORCH_ARG(uint64_t, seed) = 0;

 public:
};

/// Mean difference of two paired rows, with its bootstrap interval.
struct PairedDifference {
  double difference;  ///< mean over pairs of (row - against)
  double low;         ///< lower end of the interval
  double high;        ///< upper end of the interval

  /// Whether the interval leaves zero out.
  bool excludes_zero() const { return low > 0 || high < 0; }
};

/// Mean of the differences row[i] - against[i], and its percentile bootstrap
/// interval. Pairs of runs are resampled, and not the samples within a run: the
/// claim "training this way is better" is about runs.
///
/// Range: the unit of the values. A NaN difference makes all three NaN.
/// Throws: rows of different or no length, confidence outside (0, 1), no
///         resamples.
/// Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, §13.
/// Example:
///     auto d = cyborg::measure::paired_difference(guided_auc, plain_auc);
///     if (d.excludes_zero()) { ... }
inline PairedDifference paired_difference(
    const std::vector<double>& row, const std::vector<double>& against,
    const BootstrapOptions& options = {}) {
  TORCH_CHECK_VALUE(
      row.size() == against.size() && !row.empty(),
      "cyborg::measure::paired_difference: expected two rows of one length, "
      "got ",
      row.size(), " and ", against.size(), " values");
  TORCH_CHECK_VALUE(
      options.confidence() > 0 && options.confidence() < 1,
      "cyborg::measure::paired_difference: expected confidence in (0, 1), "
      "got ",
      options.confidence());
  TORCH_CHECK_VALUE(
      options.resamples() > 0,
      "cyborg::measure::paired_difference: expected one resample or more, "
      "got ",
      options.resamples());
  std::vector<double> difference(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    difference[i] = row[i] - against[i];
  }
  std::mt19937_64 random(options.seed());
  std::vector<double> means(static_cast<size_t>(options.resamples()));
  for (auto& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < difference.size(); ++i) {
      // The remainder of 64 random bits: its bias is below 1e-15 here.
      sum += difference[static_cast<size_t>(random() % row.size())];
    }
    mean = sum / static_cast<double>(difference.size());
  }
  const double tail = (1 - options.confidence()) / 2;
  return {
      mean_std(difference).mean, quantile(means, tail),
      quantile(means, 1 - tail)};
}

/// Median over pairs of how many times larger the row's error is, for scores
/// whose best value is 1.
///
///     median_i (1 - row[i]) / (1 - against[i])
///
/// Two perfect scores count as equal (ratio 1). An error is infinitely larger
/// than that of a perfect score.
///
/// Range: [0, inf]; below 1 the row has the smaller error. NaN if any score is.
/// Throws: rows of different or no length, a score above 1.
/// Example:
///     double ratio = cyborg::measure::median_error_ratio(guided, plain);
inline double median_error_ratio(
    const std::vector<double>& row, const std::vector<double>& against) {
  TORCH_CHECK_VALUE(
      row.size() == against.size() && !row.empty(),
      "cyborg::measure::median_error_ratio: expected two rows of one length, "
      "got ",
      row.size(), " and ", against.size(), " values");
  std::vector<double> ratio(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    TORCH_CHECK_VALUE(
        !(row[i] > 1) && !(against[i] > 1),
        "cyborg::measure::median_error_ratio: expected scores up to 1, got ",
        std::max(row[i], against[i]));
    const double error = 1 - row[i];
    const double base = 1 - against[i];
    ratio[i] = error == 0 && base == 0 ? 1 : error / base;
  }
  return quantile(ratio, 0.5);
}

}  // namespace cyborg::measure
