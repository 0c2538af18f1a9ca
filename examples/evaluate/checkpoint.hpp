// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scores from a network that `train` trained.

#include "scores.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace evaluate {

/// The pictures that a network scores, and how it runs. The scores do not
/// depend on how it runs, but for rounding and `test_flip`.
struct PictureOptions {
  std::string data;  ///< CSV or folder; empty: the one of the training
  bool skip_unreadable = false;
  bool test_flip = false;  ///< scores mirror images, too
  std::string device = "cpu";
  int64_t threads = 0;  ///< of LibTorch; 0: its choice
  int64_t workers = 2;
  int64_t batch = 20;
};

/// The scores of a checkpoint's network.
struct CheckpointScores {
  std::string csv;  ///< a table as `read_scores` reads it
  std::vector<std::string> classes;
  std::vector<std::string> notes;  ///< warnings
};

/// Whether the first bytes of a file are those of a checkpoint, and not of a
/// table.
bool is_checkpoint(const std::filesystem::path& file);

/// The rows that `score_checkpoint` scores, with logits of 0. `judge` of them
/// shows, before hours of scoring, whether classes, splits and options fit. All
/// pictures of `splits` must be there, except with `skip_unreadable`. They are
/// compared with those of the training (`programs::compare_stored_values`): the
/// warnings are the notes of the table.
/// Throws: as `score_checkpoint`.
ScoresTable rows_to_score(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::vector<std::string>& splits);

/// Scores the pictures of `splits`, prepared as in the training. The first
/// split must have pictures.
/// Throws: `cyborg::io::FileError` for a checkpoint, a table or a picture that
/// cannot be used; `std::invalid_argument` for the device.
CheckpointScores score_checkpoint(
    const std::filesystem::path& file, const PictureOptions& options,
    const std::vector<std::string>& splits);

}  // namespace evaluate
