// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The pictures that are asked about.

#include <cyborg/data/table_types.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace explain {

/// What a person names.
struct Inputs {
  std::vector<std::string> paths;    ///< pictures, folders, CSV files
  std::string saliency;              ///< a folder of human maps; empty: none
  std::string split;                 ///< of CSV files; empty: all
  std::vector<std::string> classes;  ///< those that the network knows
};

/// The pictures, in the order of `paths`; a folder's by name, those of folders
/// in it too. Without a class (from a CSV or folders split/class), `label` is
/// -1. What a person should know is in the table's `warnings`.
/// Throws: `cyborg::io::FileError`.
cyborg::data::Table find_pictures(const Inputs& inputs);

/// A name for each that no other has: its file's without the extension, with
/// as many of its folders (joined by "_") as that takes, or a number.
std::vector<std::string> names_of(const std::vector<cyborg::data::Row>& rows);

}  // namespace explain
