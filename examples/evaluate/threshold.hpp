// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The score from which a sample is predicted as positive.

#include "samples.hpp"

namespace evaluate {

/// Sets threshold and threshold_origin of the result, and adds warnings.
/// Throws: `cyborg::io::FileError` for a split without both classes that was
/// asked for; `std::invalid_argument` for a number outside of [0, 1].
void choose_threshold(
    const ScoresTable& table, const EvaluateOptions& options,
    const Samples& judged, RunResult* result);

}  // namespace evaluate
