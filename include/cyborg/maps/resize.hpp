// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/adaptive_avg_pool1d.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/adaptive_avg_pool3d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/upsample_nearest1d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/upsample_nearest3d.h>

#include <cstdint>
#include <limits>
#include <vector>

/// What applies to every map, the model's and people's.
///
/// A map is a floating-point tensor [*S], a batch of maps is [B, *S]. A map
/// with a NaN or an infinity anywhere is *missing*: nobody annotated that
/// picture. Every function here leaves missing maps missing (all NaN).
namespace cyborg::maps {

/// How `resize` computes a map of another size.
enum class Resize {
  /// Bilinear, and antialiased when the map gets smaller, as PIL does it. For
  /// two spatial dimensions; with one or three it is `kArea`.
  kAntialias,
  /// The mean over the cell of the input that each output position covers.
  kArea,
  /// The value at floor(i * input / output); PyTorch's "nearest".
  kNearest,
};

namespace detail {

/// `maps` in float32 at least: integers and half types become float32.
inline torch::Tensor as_float_map(const torch::Tensor& maps) {
  const auto type = maps.scalar_type();
  return type == at::kFloat || type == at::kDouble ? maps : maps.to(at::kFloat);
}

/// Sets those maps of `out` [*lead, *S'] to NaN whose map in `in` [*lead, *S]
/// has a value that is not finite. `lead` is the number of leading dimensions.
/// The host does not wait for the device.
inline torch::Tensor keep_missing(
    const torch::Tensor& out, const torch::Tensor& in, int64_t lead) {
  if (in.numel() == 0) {
    return out;
  }
  auto finite = in;
  if (in.dim() > lead) {
    // amax and amin pass on NaN. This takes one pass, isfinite would take ten.
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

}  // namespace detail

/// Resizes maps to `size`. The host does not wait for the device.
///
/// Shapes: maps [*lead, *S] with as many spatial dimensions as `size` has
/// entries (1, 2 or 3): a single map [*S], [B, *S] and [B, 1, *S] are all
/// valid. Returns [*lead, *size].
/// Range: any; float32 and float64 stay, other types become float32. Except for
/// rounding, no value leaves the range of its map. Missing maps stay missing.
/// Gradient: maps.
/// Throws: `c10::ValueError` for a size that does not fit the maps.
/// Source: the published data loader shrinks maps with PIL's antialiased
/// bilinear resize; `kAntialias` is that resize in floating point.
/// Example:
///     auto small = cyborg::maps::resize(maps, {7, 7});
inline torch::Tensor resize(
    const torch::Tensor& maps, at::IntArrayRef size,
    Resize mode = Resize::kAntialias) {
  const auto rank = static_cast<int64_t>(size.size());
  TORCH_CHECK_VALUE(
      rank >= 1 && rank <= 3,
      "cyborg::maps::resize: expected a size of 1, 2 or 3 numbers, got ", size);
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= rank,
      "cyborg::maps::resize: expected maps with at least ", rank,
      " dimensions for size ", size, ", got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
  const auto lead = maps.dim() - rank;
  for (int64_t d = 0; d < rank; ++d) {
    TORCH_CHECK_VALUE(
        size[static_cast<size_t>(d)] > 0 && maps.size(lead + d) > 0,
        "cyborg::maps::resize: expected positive sizes, got ", size,
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
      // LibTorch (2.13 for example) repeats the first row where the output is
      // one column of several rows. So the map is transposed, since a single
      // row is resized correctly.
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

}  // namespace cyborg::maps
