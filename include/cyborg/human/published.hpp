// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/human/draw.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstdint>

/// How published studies make maps of clicks.
namespace cyborg::human {

namespace detail {

/// The [n, n] matrix that filters a line of n values with ten weights: output i
/// reads input i + k - 4 with the weight exp(-(k - peak)^2 / 200), scaled to
/// sum 1. What lies beyond the border is 0.
inline torch::Tensor clickme_matrix(int64_t n, int64_t peak) {
  constexpr int64_t kWeights = 10;
  const auto weight = [&](int64_t k) {
    const auto d = static_cast<double>(k - peak);
    return std::exp(-d * d / 200);
  };
  double sum = 0;
  for (int64_t k = 0; k < kWeights; ++k) {
    sum += weight(k);
  }
  auto matrix = at::zeros({n, n}, at::kDouble);
  auto* entry = matrix.data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < kWeights; ++k) {
      const int64_t j = i + k - 4;
      if (j >= 0 && j < n) {
        entry[i * n + j] += weight(k) / sum;
      }
    }
  }
  return matrix;
}

}  // namespace detail

/// The blur of ClickMe maps as published with neural harmonization: on maps of
/// 64 x 64, which are then enlarged to the picture.
///
/// Its kernel has 10 x 10 weights exp(-d^2 / (2 10^2)), scaled to sum 1. Of a
/// Gaussian of standard deviation 10 these are only the middle, nearly a square
/// of equal weights: the standard deviation is 2.83 in fact, and since 10 is
/// even, maps move by about half a pixel up and to the left. Beyond the border
/// there is 0, so values fall there. For a Gaussian without these, use
/// `blur(maps, 2.83)`.
/// Shapes: maps [*lead, H, W]; returns the same.
/// Range: any; float32 and float64 stay, other types become float32. Missing
/// maps stay missing.
/// Gradient: maps.
/// Throws: `c10::ValueError` for fewer than 2 dimensions.
/// Source: Fel, Felipe, Linsley and Serre, "Harmonizing the object recognition
/// strategies of deep neural networks with humans", NeurIPS 2022,
/// serre-lab/Harmonization: harmonization/common/blur.py.
/// Example:
///     auto map = cyborg::maps::resize(
///         cyborg::human::clickme_blur(clicks_64), {224, 224});
inline torch::Tensor clickme_blur(const torch::Tensor& maps) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2,
      "cyborg::human::clickme_blur: expected maps [*, H, W], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  const auto input = maps::detail::as_float_map(maps);
  // In the published kernel rows are numbered upwards, so its peak is the
  // fifth weight down and the sixth one to the right.
  const auto rows =
      detail::clickme_matrix(input.size(-2), /*peak=*/4).to(input.options());
  const auto columns =
      detail::clickme_matrix(input.size(-1), /*peak=*/5).to(input.options());
  return maps::detail::keep_missing(
      at::matmul(at::matmul(rows, input), columns.t()), input, input.dim() - 2);
}

/// The map of clicks that ViSaRL learns from.
///
///     map(p) = sum_i w_i exp(-4 ln 2 |p - p_i|^2 / width^2), over its maximum
///
/// The published code calls `width` sigma; it is the full width at half maximum.
/// Departures: the published map is rounded to bytes, and it is not a number
/// where nobody clicked; ours is not rounded, and is zero. The published code
/// then resizes it to 224 x 224 by area (`maps::resize` with `Resize::kArea`).
/// Shapes: clicks [N, 2] (x, y) or [N, 3] (x, y, weight), where whole numbers
///         are the middles of pixels, as in the published code; `picture`
///         {H, W}, 400 x 400 there. Returns float32 [H, W].
/// Throws: as `draw_points`.
/// Source: Liang, Thomason and Bıyık, "ViSaRL: Visual Reinforcement Learning
/// Guided by Human Saliency", IROS 2024, aliang8/visarl:
/// visarl/util/saliency_util.py.
/// Example:
///     auto map = cyborg::human::visarl_map(clicks);
inline torch::Tensor visarl_map(
    const torch::Tensor& clicks, at::IntArrayRef picture = {400, 400},
    double width = 25) {
  auto points = clicks;
  if (clicks.defined() && clicks.dim() == 2 && clicks.size(1) >= 2) {
    points = clicks.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
    points.narrow(/*dim=*/1, 0, 2).add_(0.5);
  }
  const auto map = draw_points(
      points, picture, GaussianWidth::full_width_at_half_maximum(width));
  const auto largest = map.max();
  return map.div(largest.masked_fill(largest.eq(0), 1));
}

}  // namespace cyborg::human
