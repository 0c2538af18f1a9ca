// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Maps as lists of numbers, sample by sample, and the arithmetic that several
// measures of maps need. Everything is double and on the CPU: measures are read
// by people, once for each experiment, so clarity comes before speed.

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/empty.h>
#include <ATen/ops/isinf.h>
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

namespace cyborg::measure {

namespace detail {

/// The values of one map, row by row. Functions below need at least one value
/// and no NaN, unless they say otherwise.
using Pixels = std::vector<double>;

/// The result of a measure that is not defined for a map.
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();
/// The epsilon of the published MATLAB code.
constexpr double kMapEps = std::numeric_limits<double>::epsilon();

/// The sum of all values.
inline double sum_of(const Pixels& map) {
  return std::accumulate(map.begin(), map.end(), 0.0);
}

/// Whether all values are equal.
inline bool is_constant(const Pixels& map) {
  const auto ends = std::minmax_element(map.begin(), map.end());
  return *ends.first == *ends.second;
}

/// The mean of a map, and the sum of the squared deviations from it.
struct Moments {
  double mean;
  double squares;
};

/// Computed in two passes, so that a large mean costs no digits.
inline Moments moments(const Pixels& map) {
  Moments out{sum_of(map) / static_cast<double>(map.size()), 0};
  for (const double value : map) {
    out.squares += (value - out.mean) * (value - out.mean);
  }
  return out;
}

/// Pearson's correlation of two maps of one size; 0 where a map is constant,
/// for which it is not defined.
inline double pearson(const Pixels& a, const Pixels& b) {
  if (is_constant(a) || is_constant(b)) {
    return 0;
  }
  const auto of_a = moments(a);
  const auto of_b = moments(b);
  double product = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += (a[i] - of_a.mean) * (b[i] - of_b.mean);
  }
  return product / (std::sqrt(of_a.squares) * std::sqrt(of_b.squares));
}

/// The ranks of the values, from 1; equal values get the mean of their ranks.
inline Pixels ranks(const Pixels& map) {
  std::vector<size_t> order(map.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t k) {
    return map[i] < map[k];
  });
  Pixels rank(map.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last < order.size() && map[order[last]] == map[order[first]]) {
      ++last;
    }
    for (size_t i = first; i < last; ++i) {
      rank[order[i]] = static_cast<double>(first + 1 + last) / 2;
    }
    first = last;
  }
  return rank;
}

/// The map stretched to [0, 1] and then divided by its sum. A constant map
/// becomes zeros.
inline Pixels stretched_density(Pixels map) {
  const auto ends = std::minmax_element(map.begin(), map.end());
  const double low = *ends.first;
  const double range = *ends.second - low;
  for (double& value : map) {
    value = range == 0 ? 0 : (value - low) / range;
  }
  const double sum = sum_of(map);
  for (double& value : map) {
    value = sum == 0 ? 0 : value / sum;
  }
  return map;
}

/// Throws when a value is negative. `name` is the public function.
inline void check_not_negative(const char* name, const Pixels& map) {
  const double low = *std::min_element(map.begin(), map.end());
  TORCH_CHECK_VALUE(
      low >= 0, name, ": expected maps without negative values, got ", low);
}

/// Throws when a value is neither 0 nor 1. It is always the second map that has
/// to be binary, the one of people.
inline void check_binary(const char* name, const Pixels& map) {
  for (const double value : map) {
    TORCH_CHECK_VALUE(
        value == 0 || value == 1, name,
        ": expected a second map of 0 and 1, got ", value);
  }
}

/// A measure of one map, and of a pair of maps.
using OneMap = std::function<double(const Pixels&)>;
using TwoMaps = std::function<double(const Pixels&, const Pixels&)>;

/// The maps in double on the CPU.
/// Throws: on other shapes than [B, H, W] and [H, W], and on infinite values.
inline torch::Tensor double_maps(const char* name, const torch::Tensor& maps) {
  TORCH_CHECK_VALUE(
      (maps.dim() == 2 || maps.dim() == 3) && maps.numel() > 0, name,
      ": expected maps [B, H, W] or [H, W], got ", maps.sizes());
  const auto out = maps.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK_VALUE(
      !at::isinf(out).any().item<bool>(), name,
      ": expected finite maps, or NaN for what is not annotated, got an "
      "infinite value");
  return out;
}

/// One map of a tensor that `double_maps` returned.
inline Pixels pixels_of(const torch::Tensor& maps, int64_t sample) {
  const int64_t count = maps.size(-1) * maps.size(-2);
  const double* first = maps.data_ptr<double>() + sample * count;
  return {first, first + count};
}

/// Whether a value is NaN, which means that nobody annotated the picture.
inline bool has_nan(const Pixels& map) {
  return std::any_of(
      map.begin(), map.end(), [](double value) { return std::isnan(value); });
}

/// The measure of each pair of maps: [B] for [B, H, W], a scalar for [H, W]. It
/// is NaN, and `measure` is not called, where one of the maps has a NaN.
/// Throws: on behalf of `name`, for maps of two shapes and as `double_maps`.
inline torch::Tensor each_pair(
    const char* name, const torch::Tensor& first, const torch::Tensor& second,
    const TwoMaps& measure) {
  TORCH_CHECK_VALUE(
      first.sizes() == second.sizes(), name,
      ": expected two maps of one shape, got ", first.sizes(), " and ",
      second.sizes());
  const auto a = double_maps(name, first);
  const auto b = double_maps(name, second);
  const auto out = at::empty(
      a.dim() == 3 ? std::vector<int64_t>{a.size(0)} : std::vector<int64_t>{},
      at::kDouble);
  double* value = out.data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    const auto of_a = pixels_of(a, i);
    const auto of_b = pixels_of(b, i);
    value[i] = has_nan(of_a) || has_nan(of_b) ? kNoNumber : measure(of_a, of_b);
  }
  return out;
}

/// The measure of each map, in the same way.
inline torch::Tensor each_map(
    const char* name, const torch::Tensor& maps, const OneMap& measure) {
  return each_pair(name, maps, maps, [&](const Pixels& map, const Pixels&) {
    return measure(map);
  });
}

}  // namespace detail

}  // namespace cyborg::measure
