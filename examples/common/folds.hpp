// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Subjects and splits.

#include <cyborg/data/table_types.hpp>

#include <cstdint>

namespace programs {

/// Gives each row a new split: "test" to the subjects of part `fold` (from 1)
/// of `folds` parts, "val" to those of the next part, "train" to all others.
/// All rows of a subject are in one part. The parts depend on the names of the
/// subjects alone, not on the order of the rows, and have equally many subjects
/// (or one more).
/// Throws: `cyborg::io::FileError` for rows without a subject, and for fewer
/// subjects than parts.
void split_by_subject(cyborg::data::Table& table, int64_t folds, int64_t fold);

}  // namespace programs
