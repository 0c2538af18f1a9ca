// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/measure/detail/map_pixels.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

// How well a map of a model agrees with a map of people.
//
// Every function takes a pair of maps and returns a number for each sample.
// Both maps must have the same size: resize one first, and report which one it
// was. Everything is computed in double on the CPU; nothing here has a
// gradient. A map with a NaN means "not annotated" and gives NaN for its sample
// only.
//
// Common to all functions. Shapes: maps [B, H, W] give [B], maps [H, W] give a
// scalar tensor; float64 on the CPU. Throws: other or different shapes, an
// infinite value, and what the function names.

namespace cyborg::measure {

/// Linear correlation (CC) of two maps.
///
///     sum (a - mean a)(b - mean b)
///     / sqrt( sum (a - mean a)^2 sum (b - mean b)^2 )
///
/// Range: [-1, 1]; 0 where a map is constant.
/// Source: Bylinskii et al., IEEE TPAMI 41(3), 2019; also for the functions
///         below, up to `auc_judd`.
/// Example:
///     auto cc = cyborg::measure::map_correlation(cams, human);   // [B]
inline torch::Tensor map_correlation(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_correlation", prediction, human, detail::pearson);
}

/// Rank correlation (Spearman) of two maps: `map_correlation` of their ranks.
/// Equal values get the mean of their ranks.
///
/// Range: [-1, 1]; 0 where a map is constant.
/// Example:
///     auto rho = cyborg::measure::map_rank_correlation(cams, human);
inline torch::Tensor map_rank_correlation(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_rank_correlation", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        return detail::pearson(detail::ranks(a), detail::ranks(b));
      });
}

/// Similarity (SIM) of two maps, also called histogram intersection.
///
///     sum min(P, Q),   each map stretched to [0, 1], then divided by its sum
///
/// Range: [0, 1]; 1 for maps that are equal after that. 0 where a map is
///        constant, since it then counts as a map of zeros.
/// Example:
///     auto sim = cyborg::measure::map_similarity(cams, human);
inline torch::Tensor map_similarity(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_similarity", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        const auto p = detail::stretched_density(a);
        const auto q = detail::stretched_density(b);
        double shared = 0;
        for (size_t i = 0; i < p.size(); ++i) {
          shared += std::min(p[i], q[i]);
        }
        return shared;
      });
}

/// Divergence (KL) of the predicted map from the human one. It is not
/// symmetric: the prediction comes first.
///
///     sum Q ln( eps + Q / (P + eps) ),   P = prediction / its sum,
///                                      Q = human / its sum, eps = 2.2e-16
///
/// Range: about [0, 36] nats; 0 for maps that are equal after the division.
///        A prediction of zeros has P = 0. NaN where the human map is zeros.
/// Throws: a negative value.
/// Example:
///     auto kl = cyborg::measure::map_divergence(cams, human);
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
        for (size_t i = 0; i < a.size(); ++i) {
          const double p = sum_a == 0 ? 0 : a[i] / sum_a;
          const double q = b[i] / sum_b;
          total += q * std::log(detail::kMapEps + q / (p + detail::kMapEps));
        }
        return total;
      });
}

/// Normalised scanpath saliency (NSS): how far the prediction at the fixated
/// pixels is above its mean.
///
///     mean over fixated pixels of (S - mean S) / std S
///
/// std is that of the population (n in the denominator, not n - 1).
///
/// Shapes: fixations binary: 1 where somebody looked, 0 elsewhere.
/// Range: standard deviations; 0 is chance. 0 where the prediction is
///        constant, NaN without a fixation.
/// Throws: fixations other than 0 and 1.
/// Example:
///     auto value = cyborg::measure::nss(cams, fixations);
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
        for (size_t i = 0; i < map.size(); ++i) {
          above += fixated[i] * (map[i] - of_map.mean);
        }
        return above / count /
               std::sqrt(of_map.squares / static_cast<double>(map.size()));
      });
}

/// Options of `auc_judd`.
struct AucJuddOptions {
  /// Whether noise below 1e-7 is added to the prediction, as published. It
  /// separates equal values; without it these are counted together. Default
  /// true.
  TORCH_ARG(bool, jitter) = true;
  /// Seed of the noise. It is the same for every map, so that a map's result
  /// does not depend on the other maps of its batch. Default 0.
  TORCH_ARG(uint64_t, seed) = 0;

 public:
};

/// Area under Judd's ROC curve: fixated pixels against all others, with the
/// predicted values at the fixations as thresholds.
///
///     tp_i = i / F,   fp_i = (#{S >= t_i} - i) / (pixels - F)
///
/// with falling thresholds t_i, and F fixations, of which i have at least t_i.
/// The points (0, 0) and (1, 1) are added, and trapezoids are summed. The curve
/// is straight between thresholds, so the area is not below that of `roc_auc`.
///
/// Shapes: fixations binary: 1 where somebody looked, 0 elsewhere.
/// Range: [0, 1]; 0.5 is chance. NaN without a fixation, and where every pixel
///        is a fixation.
/// Throws: fixations other than 0 and 1.
/// Source: Judd et al., ICCV 2009.
/// Example:
///     auto auc = cyborg::measure::auc_judd(
///         cams, fixations, cyborg::measure::AucJuddOptions().seed(7));
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
        for (size_t i = 0; i < map.size(); ++i) {
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

/// Mean absolute difference of two maps. They are compared as they are, so
/// normalise them first.
///
///     mean |a - b|
///
/// Range: [0, inf); [0, 1] for maps in [0, 1].
/// Example:
///     auto mae = cyborg::measure::map_absolute_error(cams, human);
inline torch::Tensor map_absolute_error(
    const torch::Tensor& prediction, const torch::Tensor& human) {
  return detail::each_pair(
      "cyborg::measure::map_absolute_error", prediction, human,
      [](const detail::Pixels& a, const detail::Pixels& b) {
        double sum = 0;
        for (size_t i = 0; i < a.size(); ++i) {
          sum += std::abs(a[i] - b[i]);
        }
        return sum / static_cast<double>(a.size());
      });
}

/// Entropy of a map, as a share of the highest possible one. It says how widely
/// the map is spread.
///
///     - sum p ln p / ln(H W),   p = M / sum M,   0 ln 0 = 0
///
/// Range: [0, 1]; 0 for a single pixel, 1 for a constant map; NaN for a map of
///        zeros, which has no distribution.
/// Throws: a negative value, maps of one pixel.
/// Example:
///     auto spread = cyborg::measure::map_entropy(cams);   // [B]
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
