// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/measure/detail/class_scores.hpp>

#include <ATen/ops/zeros.h>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

// How well scores separate two classes: the measures of a detector.
//
// Everything here is computed in double on the CPU, for scores of any device
// and type, because people read a measure and nothing is trained on it.

namespace cyborg::measure {

namespace detail {

/// The class of each sample.
using Classes = std::vector<int64_t>;

/// Predicted and true classes as vectors of one length.
/// Throws: on behalf of `name`, on other shapes or types.
inline std::pair<Classes, Classes> class_pairs(
    const char* name, const torch::Tensor& predicted,
    const torch::Tensor& labels) {
  TORCH_CHECK_VALUE(
      predicted.dim() == 1 && labels.dim() == 1 &&
          predicted.size(0) == labels.size(0),
      name, ": expected predicted [N] and labels [N], got ", predicted.sizes(),
      " and ", labels.sizes());
  const auto classes = [&](const torch::Tensor& tensor) {
    TORCH_CHECK_VALUE(
        !tensor.is_floating_point() && !tensor.is_complex(), name,
        ": expected integral classes, got ", tensor.scalar_type());
    const auto values = tensor.detach().to(at::kCPU, at::kLong).contiguous();
    const int64_t* first = values.data_ptr<int64_t>();
    return Classes(first, first + values.size(0));
  };
  return {classes(predicted), classes(labels)};
}

}  // namespace detail

/// Area under the ROC curve: the chance that a positive sample has a higher
/// score than a negative one, where a tie counts one half (Mann-Whitney).
///
///     auc = ( #{pairs, p > n} + #{pairs, p = n} / 2 ) / #{pairs}
///
/// over all pairs of a positive's score p and a negative's score n.
///
/// Shapes: scores [N], labels [N]; any device; labels are 0 (negative) or 1
///         (positive), of an integral or boolean type.
/// Range: [0, 1]; 0.5 is chance. Scores may be infinite.
/// Throws: shapes that differ, a NaN score, another label, a missing class (for
///         which the measure is not defined).
/// Source: Hanley and McNeil, Radiology 143(1), 1982.
/// Example:
///     auto score = logits.select(/*dim=*/1, 1) - logits.select(/*dim=*/1, 0);
///     double auc = cyborg::measure::roc_auc(score, labels);
inline double roc_auc(
    const torch::Tensor& scores, const torch::Tensor& labels) {
  const auto by_class =
      detail::class_scores("cyborg::measure::roc_auc", scores, labels);
  const auto& negative = by_class.negative;
  double pairs = 0;  // twice the pairs won, so that all sums are whole numbers
  for (const double score : by_class.positive) {
    const auto tied = std::equal_range(negative.begin(), negative.end(), score);
    pairs += static_cast<double>(
        (tied.first - negative.begin()) + (tied.second - negative.begin()));
  }
  return pairs / 2 /
         (static_cast<double>(by_class.positive.size()) *
          static_cast<double>(negative.size()));
}

/// Decidability: the distance between the mean scores of the two classes, in
/// units of their spread.
///
///     d' = |mean_1 - mean_0| / sqrt( (var_1 + var_0) / 2 )
///
/// with the population variance, that is n in its denominator and not n - 1.
///
/// Shapes: scores [N], labels [N] (0 or 1).
/// Range: [0, inf]. Where the scores of each class are all equal, it is inf if
///        the means differ, and NaN if not.
/// Throws: as `roc_auc`; an infinite score.
/// Source: Daugman, Pattern Recognition 36(2), 2003.
/// Example:
///     double d = cyborg::measure::d_prime(scores, labels);
inline double d_prime(
    const torch::Tensor& scores, const torch::Tensor& labels) {
  constexpr auto* kName = "cyborg::measure::d_prime";
  const auto by_class = detail::class_scores(kName, scores, labels);
  double mean[2] = {0, 0};
  double variance[2] = {0, 0};
  const std::vector<double>* of[2] = {&by_class.negative, &by_class.positive};
  for (size_t c = 0; c < 2; ++c) {
    TORCH_CHECK_VALUE(
        std::isfinite(of[c]->front()) && std::isfinite(of[c]->back()), kName,
        ": expected finite scores, got infinite ones");
    const auto count = static_cast<double>(of[c]->size());
    // Relative to the lowest score, so that equal scores have no spread at all.
    for (const double score : *of[c]) {
      mean[c] += (score - of[c]->front()) / count;
    }
    mean[c] += of[c]->front();
    for (const double score : *of[c]) {
      variance[c] += (score - mean[c]) * (score - mean[c]) / count;
    }
  }
  return std::abs(mean[1] - mean[0]) /
         std::sqrt((variance[0] + variance[1]) / 2);
}

/// Share of samples whose largest logit is that of their label.
///
/// One logit per sample ([N] or [N, 1]) predicts class 1 where it is above 0.
///
/// Shapes: logits [N, K], [N, 1] or [N]; labels [N], integral.
/// Range: [0, 1].
/// Throws: shapes that do not fit, no samples.
/// Example:
///     double share = cyborg::measure::accuracy(logits, labels);
inline double accuracy(
    const torch::Tensor& logits, const torch::Tensor& labels) {
  TORCH_CHECK_VALUE(
      (logits.dim() == 1 || logits.dim() == 2) && labels.dim() == 1 &&
          logits.size(0) == labels.size(0) && labels.size(0) > 0 &&
          (logits.dim() == 1 || logits.size(1) > 0),
      "cyborg::measure::accuracy: expected logits [N, K] or [N] and labels "
      "[N] with N > 0, got ",
      logits.sizes(), " and ", labels.sizes());
  const auto values = logits.detach();
  const bool one_logit = values.dim() == 1 || values.size(1) == 1;
  const auto predicted = one_logit ? values.reshape({-1}).gt(0).to(at::kLong)
                                   : values.argmax(/*dim=*/1);
  return predicted.eq(labels.detach().to(predicted.device(), at::kLong))
      .to(at::kDouble)
      .mean()
      .item<double>();
}

/// Counts of what was predicted for each class.
///
///     out[i][k] = #{samples of class i that were predicted as class k}
///
/// Shapes: predicted [N], labels [N], of an integral or boolean type, in
///         [0, classes); the result is [classes, classes], int64, on the CPU.
/// Throws: shapes that differ, classes < 1, a class outside the range.
/// Example:
///     auto counts = cyborg::measure::confusion_matrix(
///         scores.ge(threshold), labels, /*classes=*/2);
inline torch::Tensor confusion_matrix(
    const torch::Tensor& predicted, const torch::Tensor& labels,
    int64_t classes) {
  constexpr auto* kName = "cyborg::measure::confusion_matrix";
  TORCH_CHECK_VALUE(
      classes > 0, kName, ": expected one class or more, got ", classes);
  const auto [guess, truth] = detail::class_pairs(kName, predicted, labels);
  auto counts = at::zeros({classes, classes}, at::kLong);
  int64_t* count = counts.data_ptr<int64_t>();
  for (size_t i = 0; i < truth.size(); ++i) {
    for (const int64_t one : {guess[i], truth[i]}) {
      TORCH_CHECK_VALUE(
          one >= 0 && one < classes, kName, ": expected classes in [0, ",
          classes, "), got ", one);
    }
    ++count[truth[i] * classes + guess[i]];
  }
  return counts;
}

/// Mean over the classes of the share of their samples that was predicted
/// correctly. It is the accuracy if all classes had the same number of samples.
///
/// Shapes: the [K, K] result of `confusion_matrix`.
/// Range: [0, 1]; 1 / K is chance.
/// Throws: another shape or type, a class without samples.
/// Source: Brodersen et al., ICPR 2010.
/// Example:
///     double share = cyborg::measure::balanced_accuracy(counts);
inline double balanced_accuracy(const torch::Tensor& confusion) {
  constexpr auto* kName = "cyborg::measure::balanced_accuracy";
  TORCH_CHECK_VALUE(
      confusion.dim() == 2 && confusion.size(0) == confusion.size(1) &&
          confusion.size(0) > 0 && confusion.scalar_type() == at::kLong,
      kName, ": expected counts [K, K] of int64, got ", confusion.sizes(),
      " of ", confusion.scalar_type());
  const auto counts = confusion.detach().to(at::kCPU, at::kDouble);
  const auto samples = counts.sum(/*dim=*/1);
  for (int64_t k = 0; k < samples.size(0); ++k) {
    TORCH_CHECK_VALUE(
        samples[k].item<double>() > 0, kName,
        ": expected samples of every class, got none of class ", k);
  }
  return counts.diagonal().div(samples).mean().item<double>();
}

/// Accuracy within one group.
struct GroupAccuracy {
  std::string name;
  int64_t count;  ///< the number of samples of the group
  double accuracy;
};

/// Accuracy within every group.
struct GroupAccuracies {
  std::vector<GroupAccuracy> groups;  ///< sorted by name
  double mean;                        ///< over the groups; each counts the same
  GroupAccuracy worst;  ///< the lowest; the first by name if several are equal
};

/// Share of correct predictions within each group of samples, with their mean
/// and the lowest. An average hides a group on which a model fails.
///
/// Shapes: predicted [N], labels [N], integral or boolean; N names.
/// Range: [0, 1].
/// Throws: shapes that differ, names of another number, no samples.
/// Source: Sagawa et al., ICLR 2020.
/// Example:
///     auto share = cyborg::measure::group_accuracy(
///         scores.ge(threshold), labels, {"water", "land", "land"});
///     double worst = share.worst.accuracy;
inline GroupAccuracies group_accuracy(
    const torch::Tensor& predicted, const torch::Tensor& labels,
    const std::vector<std::string>& groups) {
  constexpr auto* kName = "cyborg::measure::group_accuracy";
  const auto [guess, truth] = detail::class_pairs(kName, predicted, labels);
  TORCH_CHECK_VALUE(
      groups.size() == truth.size() && !groups.empty(), kName,
      ": expected one group for each of ", truth.size(),
      " samples, and samples, got ", groups.size());
  std::map<std::string, std::pair<int64_t, int64_t>> seen;  // right, all
  for (size_t i = 0; i < truth.size(); ++i) {
    auto& group = seen[groups[i]];
    group.first += guess[i] == truth[i] ? 1 : 0;
    ++group.second;
  }
  GroupAccuracies out{{}, 0, {"", 0, 2}};
  for (const auto& [name, counts] : seen) {
    const GroupAccuracy group{
        name, counts.second,
        static_cast<double>(counts.first) / static_cast<double>(counts.second)};
    out.mean += group.accuracy / static_cast<double>(seen.size());
    out.worst = group.accuracy < out.worst.accuracy ? group : out.worst;
    out.groups.push_back(group);
  }
  return out;
}

}  // namespace cyborg::measure
