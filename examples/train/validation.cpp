// SPDX-License-Identifier: BSD-3-Clause
#include "validation.hpp"

#include <cyborg/measure/detection.hpp>

#include <torch/nn/functional/loss.h>

#include <cstdint>
#include <stdexcept>

namespace programs {

nlohmann::json validate(
    Network& network, const cyborg::data::Table& table,
    const Settings& settings, const ScoringOptions& scoring,
    const TrainingProcesses& processes) {
  const auto rows = table.rows_of("val");
  nlohmann::json record;
  if (rows.empty()) {
    return record;
  }
  auto scored =
      score_pictures(network, processes.shard(rows), settings, scoring);
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
  auto scored =
      score_pictures(network, table.rows_of(split), settings, scoring);
  for (const auto& left_out : scored.skipped) {
    log.warn(left_out + "; left out");
  }
  return scored;
}

}  // namespace programs
