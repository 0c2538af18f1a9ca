// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The pictures that settings name.

#include "settings.hpp"

#include <cyborg/data/augment.hpp>
#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/data/table_types.hpp>

#include <torch/types.h>

#include <string>
#include <vector>

namespace programs {

/// The table that `settings.data` names, with the annotations of
/// `settings.annotations`. Its classes are those of the settings
/// or, where these have none yet, those of the training split.
/// Throws: `cyborg::io::FileError` for a row of another class, in any split, and
/// for a folder of maps or masks that has none for any picture.
cyborg::data::Table read_pictures(const Settings& settings);

/// Whether the loss reads human maps, and whether it reads masks of what must
/// not be used.
bool reads_maps(const Settings& settings);
bool reads_wrong(const Settings& settings);

/// The rows without the maps and masks that the loss does not read.
std::vector<cyborg::data::Row> as_read(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

/// Whether a row names a human map or has annotations.
bool has_map(const cyborg::data::Row& row);

/// The rows without their human maps and masks, so that no time is spent on
/// reading them.
std::vector<cyborg::data::Row> without_maps(
    std::vector<cyborg::data::Row> rows);

/// How the files of the pictures and maps are read.
cyborg::data::PictureDatasetOptions dataset_options(const Settings& settings);

/// The data set of some rows, with pictures prepared as `settings` say. Masks
/// are read only where the loss reads them.
cyborg::data::PictureDataset dataset_of(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

/// The first picture [C, H, W].
/// Throws: `cyborg::io::FileError` where it cannot be read. With
/// `settings.skip_unreadable` only where none of the pictures can be read.
torch::Tensor first_picture(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

/// A data set with augmentation, for training.
using TrainingSet = cyborg::data::Augmented<cyborg::data::PictureDataset>;
TrainingSet training_set(
    std::vector<cyborg::data::Row> rows, const Settings& settings);

}  // namespace programs
