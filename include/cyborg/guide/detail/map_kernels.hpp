// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Normalisers and distances of one pair of maps, with their derivatives, for
// the fused loss. Maps are small beside the features that they are made of, so
// these are plain loops. What each formula is, and where a map is flat, stands
// in <cyborg/maps/normalize.hpp> and <cyborg/guide/distances.hpp>, whose
// operators give the same values.

#include <cyborg/guide/distances.hpp>
#include <cyborg/maps/normalize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace cyborg::detail {

/// Whether a number is neither infinite nor NaN, told by its bits: a user's
/// -ffast-math lets a compiler drop every other way of asking.
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

/// One map [P] and what its normaliser has to know of it.
template <class T>
struct MapView {
  const T* values;
  int64_t size;
  Normalizer normalizer;
  T low = 0, high = 0;
  bool finite = true;
  double divisor = 1;  // what normalize() divided by

  MapView(const T* values_, int64_t size_, Normalizer normalizer_)
      : values(values_), size(size_), normalizer(normalizer_) {
    low = high = values[0];
    for (int64_t i = 0; i < size; ++i) {
      low = std::min(low, values[i]);
      high = std::max(high, values[i]);
      finite &= is_finite(values[i]);
    }
  }

  /// As `usable_maps`.
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

  /// Writes the normalised map [P]; it has to be usable.
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

  /// Turns the derivative to what `normalize` wrote into that to the values,
  /// shared evenly among the positions that are the minimum or the maximum.
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

/// The distance of normalised maps [P] and, in `grad`, its derivative to the
/// values of the model's map before normalisation. `kOwn`: it has one.
template <class Distance>
struct DistanceKernel {
  static constexpr bool kOwn = false;
};

template <>
struct DistanceKernel<L1> {
  static constexpr bool kOwn = true;

  template <class T>
  static double compare(
      const MapView<T>& model, const T* m, const T* h, T* grad) {
    const T one = T(1) / static_cast<T>(model.size);
    double sum = 0;
    for (int64_t i = 0; i < model.size; ++i) {
      const T difference = m[i] - h[i];
      sum += static_cast<double>(std::abs(difference));
      grad[i] = difference > 0 ? one : difference < 0 ? -one : T(0);
    }
    model.backward(m, grad);
    return sum / static_cast<double>(model.size);
  }
};

template <>
struct DistanceKernel<L2> {
  static constexpr bool kOwn = true;

  template <class T>
  static double compare(
      const MapView<T>& model, const T* m, const T* h, T* grad) {
    const T two = T(2) / static_cast<T>(model.size);
    double sum = 0;
    for (int64_t i = 0; i < model.size; ++i) {
      const T difference = m[i] - h[i];
      sum += static_cast<double>(difference * difference);
      grad[i] = two * difference;
    }
    model.backward(m, grad);
    return sum / static_cast<double>(model.size);
  }
};

template <>
struct DistanceKernel<KL> {
  static constexpr bool kOwn = true;

  template <class T>
  static double compare(
      const MapView<T>& model, const T* m, const T* h, T* grad) {
    // Of a softmax the logarithm is taken before it could underflow.
    const bool scores = model.normalizer == Normalizer::kSoftmax;
    const double log_sum =
        scores ? static_cast<double>(model.high) + std::log(model.divisor) : 0;
    const T smallest = std::numeric_limits<T>::min();
    double sum = 0, total = 0;
    for (int64_t i = 0; i < model.size; ++i) {
      const T floored = std::max(m[i], smallest);
      const double log_m = scores
                               ? static_cast<double>(model.values[i]) - log_sum
                               : std::log(static_cast<double>(floored));
      const auto share = static_cast<double>(h[i]);
      sum += share == 0 ? 0 : share * (std::log(share) - log_m);
      total += share;
      grad[i] = scores ? -h[i] : m[i] < smallest ? T(0) : -h[i] / floored;
    }
    if (!scores) {
      model.backward(m, grad);
      return sum;
    }
    for (int64_t i = 0; i < model.size; ++i) {
      grad[i] += static_cast<T>(total) * m[i];
    }
    return sum;
  }
};

}  // namespace cyborg::detail
