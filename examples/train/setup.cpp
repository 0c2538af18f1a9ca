// SPDX-License-Identifier: BSD-3-Clause
#include "setup.hpp"

#include "export.hpp"

#include "../common/annotations/read.hpp"
#include "../common/file_checks.hpp"
#include "../common/pictures.hpp"
#include "../common/sample_check.hpp"
#include "../common/stored_values.hpp"
#include "../common/weights.hpp"

#include <cyborg/data/table_headers.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace programs {

namespace {

namespace fs = std::filesystem;
using cyborg::data::Row;
using cyborg::io::FileError;

void check_out(const fs::path& out) {
  if (out.empty() || (fs::exists(out) && !fs::is_directory(out))) {
    throw FileError("--out", out, "is no folder: expected the name of one");
  }
  if (fs::exists(out / "last.pt")) {
    throw FileError(
        "--out", out,
        "holds a training already: --resume continues it; a new training "
        "needs another --out");
  }
  for (const auto* file : {"best.pt", "log.jsonl", "scores.csv"}) {
    if (fs::exists(out / file)) {
      throw FileError(
          "--out", out,
          fmt::format(
              "holds the {} of a training, but not the last.pt from which it "
              "could be resumed: a new training needs another --out",
              file));
    }
  }
}

void report_maps(
    const Settings& settings, const std::vector<Row>& rows,
    const TrainingLog& log) {
  if (reads_wrong(settings)) {
    const auto masks = std::count_if(
        rows.begin(), rows.end(),
        [](const Row& row) { return !row.wrong.empty(); });
    log.print(fmt::format(
        "{} of {} training pictures have masks of what is wrong", masks,
        rows.size()));
    for (const auto& term : settings.objective.terms) {
      if (masks == 0 && term_kind(term.kind).reads == TermReads::kWrong) {
        log.warn(fmt::format(
            "no picture of split train has a mask of what is wrong (--wrong, "
            "or a column wrong): the term {} does nothing",
            term.kind));
      }
    }
  }
  for (const auto& term : settings.objective.terms) {
    if (term.from >= static_cast<double>(settings.epochs)) {
      log.warn(fmt::format(
          "the term {} does not begin before epoch {} of {}: it does nothing",
          term.kind, term.from, settings.epochs));
    }
  }
  if (!settings.objective.wrong.empty() && !reads_wrong(settings)) {
    log.warn("--wrong is not used: no --term reads masks of what is wrong");
  }
  if (!reads_maps(settings)) {
    return;
  }
  const auto count = std::count_if(rows.begin(), rows.end(), has_map);
  log.print(fmt::format(
      "{} of {} training pictures have human maps", count, rows.size()));
  if (count == 0) {
    log.warn(
        "no picture of split train has a human map (--saliency, --annotations, "
        "or a "
        "column saliency, boxes, points, fixations or mask): this is training "
        "without guidance");
  }
}

/// The class of all validation pictures; "" where they have several, or where
/// there are none.
std::string only_validated_class(const cyborg::data::Table& table) {
  const auto rows = table.rows_of("val");
  const bool one = std::all_of(rows.begin(), rows.end(), [&](const Row& row) {
    return row.label == rows.front().label;
  });
  return one && !rows.empty() ? rows.front().cls : "";
}

/// Throws for pictures of several sizes, which make no batch.
void check_one_size(
    const cyborg::data::Table& table, const cyborg::data::TableHeaders& headers,
    bool turned) {
  std::vector<int64_t> size;
  const Row* first = nullptr;
  const auto text = [](const std::vector<int64_t>& each) {
    return fmt::format("{} x {}", each[1], each[0]);
  };
  for (const auto& row : table.rows) {
    const auto each = headers.of(row.path).size(turned);
    if (!each.empty() && !size.empty() && each != size) {
      throw FileError(
          "--size", row.path,
          fmt::format(
              "is {}, and {} is {}: with --size 0 0 all pictures of a batch "
              "need one size. Name a size that they are resized to, or take "
              "--batch 1",
              text(each), first->path, text(size)));
    }
    if (!each.empty() && size.empty()) {
      size = each;
      first = &row;
    }
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

void check_all_files(
    Settings& settings, cyborg::data::Table table,
    const TrainingProcesses& processes, const TrainingLog& log, bool is_new) {
  table.rows = as_read(std::move(table.rows), settings);
  if (settings.skip_unreadable) {
    const auto unreadable = unreadable_files(table.rows, settings);
    if (!unreadable.empty()) {
      log.warn(unreadable);
    }
    check_maps_are_others(table.name, table.rows);
  } else {
    check_files(table.name, table.rows, settings);
  }
  const cyborg::data::TableHeaders headers(table);
  auto stored = check_stored_values(table, headers, is_new, settings);
  auto sample = check_sample(
      table, headers, !is_new || settings.stored.allow_bits_by_class, settings);
  std::move(sample.begin(), sample.end(), std::back_inserter(stored.warnings));
  if (settings.size.empty() && settings.batch > 1) {
    check_one_size(
        table, headers,
        settings.exif_orientation != cyborg::data::Orientation::kIgnore);
  }
  if (!processes.is_first()) {
    return;  // the first one alone prints
  }
  if (!stored.note.empty()) {
    log.print(stored.note);
  }
  for (const auto& warning : stored.warnings) {
    log.warn(warning);
  }
  for (const auto& warning :
       header_warnings(table, settings.exif_orientation, headers)) {
    log.warn(warning);
  }
}

void complete(Settings& settings) {
  for (auto* path :
       {&settings.data, &settings.saliency, &settings.annotations.file,
        &settings.objective.wrong, &settings.model, &settings.weights}) {
    if (!path->empty()) {
      *path = fs::absolute(*path).lexically_normal().string();
    }
  }
  if (settings.loss == Loss::kCrossEntropy) {
    settings.alpha = 1;
  }
}

void check_settings(
    const Settings& settings, const cyborg::data::Table& table,
    const TrainingProcesses& processes) {
  if (settings.select == SelectBy::kAuc) {
    if (settings.classes.size() != 2) {
      throw std::invalid_argument(fmt::format(
          "--select auc: expected two classes, got {}; use accuracy or loss",
          settings.classes.size()));
    }
    const auto only = only_validated_class(table);
    if (!only.empty()) {
      throw std::invalid_argument(fmt::format(
          "--select auc: the validation split has pictures of class \"{}\" "
          "only; use accuracy or loss",
          only));
    }
  }
  std::unordered_map<std::string, const Row*> row_of;
  for (const auto& row : table.rows) {
    const auto* first = row_of.emplace(row.path, &row).first->second;
    if (first->label != row.label) {
      throw FileError(
          "--data", row.path,
          fmt::format(
              "is of class \"{}\" in one row and of class \"{}\" in another",
              first->cls, row.cls));
    }
  }
  if (reads_maps(settings)) {
    check_point_width(table.rows, settings.annotations);
  }
  const auto shared = cyborg::data::shared_subjects(table);
  if (!shared.empty() && !settings.allow_shared_subjects) {
    throw FileError(
        "--data", table.name,
        fmt::format(
            "{} subjects are in several splits, the first of them \"{}\", so "
            "that the results would be too good: repair the table, take "
            "--folds, or say --allow-shared-subjects",
            shared.size(), shared.front()));
  }
  if (processes.size() > 1 && settings.reduction == cyborg::Reduction::kSum) {
    throw std::invalid_argument("--reduction sum: several processes need mean");
  }
  if (processes.size() > 1 &&
      settings.objective.balance != cyborg::Balance::kFixed) {
    throw std::invalid_argument(
        "--balance " + name_of(settings.objective.balance) +
        ": is computed from a whole batch, of which several processes have a "
        "part each: use one process");
  }
}

Training begin_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log) {
  check_out(options.out);
  check_export(options);
  Training training;
  training.settings = options.settings;
  auto& settings = training.settings;
  if (settings.data.empty()) {
    throw std::invalid_argument("--data is required to begin a training");
  }
  complete(settings);
  training.table = read_pictures(settings);
  settings.classes = training.table.classes;
  check_settings(settings, training.table, processes);
  for (const auto& note : training.table.notes) {
    log.print(note);
  }
  for (const auto& warning : training.table.warnings) {
    log.warn(warning);
  }
  const auto rows = training.table.rows_of("train");
  report_maps(settings, rows, log);
  const auto only = only_validated_class(training.table);
  if (!only.empty()) {
    log.warn(fmt::format(
        "the validation split has pictures of class \"{}\" only, so the best "
        "epoch is chosen by that class alone",
        only));
  }
  check_all_files(settings, training.table, processes, log, /*is_new=*/true);
  training.network = std::make_unique<Network>(
      settings, static_cast<int64_t>(settings.classes.size()),
      [&] { return first_picture(rows, settings); });
  load_initial_weights(*training.network, settings, log);
  if (const auto fixed = training.network->fixed_layers(); !fixed.empty()) {
    log.warn(fixed);
  }
  training.script = training.network->script();
  training.state.ranks = processes.size();
  return training;
}

}  // namespace programs
