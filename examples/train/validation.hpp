// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How good a network is on the validation and test pictures, and which epoch is
// the best one.

#include "processes.hpp"
#include "training_log.hpp"

#include "../common/network.hpp"
#include "../common/scoring.hpp"
#include "../common/settings.hpp"

#include <cyborg/data/table.hpp>

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace programs {

/// Scores the validation split, each process a part of it: an object with
/// val_loss, val_accuracy and, where both of two classes are there, val_auc. It
/// is empty without a validation split. None where a process was asked to stop;
/// all processes then return none.
/// Throws: `std::runtime_error` where no picture can be read, where logits are
/// not finite, and where `settings.select` needs a val_auc that does not exist.
std::optional<nlohmann::json> validate(
    Network& network, const cyborg::data::Table& table,
    const Settings& settings, const ScoringOptions& scoring,
    const TrainingProcesses& processes, const TrainingLog& log);

/// The number of a `validate` result by which epochs are compared; higher is
/// better. None where the last epoch always counts as the best: with
/// `SelectBy::kLast`, or without a validation split.
std::optional<double> selection_value(
    const nlohmann::json& validation, SelectBy select);

/// Scores the pictures of a split, and warns of those that cannot be read. None
/// where there is no such split. Stops early where the process was asked to.
ScoredPictures score_split(
    Network& network, const cyborg::data::Table& table,
    const std::string& split, const Settings& settings,
    const ScoringOptions& scoring, const TrainingLog& log);

}  // namespace programs
