// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The pictures that are explained.

#include "../common/settings.hpp"

#include <cyborg/data/table_types.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace explain {

/// What the command line names.
struct Inputs {
  std::vector<std::string> paths;  ///< pictures, folders, CSV files
  std::string saliency;            ///< a folder of human maps; empty: none
  std::string split;               ///< of tables: train, val, test; empty: all
  std::vector<std::string> classes;  ///< of the network
  programs::AnnotationSettings annotations{};
};

/// The pictures, in the order of `paths`. What a path is, its content says, and
/// not its name. The pictures of a folder and the folders in it, also by links,
/// are sorted by name. `label` is -1 for a picture without a class, that is,
/// neither from a CSV nor from folders split/class. The table has warnings.
/// Throws: `cyborg::io::FileError`, which says what was expected.
cyborg::data::Table find_pictures(const Inputs& inputs);

}  // namespace explain
