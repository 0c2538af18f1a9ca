// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The saliency term and its blend with the task's loss, by ATen's operators.
// This file defines what the loss is; fused.hpp computes the same faster.

#include <cyborg/guide/batch.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/maps/normalize.hpp>

#include <type_traits>
#include <utility>

namespace cyborg::detail {

/// How maps are compared and how the saliency term is blended with the task's
/// loss: the options of the loss after the distance's defaults are filled in.
struct BlendOptions {
  Normalizer model, human;  // normalisers of the model's and people's maps
  double strength;          // 1 - alpha
  bool sums;                // whether the reduction is kSum
};

/// The results of the loss, tensors without dimensions.
struct GuidedTerms {
  torch::Tensor total, saliency;
  torch::Tensor guided_count;  // int64
};

/// Whether a distance says how people's maps are resized.
template <class Distance, class = void>
struct HasResize : std::false_type {};
template <class Distance>
struct HasResize<Distance, std::void_t<decltype(Distance::resize)>>
    : std::true_type {};

/// Whether a distance says what it compares with.
template <class Distance, class = void>
struct HasReadsWrong : std::false_type {};
template <class Distance>
struct HasReadsWrong<Distance, std::void_t<decltype(Distance::reads_wrong)>>
    : std::true_type {};

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

/// What a distance may say beyond its normalisers (see
/// <cyborg/guide/distances.hpp>).
template <class Distance>
struct DistanceTraits {
  /// How people's maps are brought to the model's size.
  static constexpr maps::Resize resize() {
    if constexpr (HasResize<Distance>::value) {
      return Distance::resize;
    } else {
      return maps::Resize::kAntialias;
    }
  }
  /// Whether the distance compares with what must not be used, `Batch::wrong`.
  static constexpr bool reads_wrong() {
    if constexpr (HasReadsWrong<Distance>::value) {
      return Distance::reads_wrong;
    } else {
      return false;
    }
  }
};

/// The distance of each sample, by ATen's operators: for any distance, device
/// and type. A sample that is not guided has the distance zero: its map is set
/// to zeros before the distance and its distance to zero after it, so that no
/// NaN of it can reach value or gradient.
///
/// Shapes: `model` [B, P]. Returns [B], and bool [B]: which are guided.
/// Throws: on behalf of `function`, when the distance returns another shape.
template <class Distance>
PerSample sample_distances(
    const char* function, const Distance& distance, Normalizer of_model,
    Normalizer of_human, const torch::Tensor& model, const HumanMaps& human) {
  const NormalizedMaps target = normalized_target(human, of_human);
  const torch::Tensor usable =
      target.usable.logical_and(usable_maps(model, of_model, kModelFloor));
  const torch::Tensor distances = distances_of(
      distance, zero_unusable(model, usable), target.maps, usable, of_model);
  TORCH_CHECK_VALUE(
      distances.dim() == 1 && distances.size(0) == model.size(0), function,
      ": expected distances [", model.size(0), "] from the distance, got ",
      distances.sizes());
  return {distances.masked_fill(usable.logical_not(), 0), usable};
}

/// `value` [B] times the weights [B] of the samples, if there are any. With
/// weight 0 an infinite value gives 0, not NaN.
inline torch::Tensor weighted(
    const torch::Tensor& value, const torch::Tensor& weight) {
  return weight.defined()
             ? value.masked_fill(value.isinf().logical_and(weight.eq(0)), 0) *
                   weight.to(value.scalar_type())
             : value;
}

/// The loss by ATen's operators, and the reference for the fused loss. With w
/// the sample weights, D the distances, n of the B samples guided and
/// a = 1 - (1 - alpha) n / B:
///
///     saliency = (1 / n) sum w D    (kSum: without the division)
///     total = a task + (1 - a) saliency    (kSum: (1 - alpha) saliency)
///
/// The number n stays a tensor on the device.
///
/// Shapes: `model` [B, P], `weight` [B] or undefined; `task` one number.
/// Throws: as `sample_distances`.
template <class Distance>
GuidedTerms guide_by_operators(
    const char* function, const Distance& distance, const BlendOptions& how,
    const torch::Tensor& task, const torch::Tensor& model,
    const HumanMaps& human, const torch::Tensor& weight) {
  const PerSample found =
      sample_distances(function, distance, how.model, how.human, model, human);
  const torch::Tensor count = found.usable.sum();
  const torch::Tensor share =
      count.to(model.scalar_type()).div(model.size(0)).mul(how.strength);
  const torch::Tensor sum = weighted(found.value, weight).sum();
  const torch::Tensor saliency = how.sums ? sum : sum / count.clamp_min(1);
  const torch::Tensor total =
      (1 - share) * task +
      (how.sums ? saliency * how.strength : saliency * share);
  return {total, saliency, count};
}

}  // namespace cyborg::detail
