// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cyborg::train {

/// How the learning rate changes over a training.
enum class Decay {
  kNone,    ///< it does not
  kStep,    ///< by a factor every few epochs
  kCosine,  ///< along half a cosine, to 0 at the end
};

/// Options of `learning_rate`. Defaults as published for CYBORG.
struct ScheduleOptions {
  /// The learning rate before any decay. Default 0.005.
  TORCH_ARG(double, base) = 0.005;
  /// How it falls. Default `Decay::kStep`.
  TORCH_ARG(Decay, decay) = Decay::kStep;
  /// Epochs between steps. Default 12.
  TORCH_ARG(int64_t, step_epochs) = 12;
  /// What a step multiplies by. Default 0.1.
  TORCH_ARG(double, factor) = 0.1;
  /// Epochs of the whole training, where a cosine ends. Default 50.
  TORCH_ARG(int64_t, epochs) = 50;
  /// Epochs (or a part of one) in which the rate rises from near 0 along a
  /// line; the decay is that of the same epoch without a warm-up. Default 0.
  TORCH_ARG(double, warm_up) = 0;

 public:
};

/// The learning rate of one optimizer step.
///
///   step:    base * factor ^ floor(epoch / step_epochs)
///   cosine:  base * (1 + cos(pi * t / epochs)) / 2,  t = epoch + part
///   warm-up: that times min(1, (t + 1 / steps) / warm_up)
///
/// A function of the place alone, so that a training that goes on after a stop
/// has the rate that it would have had.
/// Range: `step` in [0, `steps` an epoch).
/// Throws: `c10::ValueError` for options or a place that make no sense.
/// Source: SGDR, Loshchilov and Hutter, ICLR 2017, for the cosine.
/// Example:
///     const double rate = cyborg::train::learning_rate(epoch, step, steps);
///     cyborg::train::set_learning_rate(optimizer, rate);
inline double learning_rate(
    int64_t epoch, int64_t step, int64_t steps,
    const ScheduleOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::train::learning_rate";
  TORCH_CHECK_VALUE(
      epoch >= 0 && step >= 0 && step < steps, kFunction,
      ": expected a step below ", steps, " of an epoch from 0, got step ", step,
      " of epoch ", epoch);
  TORCH_CHECK_VALUE(
      options.base() > 0 && options.step_epochs() > 0 && options.epochs() > 0 &&
          options.warm_up() >= 0,
      kFunction,
      ": expected base, step_epochs and epochs above 0 and warm_up from 0, "
      "got ",
      options.base(), ", ", options.step_epochs(), ", ", options.epochs(),
      " and ", options.warm_up());
  const double done = static_cast<double>(epoch) +
                      static_cast<double>(step) / static_cast<double>(steps);
  double rate = options.base();
  if (options.decay() == Decay::kStep) {
    rate *= std::pow(options.factor(), epoch / options.step_epochs());
  } else if (options.decay() == Decay::kCosine) {
    constexpr double kPi = 3.14159265358979323846;
    const double part =
        std::min(1.0, done / static_cast<double>(options.epochs()));
    rate *= (1 + std::cos(kPi * part)) / 2;
  }
  if (options.warm_up() > 0) {
    rate *= std::min(
        1.0, (done + 1 / static_cast<double>(steps)) / options.warm_up());
  }
  return rate;
}

/// Sets the learning rate of all of an optimizer's parameters.
inline void set_learning_rate(torch::optim::Optimizer& optimizer, double rate) {
  for (auto& group : optimizer.param_groups()) {
    group.options().set_lr(rate);
  }
}

}  // namespace cyborg::train
