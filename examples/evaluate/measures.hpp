// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The measures of a run's scores, and the comparison of several runs.

#include "scores.hpp"

#include "../common/choices.hpp"

#include <cyborg/measure/roc.hpp>
#include <cyborg/measure/statistics.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace evaluate {

/// How logits become the score of a class.
enum class ScoreFrom { kSoftmax, kSigmoid };

/// What is measured.
struct EvaluateOptions {
  std::string split = "test";          ///< whose rows are measured
  std::string threshold_from = "val";  ///< a split, or a number
  bool threshold_asked = false;        ///< false: the default
  std::string positive;                ///< class or label; empty: label 1
  ScoreFrom score = ScoreFrom::kSoftmax;
  bool score_asked = false;  ///< false: the default
  std::vector<double> fpr = {0.001, 0.002, 0.01, 0.05};
};

/// One number and its name; NaN where the samples do not have it.
struct Measure {
  std::string name;
  double value;
};

/// The measures of one run.
struct RunResult {
  std::string name;
  std::vector<std::string> classes;
  int64_t positive = 1;  ///< label; two classes only
  double threshold = std::numeric_limits<double>::quiet_NaN();
  std::string threshold_origin;  ///< a text; empty with more than two classes
  std::vector<Measure> measures;
  std::vector<int64_t> samples;                 ///< of each class
  std::vector<std::vector<int64_t>> confusion;  ///< [true][predicted]
  /// Two classes only:
  std::vector<cyborg::measure::RocPoint> curve;
  std::vector<double> positive_scores;
  std::vector<double> negative_scores;
  std::vector<std::string> notes;  ///< warnings
};

/// One measure of all runs.
struct Summary {
  std::string name;
  std::vector<double> values;  ///< of each run; NaN where a run lacks it
  cyborg::measure::MeanStd mean_std;
};

/// Measures one run.
///
/// With two classes, a score >= threshold is predicted as positive. With more
/// classes, the class of the highest logit is predicted, and each class has an
/// AUC against all others. Of two classes the split may hold one alone: then the
/// measures that need both are NaN, and `notes` says so.
/// Throws: `cyborg::io::FileError`, which names the run; `std::invalid_argument`
/// for a threshold outside of [0, 1].
RunResult judge(const ScoresTable& table, const EvaluateOptions& options);

/// Each measure of all runs, in the order in which the runs have them.
std::vector<Summary> summarize(const std::vector<RunResult>& runs);

}  // namespace evaluate

template <>
struct programs::Choices<evaluate::ScoreFrom> {
  static constexpr Choice<evaluate::ScoreFrom> kAll[] = {
      {evaluate::ScoreFrom::kSoftmax, "softmax", "of all logits"},
      {evaluate::ScoreFrom::kSigmoid, "sigmoid",
       "of the positive class's logit alone, as published"}};
};
