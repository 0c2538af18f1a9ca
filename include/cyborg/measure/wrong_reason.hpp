// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>

#include <cstdint>
#include <limits>

namespace cyborg::measure {

/// How much of the wrong region a set of maps marks.
struct WrongReason {
  double score;   ///< in [0, 1]: lower is better; NaN where no map is left
  double limit;   ///< what a value must be above to be marked
  int64_t blank;  ///< maps without any positive value, which are left out
};

/// The share of the wrong region that the model's maps mark.
///
///     n_b   = (m_b - min m_b) / (max m_b + 1e-6),  m_b without negative values
///     limit = mean over pictures and pixels of n_b
///     score = mean over pictures of sum(a_b [n_b > limit]) / sum(a_b)
///
/// Shapes: maps [B, *S], wrong [B, *S] in [0, 1], 1 = must not be used.
/// Range: [0, 1]. Pictures in which nothing is wrong are left out, as blank
/// maps are.
/// Throws: `c10::ValueError` for other shapes.
/// Source: the wrong-reason metric WR of Friedrich et al., "A typology for
/// exploring the mitigation of shortcut behaviour", Nature Machine Intelligence
/// 2023 (there in percent).
/// Example:
///     auto wr = cyborg::measure::wrong_reason(maps, wrong).score;
inline WrongReason wrong_reason(
    const torch::Tensor& maps, const torch::Tensor& wrong) {
  constexpr auto* kFunction = "cyborg::measure::wrong_reason";
  cyborg::detail::check_maps(kFunction, maps);
  TORCH_CHECK_VALUE(
      wrong.defined() && wrong.sizes() == maps.sizes(), kFunction,
      ": expected wrong ", maps.sizes(), ", got ",
      wrong.defined() ? wrong.sizes() : at::IntArrayRef());
  const auto flat =
      maps.detach().to(at::kDouble).flatten(/*start_dim=*/1).clamp_min(0);
  TORCH_CHECK_VALUE(
      flat.isfinite().all().item<bool>(), kFunction,
      ": expected maps that are finite");
  const auto mask = wrong.detach().to(at::kDouble).flatten(/*start_dim=*/1);
  const auto seen = flat.amax(1).gt(0);
  const auto blank = seen.logical_not().sum().item<int64_t>();
  const auto kept = seen.logical_and(mask.sum(1).gt(0)).nonzero().squeeze(1);
  if (kept.size(0) == 0) {
    return {std::numeric_limits<double>::quiet_NaN(), 0, blank};
  }
  auto values = flat.index_select(0, kept);
  values = (values - values.amin(1, /*keepdim=*/true)) /
           (values.amax(1, /*keepdim=*/true) + 1e-6);
  const auto limit = values.mean().item<double>();
  const auto of_kept = mask.index_select(0, kept);
  const auto score =
      (of_kept * values.gt(limit).to(at::kDouble)).sum(1) / of_kept.sum(1);
  return {score.mean().item<double>(), limit, blank};
}

}  // namespace cyborg::measure
