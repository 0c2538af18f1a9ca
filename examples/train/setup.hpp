// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Where a training begins: with a new network, or with a checkpoint.

#include "checkpoint.hpp"
#include "options.hpp"
#include "processes.hpp"
#include "training_log.hpp"

#include "../common/network.hpp"

#include <cyborg/data/table.hpp>

#include <torch/types.h>

#include <memory>

namespace programs {

/// All that a training works on.
struct Training {
  Settings settings;
  TrainingState state;
  cyborg::data::Table table;
  std::unique_ptr<Network> network;
  torch::Tensor script;  ///< `Network::script`, as the training began
  /// Of a training that is resumed; empty and undefined for a new one.
  cyborg::train::NamedTensors optimizer;
  torch::Tensor random;  ///< the state of this process's generator
};

/// A new training. Reads the table and makes the network; writes nothing.
/// Throws: `cyborg::io::FileError` where `options.out` holds a training, and
/// for files that cannot be used; `std::invalid_argument` for settings that
/// exclude one another.
Training begin_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log);

/// The training of `options.out`/last.pt, with the settings that it began with.
/// Throws: `cyborg::io::FileError` where it cannot be resumed: with another
/// number of processes, or when the table has changed.
Training resume_training(
    const TrainOptions& options, const TrainingProcesses& processes);

}  // namespace programs
