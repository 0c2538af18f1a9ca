// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The measures as text, CSV, JSON and a page.

#include "measures.hpp"

#include <string>
#include <vector>

namespace evaluate {

/// For the terminal: a line for each run, then a row for each measure.
std::string to_text(const std::vector<RunResult>& runs);

/// A line for each run; with several runs, two more lines: mean and std. A
/// number that does not exist is an empty cell.
std::string to_csv(const std::vector<RunResult>& runs);

/// Runs and summary as JSON. A number that does not exist or is infinite is
/// null, and bytes that are not UTF-8 become the replacement character.
std::string to_json(
    const std::vector<RunResult>& runs, const EvaluateOptions& options);

/// An HTML page: tables, ROC, score histogram, confusion matrix.
std::string to_html(
    const std::vector<RunResult>& runs, const EvaluateOptions& options);

}  // namespace evaluate
