// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The whole experiment: pictures of all seeds, all trainings, the results.

#include "results.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace demo {

/// A test picture, and the maps that the report shows beside it.
struct ShownPicture {
  std::string label;     ///< e.g. "synthetic, rows (unseen)"
  torch::Tensor image;   ///< [1, 32, 32] in [0, 1]
  torch::Tensor human;   ///< [32, 32]
  torch::Tensor plain;   ///< class activation map of `ce`, [8, 8]
  torch::Tensor guided;  ///< of `cyborg_kl`
};

/// All that the report shows.
struct ExperimentResult {
  Results results;
  std::vector<ShownPicture> shown;  ///< of the first seed
  Sizes sizes;
  Difficulty difficulty;
  double seconds;          ///< in all
  double picture_seconds;  ///< to make, write and read pictures
  int64_t pictures;        ///< written ones, without maps
};

/// Makes the pictures of each seed in `folder`/seed-N, trains and tests every
/// row with every seed, and summarises. So many trainings as `threads` run at
/// the same time; the results depend on the seeds only.
ExperimentResult run_protocol(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    const std::vector<int64_t>& seeds, const Sizes& sizes,
    const Difficulty& difficulty, int64_t threads, bool quiet);

}  // namespace demo
