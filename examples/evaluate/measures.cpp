// SPDX-License-Identifier: BSD-3-Clause
#include "measures.hpp"

#include "samples.hpp"
#include "threshold.hpp"

#include <cyborg/measure/attack_detection.hpp>
#include <cyborg/measure/detection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>

namespace evaluate {

namespace {

namespace measure = cyborg::measure;
using torch::Tensor;

/// A measure that does not exist for these samples.
constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

std::string short_number(double value) {
  return fmt::format("{:g}", value);
}

/// The measures that need samples of both classes.
void add_ranking_measures(
    const Samples& samples, const EvaluateOptions& options, RunResult* result) {
  const bool both = has_both(samples);
  const auto add = [&](const std::string& name, const auto& measure_of) {
    result->measures.push_back({name, both ? measure_of() : kNoValue});
  };
  if (both) {
    result->curve = measure::roc_curve(samples.scores, samples.labels);
  }
  add("AUC", [&] { return measure::roc_auc(samples.scores, samples.labels); });
  add("EER", [&] { return measure::equal_error_rate(result->curve); });
  for (const double fpr : options.fpr) {
    add("TPR at FPR " + short_number(fpr),
        [&] { return measure::tpr_at_fpr(result->curve, fpr); });
  }
  add("d'", [&] { return measure::d_prime(samples.scores, samples.labels); });
}

/// The error rates of ISO/IEC 30107-3. A set of one class has the rate of that
/// class at the threshold, and no other.
void add_attack_measures(const Samples& samples, RunResult* result) {
  std::vector<std::string> types;
  bool typed = false;
  for (const auto* row : samples.rows) {
    types.push_back(row->attack);
    typed = typed || (row->label == result->positive && !row->attack.empty());
  }
  const auto attack = samples.labels.eq(1);
  const auto attacks = samples.scores.masked_select(attack);
  const auto bona_fide = samples.scores.masked_select(attack.logical_not());
  measure::AttackErrors errors{{}, kNoValue, kNoValue};
  if (attacks.numel() > 0) {
    std::vector<std::string> types_of_attacks;
    for (size_t i = 0; typed && i < types.size(); ++i) {
      if (samples.rows[i]->label == result->positive) {
        types_of_attacks.push_back(types[i]);
      }
    }
    errors = measure::apcer_at_threshold(
        attacks, result->threshold, types_of_attacks);
  }
  const double bpcer = bona_fide.numel() > 0 ? measure::bpcer_at_threshold(
                                                   bona_fide, result->threshold)
                                             : kNoValue;
  auto& out = result->measures;
  out.push_back({"APCER", errors.apcer});
  if (typed) {
    for (const auto& type : errors.species) {
      out.push_back(
          {"APCER, " + (type.name.empty() ? "no type" : type.name),
           type.apcer});
    }
    out.push_back({"APCER, all attacks together", errors.apcer_pooled});
  }
  out.push_back({"BPCER", bpcer});
  out.push_back({"ACER", (errors.apcer + bpcer) / 2});
  if (!typed) {
    types.clear();
  }
  const bool both = has_both(samples);
  for (const int part : {10, 20, 100}) {
    out.push_back(
        {"BPCER" + std::to_string(part),
         both ? measure::bpcer_at_apcer(
                    samples.scores, samples.labels, 1.0 / part, types)
              : kNoValue});
  }
  out.push_back(
      {"APCER at BPCER 0.01",
       both ? measure::apcer_at_bpcer(
                  samples.scores, samples.labels, 0.01, types)
            : kNoValue});
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
  } else if (classes == 2) {
    out.push_back({"balanced accuracy", kNoValue});
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

/// Says why a set of one class has few measures.
void note_one_class(
    const ScoresTable& table, const EvaluateOptions& options,
    const Samples& samples, RunResult* result) {
  const auto label = samples.rows[0]->label;
  result->notes.push_back(fmt::format(
      "all rows of split \"{}\" are of class \"{}\": measures that need both "
      "classes are empty; {} is the share of errors at the threshold",
      options.split, table.classes[static_cast<size_t>(label)],
      label == result->positive ? "APCER" : "BPCER"));
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
  choose_threshold(table, options, samples, result);
  if (!has_both(samples)) {
    note_one_class(table, options, samples, result);
  }
  add_ranking_measures(samples, options, result);
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

}  // namespace evaluate
