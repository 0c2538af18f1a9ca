// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The training loop.

#include "checkpoint.hpp"
#include "learner.hpp"
#include "options.hpp"
#include "processes.hpp"
#include "setup.hpp"
#include "training_log.hpp"

#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <cyborg/data/prefetch.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace programs {

/// How a run of `train` ended.
struct TrainResult {
  /// False where the training was stopped and can be resumed, and in every
  /// process but the first, which alone does the rest.
  bool finished = false;
  Settings settings;
  TrainingState state;
  std::vector<nlohmann::json> log;  ///< a record for each epoch
  ScoredPictures validation, test;  ///< with the best epoch's weights
};

/// Trains a network: an ordinary loop, with checkpoints from which it can be
/// resumed.
class Trainer {
 public:
  /// Begins a new training, or resumes the one in `options.out`. A new one
  /// writes nothing yet.
  explicit Trainer(const TrainOptions& options);

  /// Trains, and writes checkpoints and the log. Ctrl-C stops it after the
  /// current optimizer step.
  TrainResult run();

 private:
  using Loader = cyborg::data::Prefetcher<TrainingSet>;

  bool train_epoch(TrainingSet& pictures, Loader& loader);
  torch::Tensor batch_total(
      const cyborg::data::GuidedExample& batch, const Loader& loader);
  std::vector<std::string> pictures_of_batch(const Loader& loader) const;
  void end_step();
  void end_epoch();
  void show_maps();
  void save(const std::string& name) const;
  bool waited_long_enough() const;
  bool must_stop() const;

  TrainOptions options_;
  TrainingProcesses processes_;
  TrainingLog log_;
  Training training_;
  const Settings& settings_;  // of training_
  TrainingState& state_;      // of training_
  Learner learner_;
  std::vector<cyborg::data::Row> rows_;  // of split train
  ScoringOptions scoring_;
};

}  // namespace programs
