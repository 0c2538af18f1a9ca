// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The measures as text, CSV, JSON and a page.

#include "measures.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace evaluate {

/// For the terminal: a line for each run, then a row for each measure.
std::string to_text(const std::vector<RunResult>& runs);

/// A line for each run; with several runs, two more lines: mean and std.
std::string to_csv(const std::vector<RunResult>& runs);

/// Runs and summary. A number that does not exist or is infinite is null.
nlohmann::ordered_json to_json(
    const std::vector<RunResult>& runs, const EvaluateOptions& options);

/// An HTML page: tables, ROC, score histogram, confusion matrix.
std::string to_html(
    const std::vector<RunResult>& runs, const EvaluateOptions& options);

}  // namespace evaluate
