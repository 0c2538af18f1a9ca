// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The training loop.

#include "checkpoint.hpp"
#include "learner.hpp"
#include "options.hpp"
#include "processes.hpp"
#include "setup.hpp"
#include "training_log.hpp"
#include "weight_average.hpp"

#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <cyborg/data/prefetch.hpp>

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace programs {

/// How a run of `train` ended.
struct TrainResult {
  /// Both are false in every process but the first, which alone does the rest.
  bool finished = false;
  bool stopped = false;  ///< by a signal or --stop-after; it can be resumed
  Settings settings;
  TrainingState state;
  std::vector<nlohmann::json> log;  ///< a record for each epoch
  ScoredPictures validation, test;  ///< with the best epoch's weights
};

/// Trains a network: an ordinary loop, with checkpoints from which it can be
/// resumed.
class Trainer {
 public:
  /// Begins a new training, or resumes the one in `options.out`. Writes nothing
  /// yet.
  explicit Trainer(const TrainOptions& options);

  /// Trains, and writes checkpoints and the log. Ctrl-C or the signal of a
  /// scheduler stops it after the current optimizer step, or batch of
  /// validation.
  TrainResult run();

 private:
  using Loader = cyborg::data::Prefetcher<TrainingSet>;

  bool train_epoch(TrainingSet& pictures, Loader& loader);
  torch::Tensor batch_total(
      const cyborg::data::GuidedExample& batch, const Loader& loader);
  std::vector<std::string> pictures_of_batch(const Loader& loader) const;
  void end_step();
  bool end_epoch();
  void score(TrainResult& result);
  void write_export(Network& best) const;
  void warn_of_maps_without_guidance() const;
  void show_maps();
  void save(const std::string& name) const;
  void write(const std::string& name, const torch::Tensor& random) const;
  bool waited_long_enough() const;
  bool must_stop() const;

  TrainOptions options_;
  TrainingProcesses processes_;
  bool resumed_;
  TrainingLog log_;
  Training training_;
  const Settings& settings_;  // of training_
  TrainingState& state_;      // of training_
  Learner learner_;
  std::unique_ptr<WeightAverage> average_;  // with --ema
  std::vector<cyborg::data::Row> rows_;     // of split train
  std::string table_;                       // the table's fingerprint
  ScoringOptions scoring_;
};

}  // namespace programs
