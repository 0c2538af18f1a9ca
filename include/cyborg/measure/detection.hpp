// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/types.h>

#include <cstdint>

// How well scores separate two classes: what a detector is judged by.
//
// Everything here is computed in double on the CPU, whatever device or type
// the scores have, because a measure is read by people and not trained on.

namespace cyborg::measure {

/// Area under the ROC curve: the chance that a positive sample scores higher
/// than a negative one, a tie counting one half (Mann-Whitney).
///
///   auc = ( sum of the positives' ranks - p (p + 1) / 2 ) / (p n)
///
/// with p positives, n negatives, and tied scores sharing their mean rank.
///
/// Shapes: scores [N], labels [N]; any device; labels are 0 (negative) or 1
///         (positive), of an integral or boolean type.
/// Range: [0, 1]; 0.5 is chance. Infinite scores are allowed, and ordered.
/// Throws: shapes that differ, a NaN score, another label, a missing class
///         (the measure is then undefined, and never a number).
/// Source: Hanley and McNeil, Radiology 143(1), 1982.
/// Example:
///   auto score = logits.select(/*dim=*/1, 1) - logits.select(/*dim=*/1, 0);
///   double auc = cyborg::measure::roc_auc(score, labels);
inline double roc_auc(
    const torch::Tensor& scores, const torch::Tensor& labels) {
  TORCH_CHECK_VALUE(
      scores.dim() == 1 && labels.dim() == 1 &&
          scores.size(0) == labels.size(0),
      "cyborg::measure::roc_auc: expected scores [N] and labels [N], got ",
      scores.sizes(), " and ", labels.sizes());
  TORCH_CHECK_VALUE(
      !labels.is_floating_point() && !labels.is_complex(),
      "cyborg::measure::roc_auc: expected integral labels, got ",
      labels.scalar_type());
  const auto value = scores.detach().to(torch::kCPU, torch::kDouble);
  const auto label = labels.detach().to(torch::kCPU, torch::kLong).contiguous();
  TORCH_CHECK_VALUE(
      !at::isnan(value).any().item<bool>(),
      "cyborg::measure::roc_auc: expected finite or infinite scores, got NaN");

  const auto order = value.argsort(/*dim=*/0, /*descending=*/false);
  const auto sorted_value = value.index_select(/*dim=*/0, order).contiguous();
  const auto sorted_label = label.index_select(/*dim=*/0, order).contiguous();
  const double* v = sorted_value.data_ptr<double>();
  const int64_t* y = sorted_label.data_ptr<int64_t>();
  const int64_t count = sorted_value.size(0);

  double positives = 0;
  double rank_sum = 0;
  for (int64_t first = 0; first < count;) {
    int64_t last = first;  // the run of scores tied with v[first]
    double tied_positives = 0;
    for (; last < count && v[last] == v[first]; ++last) {
      TORCH_CHECK_VALUE(
          y[last] == 0 || y[last] == 1,
          "cyborg::measure::roc_auc: expected labels 0 and 1, got ", y[last]);
      tied_positives += static_cast<double>(y[last]);
    }
    // Ranks count from one: the run holds the ranks first + 1 ... last.
    rank_sum += tied_positives * 0.5 * static_cast<double>(first + 1 + last);
    positives += tied_positives;
    first = last;
  }
  const double negatives = static_cast<double>(count) - positives;
  TORCH_CHECK_VALUE(
      positives > 0 && negatives > 0,
      "cyborg::measure::roc_auc: expected both classes, got ", positives,
      " positives and ", negatives, " negatives");
  return (rank_sum - 0.5 * positives * (positives + 1)) /
         (positives * negatives);
}

/// Share of samples whose largest logit is that of their label.
///
/// One logit per sample ([N] or [N, 1]) predicts class 1 where it is above 0.
///
/// Shapes: logits [N, K], [N, 1] or [N]; labels [N], integral.
/// Range: [0, 1].
/// Throws: shapes that do not fit, no samples.
/// Example:
///   double share = cyborg::measure::accuracy(logits, labels);
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
  const auto predicted = one_logit ? values.reshape({-1}).gt(0).to(torch::kLong)
                                   : values.argmax(/*dim=*/1);
  return predicted.eq(labels.detach().to(predicted.device(), torch::kLong))
      .to(torch::kDouble)
      .mean()
      .item<double>();
}

}  // namespace cyborg::measure
