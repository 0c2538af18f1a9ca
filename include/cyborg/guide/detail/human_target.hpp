// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Brings people's maps to the size of the model's map, and decides which
// samples they can guide.

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cyborg {
namespace detail {

/// People's maps as [B, *S'], whether they were given so or as [B, 1, *S'].
/// `model` holds the sizes [B, *S] of the model's map. `name` is what they are
/// called in errors.
/// Throws: on behalf of `function`, when shape, device or type does not fit.
inline torch::Tensor human_batch(
    const char* function, const char* name, const torch::Tensor& maps,
    at::IntArrayRef model, const at::Device& device) {
  TORCH_CHECK_VALUE(
      maps.defined(), function, ": expected ", name,
      ", got none (for a batch that nobody annotated, give maps of NaN, or "
      "annotated with every entry false)");
  const auto dims = static_cast<int64_t>(model.size());
  const bool channel = maps.dim() == dims + 1 && maps.size(1) == 1;
  TORCH_CHECK_VALUE(
      (maps.dim() == dims || channel) && maps.size(0) == model[0], function,
      ": expected ", name, " [B, *S] or [B, 1, *S] for a map of the model ",
      model, ", got ", maps.sizes());
  TORCH_CHECK_VALUE(
      maps.device() == device, function, ": expected ", name, " on ", device,
      ", got ", maps.device());
  TORCH_CHECK_VALUE(
      !maps.is_complex(), function, ": expected ", name,
      " of real numbers, got ", maps.scalar_type());
  return channel ? maps.squeeze(1) : maps;
}

/// Throws, on behalf of `function`, when people's maps are smaller than the
/// model's.
inline void check_not_smaller(
    const char* function, const torch::Tensor& maps, at::IntArrayRef model) {
  const auto dims = static_cast<int64_t>(model.size());
  const int64_t more = maps.dim() - dims;  // 1 if there is a channel
  for (int64_t i = 1; i < dims; ++i) {
    TORCH_CHECK_VALUE(
        maps.size(i + more) >= model[static_cast<size_t>(i)], function,
        ": expected maps of people no smaller than the model's ", model,
        ", got ", maps.sizes());
  }
}

/// Throws, on behalf of `function`, where a map of one position is normalised:
/// it is always flat.
inline void check_positions(
    const char* function, at::IntArrayRef sizes, Normalizer model,
    Normalizer human) {
  const bool one_position = std::all_of(
      sizes.begin() + 1, sizes.end(), [](int64_t n) { return n == 1; });
  TORCH_CHECK_VALUE(
      !one_position ||
          (model == Normalizer::kNone && human == Normalizer::kNone),
      function, ": expected a map of the model of more than one position, got ",
      sizes, ", which is always flat: use an earlier layer or larger pictures");
}

/// Throws unless masks of what is wrong, [B, ...], are in [0, 1] on the CPU, but
/// for rounding: the square of a mask of 0 ... 255 would be a loss 65025 times
/// as large. Masks that are missing, or not `annotated`, are not read.
inline void check_wrong(
    const char* function, const torch::Tensor& wrong,
    const torch::Tensor& annotated, const torch::Tensor& like) {
  constexpr double kSlack = 1e-3;
  if (!wrong.defined() || !wrong.is_cpu() || wrong.is_complex() ||
      wrong.scalar_type() == at::kBool || wrong.dim() < 2 ||
      wrong.size(0) != like.size(0) || wrong.numel() == 0) {
    return;  // the term that reads it says what does not fit
  }
  const torch::Tensor flat = wrong.detach().flatten(1);
  const torch::Tensor ends = resolved_contiguous(
      at::stack({flat.amin(1), flat.amax(1)}, /*dim=*/1).to(at::kDouble));
  const torch::Tensor read = annotated.defined()
                                 ? resolved_contiguous(annotated.to(at::kBool))
                                 : torch::Tensor();
  const double* end = ends.data_ptr<double>();
  for (int64_t b = 0; b < ends.size(0); ++b) {
    const double low = end[2 * b], high = end[2 * b + 1];
    TORCH_CHECK_VALUE(
        !std::isfinite(high - low) || (low >= -kSlack && high <= 1 + kSlack) ||
            (read.defined() && !read.data_ptr<bool>()[b]),
        function, ": expected masks of what is wrong in [0, 1], got ",
        low < -kSlack ? low : high, " for sample ", b);
  }
}

/// People's maps at the model's size, before normalisation. `normalized_target`
/// turns them into what a distance compares.
struct HumanMaps {
  torch::Tensor maps;  // [B, P], contiguous, in the type of the model's map
  torch::Tensor annotated;  // [B] bool: which may guide; undefined: all
};

/// Brings people's maps to the model's size. They are targets: no gradient goes
/// to them. Maps that cannot guide are set to zeros before a resize, because a
/// resize would carry one NaN to its neighbours.
///
/// Shapes: `maps` [B, *S'] or [B, 1, *S'], `annotated` [B] or undefined;
/// `model` the sizes [B, *S] of the model's map, `like` a tensor with its
/// batch, type and device.
/// `mode` says how they are resized, `name` what they are called in errors.
/// Throws: on behalf of `function`, as `human_batch` does, and when `annotated`
/// does not fit.
inline HumanMaps human_maps(
    const char* function, const torch::Tensor& maps, at::IntArrayRef model,
    const torch::Tensor& like, const torch::Tensor& annotated,
    Normalizer normalizer, maps::Resize mode = maps::Resize::kAntialias,
    const char* name = "maps of people") {
  const at::NoGradGuard no_grad;
  const torch::Tensor batch =
      human_batch(function, name, maps, model, like.device())
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
    human.maps = maps::resize(
                     zero_unusable(human.maps, usable).reshape(batch.sizes()),
                     size, mode)
                     .flatten(1)
                     .contiguous();
  }
  return human;
}

/// The normalised maps, and which of them guide: those that are annotated,
/// finite and (unless `normalizer` is kNone) not constant. They must not be
/// constant at the model's size either, where detail may have averaged out. The
/// other maps are zeros.
inline NormalizedMaps normalized_target(
    const HumanMaps& human, Normalizer normalizer) {
  return normalize_constant(
      human.maps, normalizer, /*floor=*/0, human.annotated);
}

}  // namespace detail
}  // namespace cyborg
