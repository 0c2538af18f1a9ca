// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The data, network and log of a training, made for a new one. resume.hpp makes
// those of a training that goes on.

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
  cyborg::train::NamedTensors average;
  torch::Tensor random;  ///< the state of this process's generator
};

/// Completes the settings of a command line: paths become absolute, so that the
/// training can be resumed, and its checkpoints used, from any folder; without
/// guidance alpha is 1.
void complete(Settings& settings);

/// Throws: `std::invalid_argument` for settings that exclude one another, this
/// table or these processes; `cyborg::io::FileError` for a subject in several
/// splits.
void check_settings(
    const Settings& settings, const cyborg::data::Table& table,
    const TrainingProcesses& processes);

/// Checks the files of a training before its first epoch. Sets `settings.stored`.
/// `is_new`: whether the training begins.
/// Throws: `cyborg::io::FileError`, which lists pictures and maps that are not
/// there; with --skip-unreadable that is a warning. And as
/// `check_stored_values`. Warns of what headers say (`header_warnings`).
void check_all_files(
    Settings& settings, cyborg::data::Table table,
    const TrainingProcesses& processes, const TrainingLog& log, bool is_new);

/// A new training. Reads the table and makes the network; writes nothing.
/// Throws: `cyborg::io::FileError` where `options.out` holds a training, and
/// for files that cannot be used; `std::invalid_argument` for settings that
/// exclude one another.
Training begin_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log);

}  // namespace programs
