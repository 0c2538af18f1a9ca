// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/random.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/core/Generator.h>
#include <ATen/ops/where.h>

#include <cstdint>
#include <utility>
#include <vector>

/// Pictures that are changed by what people said of them: further training
/// pictures, for any loss and any network.
namespace cyborg::human {

namespace detail {

/// Masks or maps as [B, 1, *S] at the size of `images` [B, C, *S], in their
/// type. Missing ones stay missing.
/// Throws: on behalf of `function`, where they do not fit.
inline torch::Tensor at_pictures(
    const char* function, const torch::Tensor& given,
    const torch::Tensor& images) {
  TORCH_CHECK_VALUE(
      images.defined() && images.dim() >= 3 && images.is_floating_point(),
      function, ": expected images [B, C, *S] of floating point, got ",
      images.defined() ? images.sizes() : at::IntArrayRef());
  const auto dims = images.dim();
  TORCH_CHECK_VALUE(
      given.defined() && given.size(0) == images.size(0) &&
          (given.dim() == dims - 1 ||
           (given.dim() == dims && given.size(1) == 1)) &&
          given.device() == images.device(),
      function, ": expected maps [B, *S] or [B, 1, *S] for images ",
      images.sizes(), ", got ",
      given.defined() ? given.sizes() : at::IntArrayRef());
  const auto batch = given.dim() == dims ? given.squeeze(1) : given;
  return maps::resize(batch.to(images.scalar_type()), images.sizes().slice(2))
      .unsqueeze(1);
}

}  // namespace detail

/// Counter-examples: the pictures with random values where people said that the
/// evidence is wrong.
///
///     out = x + a (u - x),  u uniform in [low, high)
///
/// Train on them beside the pictures themselves, with the same labels. Pictures
/// whose mask is missing stay as they are.
/// Shapes: images [B, C, *S]; wrong [B, *S'] or [B, 1, *S'] in [0, 1]; returns
/// as images.
/// `generator` may be one of the CPU for pictures on a GPU.
/// Gradient: none.
/// Throws: `c10::ValueError` for other shapes and for low >= high.
/// Source: the counter-examples of Teso and Kersting, "Explanatory interactive
/// machine learning", AIES 2019.
/// Example:
///     auto more = cyborg::human::refilled(images, wrong, 0, 1, generator);
///     auto all = torch::cat({images, more});
inline torch::Tensor refilled(
    const torch::Tensor& images, const torch::Tensor& wrong, double low,
    double high, const at::Generator& generator) {
  constexpr auto* kFunction = "cyborg::human::refilled";
  TORCH_CHECK_VALUE(
      low < high, kFunction, ": expected low < high, got ", low, " and ", high);
  const auto x = images.detach();
  const auto mask = detail::at_pictures(kFunction, wrong, x);
  const auto fill =
      low + (high - low) * cyborg::detail::uniform_like(x, generator);
  return at::where(mask.isfinite(), x + mask * (fill - x), x);
}

/// The pictures, blurred where people do not look.
///
///     out = m x + (1 - m) blur(x, sigma),  m the map after min-max
///
/// Pictures whose map is missing or constant stay as they are.
/// Shapes: images [B, C, H, W]; maps [B, H', W'] or [B, 1, H', W']; returns as
/// images.
/// Range: `sigma` in pixels.
/// Gradient: none.
/// Throws: `c10::ValueError` for other shapes and a sigma that is not positive.
/// Source: the scenario "limited-blurring" of the code of "Human-machine pairing
/// for fingerprint presentation attack detection".
/// Example:
///     auto focused = cyborg::human::blurred_outside(images, maps, 5);
inline torch::Tensor blurred_outside(
    const torch::Tensor& images, const torch::Tensor& maps, double sigma) {
  constexpr auto* kFunction = "cyborg::human::blurred_outside";
  TORCH_CHECK_VALUE(sigma > 0, kFunction, ": expected sigma > 0, got ", sigma);
  TORCH_CHECK_VALUE(
      images.defined() && images.dim() == 4, kFunction,
      ": expected images [B, C, H, W], got ",
      images.defined() ? images.sizes() : at::IntArrayRef());
  const auto x = images.detach();
  const auto sized = detail::at_pictures(kFunction, maps, x);
  const auto known = annotated(sized.flatten(1));
  const auto map = functional::normalize(sized.flatten(1), Normalizer::kMinMax)
                       .to(x.scalar_type())
                       .reshape(sized.sizes());
  return at::where(
      known.reshape({-1, 1, 1, 1}),
      map * x + (1 - map) * blur(x, sigma).to(x.scalar_type()), x);
}

}  // namespace cyborg::human
