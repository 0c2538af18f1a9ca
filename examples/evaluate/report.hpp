// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The measures as text, CSV, JSON and a page.

#include "measures.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace evaluate {

/// For the terminal: what each run is, then a row for each measure.
std::string to_text(const std::vector<RunResult>& runs);

/// One line a run; with several runs, two more: mean and std.
std::string to_csv(const std::vector<RunResult>& runs);

/// Runs and summary. A number that does not exist or is infinite is null.
nlohmann::ordered_json to_json(
    const std::vector<RunResult>& runs, const Question& question);

/// A page of its own: tables, ROC, score histogram, confusion matrix.
std::string to_html(
    const std::vector<RunResult>& runs, const Question& question);

}  // namespace evaluate
