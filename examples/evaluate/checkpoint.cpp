// SPDX-License-Identifier: BSD-3-Clause
#include "checkpoint.hpp"

#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <fstream>
#include <utility>

namespace evaluate {

bool is_checkpoint(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  char first[2] = {};
  stream.read(first, 2);
  return stream && first[0] == 'P' && first[1] == 'K';  // a zip archive
}

CheckpointScores score_checkpoint(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::vector<std::string>& splits) {
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  const auto device = programs::device_named(options.device);
  auto trained = programs::load_trained(file);
  auto& settings = trained.settings;
  if (!options.data.empty()) {
    settings.data = options.data;
    settings.saliency.clear();  // no map is read
  }
  settings.skip_unreadable |= options.skip_unreadable;
  const auto table = programs::read_pictures(settings);
  if (!table.has(splits.front())) {
    std::string known;
    for (const auto* split : {"train", "val", "test"}) {
      known += table.has(split) ? std::string(known.empty() ? "" : ", ") + split
                                : std::string();
    }
    throw cyborg::io::FileError(
        "evaluate", table.name,
        fmt::format(
            "holds no rows of split {}, but of {}", splits.front(), known));
  }
  trained.network.to(device);
  CheckpointScores out{"", settings.classes, table.warnings};
  std::vector<programs::ScoredPictures> parts;
  for (const auto& split : splits) {
    if (!table.has(split)) {
      continue;  // `judge` reports it where it needs the split
    }
    parts.push_back(programs::score_pictures(
        trained.network, table.rows_of(split), settings,
        {device, static_cast<size_t>(options.workers),
         static_cast<size_t>(options.batch)}));
    const auto& skipped = parts.back().skipped;
    for (const auto& one : skipped) {
      out.notes.push_back("left out: " + one);
    }
  }
  out.csv = programs::scores_csv(parts);
  return out;
}

}  // namespace evaluate
