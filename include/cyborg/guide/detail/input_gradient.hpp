// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The gradient of a score by the pictures, and masks at the pictures' size.

#include <cyborg/detail/torch/autograd.hpp>
#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>

#include <string>
#include <vector>

namespace cyborg::detail {

/// d(sum of score) / d(images), in float32 at least, with a graph in gradient
/// mode, so that a loss of it can be differentiated once more.
/// Throws: on behalf of `function`, where the score does not depend on the
/// pictures, and where an operator has no second derivative.
inline torch::Tensor input_gradient(
    const char* function, const torch::Tensor& score,
    const torch::Tensor& images, bool create_graph) {
  torch::Tensor gradient;
  try {
    gradient = torch::autograd::grad(
        {score}, {images}, {at::ones_like(score)}, /*retain_graph=*/true,
        create_graph, /*allow_unused=*/true)[0];
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    TORCH_CHECK(
        what.find("derivative for") == std::string::npos, function,
        ": a loss of the input gradient cannot be differentiated, because "
        "LibTorch has no second derivative of an operator (",
        what, ")");
    throw;
  }
  TORCH_CHECK_VALUE(
      gradient.defined(), function,
      ": the logits do not depend on the pictures (a frozen or detached first "
      "part of the network, or other pictures than those of the batch)");
  if (create_graph && gradient.requires_grad()) {
    const std::string missing = underivable(gradient);
    TORCH_CHECK(
        missing.empty(), function,
        ": a loss of the input gradient cannot be differentiated, because "
        "LibTorch has no second derivative of an operator (",
        missing, ")");
  }
  return to_compute_type(gradient);
}

/// People's masks or maps at the pictures' size, as [B, 1, *S] so that they
/// apply to every channel, and which samples have one.
struct PictureMask {
  torch::Tensor values;  // [B, 1, *S]; zeros where nobody said anything
  torch::Tensor usable;  // [B] bool
};

/// `given` at the size of `images` [B, C, *S]. Masks of another size are resized
/// by `mode`.
/// Throws: on behalf of `function`, where they do not fit.
inline PictureMask picture_mask(
    const char* function, const char* name, const torch::Tensor& given,
    const torch::Tensor& images, const torch::Tensor& annotated,
    Normalizer normalizer, maps::Resize mode) {
  TORCH_CHECK_VALUE(
      images.dim() >= 3, function, ": expected images [B, C, *S], got ",
      images.sizes());
  std::vector<int64_t> sizes = images.sizes().vec();
  sizes.erase(sizes.begin() + 1);
  const torch::Tensor like = to_compute_type(images.detach());
  const HumanMaps human = human_maps(
      function, given, sizes, like, annotated, normalizer, mode, name);
  torch::Tensor usable = usable_maps(human.maps, normalizer, /*floor=*/0);
  if (human.annotated.defined()) {
    usable = usable.logical_and(human.annotated);
  }
  sizes.insert(sizes.begin() + 1, 1);
  return {zero_unusable(human.maps, usable).reshape(sizes), usable};
}

}  // namespace cyborg::detail
