// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/isnan.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

// The scores of two classes, checked once for every measure that reads them.

namespace cyborg::measure::detail {

/// One score and one label (0 or 1) a sample.
struct LabelledScores {
  std::vector<double> score;
  std::vector<int64_t> label;
};

/// Checks scores and labels, and copies them to the CPU. `name` is the public
/// function, with which an error begins.
/// Throws: on other shapes or types, a NaN score, a label other than 0 and 1,
/// and when a class has no sample.
inline LabelledScores labelled_scores(
    const char* name, const torch::Tensor& scores,
    const torch::Tensor& labels) {
  TORCH_CHECK_VALUE(
      scores.dim() == 1 && labels.dim() == 1 &&
          scores.size(0) == labels.size(0),
      name, ": expected scores [N] and labels [N], got ", scores.sizes(),
      " and ", labels.sizes());
  TORCH_CHECK_VALUE(
      !labels.is_floating_point() && !labels.is_complex(), name,
      ": expected integral labels, got ", labels.scalar_type());
  const auto value = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto label = labels.detach().to(at::kCPU, at::kLong).contiguous();
  TORCH_CHECK_VALUE(
      !at::isnan(value).any().item<bool>(), name,
      ": expected finite or infinite scores, got NaN");
  const double* v = value.data_ptr<double>();
  const int64_t* y = label.data_ptr<int64_t>();
  LabelledScores out{{v, v + value.size(0)}, {y, y + label.size(0)}};
  int64_t positives = 0;
  for (const int64_t one : out.label) {
    TORCH_CHECK_VALUE(
        one == 0 || one == 1, name, ": expected labels 0 and 1, got ", one);
    positives += one;
  }
  const int64_t negatives = value.size(0) - positives;
  TORCH_CHECK_VALUE(
      positives > 0 && negatives > 0, name, ": expected both classes, got ",
      positives, " positives and ", negatives, " negatives");
  return out;
}

/// The scores of samples of one class, ascending.
/// Throws: on another shape, no score, or a NaN score.
inline std::vector<double> scores_of_one_class(
    const char* name, const torch::Tensor& scores) {
  TORCH_CHECK_VALUE(
      scores.dim() == 1 && scores.numel() > 0, name,
      ": expected scores [N] of one sample or more, got ", scores.sizes());
  const auto value = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK_VALUE(
      !at::isnan(value).any().item<bool>(), name,
      ": expected finite or infinite scores, got NaN");
  const double* v = value.data_ptr<double>();
  std::vector<double> out(v, v + value.size(0));
  std::sort(out.begin(), out.end());
  return out;
}

/// The scores of each class. Invariants: both are ascending, neither is empty
/// and neither holds NaN.
struct ClassScores {
  std::vector<double> positive;  // of label 1
  std::vector<double> negative;  // of label 0
};

/// The checked scores, separated by class and sorted.
inline ClassScores class_scores(
    const char* name, const torch::Tensor& scores,
    const torch::Tensor& labels) {
  const auto all = labelled_scores(name, scores, labels);
  ClassScores out;
  for (size_t i = 0; i < all.score.size(); ++i) {
    (all.label[i] == 1 ? out.positive : out.negative).push_back(all.score[i]);
  }
  std::sort(out.positive.begin(), out.positive.end());
  std::sort(out.negative.begin(), out.negative.end());
  return out;
}

/// Share of ascending `scores` that are below `threshold`.
inline double share_below(const std::vector<double>& scores, double threshold) {
  const auto end = std::lower_bound(scores.begin(), scores.end(), threshold);
  return static_cast<double>(end - scores.begin()) /
         static_cast<double>(scores.size());
}

/// Share of ascending `scores` that are `threshold` or above.
inline double share_from(const std::vector<double>& scores, double threshold) {
  // Counted, and not one minus the others: 3 of 10 must be exactly 0.3.
  const auto begin = std::lower_bound(scores.begin(), scores.end(), threshold);
  return static_cast<double>(scores.end() - begin) /
         static_cast<double>(scores.size());
}

}  // namespace cyborg::measure::detail
