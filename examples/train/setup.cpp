// SPDX-License-Identifier: BSD-3-Clause
#include "setup.hpp"

#include "../common/pictures.hpp"
#include "../common/weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace programs {

namespace {

namespace fs = std::filesystem;
using cyborg::data::Row;

void check_out(const fs::path& out) {
  if (out.empty() || (fs::exists(out) && !fs::is_directory(out))) {
    throw cyborg::io::FileError(
        "--out", out, "is no folder: expected the name of one");
  }
  if (fs::exists(out / "last.pt")) {
    throw cyborg::io::FileError(
        "--out", out,
        "holds a training already: --resume continues it; a new training "
        "needs another --out");
  }
}

/// So that the training can be resumed, and its checkpoints used, from any
/// folder.
void make_paths_absolute(Settings& settings) {
  for (auto* path :
       {&settings.data, &settings.saliency, &settings.model,
        &settings.weights}) {
    if (!path->empty()) {
      *path = fs::absolute(*path).lexically_normal().string();
    }
  }
}

bool has_map(const Row& row) {
  return std::any_of(
      row.saliency.begin(), row.saliency.end(),
      [](const std::string& map) { return !map.empty(); });
}

/// Throws for settings that exclude one another, or these processes.
void check_settings(
    const Settings& settings, const TrainingProcesses& processes) {
  if (settings.select == SelectBy::kAuc && settings.classes.size() != 2) {
    throw std::invalid_argument(fmt::format(
        "--select auc: expected two classes, got {}; use accuracy or loss",
        settings.classes.size()));
  }
  if (processes.size() > 1 && settings.reduction == cyborg::Reduction::kSum) {
    throw std::invalid_argument("--reduction sum: several processes need mean");
  }
}

void warn_of_missing_maps(
    const Settings& settings, const std::vector<Row>& rows,
    const TrainingLog& log) {
  if (settings.alpha < 1 && std::none_of(rows.begin(), rows.end(), has_map)) {
    log.warn(
        "no picture of split train has a human map (--saliency, or a column "
        "saliency): this is training without guidance");
  }
}

void load_initial_weights(
    Network& network, const Settings& settings, const TrainingLog& log) {
  if (!settings.weights.empty()) {
    const auto note = load_weights(network, settings.weights);
    if (!note.empty()) {
      log.warn(note);
    }
  } else if (
      settings.model.empty() && settings.network != Architecture::kDemo) {
    log.warn(fmt::format(
        "the published recipe begins with weights learned on ImageNet, and "
        "this training begins with random ones. In Python, "
        "examples/export_weights.py --torchvision {0} {0}.pt writes such "
        "weights for --weights {0}.pt",
        name_of(settings.network)));
  }
}

}  // namespace

Training begin_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log) {
  check_out(options.out);
  Training training;
  training.settings = options.settings;
  auto& settings = training.settings;
  make_paths_absolute(settings);
  if (settings.loss == Loss::kCrossEntropy) {
    settings.alpha = 1;
  }
  training.table = read_pictures(settings);
  settings.classes = training.table.classes;
  check_settings(settings, processes);
  for (const auto& warning : training.table.warnings) {
    log.warn(warning);
  }
  const auto rows = training.table.rows_of("train");
  warn_of_missing_maps(settings, rows, log);
  training.network = std::make_unique<Network>(
      settings, static_cast<int64_t>(settings.classes.size()),
      [&] { return first_picture(rows, settings); });
  load_initial_weights(*training.network, settings, log);
  training.script = training.network->script();
  training.state.ranks = processes.size();
  return training;
}

Training resume_training(
    const TrainOptions& options, const TrainingProcesses& processes) {
  const auto path = options.out / "last.pt";
  auto saved = read_training(path);
  if (saved.state.ranks != processes.size()) {
    throw cyborg::io::FileError(
        "--resume", path,
        fmt::format(
            "was trained by {} processes: expected as many, got {}",
            saved.state.ranks, processes.size()));
  }
  Training training;
  training.settings = saved.settings;
  training.state = saved.state;
  training.table = read_pictures(training.settings);
  if (saved.table != fingerprint(training.table)) {
    throw cyborg::io::FileError(
        "--resume", training.settings.data,
        "is not the table that this training began with (rows, classes, "
        "splits, maps): restore that table, or begin a new training with "
        "another --out");
  }
  check_settings(training.settings, processes);
  training.script = saved.script;
  training.network = std::make_unique<Network>(
      training.settings, training.script, saved.model);
  training.optimizer = std::move(saved.optimizer);
  // A copy, since set_state reads it as aligned numbers.
  training.random = saved.random[processes.rank()].clone();
  return training;
}

}  // namespace programs
