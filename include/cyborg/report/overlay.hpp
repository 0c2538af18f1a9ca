// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/empty.h>
#include <ATen/ops/isinf.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/arg.h>

#include <cstddef>
#include <cstdint>
#include <vector>

// Maps as pictures: colours for numbers, and a map drawn over its picture.

namespace cyborg::report {

/// How a number in [0, 1] becomes a colour.
enum class Colormap {
  kViridis,  ///< perceptually uniform, readable in grey and by the colour-blind
  kTurbo,    ///< a smooth rainbow: shows details, but not which is larger
  kJet,      ///< the rainbow of older papers: shows bands that are not there
  kGrey,     ///< black to white
};

namespace detail {

/// Colours 0xRRGGBB at equal distances from 0 to 1; `colorize` interpolates
/// linearly. The result differs by at most 0.02 from the published tables of
/// 256 colours (BIDS colormap, CC0; Mikhailov, "Turbo", 2019).
inline std::vector<uint32_t> colour_anchors(Colormap colormap) {
  switch (colormap) {
    case Colormap::kViridis:
      return {0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c,
              0x28ae80, 0x5ec962, 0xaddc30, 0xfde725};
    case Colormap::kTurbo:
      return {0x30123b, 0x4145ab, 0x4675ed, 0x39a2fc, 0x1bcfd4,
              0x24eca6, 0x61fc6c, 0xa4fc3b, 0xd1e834, 0xf3c63a,
              0xfe9b2d, 0xf36315, 0xd93806, 0xb11901, 0x7a0402};
    case Colormap::kJet:  // piecewise linear by definition, knots at eighths
      return {0x000080, 0x0000ff, 0x0080ff, 0x00ffff, 0x80ff80,
              0xffff00, 0xff8000, 0xff0000, 0x800000};
    case Colormap::kGrey:
      return {0x000000, 0xffffff};
  }
  TORCH_CHECK_VALUE(
      false,
      "cyborg::report::colorize: expected a Colormap, got another value");
}

}  // namespace detail

/// The colours of a map's values.
///
/// Shapes: map [*S] of at most two dimensions -> [3, *S]; maps [B, H, W] ->
///         [B, 3, H, W].
/// Range: values in [0, 1]; smaller and larger ones have the colour of 0 and of
///        1, and NaN (not annotated) is grey. The result is float32 in [0, 1].
/// Gradient: none.
/// Throws: `c10::ValueError` for more than three dimensions.
/// Example:
///     auto rgb = cyborg::report::colorize(map, Colormap::kViridis);
inline torch::Tensor colorize(
    const torch::Tensor& map, Colormap colormap = Colormap::kViridis) {
  TORCH_CHECK_VALUE(
      map.dim() <= 3,
      "cyborg::report::colorize: expected a map [H, W] or maps [B, H, W], got ",
      map.sizes());
  const auto anchors = detail::colour_anchors(colormap);
  const auto steps = static_cast<int64_t>(anchors.size()) - 1;
  auto table = at::empty({steps + 1, 3}, at::kFloat);
  for (int64_t i = 0; i <= steps; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      const auto byte =
          (anchors[static_cast<size_t>(i)] >> (16 - 8 * c)) & 0xffU;
      table[i][c] = static_cast<float>(byte) / 255.0F;
    }
  }
  const auto value = map.detach().to(at::kCPU, at::kFloat);
  const auto unknown = at::isnan(value);
  const auto position =
      value.masked_fill(unknown, 0).clamp(0, 1) * static_cast<double>(steps);
  const auto below = position.floor().clamp(0, static_cast<double>(steps - 1));
  const auto part = (position - below).reshape({-1, 1});
  const auto index = below.to(at::kLong).reshape({-1});
  auto colour = table.index_select(/*dim=*/0, index) * (1 - part) +
                table.index_select(/*dim=*/0, index + 1) * part;
  colour = colour.masked_fill(unknown.reshape({-1, 1}), 0.5);
  auto shape = map.sizes().vec();
  shape.push_back(3);
  const bool batch = map.dim() == 3;
  return colour.reshape(shape).movedim(-1, batch ? 1 : 0).contiguous();
}

/// Options of `overlay`.
struct OverlayOptions {
  /// Weight of the map's colours, in [0, 1]. Default 0.5.
  TORCH_ARG(double, opacity) = 0.5;
  /// Colours of the map. Default `Colormap::kTurbo`.
  TORCH_ARG(Colormap, colormap) = Colormap::kTurbo;
  /// How the map is normalised before it is coloured. Default
  /// `Normalizer::kMinMax`, which stretches it to [0, 1], because the maps of a
  /// model may have any range.
  TORCH_ARG(Normalizer, normalizer) = Normalizer::kMinMax;

 public:
};

/// A map, in colours, drawn over its picture.
///
///     (1 - opacity) * grey picture + opacity * colour(normalised map)
///
/// The picture becomes grey, so that all colour comes from the map. The map is
/// enlarged to the size of the picture (bilinear).
///
/// Pixels of the map that are NaN (not annotated) stay grey, and the others are
/// normalised without them. So the overlay of a missing map is the grey
/// picture. `human::annotated` says before whether a map is missing.
///
/// Shapes: image [1, H, W] or [3, H, W], map [h, w] -> [3, H, W].
/// Range: image and result in [0, 1]; map any finite numbers and NaN.
/// Gradient: none.
/// Throws: `c10::ValueError` for other shapes, an empty map, an infinite value
///         in the map, or an opacity outside of [0, 1].
/// Example:
///     auto picture = cyborg::report::overlay(image, hook.cam(logits, y)[0]);
inline torch::Tensor overlay(
    const torch::Tensor& image, const torch::Tensor& map,
    const OverlayOptions& options = {}) {
  TORCH_CHECK_VALUE(
      image.dim() == 3 && (image.size(0) == 1 || image.size(0) == 3) &&
          map.dim() == 2 && map.numel() > 0,
      "cyborg::report::overlay: expected an image [1, H, W] or [3, H, W] and a "
      "map [h, w], got ",
      image.sizes(), " and ", map.sizes());
  TORCH_CHECK_VALUE(
      options.opacity() >= 0 && options.opacity() <= 1,
      "cyborg::report::overlay: expected opacity in [0, 1], got ",
      options.opacity());
  const auto values = map.detach().to(at::kCPU, at::kFloat);
  TORCH_CHECK_VALUE(
      !at::isinf(values).any().item<bool>(),
      "cyborg::report::overlay: expected a map of finite values, or NaN where "
      "nothing is known, got an infinite value");
  const auto known = at::isnan(values).logical_not();
  auto normal = at::zeros_like(values);
  if (known.any().item<bool>()) {
    normal.masked_scatter_(
        known,
        functional::normalize(
            values.masked_select(known).unsqueeze(0), options.normalizer()));
  }
  const auto enlarge = [&](const torch::Tensor& small) {  // [h, w] to [1, H, W]
    return at::upsample_bilinear2d(
        small.unsqueeze(0).unsqueeze(0), {image.size(1), image.size(2)},
        /*align_corners=*/false)[0];
  };
  // How much of each pixel comes from values that are known; 1 where all are.
  const auto share = enlarge(known.to(at::kFloat));
  const auto colour =
      colorize(enlarge(normal).div(share)[0], options.colormap());
  const auto grey = image.detach()
                        .to(at::kCPU, at::kFloat)
                        .mean(/*dim=*/0, /*keepdim=*/true)
                        .expand({3, image.size(1), image.size(2)});
  return at::where(
      share >= 0.5, grey * (1 - options.opacity()) + colour * options.opacity(),
      grey);
}

}  // namespace cyborg::report
