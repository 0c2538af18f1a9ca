// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// One training and its test.

#include "rows.hpp"

#include <cstdint>

namespace methods {

/// What one training gave.
struct Run {
  double accuracy;      ///< in the tests, where the patch means another digit
  double wrong_reason;  ///< share of the wrong region that its maps mark
  double milliseconds;  ///< processor time of a training step, median
};

/// Trains a row and tests it. The rows of a seed share pictures, initial
/// weights and order.
Run run(
    const Row& row, const Repetition& repetition, Net net,
    const Recipe& recipe);

}  // namespace methods
