// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/detail/torch/random.hpp>
#include <cyborg/guide/detail/input_gradient.hpp>
#include <cyborg/guide/seen.hpp>

#include <ATen/core/Generator.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/where.h>
#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace cyborg {

namespace detail {

/// One number for each channel of `images` [B, C, *S], as [1, C, 1, ...].
/// Throws: on behalf of `function`, unless there is one number, or C.
inline torch::Tensor per_channel(
    const char* function, const char* name, const std::vector<double>& values,
    const torch::Tensor& images) {
  const int64_t channels = images.size(1);
  TORCH_CHECK_VALUE(
      values.size() == 1 || static_cast<int64_t>(values.size()) == channels,
      function, ": expected one number, or ", channels, ", in ", name, ", got ",
      values.size());
  std::vector<int64_t> sizes(static_cast<size_t>(images.dim()), 1);
  sizes[1] = channels;
  // Each number is written on the device: a copy from here would make the host
  // wait for it.
  std::vector<torch::Tensor> numbers;
  for (const double value : values) {
    numbers.push_back(
        at::full({1}, value, images.options().requires_grad(false)));
  }
  return at::cat(numbers).expand({channels}).reshape(sizes);
}

/// Throws, on behalf of `function`, unless each low is below its high. One
/// number stands for all channels.
inline void check_low_and_high(
    const char* function, const std::vector<double>& low,
    const std::vector<double>& high) {
  const auto of_channel = [](const std::vector<double>& values, size_t c) {
    return values.size() == 1 ? values[0] : values[c];
  };
  const size_t channels = low.size() == 1 ? high.size()
                          : high.size() == 1
                              ? low.size()
                              : std::min(low.size(), high.size());
  for (size_t c = 0; c < channels; ++c) {
    const double from = of_channel(low, c);
    const double to = of_channel(high, c);
    TORCH_CHECK_VALUE(
        std::isfinite(from) && std::isfinite(to) && from < to, function,
        ": expected low below high for every channel, got ", from, " and ", to);
  }
}

/// Throws unless pictures on the CPU are between `low` and `high`, except for
/// rounding. Otherwise the range does not belong to these pictures.
inline void check_pixel_range(
    const char* function, const torch::Tensor& images, const torch::Tensor& low,
    const torch::Tensor& high) {
  if (!images.is_cpu() || images.numel() == 0) {
    return;  // reading it elsewhere would make the host wait for the device
  }
  const torch::Tensor values = images.detach();
  const torch::Tensor slack = (high - low) * 1e-3;
  const bool inside = values.ge(low - slack)
                          .logical_and(values.le(high + slack))
                          .all()
                          .item<bool>();
  TORCH_CHECK_VALUE(
      inside, function, ": expected pixels in the range of low and high, got ",
      values.min().item<double>(), " ... ", values.max().item<double>(),
      " (of standardised pictures, low is (0 - mean) / deviation and high is "
      "(1 - mean) / deviation, for each channel)");
}

}  // namespace detail

/// Options of `PerturbedReasons`.
struct PerturbedReasonsOptions {
  /// How many steps the attack makes, from 1. Default 3.
  TORCH_ARG(int64_t, steps) = 3;
  /// How far a pixel may be moved, as a share of its range. Default 1: anywhere
  /// in the range. One step is this divided by `steps`.
  TORCH_ARG(double, epsilon) = 1;
  /// The smallest and the largest value of a pixel: one number, or one for each
  /// channel. Default 0 and 1.
  TORCH_ARG(std::vector<double>, low) = { 0 };
  TORCH_ARG(std::vector<double>, high) = { 1 };

 public:
};

/// The task's loss of pictures whose wrong region is changed so that this loss
/// becomes as large as possible. It stays the same for a network that does not
/// look there.
///
///     D = task(f(x + a d), y),
///     d: k times d <- clip(d + eps / k sign(d task / d d), -eps, eps),
///        then clipped so that x + d is in [low, high]
///
/// a is `Batch::wrong`. First order only: no second derivative is needed, and
/// the attack's passes leave no graph. A pixel at an end of the range can come
/// back in a later step. A sample counts where something is wrong and its label
/// is known; its loss has the weight of its class.
///
/// The network runs `steps` + 1 times more, in the mode that it is in. Batch
/// norms in training mode also learn the statistics of the changed pictures;
/// `while_attacking` may prevent this, for example with `EvaluationNorms`.
///
/// Shapes: `Batch::images` [B, C, *S], `Batch::wrong` [B, *S'] or [B, 1, *S']
/// -> [B].
/// Gradient: to the network, first order.
/// Throws: for options out of range, and for pixels (on the CPU) outside the
/// range.
/// Source: Heo et al., "Use perturbations when learning from explanations",
/// NeurIPS 2023 (PGD-Ex). Departure from its code: the pixels stay in their
/// range.
/// Example:
///     cyborg::PerturbedReasons term;
///     term.while_attacking = [&] {
///       return std::make_shared<cyborg::EvaluationNorms>(*net);
///     };
///     guidance.add("perturbed", 1, term);
struct PerturbedReasons {
  static constexpr unsigned kNeeds = needs::kForward;
  PerturbedReasonsOptions options = {};
  /// Called before the changed pictures are run; what it returns lives as long
  /// as they are. May be empty.
  std::function<std::shared_ptr<void>()> while_attacking = {};

  /// Throws: for options that a term cannot have. `Guidance::add` calls it.
  void check() const {
    TORCH_CHECK_VALUE(
        options.steps() >= 1 && options.epsilon() > 0 &&
            std::isfinite(options.epsilon()),
        "cyborg::PerturbedReasons",
        ": expected steps >= 1 and epsilon > 0, got ", options.steps(), " and ",
        options.epsilon());
    detail::check_low_and_high(
        "cyborg::PerturbedReasons", options.low(), options.high());
  }

  PerSample operator()(const Seen& seen) const {
    constexpr const char* kFunction = "cyborg::PerturbedReasons";
    check();
    const torch::Tensor images = seen.images.detach();
    const auto wrong = detail::picture_mask(
        kFunction, "masks of what is wrong", seen.batch.wrong, images,
        seen.batch.annotated, Normalizer::kNone, maps::Resize::kAntialias);
    const torch::Tensor mask = wrong.values.to(images.scalar_type());
    const torch::Tensor low =
        detail::per_channel(kFunction, "low", options.low(), images);
    const torch::Tensor high =
        detail::per_channel(kFunction, "high", options.high(), images);
    detail::check_pixel_range(kFunction, images, low, high);
    const torch::Tensor usable =
        wrong.usable.logical_and(mask.flatten(1).amax(1) > 0)
            .logical_and(seen.known());
    const torch::Tensor epsilon = (high - low) * options.epsilon();
    // A pixel that is outside the range already is not moved into it.
    const torch::Tensor lowest = at::minimum(low, images);
    const torch::Tensor highest = at::maximum(high, images);
    const auto within = [&](const torch::Tensor& pixels) {
      return at::minimum(at::maximum(pixels, lowest), highest);
    };
    const auto guard = while_attacking ? while_attacking() : nullptr;
    torch::Tensor delta = at::zeros_like(images);
    {
      const at::AutoGradMode graph_on(true);
      for (int64_t step = 0; step < options.steps(); ++step) {
        const torch::Tensor moved = delta.detach().requires_grad_();
        // No clamp here, whose gradient is zero: a pixel could not come back.
        const torch::Tensor loss =
            seen.weighted_loss_of(seen.forward(images + mask * moved));
        const torch::Tensor slope =
            torch::autograd::grad({loss.sum()}, {moved})[0];
        delta = at::minimum(
            at::maximum(
                delta + epsilon / static_cast<double>(options.steps()) *
                            slope.sign(),
                -epsilon),
            epsilon);
        delta = within(images + delta) - images;
      }
    }
    return {
        seen.weighted_loss_of(seen.forward(within(images + mask * delta))),
        usable};
  }
};

/// Options of `SaliencyGuidedTraining`.
struct SaliencyGuidedTrainingOptions {
  /// The share of the positions that is masked, in (0, 1). Default 0.5.
  TORCH_ARG(double, fraction) = 0.5;
  /// Where the masks' random values come from; it may be one of the CPU for
  /// pictures on a GPU. Default: the global generator of the pictures' device.
  TORCH_ARG(std::optional<at::Generator>, generator) = std::nullopt;

 public:
};

/// The change of the prediction where the positions that matter least are
/// masked. It needs no map of people.
///
///     D = KL(f(x) || f(x~))
///
/// x~ is x, where in each sample the positions with the smallest mean of
/// |d logit / d x| over the channels have random values, uniform between the
/// smallest and the largest value of the channel in this sample. A sample
/// counts where its label is known.
///
/// The network runs once more, in the mode that it is in.
///
/// Shapes: `Batch::images` [B, C, *S] -> [B].
/// Gradient: to the network, first order, through f(x) and f(x~).
/// Throws: for a regression, and for a fraction out of range.
/// Source: Ismail et al., "Improving deep learning interpretability by saliency
/// guided training", NeurIPS 2021. The divergence is in the direction of its
/// code; the gradient is that of the mode that the network is in, its code
/// takes it in evaluation mode.
/// Example:
///     guidance.add("sgt", 1, cyborg::SaliencyGuidedTraining());
struct SaliencyGuidedTraining {
  static constexpr unsigned kNeeds = needs::kInputGradient | needs::kForward;
  SaliencyGuidedTrainingOptions options = {};

  /// Throws: for options that a term cannot have. `Guidance::add` calls it.
  void check() const {
    TORCH_CHECK_VALUE(
        options.fraction() > 0 && options.fraction() < 1,
        "cyborg::SaliencyGuidedTraining", ": expected fraction in (0, 1), got ",
        options.fraction());
  }

  PerSample operator()(const Seen& seen) const {
    constexpr const char* kFunction = "cyborg::SaliencyGuidedTraining";
    check();
    TORCH_CHECK_VALUE(
        seen.task.task() != Task::kRegression, kFunction,
        ": a regression has no probabilities to compare");
    TORCH_CHECK_VALUE(
        seen.images.dim() >= 3, kFunction, ": expected images [B, C, *S], got ",
        seen.images.sizes());
    const torch::Tensor masked = masked_pictures(
        seen.images.detach(),
        detail::input_gradient(
            kFunction, seen.score(), seen.images, /*create_graph=*/false));
    const torch::Tensor other =
        detail::logit_rows(kFunction, seen.forward(masked));
    const detail::AutocastDisabledGuard no_autocast;
    return {divergence(seen, other), seen.known()};
  }

 private:
  /// The pictures with random values where the gradient is smallest.
  torch::Tensor masked_pictures(
      const torch::Tensor& images, const torch::Tensor& gradient) const {
    const torch::Tensor importance =
        gradient.abs().mean(/*dim=*/1).flatten(/*start_dim=*/1);
    const int64_t positions = importance.size(1);
    const auto count = std::max<int64_t>(
        1, std::lround(options.fraction() * static_cast<double>(positions)));
    const torch::Tensor least =
        std::get<1>(importance.sort(/*stable=*/true, /*dim=*/1, false))
            .narrow(1, 0, count);
    std::vector<int64_t> sizes = images.sizes().vec();
    sizes[1] = 1;
    const torch::Tensor mask =
        at::zeros(importance.sizes(), images.options().dtype(at::kBool))
            .scatter(1, least, true)
            .reshape(sizes);
    const torch::Tensor flat = images.flatten(/*start_dim=*/2);
    const torch::Tensor low = flat.amin(2, /*keepdim=*/true);
    const torch::Tensor high = flat.amax(2, /*keepdim=*/true);
    const torch::Tensor fill =
        low +
        (high - low) * detail::uniform_like(
                           flat, options.generator().value_or(at::Generator()));
    return at::where(mask, fill.reshape(images.sizes()), images);
  }

  /// [B], KL(f(x) || f(x~)); with several labels the sum over them.
  static torch::Tensor divergence(
      const Seen& seen, const torch::Tensor& other) {
    const auto of = [](const torch::Tensor& p, const torch::Tensor& q) {
      return p.exp() * (p - q);
    };
    if (seen.task.task() == Task::kMultiLabel || seen.logits.size(1) == 1) {
      return (of(at::log_sigmoid(seen.logits), at::log_sigmoid(other)) +
              of(at::log_sigmoid(-seen.logits), at::log_sigmoid(-other)))
          .sum(1);
    }
    return of(seen.logits.log_softmax(1), other.log_softmax(1)).sum(1);
  }
};

}  // namespace cyborg
