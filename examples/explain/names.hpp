// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The names of the output files.

#include <cyborg/data/table_types.hpp>

#include <string>
#include <vector>

namespace explain {

/// A different name for each picture: that of its file without the extension.
/// To equal names the names of their folders are prepended, joined by "_";
/// where that is not enough, a number is appended. Names of more than 200 bytes
/// are cut.
std::vector<std::string> unique_names(
    const std::vector<cyborg::data::Row>& rows);

}  // namespace explain
