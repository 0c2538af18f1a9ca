// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What can be known of files before hours of work: whether the inputs are
// there, and whether the outputs can be written.

#include "settings.hpp"

#include <cyborg/data/file_check.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/file.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace programs {

/// Checks that a file can be written, by writing one beside it and deleting it.
/// Returns the file that is written: for a link, the one that it leads to.
/// Throws: `cyborg::io::FileError`, which begins with `flag`, for a folder that
/// does not exist or cannot be written to, a full disk, a folder of that name,
/// and a device.
std::filesystem::path writable_file(
    const std::string& flag, const std::filesystem::path& path);

/// Checks that a new folder can be made or, if it exists, that it is an empty
/// folder which can be written to. Makes no folder.
/// Throws: `cyborg::io::FileError`, which begins with `flag`.
void check_new_folder(
    const std::string& flag, const std::filesystem::path& path);

/// The first ten notes, a line each, with their lines in the table.
std::string list_of_notes(
    const std::vector<cyborg::data::FileNote>& notes,
    const std::vector<cyborg::data::Row>& rows);

/// What the headers of pictures and maps warn of: files that are stored turned,
/// maps of other proportions, annotations that are partly outside; and files
/// that are the map of several pictures. All headers are read, those that
/// `headers` lacks. `orientation`: which files are turned when they are read.
std::vector<std::string> header_warnings(
    const cyborg::data::Table& table, cyborg::data::Orientation orientation,
    const cyborg::data::TableHeaders& headers);

/// How many pictures and maps of the rows cannot be read, as far as their
/// headers say, and the first ten; "" where there is none: files that are not
/// there, are no pictures, or are of another format or size than the settings
/// allow.
std::string unreadable_files(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

/// Checks as `unreadable_files` that all pictures and maps of the rows can be
/// read, and that no picture is named as a map.
/// Throws: `cyborg::io::FileError` of `name`, the table, with how many are wrong
/// and the first ten of them.
void check_files(
    const std::string& name, const std::vector<cyborg::data::Row>& rows,
    const Settings& settings);

/// Checks that no picture is named as a map, and no map as a mask of what is
/// wrong. Throws as `check_files`.
void check_maps_are_others(
    const std::string& name, const std::vector<cyborg::data::Row>& rows);

/// The error, with the flag that leaves such files out where it is of a picture
/// or map of the rows.
cyborg::io::FileError with_way_out(
    const cyborg::io::FileError& error,
    const std::vector<cyborg::data::Row>& rows);

}  // namespace programs
