// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/human/annotations.hpp>

#include <ATen/ops/flip.h>

#include <limits>
#include <vector>

/// The three grains of saliency: how exactly a map says where people looked.
///
/// Source: "Grains of Saliency: Optimizing Saliency-based Training of Biometric
/// Attack Detection Models" (2024) names the three grains. How it made them is
/// not published; the formulas are our reading.
namespace cyborg::human {

/// Features of interest (FOI), the finest grain: the share of annotators who
/// marked each position.
///
///     foi = mean over annotators of [map > threshold]
///
/// Shapes, Throws: as `mean_of`.
/// Range: [0, 1]; NaN where nobody annotated the picture. Maps made of
/// Gaussians are above 0 nearly everywhere, so give a threshold for them, for
/// example half of their maximum.
/// Gradient: none.
inline torch::Tensor features_of_interest(
    const std::vector<torch::Tensor>& maps, double threshold = 0) {
  const auto all =
      detail::gather_annotators(maps, "cyborg::human::features_of_interest");
  const auto valid = all.valid.unsqueeze(-1);
  const auto marked = all.maps.gt(threshold).logical_and(valid);
  return marked.to(all.maps.scalar_type())
      .sum(/*dim=*/0)
      .div(valid.sum(/*dim=*/0))
      .reshape(all.shape);
}

/// Area of interest (AOI): 1 where more than `share` of the annotators marked a
/// position, else 0. With share 0 it is the union.
///
///     aoi = [foi > share]
///
/// Shapes, Throws: as `mean_of`. Range: 0, 1 and NaN. Gradient: none.
inline torch::Tensor area_of_interest(
    const std::vector<torch::Tensor>& maps, double threshold = 0,
    double share = 0) {
  const auto features = features_of_interest(maps, threshold);
  return features.gt(share)
      .to(features.scalar_type())
      .masked_fill(features.isnan(), std::numeric_limits<double>::quiet_NaN());
}

/// Box of interest (BOI), the coarsest grain: 1 in the smallest upright box
/// around the area of interest, else 0. Zero everywhere if the area is empty.
///
/// Shapes: maps [H, W] or [B, H, W], otherwise as `mean_of`.
/// Throws: as `mean_of`, and for other dimensions. Range: 0, 1 and NaN.
/// Gradient: none.
inline torch::Tensor box_of_interest(
    const std::vector<torch::Tensor>& maps, double threshold = 0,
    double share = 0) {
  const auto area = area_of_interest(maps, threshold, share);
  TORCH_CHECK_VALUE(
      area.dim() == 2 || area.dim() == 3,
      "cyborg::human::box_of_interest: expected maps [H, W] or [B, H, W], got ",
      area.sizes());
  const auto inside = area.gt(0);
  // From the first marked line to the last one.
  const auto filled = [](const torch::Tensor& lines) {
    const auto from_first = lines.cumsum(/*dim=*/-1).gt(0);
    const auto to_last = lines.flip({-1}).cumsum(/*dim=*/-1).gt(0).flip({-1});
    return from_first.logical_and(to_last);
  };
  const auto rows = filled(inside.any(/*dim=*/-1)).unsqueeze(-1);
  const auto columns = filled(inside.any(/*dim=*/-2)).unsqueeze(-2);
  return rows.logical_and(columns)
      .to(area.scalar_type())
      .masked_fill(area.isnan(), std::numeric_limits<double>::quiet_NaN());
}

}  // namespace cyborg::human
