// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "../common/settings.hpp"

#include <cyborg/data/table_types.hpp>

#include <string>

namespace programs {

/// A checksum of all that a training reads of a table: split, class, path and
/// maps of each row. Paths are taken from the folder of `settings.data`, those
/// of maps from `settings.saliency`, so that a folder may move with all that it
/// holds.
std::string fingerprint(
    const cyborg::data::Table& table, const Settings& settings);

/// Whether a checksum in a checkpoint is that of this table. Earlier versions
/// took whole paths.
bool is_table_of(
    const std::string& checksum, const cyborg::data::Table& table,
    const Settings& settings);

}  // namespace programs
