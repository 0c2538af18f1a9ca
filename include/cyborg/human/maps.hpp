// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

/// Maps of where people look: how to blur them, and how to mark a picture that
/// nobody annotated.
///
/// A map is a floating-point tensor [*S], a batch of maps is [B, *S]. A map
/// with a NaN or an infinity anywhere is *missing*: nobody annotated that
/// picture. Every function here leaves missing maps missing (all NaN).
namespace cyborg::human {

/// Which values a blur reads beyond the border of a map.
enum class Border {
  /// The map mirrored, edge included (c b a | a b c | c b a): keeps the sum.
  kReflect,
  /// The value at the edge (a a a | a b c | c c c).
  kReplicate,
};

namespace detail {

/// The [n, n] matrix that blurs a line of n values. The weights of values
/// beyond the border are added to those of the values that `border` puts there.
inline torch::Tensor blur_matrix(int64_t n, double sigma, Border border) {
  const auto radius = static_cast<int64_t>(std::lround(4.0 * sigma));
  auto matrix = at::zeros({n, n}, at::kDouble);
  auto* entry = matrix.data_ptr<double>();
  double sum = 0;
  for (int64_t d = -radius; d <= radius; ++d) {
    const double z = static_cast<double>(d) / sigma;
    sum += std::exp(-0.5 * z * z);
  }
  for (int64_t d = -radius; d <= radius; ++d) {
    const double z = static_cast<double>(d) / sigma;
    const double weight = std::exp(-0.5 * z * z) / sum;
    for (int64_t i = 0; i < n; ++i) {
      int64_t j = i + d;
      if (border == Border::kReplicate) {
        j = std::clamp<int64_t>(j, 0, n - 1);
      } else {
        j = ((j % (2 * n)) + 2 * n) % (2 * n);  // period 2n: there and back
        j = j < n ? j : 2 * n - 1 - j;
      }
      entry[i * n + j] += weight;
    }
  }
  return matrix;
}

}  // namespace detail

/// Blurs maps with a Gaussian, along height and width.
///
///     out = K_h m K_w^T
///
/// K is the Gaussian of `sigma`, cut at 4 sigma, with rows of sum 1.
/// Shapes: maps [*lead, H, W]; returns the same.
/// Range: `sigma` in pixels; 0 leaves the maps as they are. Any dtype, computed
/// and returned in float32 at least. Missing maps stay missing.
/// Gradient: maps.
/// Throws: `c10::ValueError` for a negative sigma or fewer than 2 dimensions.
/// Example:
///     auto soft = cyborg::human::blur(clicks, /*sigma=*/10);
inline torch::Tensor blur(
    const torch::Tensor& maps, double sigma, Border border = Border::kReflect) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2,
      "cyborg::human::blur: expected maps [*, H, W], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      sigma >= 0 && sigma < std::numeric_limits<double>::infinity(),
      "cyborg::human::blur: expected sigma >= 0, got ", sigma);
  const auto input = maps::detail::as_float_map(maps);
  if (sigma == 0 || input.numel() == 0) {
    return maps::detail::keep_missing(input, input, input.dim() - 2);
  }
  const auto rows = detail::blur_matrix(input.size(-2), sigma, border);
  const auto columns = detail::blur_matrix(input.size(-1), sigma, border);
  const auto blurred = at::matmul(
      at::matmul(rows.to(input.options()), input),
      columns.to(input.options()).t());
  return maps::detail::keep_missing(blurred, input, input.dim() - 2);
}

/// A missing map, which says that nobody annotated the picture: NaN everywhere.
///
/// Example:
///     auto map = file_exists ? read() : cyborg::human::missing({224, 224});
inline torch::Tensor missing(
    at::IntArrayRef size, const at::TensorOptions& options = at::kFloat) {
  return at::full(size, std::numeric_limits<double>::quiet_NaN(), options);
}

/// Which maps are annotations: finite, and not the same value everywhere.
///
/// Shapes: maps [B, *S]; returns bool [B].
/// Throws: `c10::ValueError` when `maps` is not [B, *S].
inline torch::Tensor annotated(const torch::Tensor& maps) {
  cyborg::detail::check_maps("cyborg::human::annotated", maps);
  const auto flat = maps::detail::as_float_map(maps).flatten(/*start_dim=*/1);
  return at::isfinite(flat).all(/*dim=*/1).logical_and(
      flat.amax(/*dim=*/1) > flat.amin(/*dim=*/1));
}

}  // namespace cyborg::human
