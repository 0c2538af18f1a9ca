// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Folders of human maps (--saliency) and of masks of what is wrong (--wrong),
// whose files are found by the names of the pictures.

#include <cyborg/data/table_types.hpp>

#include <string>

namespace programs {

/// Checks that `folder` is a folder, or "". `flag` is the option that names it.
/// Throws: `cyborg::io::FileError`, which begins with `flag`.
void check_map_folder(const std::string& flag, const std::string& folder);

/// Checks that a row of the table has a map or, for --wrong, a mask, if `folder`
/// was named. Otherwise the names probably differ.
/// Throws: `cyborg::io::FileError`, which begins with `flag`, with the name of a
/// picture, where its map is looked for, and a file of the folder.
void check_maps_found(
    const std::string& flag, const std::string& folder,
    const cyborg::data::Table& table);

}  // namespace programs
