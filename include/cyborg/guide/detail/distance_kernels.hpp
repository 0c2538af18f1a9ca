// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The built-in distances of one pair of maps and their derivatives, for the
// fused loss. <cyborg/guide/distances.hpp> computes the same distances by
// ATen's operators.

#include <cyborg/detail/kernels/map_view.hpp>
#include <cyborg/guide/distances.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace cyborg::detail {

/// A distance as the fused loss computes it, for one sample. A distance without
/// a specialisation (`kOwn` is false) is computed by ATen's operators.
///
/// `compare(model, m, h, grad)` takes the model's map before normalisation, the
/// same map after it, m, and people's map after normalisation, h, [P] each. It
/// returns the distance and writes to `grad` [P] the derivative with respect to
/// the values of the model's map before normalisation. Sums are double for any
/// T.
template <class Distance>
struct DistanceKernel {
  static constexpr bool kOwn = false;
};

/// L1: D = (1 / P) sum |m - h|,
///     dD/dm = sign(m - h) / P, zero where m = h.
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

/// L2: D = (1 / P) sum (m - h)^2,
///     dD/dm = 2 (m - h) / P.
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

/// KL: D = sum h (ln h - ln m), 0 ln 0 = 0,
///     dD/dm = -h / m, zero where m is below the smallest normal number, at
///     which the logarithm is cut off.
///
/// After a softmax, m = softmax(x), the logarithm is taken of the scores x, so
/// that it is finite where m underflows:
///
///     ln m = x - max x - ln sum exp(x - max x),
///     dD/dx = m sum h - h.
template <>
struct DistanceKernel<KL> {
  static constexpr bool kOwn = true;

  template <class T>
  static double compare(
      const MapView<T>& model, const T* m, const T* h, T* grad) {
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
