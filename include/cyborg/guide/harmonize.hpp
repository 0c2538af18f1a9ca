// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/detail/input_gradient.hpp>
#include <cyborg/guide/seen.hpp>

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/tensor.h>
#include <torch/arg.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace cyborg {

/// Options of `Harmonize`.
struct HarmonizeOptions {
  /// How many levels of the pyramid are compared, from 1. Default 5.
  TORCH_ARG(int64_t, levels) = 5;

 public:
};

namespace detail {

/// (m - mean) / (population deviation + 1e-5), and what is negative becomes 0.
/// Maps [B, 1, H, W].
inline torch::Tensor standardize_and_cut(const torch::Tensor& maps) {
  const torch::Tensor flat = maps.flatten(1);
  const torch::Tensor centred = flat - flat.mean(1, /*keepdim=*/true);
  const torch::Tensor variance = centred.square().mean(1, /*keepdim=*/true);
  // The root's derivative at 0 is infinite, so a constant map is left out.
  const torch::Tensor constant = variance.eq(0);
  const torch::Tensor deviation =
      variance.masked_fill(constant, 1).sqrt().masked_fill(constant, 0);
  // relu has no gradient at 0, so that a constant map has none.
  return (centred / (deviation + 1e-5)).relu().reshape(maps.sizes());
}

/// The next level of a pyramid: a 5 x 5 binomial filter with stride 2. The
/// padding is TensorFlow's SAME: for an even size 1 before and 2 after, for an
/// odd size 2 and 2.
inline torch::Tensor next_level(
    const torch::Tensor& maps, const torch::Tensor& filter) {
  const auto before = [](int64_t size) {
    return std::max<int64_t>((size - 1) / 2 * 2 + 5 - size, 0) / 2;
  };
  const auto after = [&](int64_t size) {
    return std::max<int64_t>((size - 1) / 2 * 2 + 5 - size, 0) - before(size);
  };
  const int64_t height = maps.size(2), width = maps.size(3);
  return at::conv2d(
      at::constant_pad_nd(
          maps, {before(width), after(width), before(height), after(height)}),
      filter, /*bias=*/{}, /*stride=*/2);
}

/// [1, 1, 5, 5]: the outer product of 1, 4, 6, 4, 1, divided by 256.
inline torch::Tensor binomial_filter(const torch::Tensor& like) {
  const torch::Tensor line =
      at::tensor(at::ArrayRef<double>({1.0, 4.0, 6.0, 4.0, 1.0}), at::kDouble);
  return (line.unsqueeze(1) * line.unsqueeze(0) / 256)
      .reshape({1, 1, 5, 5})
      .to(like.options().requires_grad(false));
}

}  // namespace detail

/// The difference between the gradient of the pictures and people's maps, at
/// several scales.
///
///     s = mean over channels of d(logit of the label) / d image
///     c(m) = max(0, (m - mean m) / (deviation of m + 1e-5))
///     h' = c(h) / (max c(h) + 1e-6) (max c(s) + 1e-6)
///     D = (1 / levels) sum over levels of mean (level(h') - level(c(s)))^2
///
/// The maximum of c(s) is a constant for the gradient. h is the human map after
/// min-max, so that its scale does not matter. Each level is the one before,
/// blurred by a 5 x 5 binomial filter and halved. The published strength is 1,
/// added to the task (`Blend::kAdditive`).
///
/// A sample counts where it has a human map that is not constant, and a label.
/// The gradient of the batch's sum is taken once (see `RightReasons`).
///
/// Shapes: `Batch::images` [B, C, H, W], `Batch::maps` [B, H', W'] or
/// [B, 1, H', W'], resized to the pictures (enlarged bilinearly) -> [B].
/// Gradient: to the network, second order.
/// Throws: for pictures that are not [B, C, H, W]; for levels < 1; where an
/// operator has no second derivative.
/// Source: Fel et al., "Harmonizing the object recognition strategies of deep
/// neural networks with humans", NeurIPS 2022, and its code.
/// Example:
///     cyborg::Guidance guidance(
///         cyborg::GuidanceOptions().blend(cyborg::Blend::kAdditive));
///     guidance.add("harmonize", 1, cyborg::Harmonize());
struct Harmonize {
  static constexpr unsigned kNeeds = needs::kInputGradient;
  HarmonizeOptions options = {};

  /// Throws: for options that a term cannot have. `Guidance::add` calls it.
  void check() const {
    TORCH_CHECK_VALUE(
        options.levels() >= 1, "cyborg::Harmonize",
        ": expected levels >= 1, got ", options.levels());
  }

  PerSample operator()(const Seen& seen) const {
    constexpr const char* kFunction = "cyborg::Harmonize";
    check();
    TORCH_CHECK_VALUE(
        seen.images.dim() == 4, kFunction,
        ": expected images [B, C, H, W], got ", seen.images.sizes());
    const detail::AutocastDisabledGuard no_autocast;
    const auto people = detail::picture_mask(
        kFunction, "maps of people", seen.batch.maps, seen.images,
        seen.batch.annotated, Normalizer::kMinMax, maps::Resize::kAntialias);
    const torch::Tensor gradient = detail::input_gradient(
        kFunction, seen.score(), seen.images,
        /*create_graph=*/at::GradMode::is_enabled());
    torch::Tensor ours =
        detail::standardize_and_cut(gradient.mean(/*dim=*/1, /*keepdim=*/true));
    const torch::Tensor cut = detail::standardize_and_cut(
        detail::normalize_usable(
            people.values.flatten(1), people.usable, Normalizer::kMinMax)
            .reshape(people.values.sizes()));
    const torch::Tensor highest =
        ours.detach().amax({1, 2, 3}, /*keepdim=*/true) + 1e-6;
    torch::Tensor theirs =
        cut / (cut.amax({1, 2, 3}, /*keepdim=*/true) + 1e-6) * highest;
    const torch::Tensor filter = detail::binomial_filter(ours);
    torch::Tensor sum;
    for (int64_t level = 0; level < options.levels(); ++level) {
      if (level > 0) {
        ours = detail::next_level(ours, filter);
        theirs = detail::next_level(theirs, filter);
      }
      const torch::Tensor part = (theirs - ours).square().mean({1, 2, 3});
      sum = sum.defined() ? sum + part : part;
    }
    return {sum / options.levels(), people.usable.logical_and(seen.known())};
  }
};

}  // namespace cyborg
