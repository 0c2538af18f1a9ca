// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From the scores of a run to its measures, and from runs to a comparison.

#include "scores.hpp"

#include <cyborg/measure/roc.hpp>
#include <cyborg/measure/statistics.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace evaluate {

/// What is asked.
struct Question {
  std::string split = "test";          ///< the rows that are judged
  std::string threshold_from = "val";  ///< a split, or a number
  bool threshold_asked = false;        ///< whether a person chose that
  std::string positive;                ///< class or label; empty: label 1
  std::string score = "softmax";       ///< or "sigmoid"
  bool score_asked = false;            ///< whether a person chose that
  std::vector<double> fpr = {0.001, 0.002, 0.01, 0.05};
};

/// One number and its name.
struct Measure {
  std::string name;
  double value;
};

/// What one run comes to.
struct RunResult {
  std::string name;
  std::vector<std::string> classes;
  int64_t positive = 1;  ///< label; two classes only
  double threshold = std::numeric_limits<double>::quiet_NaN();
  std::string threshold_origin;  ///< in words; empty with more than two classes
  std::vector<Measure> measures;
  std::vector<int64_t> samples;                 ///< of each class
  std::vector<std::vector<int64_t>> confusion;  ///< [true][predicted]
  /// Two classes only:
  std::vector<cyborg::measure::RocPoint> curve;
  std::vector<double> positive_scores;
  std::vector<double> negative_scores;
  std::vector<std::string> notes;  ///< what a person should know
};

/// One measure over all runs.
struct Summary {
  std::string name;
  std::vector<double> values;  ///< one a run; NaN where a run lacks it
  cyborg::measure::MeanStd mean_std;
};

/// Judges one run.
///
/// Two classes: a sample is predicted positive at score >= threshold. More
/// classes: the highest logit is the prediction, and each class has an AUC
/// against the rest.
/// Throws: `cyborg::io::FileError` naming the run.
RunResult judge(const ScoresTable& table, const Question& question);

/// The measures of all runs side by side, in the order of their appearance.
std::vector<Summary> summarize(const std::vector<RunResult>& runs);

}  // namespace evaluate
