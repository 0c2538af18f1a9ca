// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/arg.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

// How well a map of a model agrees with a map of people.
//
// Every function takes a map a sample and gives a number a sample. Both maps
// have the same size: bring them to one first, and say which was resized.
// Computed in double on the CPU; nothing here has a gradient. A map that holds
// a NaN stands for "not annotated" and gives NaN for its sample alone.
//
// Common to all. Shapes: maps [B, H, W] give [B], maps [H, W] give a scalar
// tensor; float64 on the CPU. Throws: other or different shapes, an infinite
// value, and what the function names.

namespace cyborg::measure {

namespace detail {

using Pixels = std::vector<double>;

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();
/// The epsilon of the published MATLAB code.
constexpr double kMapEps = std::numeric_limits<double>::epsilon();

inline double sum_of(const Pixels& map) {
  return std::accumulate(map.begin(), map.end(), 0.0);
}

inline bool is_constant(const Pixels& map) {
  const auto ends = std::minmax_element(map.begin(), map.end());
  return *ends.first == *ends.second;
}

/// Mean and sum of the squared deviations from it.
struct Moments {
  double mean;
  double squares;
};

inline Moments moments(const Pixels& map) {
  Moments out{sum_of(map) / static_cast<double>(map.size()), 0};
  for (const double value : map) {
    out.squares += (value - out.mean) * (value - out.mean);
  }
  return out;
}

/// Pearson's correlation; 0 where a map is constant.
inline double pearson(const Pixels& a, const Pixels& b) {
  if (is_constant(a) || is_constant(b)) {
    return 0;
  }
  const auto of_a = moments(a);
  const auto of_b = moments(b);
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += (a[i] - of_a.mean) * (b[i] - of_b.mean);
  }
  return product / (std::sqrt(of_a.squares) * std::sqrt(of_b.squares));
}

/// Ranks from 1; equal values share their mean rank.
inline Pixels ranks(const Pixels& map) {
  std::vector<std::size_t> order(map.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t k) {
    return map[i] < map[k];
  });
  Pixels rank(map.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last < order.size() && map[order[last]] == map[order[first]]) {
      ++last;
    }
    for (std::size_t i = first; i < last; ++i) {
      rank[order[i]] = static_cast<double>(first + 1 + last) / 2;
    }
    first = last;
  }
  return rank;
}

/// Between 0 and 1, with the sum 1; a constant map becomes zeros.
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

inline void check_not_negative(const char* name, const Pixels& map) {
  const double low = *std::min_element(map.begin(), map.end());
  TORCH_CHECK_VALUE(
      low >= 0, name, ": expected maps without negative values, got ", low);
}

inline void check_binary(const char* name, const Pixels& map) {
  for (const double value : map) {
    TORCH_CHECK_VALUE(
        value == 0 || value == 1, name,
        ": expected a second map of 0 and 1, got ", value);
  }
}

/// One number a sample from one or two maps: checks, and NaN where one is.
using OneMap = std::function<double(const Pixels&)>;
using TwoMaps = std::function<double(const Pixels&, const Pixels&)>;

inline torch::Tensor double_maps(const char* name, const torch::Tensor& maps) {
  TORCH_CHECK_VALUE(
      (maps.dim() == 2 || maps.dim() == 3) && maps.numel() > 0, name,
      ": expected maps [B, H, W] or [H, W], got ", maps.sizes());
  const auto out = maps.detach().to(torch::kCPU, torch::kDouble).contiguous();
  TORCH_CHECK_VALUE(
      !at::isinf(out).any().item<bool>(), name,
      ": expected finite maps, or NaN for what is not annotated, got an "
      "infinite value");
  return out;
}

inline Pixels pixels_of(const torch::Tensor& maps, int64_t sample) {
  const int64_t count = maps.size(-1) * maps.size(-2);
  const double* first = maps.data_ptr<double>() + sample * count;
  return {first, first + count};
}

inline bool has_nan(const Pixels& map) {
  return std::any_of(
      map.begin(), map.end(), [](double value) { return std::isnan(value); });
}

inline torch::Tensor each_pair(
    const char* name, const torch::Tensor& first, const torch::Tensor& second,
    const TwoMaps& measure) {
  TORCH_CHECK_VALUE(
      first.sizes() == second.sizes(), name,
      ": expected two maps of one shape, got ", first.sizes(), " and ",
      second.sizes());
  const auto a = double_maps(name, first);
  const auto b = double_maps(name, second);
  const auto out = torch::empty(
      a.dim() == 3 ? std::vector<int64_t>{a.size(0)} : std::vector<int64_t>{},
      torch::kDouble);
  double* value = out.data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    const auto of_a = pixels_of(a, i);
    const auto of_b = pixels_of(b, i);
    value[i] = has_nan(of_a) || has_nan(of_b) ? kNoNumber : measure(of_a, of_b);
  }
  return out;
}

inline torch::Tensor each_map(
    const char* name, const torch::Tensor& maps, const OneMap& measure) {
  return each_pair(name, maps, maps, [&](const Pixels& map, const Pixels&) {
    return measure(map);
  });
}

}  // namespace detail

/// Linear correlation (CC) of two maps.
///
///   sum (a - mean a)(b - mean b)
///     / sqrt( sum (a - mean a)^2 sum (b - mean b)^2 )
///
/// Range: [-1, 1]; 0 where a map is constant.
/// Source: Bylinskii et al., IEEE TPAMI 41(3), 2019, as all to `auc_judd`.
/// Example:
///   auto cc = cyborg::measure::map_correlation(cams, human);   // [B]
inline torch::Tensor map_correlation(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_correlation", prediction, human, detail::pearson);
}

/// Rank correlation (Spearman) of two maps: `map_correlation` of their ranks,
/// equal values sharing their mean rank.
///
/// Range: [-1, 1]; 0 where a map is constant.
/// Example:
///   auto rho = cyborg::measure::map_rank_correlation(cams, human);
inline torch::Tensor map_rank_correlation(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_rank_correlation", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        return detail::pearson(detail::ranks(a), detail::ranks(b));
      });
}

/// Similarity (SIM) of two maps, or histogram intersection.
///
///   sum min(P, Q),   each map stretched to [0, 1], then divided by its sum
///
/// Range: [0, 1]; 1 for maps that are equal after that. 0 where a map is
///        constant: it is taken for a map of zeros.
/// Example:
///   auto sim = cyborg::measure::map_similarity(cams, human);
inline torch::Tensor map_similarity(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_similarity", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        const auto p = detail::stretched_density(a);
        const auto q = detail::stretched_density(b);
        double shared = 0;
        for (std::size_t i = 0; i < p.size(); ++i) {
          shared += std::min(p[i], q[i]);
        }
        return shared;
      });
}

/// Divergence (KL) of the predicted map from the human one: not symmetric, and
/// the prediction comes first.
///
///   sum Q ln( eps + Q / (P + eps) ),   P = prediction / its sum,
///                                      Q = human / its sum, eps = 2.2e-16
///
/// Range: about [0, 36] nats; 0 for maps that are equal after the division.
///        A prediction of zeros is P = 0; NaN where the human map is zeros.
/// Throws: a negative value.
/// Example:
///   auto kl = cyborg::measure::map_divergence(cams, human);
inline torch::Tensor map_divergence(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  constexpr auto* kName = "cyborg::measure::map_divergence";
  return detail::each_pair(
      kName, prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        detail::check_not_negative(kName, a);
        detail::check_not_negative(kName, b);
        const double sum_a = detail::sum_of(a);
        const double sum_b = detail::sum_of(b);
        double total = sum_b == 0 ? detail::kNoNumber : 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
          const double p = sum_a == 0 ? 0 : a[i] / sum_a;
          const double q = b[i] / sum_b;
          total += q * std::log(detail::kMapEps + q / (p + detail::kMapEps));
        }
        return total;
      });
}

/// Normalised scanpath saliency (NSS): how far the prediction at the fixated
/// pixels lies above its mean.
///
///   mean over fixated pixels of (S - mean S) / std S
///
/// std is that of the population (n in the denominator, not n - 1).
///
/// Shapes: fixations binary: 1 where somebody looked, 0 elsewhere.
/// Range: standard deviations; 0 is chance. 0 where the prediction is
///        constant, NaN without a fixation.
/// Throws: fixations other than 0 and 1.
/// Example:
///   auto value = cyborg::measure::nss(cams, fixations);
inline torch::Tensor nss(
    const torch::Tensor& prediction, const torch::Tensor& fixations) {
  constexpr auto* kName = "cyborg::measure::nss";
  return detail::each_pair(
      kName, prediction, fixations,
      [](const detail::Pixels& map, const detail::Pixels& fixated) {
        detail::check_binary(kName, fixated);
        const double count = detail::sum_of(fixated);
        if (count == 0 || detail::is_constant(map)) {
          return count == 0 ? detail::kNoNumber : 0;
        }
        const auto of_map = detail::moments(map);
        double above = 0;
        for (std::size_t i = 0; i < map.size(); ++i) {
          above += fixated[i] * (map[i] - of_map.mean);
        }
        return above / count /
               std::sqrt(of_map.squares / static_cast<double>(map.size()));
      });
}

/// Options of `auc_judd`.
struct AucJuddOptions {
  /// Whether noise below 1e-7 is added, which separates equal values, as
  /// published. Without it equal values are counted together. Default true.
  TORCH_ARG(bool, jitter) = true;
  /// Seed of the noise, the same for every map: a map's value does not depend
  /// on the others of its batch. Default 0.
  TORCH_ARG(uint64_t, seed) = 0;

 public:
};

/// Area under Judd's ROC curve: fixated pixels against all others, with the
/// predicted values at the fixations as thresholds.
///
///   tp_i = i / F,   fp_i = (#{S >= t_i} - i) / (pixels - F)
///
/// with t_i falling, F fixations, i of them at t_i or above; the points
/// (0, 0) and (1, 1) are added, and trapezoids summed. Between thresholds the
/// curve is straight, so that the area is not below that of `roc_auc`.
///
/// Shapes: fixations binary: 1 where somebody looked, 0 elsewhere.
/// Range: [0, 1]; 0.5 is chance. NaN without a fixation, and where every pixel
///        is one.
/// Throws: fixations other than 0 and 1.
/// Source: Judd et al., ICCV 2009.
/// Example:
///   auto auc = cyborg::measure::auc_judd(
///       cams, fixations, cyborg::measure::AucJuddOptions().seed(7));
inline torch::Tensor auc_judd(
    const torch::Tensor& prediction, const torch::Tensor& fixations,
    const AucJuddOptions& options = {}) {
  constexpr auto* kName = "cyborg::measure::auc_judd";
  return detail::each_pair(
      kName, prediction, fixations,
      [&](detail::Pixels map, const detail::Pixels& fixated) {
        detail::check_binary(kName, fixated);
        const double count = detail::sum_of(fixated);
        const double others = static_cast<double>(map.size()) - count;
        if (count == 0 || others == 0) {
          return detail::kNoNumber;
        }
        std::mt19937_64 random(options.seed());
        detail::Pixels at_fixation;
        for (std::size_t i = 0; i < map.size(); ++i) {
          if (options.jitter()) {
            constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
            map[i] += static_cast<double>(random() >> 11U) * kUnit / 1e7;
          }
          if (fixated[i] == 1) {
            at_fixation.push_back(map[i]);
          }
        }
        std::sort(map.begin(), map.end(), std::greater<>());
        std::sort(at_fixation.begin(), at_fixation.end(), std::greater<>());
        const auto at_least = [](const detail::Pixels& falling, double value) {
          return static_cast<double>(
              std::upper_bound(
                  falling.begin(), falling.end(), value, std::greater<>()) -
              falling.begin());
        };
        double area = 0;
        double last_tp = 0;
        double last_fp = 0;
        const auto step = [&](double tp, double fp) {
          area += (fp - last_fp) * (tp + last_tp) / 2;
          last_tp = tp;
          last_fp = fp;
        };
        for (const double threshold : at_fixation) {
          const double hits = at_least(at_fixation, threshold);
          step(hits / count, (at_least(map, threshold) - hits) / others);
        }
        step(1, 1);
        return area;
      });
}

/// Mean absolute difference of two maps, as they are: normalise them first.
///
///   mean |a - b|
///
/// Range: [0, inf); [0, 1] for maps in [0, 1].
/// Example:
///   auto mae = cyborg::measure::map_absolute_error(cams, human);
inline torch::Tensor map_absolute_error(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_absolute_error", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        double sum = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
          sum += std::abs(a[i] - b[i]);
        }
        return sum / static_cast<double>(a.size());
      });
}

/// Which pixels of a map are inside: those strictly above a threshold.
struct MapThreshold {
  /// The threshold, in the map's own values. Default 0.5.
  TORCH_ARG(double, value) = 0.5;
  /// Instead of `value`, if above 0: the threshold is the quantile 1 - top of
  /// the map's own values, so that about this share of its pixels is inside;
  /// fewer where many are equal, as in a binary map. Default 0.
  TORCH_ARG(double, top) = 0;

 public:
};

/// Options of `map_iou` and `map_dice`.
struct OverlapOptions {
  /// What is inside the prediction.
  TORCH_ARG(MapThreshold, prediction);
  /// What is inside the human map.
  TORCH_ARG(MapThreshold, human);
  /// The result where nothing is inside either map: 0, 1 and NaN are all in
  /// use. Default 0.
  TORCH_ARG(double, empty) = 0;

 public:
};

namespace detail {

/// Pixels inside each map and inside both.
struct Overlap {
  double first;
  double second;
  double both;
};

inline double threshold_of(const Pixels& map, const MapThreshold& options) {
  if (options.top() <= 0) {
    return options.value();
  }
  Pixels sorted = map;
  std::sort(sorted.begin(), sorted.end());
  const double position =
      (1 - options.top()) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) *
                             (sorted[above] - sorted[below]);
}

inline Overlap overlap(
    const Pixels& a, const Pixels& b, const OverlapOptions& options) {
  const double from_a = threshold_of(a, options.prediction());
  const double from_b = threshold_of(b, options.human());
  Overlap out{0, 0, 0};
  for (std::size_t i = 0; i < a.size(); ++i) {
    out.first += a[i] > from_a ? 1 : 0;
    out.second += b[i] > from_b ? 1 : 0;
    out.both += a[i] > from_a && b[i] > from_b ? 1 : 0;
  }
  return out;
}

inline void check_overlap(const char* name, const OverlapOptions& options) {
  for (const double top : {options.prediction().top(), options.human().top()}) {
    TORCH_CHECK_VALUE(
        top >= 0 && top < 1, name, ": expected top in [0, 1), got ", top);
  }
}

}  // namespace detail

/// Intersection over union of what is inside two maps.
///
///   |A and B| / |A or B|
///
/// Range: [0, 1]; `empty` where nothing is inside either.
/// Throws: top outside [0, 1).
/// Source: Jaccard, Bulletin de la Société vaudoise 37, 1901.
/// Example:
///   using cyborg::measure::MapThreshold;
///   auto iou = cyborg::measure::map_iou(
///       cams, human, cyborg::measure::OverlapOptions().prediction(
///                        MapThreshold().top(0.1)));
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
///   2 |A and B| / (|A| + |B|)
///
/// Range: [0, 1]; `empty` where nothing is inside either.
/// Throws: top outside [0, 1).
/// Source: Dice, Ecology 26(3), 1945.
/// Example:
///   auto dice = cyborg::measure::map_dice(cams, human);
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

/// Share of the prediction's energy that lies inside a region (energy-based
/// pointing game).
///
///   sum region * relu(S) / sum relu(S)
///
/// Shapes: region in [0, 1]: binary as published, or a map of weights.
/// Range: [0, 1]; 0 where the whole energy is below 1e-7.
/// Throws: a region outside [0, 1].
/// Source: Wang et al., Score-CAM, CVPR Workshops 2020.
/// Example:
///   auto share = cyborg::measure::energy_inside(cams, boxes);
inline torch::Tensor energy_inside(
    const torch::Tensor& prediction, const torch::Tensor& region) {
  constexpr auto* kName = "cyborg::measure::energy_inside";
  return detail::each_pair(
      kName, prediction, region,
      [&](const detail::Pixels& map, const detail::Pixels& weight) {
        double inside = 0;
        double all = 0;
        for (std::size_t i = 0; i < map.size(); ++i) {
          TORCH_CHECK_VALUE(
              weight[i] >= 0 && weight[i] <= 1, kName,
              ": expected a region in [0, 1], got ", weight[i]);
          inside += weight[i] * std::max(map[i], 0.0);
          all += std::max(map[i], 0.0);
        }
        return all < 1e-7 ? 0 : inside / all;
      });
}

/// Whether the highest pixel of the prediction lies inside a region (pointing
/// game); the first of several that are equally high, row by row.
///
/// Shapes: region binary.
/// Range: 1 (hit) or 0; 0 where the prediction is constant and so points
///        nowhere.
/// Throws: a region other than 0 and 1.
/// Source: Zhang et al., IJCV 126(10), 2018.
/// Example:
///   auto hits = cyborg::measure::pointing_hit(cams, boxes).mean();
inline torch::Tensor pointing_hit(
    const torch::Tensor& prediction, const torch::Tensor& region) {
  constexpr auto* kName = "cyborg::measure::pointing_hit";
  return detail::each_pair(
      kName, prediction, region,
      [](const detail::Pixels& map, const detail::Pixels& inside) {
        detail::check_binary(kName, inside);
        const auto highest =
            std::max_element(map.begin(), map.end()) - map.begin();
        return detail::is_constant(map)
                   ? 0
                   : inside[static_cast<std::size_t>(highest)];
      });
}

/// Entropy of a map, as a share of the highest possible: how spread out it is.
///
///   - sum p ln p / ln(H W),   p = M / sum M,   0 ln 0 = 0
///
/// Range: [0, 1]; 0 for a single pixel, 1 for a constant map; NaN for a map of
///        zeros, which has no distribution.
/// Throws: a negative value, maps of one pixel.
/// Example:
///   auto spread = cyborg::measure::map_entropy(cams);   // [B]
inline torch::Tensor map_entropy(const torch::Tensor& maps) {
  constexpr auto* kName = "cyborg::measure::map_entropy";
  return detail::each_map(kName, maps, [&](const detail::Pixels& map) {
    TORCH_CHECK_VALUE(
        map.size() > 1, kName, ": expected maps of more than one pixel");
    detail::check_not_negative(kName, map);
    const double sum = detail::sum_of(map);
    double entropy = sum == 0 ? detail::kNoNumber : 0;
    for (const double value : map) {
      entropy -= value == 0 ? 0 : value / sum * std::log(value / sum);
    }
    return entropy / std::log(static_cast<double>(map.size()));
  });
}

}  // namespace cyborg::measure
