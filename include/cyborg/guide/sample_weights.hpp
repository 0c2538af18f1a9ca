// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cyborg {

/// The first and the third quartile of some numbers.
struct Quartiles {
  double first = 0, third = 0;
};

/// The quartiles of all numbers that are there; NaN stands for a missing one.
/// They are interpolated in a line between neighbours, as NumPy does.
///
/// Shapes: values [N], of a whole data set rather than of a batch, so that a
/// sample's weight does not depend on its neighbours.
/// Throws: for fewer than two numbers, and for infinite ones.
/// Example:
///     const auto quartiles = cyborg::quartiles_of(reaction_times);
inline Quartiles quartiles_of(const torch::Tensor& values) {
  constexpr const char* kFunction = "cyborg::quartiles_of";
  TORCH_CHECK_VALUE(
      values.defined() && values.dim() == 1, kFunction,
      ": expected values [N], got ",
      values.defined() ? values.sizes() : at::IntArrayRef());
  const torch::Tensor all =
      detail::resolved_contiguous(values.detach().to(at::kCPU, at::kDouble));
  std::vector<double> numbers;
  for (int64_t i = 0; i < all.size(0); ++i) {
    const double value = all.data_ptr<double>()[i];
    TORCH_CHECK_VALUE(
        !std::isinf(value), kFunction, ": expected numbers, got ", value,
        " at position ", i);
    if (!std::isnan(value)) {
      numbers.push_back(value);
    }
  }
  TORCH_CHECK_VALUE(
      numbers.size() >= 2, kFunction, ": expected two numbers or more, got ",
      numbers.size());
  std::sort(numbers.begin(), numbers.end());
  const auto at = [&](double part) {
    const double place = part * static_cast<double>(numbers.size() - 1);
    const auto low = static_cast<size_t>(std::floor(place));
    const auto high = std::min(low + 1, numbers.size() - 1);
    return numbers[low] +
           (place - std::floor(place)) * (numbers[high] - numbers[low]);
  };
  return {at(0.25), at(0.75)};
}

/// Options of `functional::reaction_time_weight`.
struct ReactionTimeOptions {
  /// How much the slowest quarter weighs more: its weight is 1 + strength.
  TORCH_ARG(double, strength) = 1;
  /// Whether quick answers weigh more, not slow ones.
  TORCH_ARG(bool, quick) = false;

 public:
};

namespace functional {

/// Sample weights from the time that people needed to answer.
///
///     w = 1 + strength p,  p = clip((t - Q1) / (Q3 - Q1), 0, 1)
///
/// With `quick` it is 1 - p instead of p. Times that are missing (NaN) have the
/// weight 1. Where both quartiles are equal, p is 0 up to them and 1 above.
///
/// The weights are factors (`Batch::weight`). Published code adds a number to
/// the logits of all classes, or to the loss of a sample: neither has any
/// gradient.
///
/// Shapes: times [B] -> [B], float32 or float64.
/// Throws: for a negative strength and quartiles in the wrong order; on the CPU
/// for times that are not above 0 or infinite.
/// Source: the code of "cyborgXreactiontime" (quartiles of reaction times), with
/// a factor where that code adds a constant.
/// Example:
///     batch.weight = cyborg::functional::reaction_time_weight(
///         times, cyborg::quartiles_of(all_times));
inline torch::Tensor reaction_time_weight(
    const torch::Tensor& times, const Quartiles& quartiles,
    const ReactionTimeOptions& options = {}) {
  constexpr const char* kFunction = "cyborg::functional::reaction_time_weight";
  TORCH_CHECK_VALUE(
      times.defined() && times.dim() == 1, kFunction,
      ": expected times [B], got ",
      times.defined() ? times.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      options.strength() >= 0 && std::isfinite(options.strength()), kFunction,
      ": expected strength >= 0, got ", options.strength());
  TORCH_CHECK_VALUE(
      quartiles.first <= quartiles.third, kFunction,
      ": expected quartiles in order, got ", quartiles.first, " and ",
      quartiles.third);
  const torch::Tensor values =
      times.scalar_type() == at::kDouble ? times : times.to(at::kFloat);
  TORCH_CHECK_VALUE(
      !values.is_cpu() || values.gt(0)
                              .logical_and(values.isinf().logical_not())
                              .logical_or(values.isnan())
                              .all()
                              .item<bool>(),
      kFunction, ": expected times above 0, or NaN where one is missing, got ",
      values.nan_to_num(1).min().item<double>(), " ... ",
      values.nan_to_num(1).max().item<double>());
  const double range = quartiles.third - quartiles.first;
  const torch::Tensor share =
      range > 0 ? ((values - quartiles.first) / range).clamp(0, 1)
                : values.gt(quartiles.third).to(values.scalar_type());
  const torch::Tensor penalty = options.quick() ? 1 - share : share;
  return (1 + options.strength() * penalty)
      .masked_fill(values.isnan(), 1)
      .detach();
}

/// Sample weights from the share of people who answered rightly.
///
///     w = 1 + strength (1 - accuracy)
///
/// Accuracies that are missing (NaN) have the weight 1.
/// Shapes: accuracy [B] in [0, 1] -> [B], float32 or float64.
/// Throws: for a negative strength; on the CPU for accuracies out of [0, 1].
/// Source: the accuracy version of "PERCEP-TL", as a factor (see
/// `reaction_time_weight`).
inline torch::Tensor accuracy_weight(
    const torch::Tensor& accuracy, double strength = 1) {
  constexpr const char* kFunction = "cyborg::functional::accuracy_weight";
  TORCH_CHECK_VALUE(
      accuracy.defined() && accuracy.dim() == 1, kFunction,
      ": expected accuracy [B], got ",
      accuracy.defined() ? accuracy.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      strength >= 0 && std::isfinite(strength), kFunction,
      ": expected strength >= 0, got ", strength);
  const torch::Tensor values = accuracy.scalar_type() == at::kDouble
                                   ? accuracy
                                   : accuracy.to(at::kFloat);
  TORCH_CHECK_VALUE(
      !values.is_cpu() || values.ge(0)
                              .logical_and(values.le(1))
                              .logical_or(values.isnan())
                              .all()
                              .item<bool>(),
      kFunction,
      ": expected accuracy in [0, 1] (not per cent), or NaN where it "
      "is missing, got ",
      values.nan_to_num(0).min().item<double>(), " ... ",
      values.nan_to_num(0).max().item<double>());
  return (1 + strength * (1 - values.clamp(0, 1)))
      .masked_fill(values.isnan(), 1)
      .detach();
}

}  // namespace functional
}  // namespace cyborg
