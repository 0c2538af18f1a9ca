// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a few pictures and maps of each class show before a training begins:
// faults that headers do not tell. `train --check` reads all of them.

#include "settings.hpp"

#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>

#include <string>
#include <vector>

namespace programs {

/// Reads up to eight training pictures of each class, fewer where there are many
/// classes, with their maps and masks. Returns warnings: maps that look
/// inverted, maps and masks with small values only, pictures that show nothing
/// without a window, a window that cuts one class and not another.
/// Throws: `cyborg::io::FileError` where files of 16 bits use the lowest 12 in
/// one class and not in the others, unless `allowed`: then it is a warning.
std::vector<std::string> check_sample(
    const cyborg::data::Table& table, const cyborg::data::TableHeaders& headers,
    bool allowed, const Settings& settings);

}  // namespace programs
