// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How a training is resumed.

#include "options.hpp"
#include "processes.hpp"
#include "setup.hpp"
#include "training_log.hpp"

#include <cstdint>
#include <string>

namespace programs {

/// The training of `options.out`/last.pt, with the settings that it began with.
/// Options that were given may say how many epochs it has, and where its files
/// are now.
/// Throws: `cyborg::io::FileError` where it cannot be resumed: with another
/// number of processes, with other pictures, and for an option that was given
/// and differs from what the training began with.
Training resume_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log);

/// The command that resumes the training, with the options of this run (but not
/// those of the training, which its checkpoint keeps).
std::string resume_command(const TrainOptions& options, int64_t processes);

}  // namespace programs
