// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From settings to pictures.

#include "settings.hpp"

#include <cyborg/data/augment.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace programs {

/// The table that `settings` name. Classes are those of the training split,
/// or, where `settings` have some already, those: a class that they lack is an
/// error in any split.
cyborg::data::Table read_pictures(const Settings& settings);

/// The data set of some of its rows, as `settings` prepare pictures.
cyborg::data::PictureDataset dataset_of(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

/// The same for training, with `settings`' augmentation.
using TrainingSet = cyborg::data::Augmented<cyborg::data::PictureDataset>;
TrainingSet training_set(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

}  // namespace programs
