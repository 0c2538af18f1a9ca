// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/aminmax.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>

#include <cmath>
#include <tuple>

namespace cyborg {

/// How maps are scaled so that they can be compared. Every choice treats each
/// sample by itself.
enum class Normalizer {
  kNone,     ///< x, unchanged
  kMinMax,   ///< (x - min) / (max - min): in [0, 1], the published choice
  kMax,      ///< x / max: zero stays zero
  kSum,      ///< (x - min(x, 0)) / sum: a distribution; h / sum(h) for h >= 0
  kSoftmax,  ///< softmax over the positions: a distribution
};

namespace detail {

/// A model's map with a smaller range than this is not used. Stretched to [0,
/// 1] it would be rounding noise with a gradient of 1 / range.
constexpr double kModelFloor = 1e-5;

/// A range below this share of the largest magnitude is taken for rounding
/// (float32 resolves 6e-8; a resize sums hundreds of terms).
constexpr double kRelativeFloor = 1e-6;

/// The smallest and the largest value of each map [B, P], as [B, 1], without a
/// gradient. A NaN in a map is passed on to both.
struct MapEnds {
  torch::Tensor low, high;
};

inline MapEnds ends_of(const torch::Tensor& maps) {
  const auto ends = at::aminmax(maps.detach(), /*dim=*/1, /*keepdim=*/true);
  return {std::get<0>(ends), std::get<1>(ends)};
}

/// Which of the maps with these ends can be normalised, as bool [B]. Maps with
/// a NaN or an infinity cannot. Unless `normalizer` is kNone, flat maps cannot
/// either: max - min <= max(floor, 1e-6 max|x|).
///
/// A comparison with NaN is false. ATen compares, so a user's -ffast-math
/// changes nothing.
inline torch::Tensor usable_maps(
    const MapEnds& ends, Normalizer normalizer, double floor) {
  const torch::Tensor low = ends.low.squeeze(1), high = ends.high.squeeze(1);
  const torch::Tensor range = high - low;
  const torch::Tensor finite = range.lt(HUGE_VAL);
  if (normalizer == Normalizer::kNone) {
    return finite;
  }
  torch::Tensor threshold = at::maximum(high, low.neg()).mul(kRelativeFloor);
  if (floor > 0) {
    threshold = threshold.clamp_min(floor);
  }
  // kMax divides by the maximum, so that must be above the threshold too.
  const torch::Tensor divisor =
      normalizer == Normalizer::kMax ? at::minimum(range, high) : range;
  return finite.logical_and(threshold.lt(divisor));
}

/// Which of the maps [B, P] can be normalised, as bool [B].
inline torch::Tensor usable_maps(
    const torch::Tensor& maps, Normalizer normalizer, double floor) {
  return usable_maps(ends_of(maps), normalizer, floor);
}

/// The maps [B, P], with those that are not `usable` [B] replaced by zeros.
/// This is done before anything is computed from them, so that neither their
/// values nor their gradients can become NaN later.
inline torch::Tensor zero_unusable(
    const torch::Tensor& maps, const torch::Tensor& usable) {
  return maps.masked_fill(usable.logical_not().unsqueeze(1), 0);
}

/// The formula of each normaliser, for maps [B, P]. `low()` and `high()` give
/// the ends [B, 1]; `divisor(x)` is x, made safe where a map is not usable.
template <class Low, class High, class Divisor>
torch::Tensor scaled(
    const torch::Tensor& maps, Normalizer normalizer, const Low& low,
    const High& high, const Divisor& divisor) {
  switch (normalizer) {
    case Normalizer::kMinMax: {
      const torch::Tensor least = low();
      return (maps - least) / divisor(high() - least);
    }
    case Normalizer::kMax:
      return maps / divisor(high());
    case Normalizer::kSum: {
      const torch::Tensor shifted = maps - low().clamp_max(0);
      return shifted / divisor(shifted.sum(/*dim=*/1, /*keepdim=*/true));
    }
    case Normalizer::kSoftmax:
      return maps.softmax(/*dim=*/1);
    case Normalizer::kNone:
      break;
  }
  return maps;
}

/// Normalises maps [B, P]. Those that are not `usable` must be zeros and stay
/// zeros. There is no epsilon: the divisor of a usable map is above the floor.
inline torch::Tensor normalize_usable(
    const torch::Tensor& maps, const torch::Tensor& usable,
    Normalizer normalizer) {
  const torch::Tensor unusable = usable.logical_not().unsqueeze(1);
  // amin and amax instead of min(dim), since their ties share the gradient.
  const torch::Tensor made = scaled(
      maps, normalizer, [&] { return maps.amin(/*dim=*/1, /*keepdim=*/true); },
      [&] { return maps.amax(/*dim=*/1, /*keepdim=*/true); },
      [&](const torch::Tensor& x) { return x.masked_fill(unusable, 1); });
  return normalizer == Normalizer::kSoftmax ? made.masked_fill(unusable, 0)
                                            : made;
}

/// Maps after normalisation, and which of them could be normalised.
struct NormalizedMaps {
  torch::Tensor maps;    // [B, P]; zeros where not usable
  torch::Tensor usable;  // [B] bool
};

/// Normalises the usable maps of [B, P]; the others become zeros without a
/// gradient. `floor`: see `usable_maps`.
inline NormalizedMaps normalize(
    const torch::Tensor& maps, Normalizer normalizer, double floor) {
  const torch::Tensor usable = usable_maps(maps, normalizer, floor);
  return {
      normalize_usable(zero_unusable(maps, usable), usable, normalizer),
      usable};
}

/// As `normalize`, for maps that need no gradient, with fewer operators. Maps
/// that `others` [B] bool names false are not usable either; undefined: all may
/// be.
inline NormalizedMaps normalize_constant(
    const torch::Tensor& maps, Normalizer normalizer, double floor,
    const torch::Tensor& others) {
  const at::NoGradGuard no_grad;
  const MapEnds ends = ends_of(maps);
  torch::Tensor usable = usable_maps(ends, normalizer, floor);
  if (others.defined()) {
    usable = usable.logical_and(others);
  }
  // What a map that is not usable becomes here, NaN too, is overwritten.
  const torch::Tensor made = scaled(
      maps, normalizer, [&] { return ends.low; }, [&] { return ends.high; },
      [](const torch::Tensor& x) { return x; });
  return {made.masked_fill(usable.logical_not().unsqueeze(1), 0), usable};
}

}  // namespace detail

namespace functional {

/// Normalises every map of a batch by itself.
///
///     kMinMax   (x - min) / (max - min)
///     kMax      x / max
///     kSum      (x - min(min x, 0)) / sum of the same
///     kSoftmax  exp(x) / sum exp(x)
///
/// A map that cannot be normalised becomes zeros: a flat one (max - min <= 1e-6
/// max|x|), one with a NaN or an infinity, and for kMax one with max <= 0. No
/// epsilon is added to any divisor.
///
/// Shapes: `maps` [B, *S] -> [B, *S].
/// Range: any numbers; the result is float32, or float64 for float64 maps.
/// kNone changes nothing but the type.
/// Gradient: to `maps`, also through minimum and maximum, where ties share it
/// evenly; zero for a map that became zeros.
/// Throws: when `maps` is not [B, *S] with at least one position.
/// Source: Boyd et al., "CYBORG: Blending Human Saliency Into the Loss
/// Improves Deep Learning-Based Synthetic Face Detection", WACV 2023, for
/// kMinMax. Departure from its code: a flat map becomes zeros, not 0 / 0.
///
/// Example:
///     auto maps = torch::tensor({{2.0, 4.0, 6.0}});
///     functional::normalize(maps, Normalizer::kMinMax);  // 0, 0.5, 1
inline torch::Tensor normalize(
    const torch::Tensor& maps, Normalizer normalizer) {
  detail::check_maps("cyborg::functional::normalize", maps);
  const detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor values = detail::to_compute_type(maps);
  if (normalizer == Normalizer::kNone || maps.size(0) == 0) {
    return values;
  }
  return detail::normalize(values.flatten(1), normalizer, /*floor=*/0)
      .maps.reshape(maps.sizes());
}

}  // namespace functional
}  // namespace cyborg
