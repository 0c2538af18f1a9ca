// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cyborg::train {

/// How the learning rate falls during a training.
enum class Decay {
  kNone,    ///< it stays the same
  kStep,    ///< it is multiplied by a factor every few epochs
  kCosine,  ///< it follows half a period of a cosine, to 0 at the end
};

/// Options of `learning_rate`. Defaults as published for CYBORG.
struct ScheduleOptions {
  /// The learning rate before any decay, above 0. Default 0.005.
  TORCH_ARG(double, base) = 0.005;
  /// How the rate falls. Default `Decay::kStep`.
  TORCH_ARG(Decay, decay) = Decay::kStep;
  /// For kStep: the number of epochs between two steps, above 0. Default 12.
  TORCH_ARG(int64_t, step_epochs) = 12;
  /// For kStep: the factor of each step. Default 0.1.
  TORCH_ARG(double, factor) = 0.1;
  /// For kCosine: the number of epochs until the rate is 0, above 0. Default
  /// 50.
  TORCH_ARG(int64_t, epochs) = 50;
  /// The number of epochs, which may be a fraction, in which the rate rises
  /// linearly from near 0 to the rate without a warm-up. 0 (the default) means
  /// no warm-up.
  TORCH_ARG(double, warm_up) = 0;

 public:
};

/// The learning rate of one step of the optimizer.
///
///     kNone:   base
///     kStep:   base * factor ^ floor(epoch / step_epochs)
///     kCosine: base * (1 + cos(pi * min(1, t / epochs))) / 2
///     warm-up: this times min(1, (t + 1 / steps) / warm_up)
///
/// with t = epoch + step / steps. The rate depends on the arguments only, not
/// on earlier calls. So a training that was stopped continues with the same
/// rates.
///
/// Range: `epoch` from 0; `step` in [0, `steps`), where `steps` is the number
/// of steps in an epoch.
/// Throws: `c10::ValueError` for an epoch, a step or options out of range.
/// Source: Loshchilov and Hutter, "SGDR", ICLR 2017, for the cosine.
/// Example:
///     const double rate = cyborg::train::learning_rate(epoch, step, steps);
///     cyborg::train::set_learning_rate(optimizer, rate);
inline double learning_rate(
    int64_t epoch, int64_t step, int64_t steps,
    const ScheduleOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::train::learning_rate";
  TORCH_CHECK_VALUE(
      epoch >= 0 && step >= 0 && step < steps, kFunction,
      ": expected epoch >= 0 and 0 <= step < ", steps, ", got epoch ", epoch,
      " and step ", step);
  TORCH_CHECK_VALUE(
      options.base() > 0 && options.step_epochs() > 0 && options.epochs() > 0 &&
          options.warm_up() >= 0,
      kFunction,
      ": expected base, step_epochs and epochs > 0 and warm_up >= 0, got ",
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

/// Sets the learning rate of all parameters of an optimizer.
inline void set_learning_rate(torch::optim::Optimizer& optimizer, double rate) {
  for (auto& group : optimizer.param_groups()) {
    group.options().set_lr(rate);
  }
}

}  // namespace cyborg::train
