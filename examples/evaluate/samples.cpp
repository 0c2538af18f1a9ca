// SPDX-License-Identifier: BSD-3-Clause
#include "samples.hpp"

#include "../common/splits.hpp"

#include <cyborg/io/file.hpp>

#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

namespace evaluate {

namespace {

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

}  // namespace

void fail(const ScoresTable& table, const std::string& reason) {
  throw cyborg::io::FileError("evaluate", table.name, reason);
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) {
    list += (list.empty() ? "\"" : ", \"") + name + "\"";
  }
  return list;
}

std::vector<const ScoreRow*> rows_in_split(
    const ScoresTable& table, const std::string& split) {
  const auto name = programs::split_named(split);
  std::vector<const ScoreRow*> rows;
  for (const auto& row : table.rows) {
    if (programs::split_named(row.split) == name) {
      rows.push_back(&row);
    }
  }
  return rows;
}

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

bool has_both(const Samples& samples) {
  const auto positives = samples.labels.sum().item<int64_t>();
  return positives > 0 && positives < samples.labels.size(0);
}

}  // namespace evaluate
