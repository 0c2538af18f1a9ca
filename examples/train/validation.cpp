// SPDX-License-Identifier: BSD-3-Clause
#include "validation.hpp"

#include "watch.hpp"

#include "../common/progress.hpp"

#include <cyborg/measure/detection.hpp>

#include <torch/nn/functional/loss.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace programs {

namespace {

/// Scores pictures and shows the progress. Stops where `go_on` returns false.
ScoredPictures score(
    const char* what, Network& network, std::vector<cyborg::data::Row> rows,
    const Settings& settings, ScoringOptions options, const TrainingLog& log,
    const std::function<bool()>& go_on) {
  Progress progress(what, static_cast<int64_t>(rows.size()), log.quiet());
  int64_t shown = 0;
  options.go_on = [&](int64_t done) {
    progress.add(done - std::exchange(shown, done));
    return go_on();
  };
  return score_pictures(network, std::move(rows), settings, options);
}

}  // namespace

std::optional<nlohmann::json> validate(
    Network& network, const cyborg::data::Table& table,
    const Settings& settings, const ScoringOptions& scoring,
    const TrainingProcesses& processes, const TrainingLog& log) {
  const auto rows = table.rows_of("val");
  auto record = nlohmann::json::object();
  if (rows.empty()) {
    return record;
  }
  // All processes ask equally often whether one of them has to stop: as often
  // as the one with the most batches.
  const auto size = static_cast<size_t>(processes.size());
  const auto largest = (rows.size() + size - 1) / size;
  auto questions = (largest + scoring.batch - 1) / scoring.batch;
  bool stop = false;
  const auto go_on = [&] {
    --questions;
    stop = processes.any(stop_signalled());
    return !stop;
  };
  auto scored = score(
      "validation", network, processes.shard(rows), settings, scoring, log,
      go_on);
  while (!stop && questions > 0) {
    go_on();
  }
  if (stop) {
    return std::nullopt;
  }
  scored.logits = processes.all_gather(scored.logits);
  scored.labels = processes.all_gather(scored.labels);
  if (scored.labels.numel() == 0) {
    throw std::runtime_error("no picture of the validation split can be read");
  }
  record["val_loss"] =
      torch::nn::functional::cross_entropy(scored.logits, scored.labels)
          .item<double>();
  record["val_accuracy"] =
      cyborg::measure::accuracy(scored.logits, scored.labels);
  const auto positives = scored.labels.eq(1).sum().item<int64_t>();
  if (settings.classes.size() == 2 && positives > 0 &&
      positives < scored.labels.size(0)) {
    record["val_auc"] =
        cyborg::measure::roc_auc(margin(scored.logits), scored.labels);
  } else if (settings.select == SelectBy::kAuc) {
    throw std::runtime_error(
        "--select auc: the validation split has pictures of one class only; "
        "use accuracy or loss");
  }
  return record;
}

std::optional<double> selection_value(
    const nlohmann::json& validation, SelectBy select) {
  if (!validation.contains("val_loss")) {
    return std::nullopt;
  }
  switch (select) {
    case SelectBy::kAccuracy:
      return validation.at("val_accuracy").get<double>();
    case SelectBy::kAuc:
      return validation.at("val_auc").get<double>();
    case SelectBy::kLoss:
      return -validation.at("val_loss").get<double>();
    case SelectBy::kLast:
      return std::nullopt;
  }
  throw std::logic_error("programs::selection_value: unknown choice");
}

ScoredPictures score_split(
    Network& network, const cyborg::data::Table& table,
    const std::string& split, const Settings& settings,
    const ScoringOptions& scoring, const TrainingLog& log) {
  if (!table.has(split)) {
    return {};
  }
  auto scored = score(
      ("scoring " + split).c_str(), network, table.rows_of(split), settings,
      scoring, log, [] { return !stop_signalled(); });
  for (const auto& left_out : scored.skipped) {
    log.warn(left_out + "; left out");
  }
  return scored;
}

}  // namespace programs
