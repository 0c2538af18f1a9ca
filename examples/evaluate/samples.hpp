// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The rows of a split with their scores, as the measures take them.

#include "measures.hpp"

#include <torch/types.h>

#include <string>
#include <vector>

namespace evaluate {

/// The rows of a split, and the tensors that the measures take.
struct Samples {
  std::vector<const ScoreRow*> rows;
  torch::Tensor scores;  ///< of the positive class, double
  torch::Tensor labels;  ///< 1: positive
};

/// Throws a `cyborg::io::FileError` of a run.
[[noreturn]] void fail(const ScoresTable& table, const std::string& reason);

/// The names in quotes, with commas between them.
std::string quoted_list(const std::vector<std::string>& names);

/// The rows of a split, whose name may differ in case.
std::vector<const ScoreRow*> rows_in_split(
    const ScoresTable& table, const std::string& split);

/// The rows of the split that is measured. Throws where there are none.
std::vector<const ScoreRow*> judged_rows(
    const ScoresTable& table, const EvaluateOptions& options);

/// The label of the positive class. Throws for a name that is no class.
int64_t positive_label(
    const ScoresTable& table, const EvaluateOptions& options);

/// The rows with the scores of the class `positive`.
Samples samples_of(
    std::vector<const ScoreRow*> rows, int64_t positive, ScoreFrom score);

/// Whether there are rows of both classes.
bool has_both(const Samples& samples);

}  // namespace evaluate
