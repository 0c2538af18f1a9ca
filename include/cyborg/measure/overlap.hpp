// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/measure/detail/map_pixels.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <cstddef>

// How much of what a map of a model marks is where people marked. Shapes and
// errors that are common to all functions are described in
// cyborg/measure/saliency.hpp.

namespace cyborg::measure {

/// Which pixels of a map are inside: those strictly above a threshold.
struct MapThreshold {
  /// The threshold, in the map's own values. Default 0.5.
  TORCH_ARG(double, value) = 0.5;
  /// If above 0, it replaces `value`: the threshold is then the quantile 1 -
  /// top of the map's own values, so that about this share of its pixels is
  /// inside. Fewer are inside where many are equal, as in a binary map. Default
  /// 0.
  TORCH_ARG(double, top) = 0;

 public:
};

/// Options of `map_iou` and `map_dice`.
struct OverlapOptions {
  /// Which pixels of the prediction are inside.
  TORCH_ARG(MapThreshold, prediction);
  /// Which pixels of the human map are inside.
  TORCH_ARG(MapThreshold, human);
  /// The result where nothing is inside either map. Others use 0, 1 or NaN.
  /// Default 0.
  TORCH_ARG(double, empty) = 0;

 public:
};

namespace detail {

/// The number of pixels inside each map, and inside both.
struct Overlap {
  double first;
  double second;
  double both;
};

/// The threshold of one map; a quantile is interpolated as in `quantile`.
inline double threshold_of(const Pixels& map, const MapThreshold& options) {
  if (options.top() <= 0) {
    return options.value();
  }
  Pixels sorted = map;
  std::sort(sorted.begin(), sorted.end());
  const double position =
      (1 - options.top()) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) *
                             (sorted[above] - sorted[below]);
}

/// Counts the pixels of two maps of one size.
inline Overlap overlap(
    const Pixels& a, const Pixels& b, const OverlapOptions& options) {
  const double from_a = threshold_of(a, options.prediction());
  const double from_b = threshold_of(b, options.human());
  Overlap out{0, 0, 0};
  for (size_t i = 0; i < a.size(); ++i) {
    out.first += a[i] > from_a ? 1 : 0;
    out.second += b[i] > from_b ? 1 : 0;
    out.both += a[i] > from_a && b[i] > from_b ? 1 : 0;
  }
  return out;
}

/// Throws when a `top` is not in [0, 1).
inline void check_overlap(const char* name, const OverlapOptions& options) {
  for (const double top : {options.prediction().top(), options.human().top()}) {
    TORCH_CHECK_VALUE(
        top >= 0 && top < 1, name, ": expected top in [0, 1), got ", top);
  }
}

}  // namespace detail

/// Intersection over union of what is inside two maps.
///
///     |A and B| / |A or B|
///
/// Range: [0, 1]; `empty` where nothing is inside either.
/// Throws: top outside [0, 1).
/// Source: Jaccard, Bulletin de la Société vaudoise 37, 1901.
/// Example:
///     using cyborg::measure::MapThreshold;
///     auto iou = cyborg::measure::map_iou(
///         cams, human, cyborg::measure::OverlapOptions().prediction(
///                          MapThreshold().top(0.1)));
inline torch::Tensor map_iou(
    const torch::Tensor& prediction, const torch::Tensor& human,
    const OverlapOptions& options = {}) {
  constexpr auto* kName = "cyborg::measure::map_iou";
  detail::check_overlap(kName, options);
  return detail::each_pair(
      kName, prediction, human,
      [&](const detail::Pixels& a, const detail::Pixels& b) {
        const auto part = detail::overlap(a, b, options);
        const double either = part.first + part.second - part.both;
        return either == 0 ? options.empty() : part.both / either;
      });
}

/// Dice coefficient (F1) of what is inside two maps.
///
///     2 |A and B| / (|A| + |B|)
///
/// Range: [0, 1]; `empty` where nothing is inside either.
/// Throws: top outside [0, 1).
/// Source: Dice, Ecology 26(3), 1945.
/// Example:
///     auto dice = cyborg::measure::map_dice(cams, human);
inline torch::Tensor map_dice(
    const torch::Tensor& prediction, const torch::Tensor& human,
    const OverlapOptions& options = {}) {
  constexpr auto* kName = "cyborg::measure::map_dice";
  detail::check_overlap(kName, options);
  return detail::each_pair(
      kName, prediction, human,
      [&](const detail::Pixels& a, const detail::Pixels& b) {
        const auto part = detail::overlap(a, b, options);
        const double sizes = part.first + part.second;
        return sizes == 0 ? options.empty() : 2 * part.both / sizes;
      });
}

/// Share of the prediction's energy that is inside a region (energy-based
/// pointing game).
///
///     sum region * relu(S) / sum relu(S)
///
/// Range: [0, 1]; 0 where the whole energy is below 1e-7. The region is in
///        [0, 1]: binary as published, or a map of weights.
/// Throws: a region outside [0, 1].
/// Source: Wang et al., Score-CAM, CVPR Workshops 2020.
/// Example:
///     auto share = cyborg::measure::energy_inside(cams, boxes);
inline torch::Tensor energy_inside(
    const torch::Tensor& prediction, const torch::Tensor& region) {
  constexpr auto* kName = "cyborg::measure::energy_inside";
  return detail::each_pair(
      kName, prediction, region,
      [&](const detail::Pixels& map, const detail::Pixels& weight) {
        double inside = 0;
        double all = 0;
        for (size_t i = 0; i < map.size(); ++i) {
          TORCH_CHECK_VALUE(
              weight[i] >= 0 && weight[i] <= 1, kName,
              ": expected a region in [0, 1], got ", weight[i]);
          inside += weight[i] * std::max(map[i], 0.0);
          all += std::max(map[i], 0.0);
        }
        return all < 1e-7 ? 0 : inside / all;
      });
}

/// Whether the highest pixel of the prediction is inside a region (pointing
/// game). Of several that are equally high, the first counts, row by row.
///
/// Range: 1 (hit) or 0; 0 where the prediction is constant and so points
///        nowhere. The region is binary.
/// Throws: a region other than 0 and 1.
/// Source: Zhang et al., IJCV 126(10), 2018.
/// Example:
///     auto hits = cyborg::measure::pointing_hit(cams, boxes).mean();
inline torch::Tensor pointing_hit(
    const torch::Tensor& prediction, const torch::Tensor& region) {
  constexpr auto* kName = "cyborg::measure::pointing_hit";
  return detail::each_pair(
      kName, prediction, region,
      [](const detail::Pixels& map, const detail::Pixels& inside) {
        detail::check_binary(kName, inside);
        const auto highest =
            std::max_element(map.begin(), map.end()) - map.begin();
        return detail::is_constant(map) ? 0
                                        : inside[static_cast<size_t>(highest)];
      });
}

}  // namespace cyborg::measure
