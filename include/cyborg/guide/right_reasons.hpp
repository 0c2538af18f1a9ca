// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/detail/input_gradient.hpp>
#include <cyborg/guide/seen.hpp>

#include <ATen/ops/isfinite.h>
#include <torch/arg.h>

namespace cyborg {

/// Which number's gradient says what the network looks at.
enum class GradientScore {
  kLogProbabilities,  ///< the sum over all classes of ln p: RRR
  kLoss,              ///< the task's loss of the sample, weighted: GALS
  kLogit,             ///< the logit of the label
};

/// Options of `RightReasons`.
struct RightReasonsOptions {
  /// Whose gradient. Default: the sum of the logarithms of all probabilities.
  TORCH_ARG(GradientScore, score) = GradientScore::kLogProbabilities;
  /// The power of the gradient: 2 (RRR) or 1 (GALS).
  TORCH_ARG(int64_t, power) = 2;

 public:
};

/// The gradient of the pictures where they must not be used.
///
///     D = sum over pixels and channels of (a |g|)^power,
///     g = d score / d image
///
/// a is `Batch::wrong`, 1 = wrong. A sample counts where it has such a mask;
/// where nothing is wrong, D is 0. The strength multiplies the mean over the
/// samples of this sum, so a good one depends on the square of the pictures'
/// scale: for pixels in [0, 1] any of 0.001 ... 10 worked on decoys; the
/// published 1000 belongs to pixels 0 ... 255.
///
/// The gradient of the batch's sum is taken once. So with batch normalisation
/// in training mode, the gradient of one picture is also that of the others'
/// scores: freeze the statistics (`EvaluationNorms`) where that matters.
///
/// Shapes: `Batch::images` [B, C, *S], `Batch::wrong` [B, *S'] or [B, 1, *S'],
/// resized to the pictures -> [B].
/// Gradient: to the network, second order: activations need a second
/// derivative. That of ReLU is zero, but the gradient still depends on all
/// weights.
/// Throws: where the task is a regression and the score needs classes; where an
/// operator has no second derivative.
/// Source: Ross et al., "Right for the right reasons", IJCAI 2017; Petryk et
/// al., "On guiding visual attention with language specification" (GALS), CVPR
/// 2022, for kLoss and power 1.
/// Example:
///     guidance.add("reasons", 1, cyborg::RightReasons());
struct RightReasons {
  static constexpr unsigned kNeeds = needs::kInputGradient;
  RightReasonsOptions options = {};

  /// Throws: for options that a term cannot have. `Guidance::add` calls it.
  void check() const {
    TORCH_CHECK_VALUE(
        options.power() == 1 || options.power() == 2, "cyborg::RightReasons",
        ": expected power 1 or 2, got ", options.power());
  }

  PerSample operator()(const Seen& seen) const {
    constexpr const char* kFunction = "cyborg::RightReasons";
    check();
    const detail::AutocastDisabledGuard no_autocast;
    const auto wrong = detail::picture_mask(
        kFunction, "masks of what is wrong", seen.batch.wrong, seen.images,
        seen.batch.annotated, Normalizer::kNone, maps::Resize::kAntialias);
    torch::Tensor usable = wrong.usable;
    const torch::Tensor gradient = detail::input_gradient(
        kFunction, score(kFunction, seen), seen.images,
        /*create_graph=*/at::GradMode::is_enabled());
    const torch::Tensor part = (gradient * wrong.values).flatten(1);
    if (options.score() != GradientScore::kLogProbabilities) {
      usable = usable.logical_and(seen.known());
    }
    return {
        options.power() == 2 ? part.square().sum(1) : part.abs().sum(1),
        usable};
  }

 private:
  /// [B], the number whose gradient is taken.
  torch::Tensor score(const char* function, const Seen& seen) const {
    switch (options.score()) {
      case GradientScore::kLoss:
        return seen.weighted_loss_of(seen.logits);
      case GradientScore::kLogit:
        return seen.score();
      case GradientScore::kLogProbabilities:
        break;
    }
    TORCH_CHECK_VALUE(
        seen.task.task() != Task::kRegression, function,
        ": a regression has no probabilities; use GradientScore::kLogit");
    if (seen.task.task() == Task::kMultiLabel || seen.logits.size(1) == 1) {
      return (at::log_sigmoid(seen.logits) + at::log_sigmoid(-seen.logits))
          .sum(1);
    }
    return seen.logits.log_softmax(1).sum(1);
  }
};

}  // namespace cyborg
