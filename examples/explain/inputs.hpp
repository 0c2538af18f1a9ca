// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The pictures that are explained.

#include <cyborg/data/table_types.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace explain {

/// What the command line names.
struct Inputs {
  std::vector<std::string> paths;    ///< pictures, folders, CSV files
  std::string saliency;              ///< a folder of human maps; empty: none
  std::string split;                 ///< of CSV files; empty: all
  std::vector<std::string> classes;  ///< of the network
};

/// The pictures, in the order of `paths`. Those of a folder and the folders in
/// it are sorted by name. `label` is -1 for a picture without a class, that is,
/// neither from a CSV nor from folders split/class. The table has warnings.
/// Throws: `cyborg::io::FileError`.
cyborg::data::Table find_pictures(const Inputs& inputs);

/// A different name for each picture: that of its file without the extension.
/// To equal names the names of their folders are prepended, joined by "_";
/// where that is not enough, a number is appended.
std::vector<std::string> unique_names(
    const std::vector<cyborg::data::Row>& rows);

}  // namespace explain
