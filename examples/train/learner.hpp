// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One optimizer step: the loss of its batches, and the update of the weights.

#include "objective.hpp"
#include "processes.hpp"

#include "../common/network.hpp"
#include "../common/settings.hpp"

#include <cyborg/cam/hook.hpp>
#include <cyborg/data/example.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/train/checkpoint.hpp>

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace programs {

/// A network and what trains it. What it is given lives longer than it does.
class Learner {
 public:
  /// `rows` are the training pictures.
  Learner(
      const Settings& settings, const std::vector<cyborg::data::Row>& rows,
      Network& network, TrainingProcesses& processes);

  /// Begins an optimizer step, number `step` of all: no gradients, and the
  /// learning rate and strengths of a batch, which is one of `batches` of an
  /// epoch.
  void begin_step(int64_t epoch, int64_t batch, int64_t batches, int64_t step);

  /// The loss of a batch of this process.
  cyborg::GuidanceTerms loss_of(const cyborg::data::GuidedExample& batch);

  /// Adds the gradients of one of `count` batches whose mean is taken; after
  /// the last one, `end_step` follows.
  void backward(const torch::Tensor& loss, int64_t count, bool last);

  /// Clips the gradient and updates the weights.
  void end_step();

  /// The map of class `label` for a picture [C, H, W]: [h, w].
  torch::Tensor map_of(const torch::Tensor& picture, int64_t label);

  double learning_rate() const;

  /// The names of the weights, and of the optimizer's values, that are not
  /// finite. Buffers count unless they were so from the beginning.
  std::vector<std::string> not_finite() const;

  /// The optimizer's state, which a checkpoint keeps.
  cyborg::train::NamedTensors state() const;
  void load_state(const cyborg::train::NamedTensors& state);

 private:
  const Settings& settings_;
  Network& network_;
  TrainingProcesses& processes_;
  std::unique_ptr<cyborg::CamHook> hook_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  Objective objective_;
  std::set<std::string> infinite_;  // buffers that never were finite
};

}  // namespace programs
