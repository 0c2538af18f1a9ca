// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/measure/detail/class_scores.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

// The ROC curve, the measures that are read from it, and the thresholds that
// are chosen on it. A threshold looks better than it is on the samples on which
// it was chosen: choose it on one set (validation) and apply it to another
// (test).

namespace cyborg::measure {

/// One point of a ROC curve: the rates when samples with score >= threshold
/// count as positive.
struct RocPoint {
  double threshold;
  double fpr;  ///< share of the negatives that count as positive
  double tpr;  ///< share of the positives that count as positive
};

/// The ROC curve, from (0, 0) to (1, 1): one point for each distinct score,
/// with falling thresholds.
///
///     fpr(t) = #{negative, score >= t} / #negative
///     tpr(t) = #{positive, score >= t} / #positive
///
/// A higher score means that the positive class is more likely. The first
/// point, at which no sample counts as positive, has the threshold +inf.
///
/// Shapes: scores [N], labels [N]; any device; labels are 0 (negative) or 1
///         (positive), of an integral or boolean type.
/// Range: rates in [0, 1].
/// Throws: shapes that differ, a score of NaN or +inf (no threshold is above
///         it), another label, a missing class.
/// Source: Fawcett, Pattern Recognition Letters 27(8), 2006.
/// Example:
///     auto curve = cyborg::measure::roc_curve(scores, labels);
///     double tpr = cyborg::measure::tpr_at_fpr(curve, 0.01);
inline std::vector<RocPoint> roc_curve(
    const torch::Tensor& scores, const torch::Tensor& labels) {
  constexpr auto* kName = "cyborg::measure::roc_curve";
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto by_class = detail::class_scores(kName, scores, labels);
  const auto& positive = by_class.positive;
  const auto& negative = by_class.negative;
  TORCH_CHECK_VALUE(
      positive.back() < kInfinity && negative.back() < kInfinity, kName,
      ": expected scores below infinity, got inf");
  std::vector<RocPoint> curve = {{kInfinity, 0, 0}};
  auto p = positive.rbegin();
  auto n = negative.rbegin();
  while (p != positive.rend() || n != negative.rend()) {
    const double threshold = p == positive.rend()   ? *n
                             : n == negative.rend() ? *p
                                                    : std::max(*p, *n);
    for (; p != positive.rend() && *p == threshold;) {
      ++p;
    }
    for (; n != negative.rend() && *n == threshold;) {
      ++n;
    }
    curve.push_back(
        {threshold,
         static_cast<double>(n - negative.rbegin()) /
             static_cast<double>(negative.size()),
         static_cast<double>(p - positive.rbegin()) /
             static_cast<double>(positive.size())});
  }
  return curve;
}

namespace detail {

/// Throws when a curve has no points but the first.
inline void check_curve(const char* name, const std::vector<RocPoint>& curve) {
  TORCH_CHECK_VALUE(
      curve.size() > 1, name, ": expected a curve made by roc_curve, got ",
      curve.size(), " points");
}

/// The index of the last point whose false positive rate is at most `fpr`.
inline size_t last_within(
    const char* name, const std::vector<RocPoint>& curve, double fpr) {
  check_curve(name, curve);
  TORCH_CHECK_VALUE(
      fpr >= 0 && fpr <= 1, name, ": expected fpr in [0, 1], got ", fpr);
  size_t last = 0;
  while (last + 1 < curve.size() && curve[last + 1].fpr <= fpr) {
    ++last;
  }
  return last;
}

/// The index of the first point at which the two errors have crossed, that is
/// 1 - tpr <= fpr. It is at least 1, so that there is a point before it.
inline size_t crossing(const char* name, const std::vector<RocPoint>& curve) {
  check_curve(name, curve);
  size_t i = 1;
  while (i + 1 < curve.size() && 1 - curve[i].tpr > curve[i].fpr) {
    ++i;
  }
  return i;
}

}  // namespace detail

/// True positive rate at a given false positive rate, by linear interpolation
/// between the points of the curve; the highest where the curve is vertical.
///
/// Range: fpr and result in [0, 1]. An fpr below 1 / #negatives is finer than
///        the curve, and the result is then not reliable.
/// Throws: a curve without points, fpr outside [0, 1].
/// Example:
///     double tdr = cyborg::measure::tpr_at_fpr(curve, 0.002);
inline double tpr_at_fpr(const std::vector<RocPoint>& curve, double fpr) {
  const auto i = detail::last_within("cyborg::measure::tpr_at_fpr", curve, fpr);
  if (curve[i].fpr == fpr || i + 1 == curve.size()) {
    return curve[i].tpr;
  }
  const auto& below = curve[i];
  const auto& above = curve[i + 1];
  return below.tpr +
         (fpr - below.fpr) / (above.fpr - below.fpr) * (above.tpr - below.tpr);
}

/// Equal error rate: the rate at which 1 - tpr = fpr, by linear interpolation
/// between the two points at which the errors cross. Where positives are
/// attacks of all types together, it is the D-EER.
///
/// Range: [0, 1]; 0.5 is chance.
/// Throws: a curve without points.
/// Example:
///     double eer = cyborg::measure::equal_error_rate(curve);
inline double equal_error_rate(const std::vector<RocPoint>& curve) {
  const auto i = detail::crossing("cyborg::measure::equal_error_rate", curve);
  const double before = 1 - curve[i - 1].tpr - curve[i - 1].fpr;  // above 0
  const double after = 1 - curve[i].tpr - curve[i].fpr;           // not above 0
  return curve[i - 1].fpr +
         before / (before - after) * (curve[i].fpr - curve[i - 1].fpr);
}

/// The threshold at which the two error rates are closest; the lower of two
/// that are equally close. Apply it to another set, as score >= threshold.
///
/// Range: one of the scores, or +inf (no sample counts as positive).
/// Throws: a curve without points.
/// Example:
///     double t = cyborg::measure::threshold_at_eer(validation_curve);
///     auto predicted = test_scores.ge(t);
inline double threshold_at_eer(const std::vector<RocPoint>& curve) {
  const auto i = detail::crossing("cyborg::measure::threshold_at_eer", curve);
  const double before = 1 - curve[i - 1].tpr - curve[i - 1].fpr;
  const double after = curve[i].fpr - (1 - curve[i].tpr);
  return curve[before < after ? i - 1 : i].threshold;
}

/// The lowest score whose false positive rate, as a threshold, is at most `fpr`
/// (some define it as below `fpr`). Apply it as score >= threshold.
///
/// Range: one of the scores; or +inf, where no sample counts as positive, when
///        the highest score is a negative's and `fpr` does not allow that one.
/// Throws: a curve without points, fpr outside [0, 1].
/// Example:
///     double t = cyborg::measure::threshold_at_fpr(validation_curve, 0.01);
inline double threshold_at_fpr(const std::vector<RocPoint>& curve, double fpr) {
  return curve[detail::last_within(
                   "cyborg::measure::threshold_at_fpr", curve, fpr)]
      .threshold;
}

}  // namespace cyborg::measure
