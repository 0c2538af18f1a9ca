// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The normalisers for one map, with their derivatives, for the fused loss. For
// whole batches and every device, <cyborg/maps/normalize.hpp> has the same by
// ATen's operators.

#include <cyborg/maps/normalize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace cyborg::detail {

/// Whether a number is neither infinite nor NaN, read from its bits: under a
/// user's -ffast-math a compiler may remove every other test.
inline bool is_finite(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof(x));
  return (bits & 0x7f800000U) != 0x7f800000U;
}
inline bool is_finite(double x) {
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof(x));
  return (bits & 0x7ff0000000000000U) != 0x7ff0000000000000U;
}

/// One map [P] with its minimum, maximum and normaliser.
///
/// `usable`, `normalize` and `backward` give the values and the derivative of
/// `usable_maps` and `normalize_usable` in <cyborg/maps/normalize.hpp>, where
/// the formulas are. Maps are small compared with the features that they are
/// made of, so these are plain loops.
///
/// Order of calls: `normalize` only if `usable`, `backward` only after
/// `normalize`, which sets the divisor.
template <class T>
struct MapView {
  const T* values;        // [P], not owned
  int64_t size;           // P, at least 1
  Normalizer normalizer;  // how to normalise this map
  T low = 0, high = 0;    // minimum and maximum; meaningless with a NaN
  bool finite = true;     // whether every value is finite
  double divisor = 1;     // set by normalize(): what it divided by

  /// Reads the map once, for its minimum and maximum.
  MapView(const T* values_, int64_t size_, Normalizer normalizer_)
      : values(values_), size(size_), normalizer(normalizer_) {
    low = high = values[0];
    for (int64_t i = 0; i < size; ++i) {
      low = std::min(low, values[i]);
      high = std::max(high, values[i]);
      finite &= is_finite(values[i]);
    }
  }

  /// Whether the map can be normalised, by the rule of `usable_maps`.
  bool usable(double floor) const {
    const T range = high - low;
    if (!finite || !is_finite(range)) {
      return false;
    }
    if (normalizer == Normalizer::kNone) {
      return true;
    }
    const T threshold = std::max(
        std::max(high, -low) * static_cast<T>(kRelativeFloor),
        static_cast<T>(floor));
    return (normalizer == Normalizer::kMax ? std::min(range, high) : range) >
           threshold;
  }

  /// Writes the normalised map [P]. The map must be usable.
  void normalize(T* out) {
    const T shift = normalizer == Normalizer::kMinMax    ? low
                    : normalizer == Normalizer::kSum     ? std::min(low, T(0))
                    : normalizer == Normalizer::kSoftmax ? high
                                                         : T(0);
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) {
      const T shifted = values[i] - shift;
      out[i] = normalizer == Normalizer::kSoftmax ? std::exp(shifted) : shifted;
      sum += static_cast<double>(out[i]);
    }
    divisor = normalizer == Normalizer::kMinMax
                  ? static_cast<double>(high - low)
              : normalizer == Normalizer::kMax  ? static_cast<double>(high)
              : normalizer == Normalizer::kNone ? 1
                                                : sum;
    const auto by = static_cast<T>(divisor);
    for (int64_t i = 0; i < size; ++i) {
      out[i] /= by;
    }
  }

  /// Turns `grad`, the derivative with respect to the normalised map n, into
  /// the derivative with respect to the map's values x. With g the incoming
  /// derivative, d the divisor and <g, n> the sum of g n over the positions:
  ///
  ///     kMinMax   (g + [x = min] (<g, n> - sum g) / #min
  ///                  - [x = max] <g, n> / #max) / d
  ///     kMax      (g - [x = max] <g, n> / #max) / d
  ///     kSum      (g - <g, n> + [x = min, min <= 0] (P <g, n> - sum g) / #min)
  ///                 / d
  ///     kSoftmax  (g - <g, n>) n
  ///
  /// Positions that tie for the minimum or the maximum share its part evenly.
  void backward(const T* normalized, T* grad) const {
    if (normalizer == Normalizer::kNone) {
      return;
    }
    double sum = 0, product = 0;
    int64_t lowest = 0, highest = 0;
    for (int64_t i = 0; i < size; ++i) {
      sum += static_cast<double>(grad[i]);
      product += static_cast<double>(grad[i] * normalized[i]);
      lowest += values[i] == low;
      highest += values[i] == high;
    }
    double at_low = 0, at_high = 0, all = 0;
    switch (normalizer) {
      case Normalizer::kMinMax:
        at_low = product - sum;
        at_high = -product;
        break;
      case Normalizer::kMax:
        at_high = -product;
        break;
      case Normalizer::kSum:
        all = -product;
        at_low = low <= 0 ? static_cast<double>(size) * product - sum : 0;
        break;
      default:
        all = -product;
    }
    const auto shift = static_cast<T>(all);
    if (normalizer == Normalizer::kSoftmax) {
      for (int64_t i = 0; i < size; ++i) {
        grad[i] = (grad[i] + shift) * normalized[i];
      }
      return;
    }
    const auto to_low = static_cast<T>(at_low / static_cast<double>(lowest));
    const auto to_high = static_cast<T>(at_high / static_cast<double>(highest));
    const auto by = static_cast<T>(divisor);
    for (int64_t i = 0; i < size; ++i) {
      const T share = (values[i] == low ? to_low : T(0)) +
                      (values[i] == high ? to_high : T(0));
      grad[i] = (grad[i] + shift + share) / by;
    }
  }
};

}  // namespace cyborg::detail
