// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The checkpoints of a training: last.pt, from which it is resumed, and
// best.pt, which holds the best weights.

#include "../common/settings.hpp"

#include <cyborg/train/checkpoint.hpp>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace programs {

/// How far a training is. With the weights, the optimizer's state and the state
/// of the random generators, it is all that the training needs to continue.
struct TrainingState {
  int64_t epoch = 0;        ///< finished epochs
  int64_t batch = 0;        ///< finished batches of the current epoch
  int64_t step = 0;         ///< optimizer steps in all
  int64_t best_epoch = -1;  ///< from 0; -1: no epoch is finished
  double best = 0;          ///< the validation result of that epoch
  // Sums over the pictures of the current epoch. `saliency` is one over the
  // `annotated` ones, the pictures that were guided.
  double total = 0, classification = 0, saliency = 0;
  int64_t annotated = 0, pictures = 0;
  /// Of each term of the loss: the sum of its values, and how many pictures
  /// counted.
  std::map<std::string, std::pair<double, double>> terms;
  int64_t ranks = 1;  ///< processes that share a batch

  /// Adds a batch of a term, or of the saliency.
  void add(const std::string& name, double sum, double count);

  /// The log's record of the epoch so far: epoch, step, the means loss,
  /// classification, saliency and each term (null where no picture counted),
  /// annotated, pictures.
  nlohmann::json record() const;

  /// Moves on to the first batch of the next epoch.
  void next_epoch();
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(
    TrainingState, epoch, batch, step, best_epoch, best, total, classification,
    saliency, annotated, pictures, terms, ranks)

/// The content of a checkpoint.
struct SavedTraining {
  Settings settings;
  TrainingState state;
  std::string table;  ///< the table's `fingerprint`
  cyborg::train::NamedTensors model;
  torch::Tensor script;  ///< `Network::script`
  // Not in best.pt:
  cyborg::train::NamedTensors optimizer;
  cyborg::train::NamedTensors average;  ///< of --ema; empty without it
  torch::Tensor random;  ///< [ranks, bytes], a generator's state each
};

/// Writes a checkpoint. If that fails, a file that was there is still whole.
/// Throws: `cyborg::io::FileError`.
void write_training(
    const std::filesystem::path& path, const SavedTraining& training);

/// Reads a checkpoint from which a training can be resumed.
/// Throws: `cyborg::io::FileError` for a file that is none, or a best.pt.
SavedTraining read_training(const std::filesystem::path& path);

}  // namespace programs
