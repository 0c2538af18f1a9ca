// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the stored values of pictures are: how many bits they have, and what the
// window of the settings leaves of them.

#include "settings.hpp"

#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>

#include <string>
#include <vector>

namespace programs {

/// What was seen of some pictures in the window of the settings.
struct LookedAt {
  int64_t pictures = 0;  ///< that could be read
  double below = 0;      ///< mean share of the values below the window
  double above = 0;      ///< mean share of the values above it
  double mean = 0;       ///< mean of what is shown, in [0, 1]
  /// Those that are the same everywhere, as they are shown.
  std::vector<cyborg::data::FileNote> blank;

  /// Whether the window leaves nothing of any of them.
  bool all_blank() const {
    return pictures > 0 && static_cast<int64_t>(blank.size()) == pictures;
  }
};

/// Reads eight of the pictures, evenly over the rows.
LookedAt look_at_pictures(
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

/// What a person should know before a training.
struct StoredValuesReport {
  std::string note;  ///< what the window cuts; "" without one
  std::vector<std::string> warnings;
};

/// Checks the pictures of a training, and sets `settings.stored`, so that other
/// programs can compare, unless a checkpoint held it. `is_new`: whether the
/// training begins; of one that is resumed bits that tell the class are a
/// warning.
/// Throws: `cyborg::io::FileError` where pictures do not fit the window, where
/// it leaves nothing of all that were looked at, and where the bits tell the
/// class, unless the settings allow it.
StoredValuesReport check_stored_values(
    const cyborg::data::Table& table, const cyborg::data::TableHeaders& headers,
    bool is_new, Settings& settings);

/// Compares pictures with those of the training that `settings` describe. An
/// older checkpoint lacks some values, and these are not compared. Returns
/// warnings.
/// Throws: `cyborg::io::FileError` of `name`, which begins with `program`, where
/// pictures do not fit the window, or where it leaves nothing of all that were
/// looked at.
std::vector<std::string> compare_stored_values(
    const std::string& program, const std::string& name,
    const std::vector<cyborg::data::Row>& rows, const Settings& settings);

}  // namespace programs
