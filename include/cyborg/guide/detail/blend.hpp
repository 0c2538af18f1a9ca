// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The saliency term and its blend with the task's loss, by ATen's operators.
// This file defines what the loss is; fused.hpp computes the same faster.

#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/maps/normalize.hpp>

#include <type_traits>
#include <utility>

namespace cyborg::detail {

/// How maps are compared and how the saliency term is blended with the task's
/// loss: the options of the loss after the distance's defaults are filled in.
struct Guidance {
  Normalizer model, human;  // normalisers of the model's and people's maps
  double strength;          // 1 - alpha
  bool sums;                // whether the reduction is kSum
};

/// The results of the loss, tensors without dimensions.
struct GuidedTerms {
  torch::Tensor total, saliency;
  torch::Tensor guided_count;  // int64
};

/// Whether a distance has the optional member `from_scores`, which takes the
/// model's map before the softmax (see <cyborg/guide/distances.hpp>).
template <class Distance, class = void>
struct TakesScores {
  static constexpr bool available = false;
};
template <class Distance>
struct TakesScores<
    Distance, std::void_t<decltype(std::declval<const Distance&>().from_scores(
                  std::declval<const torch::Tensor&>(),
                  std::declval<const torch::Tensor&>()))>> {
  static constexpr bool available = true;
};

/// The distances [B] of maps [B, P]. The model's maps are not normalised yet,
/// people's maps are. The choice is made here because a distance may take the
/// model's maps before a softmax.
template <class Distance>
torch::Tensor distances_of(
    const Distance& distance, const torch::Tensor& maps,
    const torch::Tensor& human, const torch::Tensor& usable,
    Normalizer normalizer) {
  if constexpr (TakesScores<Distance>::available) {
    if (normalizer == Normalizer::kSoftmax) {
      return distance.from_scores(maps, human);
    }
  }
  return distance(normalize_usable(maps, usable, normalizer), human);
}

/// The loss by ATen's operators, for any distance, device and type, and the
/// reference for the fused loss. With w the sample weights, D the distances, n
/// of the B samples guided and a = 1 - (1 - alpha) n / B:
///
///     saliency = (1 / n) sum w D    (kSum: without the division)
///     total = a task + (1 - a) saliency    (kSum: (1 - alpha) saliency)
///
/// A sample that is not guided contributes zero: its map is set to zeros before
/// the distance and its distance to zero after it, so that no NaN of it can
/// reach value or gradient. The number n stays a tensor on the device.
///
/// Shapes: `model` [B, P], `weight` [B] or undefined; `task` one number.
/// Throws: on behalf of `function`, when the distance returns another shape.
template <class Distance>
GuidedTerms guide_by_operators(
    const char* function, const Distance& distance, const Guidance& how,
    const torch::Tensor& task, const torch::Tensor& model,
    const HumanMaps& human, const torch::Tensor& weight) {
  const NormalizedMaps target = normalized_target(human, how.human);
  const torch::Tensor usable =
      target.usable.logical_and(usable_maps(model, how.model, kModelFloor));
  torch::Tensor distances = distances_of(
      distance, zero_unusable(model, usable), target.maps, usable, how.model);
  TORCH_CHECK_VALUE(
      distances.dim() == 1 && distances.size(0) == model.size(0), function,
      ": expected distances [", model.size(0), "] from the distance, got ",
      distances.sizes());
  distances = distances.masked_fill(usable.logical_not(), 0);
  if (weight.defined()) {
    // With weight 0 an infinite distance must give 0, not NaN.
    distances =
        distances.masked_fill(distances.isinf().logical_and(weight.eq(0)), 0) *
        weight.to(distances.scalar_type());
  }
  const torch::Tensor count = usable.sum();
  const torch::Tensor share =
      count.to(model.scalar_type()).div(model.size(0)).mul(how.strength);
  const torch::Tensor sum = distances.sum();
  const torch::Tensor saliency = how.sums ? sum : sum / count.clamp_min(1);
  const torch::Tensor total =
      (1 - share) * task +
      (how.sums ? saliency * how.strength : saliency * share);
  return {total, saliency, count};
}

}  // namespace cyborg::detail
