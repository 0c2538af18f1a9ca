// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The options of `train`, in groups as its help shows them.

#include "options.hpp"

#include <CLI/CLI.hpp>

namespace programs {

/// Pictures, folds and augmentation.
void add_data_options(CLI::App& app, Settings& settings);

/// Network, loss and optimisation.
void add_training_options(CLI::App& app, Settings& settings);

/// How this run of the program carries the training out.
void add_run_options(CLI::App& app, TrainOptions& options);

}  // namespace programs
