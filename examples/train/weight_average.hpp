// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "../common/network.hpp"

#include <cyborg/train/state.hpp>

#include <cstddef>
#include <memory>

namespace programs {

/// A moving average of the weights of a network: after each optimizer step
/// average = decay * average + (1 - decay) * weights, beginning with the weights
/// that the network has (`--ema`). Buffers, such as the statistics of batch
/// normalisation, are not averaged.
class WeightAverage {
 public:
  /// `network` lives longer than this object does.
  WeightAverage(Network& network, double decay);

  void update();

  /// The averages, with the names of the weights.
  const cyborg::train::NamedTensors& state() const { return average_; }
  /// Throws: `c10::ValueError` for averages of other weights.
  void load_state(const cyborg::train::NamedTensors& state);

  /// While it lives, the network has the averages as its weights. Then it has
  /// its own ones again, bit for bit.
  class Use {
   public:
    explicit Use(const WeightAverage& average);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    cyborg::train::NamedTensors weights_;  // of the network
    cyborg::train::NamedTensors own_;      // their values
  };

 private:
  cyborg::train::NamedTensors weights() const;

  Network& network_;
  double decay_;
  cyborg::train::NamedTensors average_;
};

/// A `WeightAverage::Use`, or nothing where there is no average.
std::unique_ptr<WeightAverage::Use> use(
    const std::unique_ptr<WeightAverage>& average);

}  // namespace programs
