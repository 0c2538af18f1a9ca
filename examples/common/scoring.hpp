// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// A network's scores for pictures, and the table that they are written to.

#include "network.hpp"
#include "settings.hpp"

#include <cyborg/data/table_types.hpp>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace programs {

/// Pictures, each with its logits.
struct Scored {
  std::vector<cyborg::data::Row> rows;
  torch::Tensor logits;  ///< [N, K] float32 on the CPU
  torch::Tensor labels;  ///< [N]
  /// Pictures that could not be read (with --skip-unreadable), with reasons.
  std::vector<std::string> skipped;
};

/// How pictures are scored; no number depends on it.
struct Scoring {
  torch::Device device = torch::kCPU;
  size_t workers = 2;
  size_t batch = 20;
};

/// Runs the network over the rows, in evaluation mode and without gradients;
/// afterwards it is in evaluation mode.
Scored score_pictures(
    Network& network, std::vector<cyborg::data::Row> rows,
    const Settings& settings, const Scoring& how);

/// A network with all that is needed to use it, out of a checkpoint.
struct Trained {
  Settings settings;
  Network network;
};

/// Throws: `cyborg::io::FileError` for a file that `train` did not write.
Trained load_trained(const std::filesystem::path& checkpoint);

/// The table path,split,class,label,score,logit_0,...,attack,group,subject of
/// some splits, one after the other. The score is the softmax of class 1, or,
/// of more than two classes, that of the picture's own.
std::string scores_csv(const std::vector<Scored>& parts);

/// score for AUC and the like: logit 1 - logit 0, which orders as softmax does.
torch::Tensor margin(const torch::Tensor& logits);

}  // namespace programs
