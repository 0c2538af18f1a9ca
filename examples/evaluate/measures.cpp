// SPDX-License-Identifier: BSD-3-Clause
#include "measures.hpp"

#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>
#include <cyborg/measure/attack_detection.hpp>
#include <cyborg/measure/detection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <set>
#include <utility>

namespace evaluate {

namespace {

namespace measure = cyborg::measure;
using torch::Tensor;

/// Throws an error of a run.
[[noreturn]] void fail(const ScoresTable& table, const std::string& reason) {
  throw cyborg::io::FileError("evaluate", table.name, reason);
}

/// The rows of a split, and the tensors that the measures take.
struct Samples {
  std::vector<const ScoreRow*> rows;
  Tensor scores;  ///< of the positive class
  Tensor labels;  ///< 1: positive
};

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) {
    list += (list.empty() ? "\"" : ", \"") + name + "\"";
  }
  return list;
}

/// The rows of a split.
std::vector<const ScoreRow*> rows_in_split(
    const ScoresTable& table, const std::string& split) {
  std::vector<const ScoreRow*> rows;
  for (const auto& row : table.rows) {
    if (row.split == split) {
      rows.push_back(&row);
    }
  }
  return rows;
}

/// The rows that are measured. Throws where there are none.
std::vector<const ScoreRow*> judged_rows(
    const ScoresTable& table, const EvaluateOptions& options) {
  auto rows = rows_in_split(table, options.split);
  if (rows.empty()) {
    std::set<std::string> splits;
    for (const auto& row : table.rows) {
      splits.insert(row.split);
    }
    fail(
        table, "no rows of split \"" + options.split + "\": choose one of " +
                   quoted_list({splits.begin(), splits.end()}) +
                   " with --split");
  }
  return rows;
}

int64_t positive_label(
    const ScoresTable& table, const EvaluateOptions& options) {
  if (options.positive.empty()) {
    return 1;
  }
  for (size_t k = 0; k < 2; ++k) {
    if (options.positive == table.classes[k] ||
        options.positive == std::to_string(k)) {
      return static_cast<int64_t>(k);
    }
  }
  fail(
      table, "no class \"" + options.positive + "\": choose one of " +
                 quoted_list(table.classes) + " with --positive");
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// The score of a class in [0, 1].
double class_score(const ScoreRow& row, size_t cls, ScoreFrom score) {
  const auto& logits = row.logits;
  if (logits.size() == 1) {
    return sigmoid(cls == 1 ? logits[0] : -logits[0]);
  }
  if (score == ScoreFrom::kSigmoid) {
    return sigmoid(logits[cls]);
  }
  double sum = 0;  // relative to `cls`, so that large logits do not overflow
  for (const double logit : logits) {
    sum += std::exp(logit - logits[cls]);
  }
  return 1 / sum;
}

double positive_score(const ScoreRow& row, int64_t positive, ScoreFrom score) {
  if (!row.logits.empty()) {
    return class_score(row, static_cast<size_t>(positive), score);
  }
  return positive == 1 ? row.score : 1 - row.score;
}

Samples samples_of(
    std::vector<const ScoreRow*> rows, int64_t positive, ScoreFrom score) {
  std::vector<double> scores;
  std::vector<int64_t> labels;
  for (const auto* row : rows) {
    scores.push_back(positive_score(*row, positive, score));
    labels.push_back(row->label == positive ? 1 : 0);
  }
  return {
      std::move(rows), torch::tensor(scores, torch::kDouble),
      torch::tensor(labels, torch::kLong)};
}

/// Whether there are rows of both classes.
bool has_both(const Samples& samples) {
  const auto positives = samples.labels.sum().item<int64_t>();
  return positives > 0 && positives < samples.labels.size(0);
}

void check_both(
    const ScoresTable& table, const EvaluateOptions& options,
    const Samples& samples) {
  if (!has_both(samples)) {
    const auto only = static_cast<size_t>(samples.rows[0]->label);
    fail(
        table, "all " + std::to_string(samples.rows.size()) +
                   " rows of split \"" + options.split + "\" are of class \"" +
                   table.classes[only] +
                   "\": scores of both classes are needed");
  }
}

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

/// Sets threshold and threshold_origin of the result, and adds warnings.
void choose_threshold(
    const ScoresTable& table, const EvaluateOptions& options,
    const Samples& judged, RunResult* result) {
  const auto& from = options.threshold_from;
  char* end = nullptr;
  const double number = std::strtod(from.c_str(), &end);
  if (!from.empty() && end == from.c_str() + from.size() &&
      std::isfinite(number)) {
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
  if (from == options.split) {
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

std::string short_number(double value) {
  return fmt::format("{:g}", value);
}

void add_attack_measures(const Samples& samples, RunResult* result) {
  std::vector<std::string> types;
  bool typed = false;
  for (const auto* row : samples.rows) {
    types.push_back(row->attack);
    typed = typed || (row->label == result->positive && !row->attack.empty());
  }
  if (!typed) {
    types.clear();
  }
  auto& out = result->measures;
  const auto& scores = samples.scores;
  const auto& labels = samples.labels;
  const auto errors =
      measure::attack_detection(scores, labels, result->threshold, types);
  out.push_back({"APCER", errors.apcer});
  if (typed) {
    for (const auto& type : errors.species) {
      out.push_back(
          {"APCER, " + (type.name.empty() ? "no type" : type.name),
           type.apcer});
    }
    out.push_back({"APCER, all attacks together", errors.apcer_pooled});
  }
  out.push_back({"BPCER", errors.bpcer});
  out.push_back({"ACER", errors.acer()});
  for (const int part : {10, 20, 100}) {
    out.push_back(
        {"BPCER" + std::to_string(part),
         measure::bpcer_at_apcer(scores, labels, 1.0 / part, types)});
  }
  out.push_back(
      {"APCER at BPCER 0.01",
       measure::apcer_at_bpcer(scores, labels, 0.01, types)});
}

/// Adds accuracies and the confusion matrix. Shapes: predicted [N], labels.
void add_accuracies(
    const std::vector<const ScoreRow*>& rows, const Tensor& predicted,
    RunResult* result) {
  std::vector<int64_t> truth;
  std::vector<std::string> groups;
  bool grouped = false;
  result->samples.assign(result->classes.size(), 0);
  for (const auto* row : rows) {
    truth.push_back(row->label);
    ++result->samples[static_cast<size_t>(row->label)];
    groups.push_back(row->group.empty() ? "no group" : row->group);
    grouped = grouped || !row->group.empty();
  }
  const auto labels = torch::tensor(truth, torch::kLong);
  const auto classes = static_cast<int64_t>(result->classes.size());
  const auto counts = measure::confusion_matrix(predicted, labels, classes);
  for (int64_t i = 0; i < classes; ++i) {
    const int64_t* row = counts.data_ptr<int64_t>() + i * classes;
    result->confusion.emplace_back(row, row + classes);
  }
  auto& out = result->measures;
  out.push_back(
      {"accuracy",
       predicted.eq(labels).to(torch::kDouble).mean().item<double>()});
  const auto missing =
      std::count(result->samples.begin(), result->samples.end(), 0);
  if (missing == 0) {
    out.push_back({"balanced accuracy", measure::balanced_accuracy(counts)});
  } else {
    result->notes.push_back(
        "no balanced accuracy: not every class has a sample");
  }
  if (grouped) {
    const auto share = measure::group_accuracy(predicted, labels, groups);
    out.push_back({"accuracy, worst group", share.worst.accuracy});
    out.push_back({"accuracy, mean of groups", share.mean});
    for (const auto& group : share.groups) {
      out.push_back({"accuracy, " + group.name, group.accuracy});
    }
  }
}

void judge_two_classes(
    const ScoresTable& table, const EvaluateOptions& options,
    RunResult* result) {
  if (options.score_asked && table.rows[0].logits.empty()) {
    fail(
        table,
        "no columns logit_0, logit_1, ..., which --score needs: leave "
        "that option out, and the column \"score\" is taken");
  }
  if (options.score == ScoreFrom::kSoftmax &&
      table.rows[0].logits.size() == 1 && options.score_asked) {
    fail(table, "one logit a row has no softmax: use --score sigmoid");
  }
  result->positive = positive_label(table, options);
  const auto samples =
      samples_of(judged_rows(table, options), result->positive, options.score);
  check_both(table, options, samples);
  choose_threshold(table, options, samples, result);

  auto& out = result->measures;
  result->curve = measure::roc_curve(samples.scores, samples.labels);
  out.push_back({"AUC", measure::roc_auc(samples.scores, samples.labels)});
  out.push_back({"EER", measure::equal_error_rate(result->curve)});
  for (const double fpr : options.fpr) {
    out.push_back(
        {"TPR at FPR " + short_number(fpr),
         measure::tpr_at_fpr(result->curve, fpr)});
  }
  out.push_back({"d'", measure::d_prime(samples.scores, samples.labels)});
  const auto positive = samples.scores.ge(result->threshold);
  add_accuracies(
      samples.rows,
      torch::where(positive, result->positive, 1 - result->positive)
          .to(torch::kLong),
      result);
  add_attack_measures(samples, result);
  for (size_t i = 0; i < samples.rows.size(); ++i) {
    (samples.rows[i]->label == result->positive ? result->positive_scores
                                                : result->negative_scores)
        .push_back(samples.scores.data_ptr<double>()[i]);
  }
}

void judge_more_classes(
    const ScoresTable& table, const EvaluateOptions& options,
    RunResult* result) {
  if (!options.positive.empty()) {
    fail(
        table, "has " + std::to_string(table.classes.size()) +
                   " classes, and --positive is for two: leave it out");
  }
  const auto rows = judged_rows(table, options);
  std::vector<int64_t> predicted;
  for (const auto* row : rows) {
    const auto& logits = row->logits;
    predicted.push_back(
        std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  add_accuracies(rows, torch::tensor(predicted, torch::kLong), result);
  std::vector<Measure> areas;
  double sum = 0;
  for (size_t k = 0; k < table.classes.size(); ++k) {
    const auto samples =
        samples_of(rows, static_cast<int64_t>(k), options.score);
    if (!has_both(samples)) {
      result->notes.push_back(
          "no AUC of class \"" + table.classes[k] +
          "\": it has no samples, or all of them");
      continue;
    }
    areas.push_back(
        {"AUC, " + table.classes[k] + " against the rest",
         measure::roc_auc(samples.scores, samples.labels)});
    sum += areas.back().value;
  }
  if (!areas.empty()) {
    result->measures.push_back(
        {"AUC, mean of one against the rest",
         sum / static_cast<double>(areas.size())});
  }
  result->measures.insert(result->measures.end(), areas.begin(), areas.end());
}

}  // namespace

RunResult judge(const ScoresTable& table, const EvaluateOptions& options) {
  RunResult result;
  result.name = table.name;
  result.classes = table.classes;
  result.notes = table.notes;
  if (table.classes.size() == 2) {
    judge_two_classes(table, options, &result);
  } else {
    judge_more_classes(table, options, &result);
  }
  return result;
}

std::vector<Summary> summarize(const std::vector<RunResult>& runs) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  std::vector<Summary> out;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (const auto& found : runs[r].measures) {
      auto at = std::find_if(out.begin(), out.end(), [&](const Summary& one) {
        return one.name == found.name;
      });
      if (at == out.end()) {
        out.push_back({found.name, std::vector<double>(runs.size(), none), {}});
        at = out.end() - 1;
      }
      at->values[r] = found.value;
    }
  }
  for (auto& one : out) {
    one.mean_std = measure::mean_std(one.values);
  }
  return out;
}

}  // namespace evaluate
