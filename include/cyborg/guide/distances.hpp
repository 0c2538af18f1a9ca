// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/xlogy.h>

#include <limits>

namespace cyborg {

// A distance compares normalised maps of the model with those of people,
// both [B, P], and returns one number a sample, [B]. It names the normalisers
// that it expects; SaliencyGuidedLossOptions may override them. Your own
// distance has the same three members, and no base class:
//
//     struct MyDistance {
//       static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
//       static constexpr Normalizer human_normalizer = Normalizer::kMinMax;
//       torch::Tensor operator()(
//           const torch::Tensor& model, const torch::Tensor& human) const;
//     };
//
// The maps of samples that are not guided are zeros; their distances are not
// used. A fourth member, `from_scores(scores, human)`, is optional. It is
// called instead of the operator where the model's normaliser is kSoftmax, and
// takes the maps before the softmax. It can then avoid the logarithm of a
// softmax that has underflowed to zero.

/// Mean absolute difference.
///
///     D = (1 / P) sum |m - h|
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: by default both maps are in [0, 1], and so is D.
/// Gradient: to both; the sign of the difference over P, zero where m = h.
struct L1 {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).abs().mean(/*dim=*/1);
  }
};

/// Mean squared difference, the published distance.
///
///     D = (1 / P) sum (m - h)^2
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: by default both maps are in [0, 1], and so is D.
/// Gradient: to both.
/// Source: Boyd et al., "CYBORG", WACV 2023.
struct L2 {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).square().mean(/*dim=*/1);
  }
};

/// Kullback-Leibler divergence of the model's map from people's, in nats.
///
///     D = sum h (ln h - ln m),  0 ln 0 = 0
///
/// People's map, as a distribution, says which positions matter; the model pays
/// for those that it leaves out. Softmax keeps every m above zero, and keeps
/// the scale of the model's map meaningful.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: both maps are distributions, so D >= 0. D is finite: m counts as the
/// smallest normal number where it is smaller.
/// Gradient: to the model's map.
struct KL {
  static constexpr Normalizer map_normalizer = Normalizer::kSoftmax;
  static constexpr Normalizer human_normalizer = Normalizer::kSum;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    const double smallest =
        model.scalar_type() == at::kDouble
            ? std::numeric_limits<double>::min()
            : static_cast<double>(std::numeric_limits<float>::min());
    return divergence(model.clamp_min(smallest).log(), human);
  }

  /// The same for m = softmax(scores), computed without the softmax.
  static torch::Tensor from_scores(
      const torch::Tensor& scores, const torch::Tensor& human) {
    return divergence(scores.log_softmax(/*dim=*/1), human);
  }

 private:
  /// D from ln m and h.
  static torch::Tensor divergence(
      const torch::Tensor& log_model, const torch::Tensor& human) {
    return (at::xlogy(human, human) - human * log_model).sum(/*dim=*/1);
  }
};

}  // namespace cyborg
