// SPDX-License-Identifier: BSD-3-Clause
#include "checkpoint.hpp"

#include "../common/errors.hpp"
#include "../common/file_checks.hpp"
#include "../common/pictures.hpp"
#include "../common/scoring.hpp"
#include "../common/stored_values.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <utility>

namespace evaluate {

bool is_checkpoint(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  char first[2] = {};
  stream.read(first, 2);
  return stream && first[0] == 'P' && first[1] == 'K';  // a zip archive
}

namespace {

/// A network and the table that it scores.
struct Job {
  programs::TrainedNetwork trained;
  cyborg::data::Table table;
};

Job read_job(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::string& split) {
  auto trained = programs::load_trained(file);
  auto& settings = trained.settings;
  if (!options.data.empty()) {
    settings.data = options.data;
    settings.folds = 0;  // its own splits
  }
  settings.saliency.clear();  // no map is read, so that none need be there
  settings.annotations.file.clear();
  settings.objective.wrong.clear();
  settings.skip_unreadable |= options.skip_unreadable;
  auto table = programs::read_pictures(settings);
  if (!table.has(split)) {
    std::string known;
    for (const auto* one : {"train", "val", "test"}) {
      known += table.has(one) ? std::string(known.empty() ? "" : ", ") + one
                              : std::string();
    }
    throw cyborg::io::FileError(
        "evaluate", table.name,
        fmt::format(
            "holds no rows of split {}, but of {}: choose one with --split",
            split, known));
  }
  return {std::move(trained), std::move(table)};
}

}  // namespace

ScoresTable rows_to_score(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::vector<std::string>& splits) {
  programs::device_named(options.device);
  const auto job = read_job(file, options, splits.front());
  ScoresTable out;
  out.name = file.string();
  out.classes = job.trained.settings.classes;
  for (const auto& split : splits) {
    if (!job.table.has(split)) {
      continue;
    }
    const auto rows = programs::without_maps(job.table.rows_of(split));
    if (!job.trained.settings.skip_unreadable) {
      programs::check_files(job.table.name, rows, job.trained.settings);
    }
    auto warnings = programs::compare_stored_values(
        "evaluate", job.table.name, rows, job.trained.settings);
    std::move(warnings.begin(), warnings.end(), std::back_inserter(out.notes));
    for (const auto& row : rows) {
      ScoreRow empty;
      empty.split = row.split;
      empty.label = row.label;
      empty.logits.assign(out.classes.size(), 0);
      out.rows.push_back(std::move(empty));
    }
  }
  return out;
}

CheckpointScores score_checkpoint(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::vector<std::string>& splits) {
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  const auto device = programs::device_named(options.device);
  auto job = read_job(file, options, splits.front());
  const auto& table = job.table;
  const auto& settings = job.trained.settings;
  job.trained.network.to(device);
  CheckpointScores out{"", settings.classes, table.warnings};
  std::vector<programs::ScoredPictures> parts;
  for (const auto& split : splits) {
    if (!table.has(split)) {
      continue;  // `judge` reports it where it needs the split
    }
    const auto rows = table.rows_of(split);
    try {
      parts.push_back(programs::score_pictures(
          job.trained.network, rows, settings,
          {device, static_cast<size_t>(options.workers),
           static_cast<size_t>(options.batch), options.test_flip}));
    } catch (const cyborg::io::FileError& error) {
      throw programs::with_way_out(error, rows);
    } catch (const programs::NotFiniteError& error) {
      throw cyborg::io::FileError("evaluate", file, error.what());
    }
    const auto& part = parts.back();
    for (const auto& one : part.skipped) {
      out.notes.push_back("left out: " + programs::with_flags(one, "evaluate"));
    }
  }
  if (parts.front().rows.empty()) {
    throw cyborg::io::FileError(
        "evaluate", table.name,
        fmt::format(
            "no picture of split {} can be read, e.g. {}", splits.front(),
            parts.front().skipped.front()));
  }
  out.csv = programs::scores_csv(parts);
  return out;
}

}  // namespace evaluate
