// SPDX-License-Identifier: BSD-3-Clause
#include "recipe.hpp"

#include "../common/random.hpp"

#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <map>
#include <stdexcept>
#include <utility>

namespace programs {

namespace {

/// After a switch over all values of an enum: for a number that is no value.
[[noreturn]] void unknown(const char* function) {
  throw std::logic_error(
      std::string("programs::") + function + ": unknown choice");
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const Settings& settings, std::vector<torch::Tensor> parameters) {
  switch (settings.optimizer) {
    case OptimizerKind::kSgd:
      return std::make_unique<torch::optim::SGD>(
          std::move(parameters),
          torch::optim::SGDOptions(settings.learning_rate)
              .momentum(settings.momentum)
              .weight_decay(settings.weight_decay));
    case OptimizerKind::kAdam:
      return std::make_unique<torch::optim::Adam>(
          std::move(parameters),
          torch::optim::AdamOptions(settings.learning_rate)
              .weight_decay(settings.weight_decay));
    case OptimizerKind::kAdamW:
      return std::make_unique<torch::optim::AdamW>(
          std::move(parameters),
          torch::optim::AdamWOptions(settings.learning_rate)
              .weight_decay(settings.weight_decay));
  }
  unknown("make_optimizer");
}

cyborg::train::ScheduleOptions schedule_options(const Settings& settings) {
  return cyborg::train::ScheduleOptions()
      .base(settings.learning_rate)
      .decay(settings.schedule)
      .step_epochs(settings.step_epochs)
      .factor(settings.step_factor)
      .epochs(settings.epochs)
      .warm_up(settings.warm_up);
}

std::vector<double> sampler_weights(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings) {
  switch (settings.sampler) {
    case Sampler::kAll:
      return {};
    case Sampler::kBalanced:
      break;
    default:
      unknown("sampler_weights");
  }
  std::map<int64_t, double> counts;
  for (const auto& row : rows) {
    ++counts[row.label];
  }
  std::vector<double> weights;
  for (const auto& row : rows) {
    weights.push_back(1 / counts[row.label]);
  }
  return weights;
}

uint64_t picture_order_seed(const Settings& settings) {
  const bool demo =
      settings.network == Architecture::kDemo && settings.model.empty();
  return demo ? sequence_seed(settings.seed, kPictureOrder) : settings.seed;
}

}  // namespace programs
