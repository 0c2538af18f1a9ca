// SPDX-License-Identifier: BSD-3-Clause
#include "threshold.hpp"

#include "../common/splits.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <set>
#include <stdexcept>

namespace evaluate {

namespace {

namespace measure = cyborg::measure;

/// How many subjects are in both splits. The scores of a subject are not
/// independent.
size_t shared_subjects(
    const std::vector<const ScoreRow*>& first,
    const std::vector<const ScoreRow*>& second) {
  std::set<std::string> seen;
  std::set<std::string> shared;
  for (const auto* row : first) {
    seen.insert(row->subject);
  }
  for (const auto* row : second) {
    if (!row->subject.empty() && seen.count(row->subject) > 0) {
      shared.insert(row->subject);
    }
  }
  return shared.size();
}

}  // namespace

void choose_threshold(
    const ScoresTable& table, const EvaluateOptions& options,
    const Samples& judged, RunResult* result) {
  const auto& from = options.threshold_from;
  char* end = nullptr;
  const double number = std::strtod(from.c_str(), &end);
  if (!from.empty() && end == from.c_str() + from.size() &&
      std::isfinite(number)) {
    if (number < 0 || number > 1) {
      throw std::invalid_argument(
          "--threshold-from: expected a number in [0, 1], as scores are, or a "
          "split, got " +
          from);
    }
    result->threshold = number;
    result->threshold_origin = "given";
    return;
  }
  const auto chosen_on =
      samples_of(rows_in_split(table, from), result->positive, options.score);
  if (!has_both(chosen_on)) {
    const auto what =
        chosen_on.rows.empty()
            ? "no rows of split \"" + from + "\""
            : "all rows of split \"" + from + "\" are of one class";
    if (options.threshold_asked) {
      fail(
          table, what +
                     ": a threshold cannot be chosen there; give another "
                     "split or a number with --threshold-from");
    }
    result->threshold = 0.5;
    result->threshold_origin = "0.5: " + what;
    result->notes.push_back(
        what + ": the threshold is 0.5; choose one with --threshold-from");
    return;
  }
  result->threshold = measure::threshold_at_eer(
      measure::roc_curve(chosen_on.scores, chosen_on.labels));
  result->threshold_origin = "equal errors on split \"" + from + "\"";
  if (programs::split_named(from) == programs::split_named(options.split)) {
    result->notes.push_back(
        "the threshold was chosen on the rows it is judged by: the error "
        "rates are too good");
  } else if (const auto shared = shared_subjects(chosen_on.rows, judged.rows)) {
    result->notes.push_back(fmt::format(
        "subjects of both split \"{1}\" and \"{2}\": {0}; the threshold has "
        "seen them",
        shared, from, options.split));
  }
}

}  // namespace evaluate
