// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/tensor.hpp>

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/adaptive_avg_pool1d.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/adaptive_avg_pool3d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/upsample_nearest1d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/upsample_nearest3d.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

/// Maps of where people look: how to resize and blur them, and how to say that
/// nobody annotated a picture.
///
/// A map is a floating-point tensor [*S], a batch of maps is [B, *S]. A map
/// with a NaN or an infinity anywhere is *missing*: nobody annotated that
/// picture. Every function here leaves missing maps missing (all NaN).
namespace cyborg::human {

/// How `resize` computes a map of another size.
enum class Resize {
  /// Bilinear, antialiased when the map shrinks; what PIL does. Two spatial
  /// dimensions; with one or three it is `kArea`.
  kAntialias,
  /// The mean over the cell of the input that each output position covers.
  kArea,
  /// The value at floor(i * input / output); PyTorch's "nearest".
  kNearest,
};

/// What lies beyond the border of a map when it is blurred.
enum class Border {
  /// The map mirrored, edge included (c b a | a b c | c b a): keeps the sum.
  kReflect,
  /// The value at the edge (a a a | a b c | c c c).
  kReplicate,
};

namespace detail {

/// Maps are computed in float32 at least; integers and half types are cast.
inline at::Tensor as_float_map(const at::Tensor& maps) {
  const auto type = maps.scalar_type();
  return type == at::kFloat || type == at::kDouble ? maps : maps.to(at::kFloat);
}

/// Turns each of `out`'s maps [*lead, *S'] to NaN where the map of the same
/// number in `in` [*lead, *S] holds a non-finite value. No synchronisation.
inline at::Tensor keep_missing(
    const at::Tensor& out, const at::Tensor& in, int64_t lead) {
  if (in.numel() == 0) {
    return out;
  }
  auto finite = in;
  if (in.dim() > lead) {
    // amax and amin carry NaN along: one pass, where isfinite takes ten.
    const auto flat = in.flatten(/*start_dim=*/lead);
    finite = flat.amax(/*dim=*/lead) - flat.amin(/*dim=*/lead);
  }
  finite = at::isfinite(finite);
  while (finite.dim() < out.dim()) {
    finite = finite.unsqueeze(-1);
  }
  return out.masked_fill(
      finite.logical_not(), std::numeric_limits<double>::quiet_NaN());
}

/// The [n, n] matrix that blurs a line of n values, its borders folded in.
inline at::Tensor blur_matrix(int64_t n, double sigma, Border border) {
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

/// Resizes maps to `size`, without host synchronisation.
///
/// Shapes: maps [*lead, *S] with as many spatial dimensions as `size` has
/// entries (1, 2 or 3), so a single map, [B, *S] and [B, 1, *S] all do;
/// returns [*lead, *size].
/// Range: any; float32 and float64 stay, all else is cast to float32. No value
/// leaves the range of its map (but for rounding). Missing maps stay missing.
/// Gradient: maps.
/// Throws: `c10::ValueError` for a size that does not fit the maps.
/// Source: the published data loader shrinks maps with PIL's antialiased
/// bilinear resize; `kAntialias` is that resize in floating point.
/// Example:
///     auto small = cyborg::human::resize(maps, {7, 7});
inline at::Tensor resize(
    const at::Tensor& maps, at::IntArrayRef size,
    Resize mode = Resize::kAntialias) {
  const auto rank = static_cast<int64_t>(size.size());
  TORCH_CHECK_VALUE(
      rank >= 1 && rank <= 3,
      "cyborg::human::resize: expected a size of 1, 2 or 3 numbers, got ",
      size);
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= rank,
      "cyborg::human::resize: expected maps with at least ", rank,
      " dimensions for size ", size, ", got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  const auto lead = maps.dim() - rank;
  for (int64_t d = 0; d < rank; ++d) {
    TORCH_CHECK_VALUE(
        size[static_cast<size_t>(d)] > 0 && maps.size(lead + d) > 0,
        "cyborg::human::resize: expected positive sizes, got ", size,
        " for maps ", maps.sizes());
  }
  const auto input = detail::as_float_map(maps);
  auto shape = input.sizes().slice(0, static_cast<size_t>(lead)).vec();
  int64_t count = 1;
  for (const auto n : shape) {
    count *= n;
  }
  shape.insert(shape.end(), size.begin(), size.end());
  if (count == 0) {
    return at::empty(shape, input.options());
  }
  std::vector<int64_t> planes{count, 1};
  for (int64_t d = 0; d < rank; ++d) {
    planes.push_back(input.size(lead + d));
  }
  auto x = input.reshape(planes);
  if (x.sizes().slice(2) != size) {
    if (mode == Resize::kNearest) {
      x = rank == 1   ? at::upsample_nearest1d(x, size)
          : rank == 2 ? at::upsample_nearest2d(x, size)
                      : at::upsample_nearest3d(x, size);
    } else if (mode == Resize::kAntialias && rank == 2) {
      // LibTorch (2.13 at least) repeats the first row where the output is one
      // column of several rows: turned, it is one row, which is right.
      x = size[1] == 1
          ? at::_upsample_bilinear2d_aa(
                x.transpose(2, 3).contiguous(), {size[1], size[0]},
                /*align_corners=*/false)
                .transpose(2, 3)
          : at::_upsample_bilinear2d_aa(x, size, /*align_corners=*/false);
    } else {
      x = rank == 1   ? at::adaptive_avg_pool1d(x, size)
          : rank == 2 ? at::adaptive_avg_pool2d(x, size)
                      : at::adaptive_avg_pool3d(x, size);
    }
  }
  return detail::keep_missing(x.reshape(shape), input, lead);
}

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
inline at::Tensor blur(
    const at::Tensor& maps, double sigma, Border border = Border::kReflect) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2,
      "cyborg::human::blur: expected maps [*, H, W], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      sigma >= 0 && sigma < std::numeric_limits<double>::infinity(),
      "cyborg::human::blur: expected sigma >= 0, got ", sigma);
  const auto input = detail::as_float_map(maps);
  if (sigma == 0 || input.numel() == 0) {
    return detail::keep_missing(input, input, input.dim() - 2);
  }
  const auto rows = detail::blur_matrix(input.size(-2), sigma, border);
  const auto columns = detail::blur_matrix(input.size(-1), sigma, border);
  const auto blurred = at::matmul(
      at::matmul(rows.to(input.options()), input),
      columns.to(input.options()).t());
  return detail::keep_missing(blurred, input, input.dim() - 2);
}

/// A map that says "nobody annotated this": NaN everywhere.
///
/// Example:
///     auto map = file_exists ? read() : cyborg::human::missing({224, 224});
inline at::Tensor missing(
    at::IntArrayRef size, const at::TensorOptions& options = at::kFloat) {
  return at::full(size, std::numeric_limits<double>::quiet_NaN(), options);
}

/// Which maps say something: finite, and not the same value everywhere.
///
/// Shapes: maps [B, *S]; returns bool [B].
inline at::Tensor annotated(const at::Tensor& maps) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2 &&
          std::count(maps.sizes().begin() + 1, maps.sizes().end(), 0) == 0,
      "cyborg::human::annotated: expected maps [B, *S], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  const auto flat = detail::as_float_map(maps).flatten(/*start_dim=*/1);
  return at::isfinite(flat).all(/*dim=*/1).logical_and(
      flat.amax(/*dim=*/1) > flat.amin(/*dim=*/1));
}

}  // namespace cyborg::human
