// SPDX-License-Identifier: BSD-3-Clause
#include "weight_average.hpp"

#include <c10/util/Exception.h>

namespace programs {

using cyborg::train::NamedTensors;

namespace {

NamedTensors copies_of(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) {
    copies.emplace_back(name, tensor.detach().clone());
  }
  return copies;
}

}  // namespace

WeightAverage::WeightAverage(Network& network, double decay)
    : network_(network), decay_(decay), average_(copies_of(weights())) {}

NamedTensors WeightAverage::weights() const {
  auto state = network_.state();  // buffers come after the parameters
  state.resize(network_.parameters().size());
  return state;
}

void WeightAverage::update() {
  const torch::NoGradGuard no_grad;
  const auto now = weights();
  for (size_t i = 0; i < now.size(); ++i) {
    average_[i].second.mul_(decay_).add_(now[i].second, 1 - decay_);
  }
}

void WeightAverage::load_state(const NamedTensors& state) {
  const auto mismatch = cyborg::train::load_state(average_, state);
  TORCH_CHECK_VALUE(
      mismatch.empty(), "the averages do not fit the weights:\n",
      mismatch.text());
}

WeightAverage::Use::Use(const WeightAverage& average)
    : weights_(average.weights()), own_(copies_of(weights_)) {
  cyborg::train::load_state(weights_, average.average_);
}

WeightAverage::Use::~Use() {
  cyborg::train::load_state(weights_, own_);
}

std::unique_ptr<WeightAverage::Use> use(
    const std::unique_ptr<WeightAverage>& average) {
  return average ? std::make_unique<WeightAverage::Use>(*average) : nullptr;
}

}  // namespace programs
