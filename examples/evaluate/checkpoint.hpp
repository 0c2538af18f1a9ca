// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Scores that are made here, by a network that `train` left.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace evaluate {

/// The pictures that a checkpoint is run over, and how; no score depends on
/// the latter.
struct Pictures {
  std::string data;  ///< CSV or folder; empty: those it was trained with
  bool skip_unreadable = false;
  std::string device = "cpu";
  int64_t threads = 0;  ///< of LibTorch; 0: its choice
  int64_t workers = 2;
  int64_t batch = 20;
};

/// What came of it.
struct CheckpointScores {
  std::string csv;  ///< a table as `read_scores` reads it
  std::vector<std::string> classes;
  std::vector<std::string> notes;  ///< what a person should know
};

/// Whether a file is a checkpoint (and not a table), by its first bytes.
bool is_checkpoint(const std::filesystem::path& file);

/// Scores the pictures of `splits`, prepared as in training.
/// Throws: `cyborg::io::FileError` for a checkpoint, a table or a picture
/// that cannot be used; `std::invalid_argument` for the device.
CheckpointScores score_checkpoint(
    const std::filesystem::path& file, const Pictures& pictures,
    const std::vector<std::string>& splits);

}  // namespace evaluate
