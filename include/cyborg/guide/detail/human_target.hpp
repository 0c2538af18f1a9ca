// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <cstdint>

namespace cyborg {
namespace detail {

/// Throws unless `values` is one number a sample, [batch], where `like` is.
inline void check_per_sample(
    const char* function, const char* name, const torch::Tensor& values,
    const torch::Tensor& like) {
  TORCH_CHECK_VALUE(
      values.dim() == 1 && values.size(0) == like.size(0), function,
      ": expected ", name, " [", like.size(0), "], got ", values.sizes());
  TORCH_CHECK_VALUE(
      values.device() == like.device(), function, ": expected ", name, " on ",
      like.device(), ", got ", values.device());
}

/// People's maps as [B, *S'], whether they came so or as [B, 1, *S'].
inline torch::Tensor human_batch(
    const char* function, const torch::Tensor& maps, at::IntArrayRef model,
    const at::Device& device) {
  TORCH_CHECK_VALUE(
      maps.defined(), function,
      ": expected maps of people, got none (a batch that nobody "
      "annotated: maps of NaN, or annotated all false)");
  const auto dims = static_cast<int64_t>(model.size());
  const bool channel = maps.dim() == dims + 1 && maps.size(1) == 1;
  TORCH_CHECK_VALUE(
      (maps.dim() == dims || channel) && maps.size(0) == model[0], function,
      ": expected maps of people [B, *S] or [B, 1, *S] for a map of "
      "the model ",
      model, ", got ", maps.sizes());
  TORCH_CHECK_VALUE(
      maps.device() == device, function, ": expected maps of people on ",
      device, ", got ", maps.device());
  TORCH_CHECK_VALUE(
      !maps.is_complex(), function,
      ": expected maps of people of real numbers, got ", maps.scalar_type());
  const torch::Tensor batch = channel ? maps.squeeze(1) : maps;
  for (int64_t i = 1; i < dims; ++i) {
    TORCH_CHECK_VALUE(
        batch.size(i) >= model[static_cast<size_t>(i)], function,
        ": expected maps of people no smaller than the model's ", model,
        ", got ", maps.sizes());
  }
  return batch;
}

/// People's maps at the model's size, before normalisation.
struct HumanMaps {
  torch::Tensor maps;  // [B, P], contiguous, in the type of the model's map
  torch::Tensor annotated;  // [B] bool: which may guide; undefined: all
};

/// Takes people's maps to the model's size. They are targets: no gradient goes
/// to them. Maps that cannot guide are zeros from before a resize on, which
/// would otherwise spread a NaN.
///
/// Shapes: `maps` [B, *S'] or [B, 1, *S'], `annotated` [B] or undefined;
/// `model` the sizes [B, *S] of the model's map, `like` a tensor of its batch,
/// type and device.
inline HumanMaps human_maps(
    const char* function, const torch::Tensor& maps, at::IntArrayRef model,
    const torch::Tensor& like, const torch::Tensor& annotated,
    Normalizer normalizer) {
  const at::NoGradGuard no_grad;
  const torch::Tensor batch = human_batch(function, maps, model, like.device())
                                  .detach()
                                  .to(like.scalar_type());
  HumanMaps human{resolved_contiguous(batch.flatten(1)), {}};
  if (annotated.defined()) {
    check_per_sample(function, "annotated", annotated, like);
    TORCH_CHECK_VALUE(
        at::isIntegralType(annotated.scalar_type(), /*includeBool=*/true),
        function, ": expected annotated of bool, got ",
        annotated.scalar_type());
    human.annotated = annotated.to(at::kBool).contiguous();
  }
  const at::IntArrayRef size = model.slice(1);
  if (batch.sizes().slice(1) != size) {
    // No absolute floor: a density over a large picture is tiny everywhere.
    const torch::Tensor usable =
        usable_maps(human.maps, normalizer, /*floor=*/0);
    human.annotated = human.annotated.defined()
                          ? usable.logical_and(human.annotated)
                          : usable;
    human.maps =
        maps::resize(
            zero_unusable(human.maps, usable).reshape(batch.sizes()), size)
            .flatten(1)
            .contiguous();
  }
  return human;
}

/// The maps normalised, and which of them guide: those that are annotated,
/// finite and (unless `normalizer` is kNone) not constant, at the model's size
/// too, where detail can have averaged out. The rest are zeros.
inline NormalizedMaps normalized_target(
    const HumanMaps& human, Normalizer normalizer) {
  const at::NoGradGuard no_grad;
  torch::Tensor usable = usable_maps(human.maps, normalizer, /*floor=*/0);
  if (human.annotated.defined()) {
    usable = usable.logical_and(human.annotated);
  }
  return {
      normalize_usable(zero_unusable(human.maps, usable), usable, normalizer),
      usable};
}

}  // namespace detail
}  // namespace cyborg
