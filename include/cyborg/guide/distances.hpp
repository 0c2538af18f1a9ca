// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/xlogy.h>

#include <limits>

namespace cyborg {

// A distance compares normalised maps of the model with those of people,
// both [B, P], and gives one number a sample, [B]. It names the normalisers
// it expects; SaliencyGuidedLossOptions may override them. A distance of
// one's own has the same three members, and no base class:
//
//     struct MyDistance {
//       static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
//       static constexpr Normalizer human_normalizer = Normalizer::kMinMax;
//       torch::Tensor operator()(
//           const torch::Tensor& model, const torch::Tensor& human) const;
//     };
//
// Samples without a usable map come as zeros and are left out afterwards.
// A fourth member, `from_scores(scores, human)`, is optional: it is called
// instead where the model's normaliser is kSoftmax, with the maps before it,
// so that a logarithm need not be taken of a softmax that underflowed.

/// Mean absolute difference.
///
///     D = (1 / P) sum |m - h|
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: both in [0, 1] by default, so D is too.
/// Gradient: to both; the sign of the difference, zero where it is zero.
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
/// Range: both in [0, 1] by default, so D is too.
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
/// People's map as a distribution says which positions matter; the model pays
/// for those it leaves out. Softmax keeps every m above zero, and the scale of
/// the map meaningful.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: distributions; D >= 0, and finite: m is at least the smallest
/// normal number where it is called with probabilities.
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

  /// The same of softmax(scores), without ever forming the softmax.
  static torch::Tensor from_scores(
      const torch::Tensor& scores, const torch::Tensor& human) {
    return divergence(scores.log_softmax(/*dim=*/1), human);
  }

 private:
  static torch::Tensor divergence(
      const torch::Tensor& log_model, const torch::Tensor& human) {
    return (at::xlogy(human, human) - human * log_model).sum(/*dim=*/1);
  }
};

}  // namespace cyborg
