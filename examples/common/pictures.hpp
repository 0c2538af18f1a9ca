// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From settings to pictures.

#include "settings.hpp"

#include <cyborg/data/augment.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table.hpp>

#include <torch/types.h>

#include <string>
#include <vector>

namespace programs {

/// The table that `settings` name. Classes are those of the training split,
/// or, where `settings` have some already, those: a class that they lack is an
/// error in any split.
cyborg::data::Table read_pictures(const Settings& settings);

/// A number for all that a training reads of a table's rows, to tell whether it
/// is still the one that the training began with.
std::string fingerprint(const cyborg::data::Table& table);

/// The rows without their human maps, which are then not read.
std::vector<cyborg::data::Row> without_maps(
    std::vector<cyborg::data::Row> rows);

/// The data set of some of its rows, as `settings` prepare pictures.
cyborg::data::PictureDataset dataset_of(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

/// The first picture [C, H, W] of them that can be read.
/// Throws: `cyborg::io::FileError` of the first one, where none can be or
/// unreadable ones are not to be skipped.
torch::Tensor first_picture(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

/// The data set for training, with `settings`' augmentation.
using TrainingSet = cyborg::data::Augmented<cyborg::data::PictureDataset>;
TrainingSet training_set(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

}  // namespace programs
