// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Runs and numbers in words, for the terminal and for the page.

#include "measures.hpp"

#include <string>

namespace evaluate {

/// Whether the run has the measures of two classes.
bool two_classes(const RunResult& run);

/// The run in one line: its samples, and how classes are predicted.
std::string describe(const RunResult& run);

/// The name of a run without the folder of its file.
std::string short_name(const std::string& name);

/// A number with four decimals; "–" where there is none.
std::string number_text(double value);

/// "mean ± std"; "–" where a run lacks the measure.
std::string mean_text(const Summary& row);

}  // namespace evaluate
