// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/xlogy.h>

#include <limits>

namespace cyborg {

namespace detail {

/// The cosine [B] of the angle between vectors [B, P]; 0 where one is zero.
inline torch::Tensor cosine_of(
    const torch::Tensor& first, const torch::Tensor& second) {
  // The zero is replaced before the root, whose derivative at 0 is infinite.
  const auto length = [](const torch::Tensor& vectors) {
    const torch::Tensor squares = vectors.square().sum(/*dim=*/1);
    return squares.masked_fill(squares.eq(0), 1).sqrt();
  };
  return (first * second).sum(/*dim=*/1) / (length(first) * length(second));
}

}  // namespace detail

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
// used. Further members are optional:
//
// * `torch::Tensor from_scores(scores, human) const` is called instead of the
//   operator where the model's normaliser is kSoftmax, and takes the maps
//   before the softmax. It can then avoid the logarithm of a softmax that has
//   underflowed to zero.
// * `static constexpr maps::Resize resize`: how people's maps are brought to the
//   model's size. Default: antialiased.
// * `static constexpr bool reads_wrong = true`: the distance compares with what
//   must not be used, `Batch::wrong`, instead of people's maps.
//
// With human_normalizer kNone a constant map counts, else it says nothing.

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

/// One minus the cosine of the angle between the maps as vectors.
///
///     D = 1 - sum m h / (|m| |h|)
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: by default both maps are in [0, 1], and so is D.
/// Gradient: to the model's map. After min-max |m| >= 1, so it is bounded.
/// Source: Belharbi et al., "Guided interpretable facial expression
/// recognition via spatial action unit cues", FG 2024, where m is the mean of
/// the features, not normalised.
struct Cosine {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return 1 - detail::cosine_of(model, human);
  }
};

/// One minus Pearson's correlation of the maps over the positions.
///
///     D = 1 - sum (m - mean m) (h - mean h) / (|m - mean m| |h - mean h|)
///
/// Where one of the maps is constant, the correlation counts as zero.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: [0, 2].
/// Gradient: to the model's map, through its normalisation. D itself does not
/// depend on the range of the map; min-max bounds the gradient.
/// Source: the correlation coefficient (CC) of the saliency literature.
struct Pearson {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return 1 - detail::cosine_of(
                   model - model.mean(/*dim=*/1, /*keepdim=*/true),
                   human - human.mean(/*dim=*/1, /*keepdim=*/true));
  }
};

/// One minus the Dice coefficient of soft maps.
///
///     D = 1 - 2 sum m h / (sum m^2 + sum h^2)
///
/// With squares in the divisor D is zero for equal maps, also for those that
/// are not binary.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: by default both maps are in [0, 1], and so is D.
/// Gradient: to the model's map.
/// Source: Milletari et al., "V-Net", 3DV 2016.
struct Dice {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    const torch::Tensor sizes =
        model.square().sum(/*dim=*/1) + human.square().sum(/*dim=*/1);
    return 1 - 2 * (model * human).sum(/*dim=*/1) /
                   sizes.masked_fill(sizes.eq(0), 1);
  }
};

/// Binary cross entropy of the model's map as it is, position by position.
///
///     D = (1 / P) sum ln(1 + exp(x)) - x h
///
/// The model's map x is not normalised: sigmoid(x) is compared with h.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: x any, h in [0, 1]; D >= 0.
/// Gradient: to the model's map, (sigmoid(x) - h) / P.
struct BceWithLogits {
  static constexpr Normalizer map_normalizer = Normalizer::kNone;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    // ln(1 + e^x) = -ln sigmoid(-x), which cannot overflow.
    return (-at::log_sigmoid(-model) - model * human).mean(/*dim=*/1);
  }
};

/// One minus the structural similarity of the maps, over one window that is the
/// whole map.
///
///     D = 1 - (2 a b + c1) (2 cov + c2) / ((a^2 + b^2 + c1) (v + w + c2))
///
/// a, b are the means of the two maps, v, w their variances and cov their
/// covariance, all divided by P; c1 = 0.01^2, c2 = 0.03^2 for maps in [0, 1].
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: [0, 2].
/// Gradient: to the model's map.
/// Source: Wang et al., "Image quality assessment: from error visibility to
/// structural similarity", 2004, where the windows are small.
struct Ssim {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    constexpr double kMeans = 0.01 * 0.01, kVariances = 0.03 * 0.03;
    const torch::Tensor a = model.mean(/*dim=*/1), b = human.mean(/*dim=*/1);
    const torch::Tensor x = model - a.unsqueeze(1), y = human - b.unsqueeze(1);
    const torch::Tensor means =
        (2 * a * b + kMeans) / (a.square() + b.square() + kMeans);
    const torch::Tensor structure =
        (2 * (x * y).mean(/*dim=*/1) + kVariances) /
        (x.square().mean(/*dim=*/1) + y.square().mean(/*dim=*/1) + kVariances);
    return 1 - means * structure;
  }
};

/// The share of the model's positive evidence that lies outside people's map.
///
///     D = 1 - sum h max(x, 0) / max(sum max(x, 0), 1e-5)
///
/// It says nothing of where inside the map the evidence lies: coarse maps, as
/// boxes, are enough.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: h in [0, 1], and so is D; 1 where the model's map has no positive
/// value.
/// Gradient: to the model's map where it is positive, at most 1e5, by the floor
/// of the divisor. Published code divides by anything above 1e-7.
/// Source: Rao et al., "Studying how to efficiently and effectively guide
/// models with explanations", ICCV 2023 (the loss Energy).
struct EnergyInside {
  static constexpr Normalizer map_normalizer = Normalizer::kNone;
  static constexpr Normalizer human_normalizer = Normalizer::kMax;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    const torch::Tensor energy = model.relu();  // no gradient at 0
    return 1 - (human * energy).sum(/*dim=*/1) /
                   energy.sum(/*dim=*/1).clamp_min(detail::kModelFloor);
  }
};

/// The squared evidence at positions that must not be used.
///
///     D = sum (a m)^2
///
/// a is `Batch::wrong`, 1 = wrong, brought to the model's size. With nothing
/// wrong D is 0. It is a sum over positions, so that it grows with the map.
///
/// Shapes: [B, P], [B, P] -> [B].
/// Range: m and a in [0, 1]; D in [0, P].
/// Gradient: to the model's map.
/// Source: RRR-G of Friedrich et al., "A typology for exploring the mitigation
/// of shortcut behaviour", Nature Machine Intelligence 2023. Departures from
/// its code: the weights of Grad-CAM have their gradient, the network stays in
/// its mode, and the class is the label's unless
/// `SaliencyTermOptions::cam_class` says otherwise (there: the predicted one).
struct OutsideSquare {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kNone;
  static constexpr bool reads_wrong = true;

  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& wrong) const {
    return (model * wrong).square().sum(/*dim=*/1);
  }
};

}  // namespace cyborg
