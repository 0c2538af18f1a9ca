// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/normalize.hpp>
#include <cyborg/human/maps.hpp>

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
    const char* function, const torch::Tensor& maps, const torch::Tensor& cam) {
  TORCH_CHECK_VALUE(
      maps.defined(), function,
      ": expected maps of people, got none (a batch that nobody "
      "annotated: maps of NaN, or annotated all false)");
  const bool channel = maps.dim() == cam.dim() + 1 && maps.size(1) == 1;
  TORCH_CHECK_VALUE(
      (maps.dim() == cam.dim() || channel) && maps.size(0) == cam.size(0),
      function,
      ": expected maps of people [B, *S] or [B, 1, *S] for a map of "
      "the model ",
      cam.sizes(), ", got ", maps.sizes());
  TORCH_CHECK_VALUE(
      maps.device() == cam.device(), function, ": expected maps of people on ",
      cam.device(), ", got ", maps.device());
  TORCH_CHECK_VALUE(
      !maps.is_complex(), function,
      ": expected maps of people of real numbers, got ", maps.scalar_type());
  const torch::Tensor batch = channel ? maps.squeeze(1) : maps;
  for (int64_t i = 1; i < cam.dim(); ++i) {
    TORCH_CHECK_VALUE(
        batch.size(i) >= cam.size(i), function,
        ": expected maps of people no smaller than the model's ", cam.sizes(),
        ", got ", maps.sizes());
  }
  return batch;
}

/// People's maps at the model's size, normalised, and which of them guide:
/// those that are annotated, finite and (unless `normalizer` is kNone) not
/// constant. The rest are zeros, from before the resize on, which would
/// otherwise spread a NaN. They are targets: no gradient goes to them.
///
/// Shapes: `maps` [B, *S'] or [B, 1, *S'], `cam` [B, *S], `annotated` [B] or
/// undefined -> [B, P] and [B] bool, in the type of `cam`.
inline NormalizedMaps human_target(
    const char* function, const torch::Tensor& maps, const torch::Tensor& cam,
    const torch::Tensor& annotated, Normalizer normalizer) {
  const at::NoGradGuard no_grad;
  const torch::Tensor batch =
      human_batch(function, maps, cam).detach().to(cam.scalar_type());
  const torch::Tensor flat = batch.flatten(1);
  // No absolute floor: a density over a large picture is tiny everywhere.
  torch::Tensor usable = usable_maps(flat, normalizer, /*floor=*/0);
  if (annotated.defined()) {
    check_per_sample(function, "annotated", annotated, cam);
    TORCH_CHECK_VALUE(
        at::isIntegralType(annotated.scalar_type(), /*includeBool=*/true),
        function, ": expected annotated of bool, got ",
        annotated.scalar_type());
    usable = usable.logical_and(annotated.to(at::kBool));
  }
  const torch::Tensor kept = zero_unusable(flat, usable);
  const at::IntArrayRef size = cam.sizes().slice(1);
  const torch::Tensor resized =
      batch.sizes().slice(1) == size
          ? kept
          : human::resize(kept.reshape(batch.sizes()), size).flatten(1);
  // Once more: detail finer than the model's map can average out.
  usable = usable.logical_and(usable_maps(resized, normalizer, /*floor=*/0));
  return {
      normalize_usable(zero_unusable(resized, usable), usable, normalizer),
      usable};
}

}  // namespace detail
}  // namespace cyborg
