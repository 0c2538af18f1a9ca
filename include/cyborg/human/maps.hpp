// SPDX-License-Identifier: BSD-3-Clause
#pragma once

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

/// Maps of where people look: how to blur them, and how to say that
/// nobody annotated a picture.
///
/// A map is a floating-point tensor [*S], a batch of maps is [B, *S]. A map
/// with a NaN or an infinity anywhere is *missing*: nobody annotated that
/// picture. Every function here leaves missing maps missing (all NaN).
namespace cyborg::human {

/// What lies beyond the border of a map when it is blurred.
enum class Border {
  /// The map mirrored, edge included (c b a | a b c | c b a): keeps the sum.
  kReflect,
  /// The value at the edge (a a a | a b c | c c c).
  kReplicate,
};

namespace detail {

/// The [n, n] matrix that blurs a line of n values, its borders folded in.
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
        j = ((j % (2 * n)) + 2 * n) % (2 * n);  // period 2n: forth and back
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
/// out = K_h m K_w^T, K the Gaussian of `sigma` cut at 4 sigma, rows of sum 1.
/// Shapes: maps [*lead, H, W]; returns the same.
/// Range: `sigma` in pixels, 0 leaves the maps as they are; any dtype,
/// computed and returned in float32 at least. Missing maps stay missing.
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

/// A map that says "nobody annotated this": NaN everywhere.
///
/// Example:
///     auto map = file_exists ? read() : cyborg::human::missing({224, 224});
inline torch::Tensor missing(
    at::IntArrayRef size, const at::TensorOptions& options = at::kFloat) {
  return at::full(size, std::numeric_limits<double>::quiet_NaN(), options);
}

/// Which maps say something: finite, and not the same value everywhere.
///
/// Shapes: maps [B, *S]; returns bool [B].
inline torch::Tensor annotated(const torch::Tensor& maps) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2 &&
          std::count(maps.sizes().begin() + 1, maps.sizes().end(), 0) == 0,
      "cyborg::human::annotated: expected maps [B, *S], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  const auto flat = maps::detail::as_float_map(maps).flatten(/*start_dim=*/1);
  return at::isfinite(flat).all(/*dim=*/1).logical_and(
      flat.amax(/*dim=*/1) > flat.amin(/*dim=*/1));
}

}  // namespace cyborg::human
