// SPDX-License-Identifier: BSD-3-Clause
#include "recipe.hpp"

#include "../common/random.hpp"

#include <cyborg/guide/sample_weights.hpp>

#include <fmt/format.h>

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

void set_sample_weights(
    std::vector<cyborg::data::Row>& rows, const Settings& settings) {
  const auto& objective = settings.objective;
  if (objective.sample_weights == SampleWeights::kColumn) {
    return;
  }
  const bool accuracy = objective.sample_weights == SampleWeights::kAccuracy;
  std::vector<double> values;
  for (const auto& row : rows) {
    values.push_back(accuracy ? row.accuracy : row.reaction_time);
  }
  const auto all = torch::tensor(values, torch::kDouble);
  const auto there = (~all.isnan()).sum().item<int64_t>();
  if (there < 2) {
    throw std::invalid_argument(fmt::format(
        "--sample-weights {}: expected numbers in the column {} of split "
        "train, got {}",
        name_of(objective.sample_weights),
        accuracy ? "accuracy" : "reaction_time", there));
  }
  const auto weights = accuracy ? cyborg::functional::accuracy_weight(
                                      all, objective.weight_strength)
                                : cyborg::functional::reaction_time_weight(
                                      all, cyborg::quartiles_of(all),
                                      cyborg::ReactionTimeOptions()
                                          .strength(objective.weight_strength)
                                          .quick(
                                              objective.sample_weights ==
                                              SampleWeights::kQuickAnswers));
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].weight = weights[static_cast<int64_t>(i)].item<double>();
  }
}

uint64_t picture_order_seed(const Settings& settings) {
  const bool demo =
      settings.network == Architecture::kDemo && settings.model.empty();
  return demo ? sequence_seed(settings.seed, kPictureOrder) : settings.seed;
}

}  // namespace programs
