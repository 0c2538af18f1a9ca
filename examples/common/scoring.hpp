// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The scores that a network gives to pictures, and the table of them.

#include "network.hpp"
#include "settings.hpp"

#include <cyborg/data/table_types.hpp>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace programs {

/// Pictures and their logits.
struct ScoredPictures {
  std::vector<cyborg::data::Row> rows;
  torch::Tensor logits;    ///< [N, K] float32 on the CPU
  torch::Tensor labels;    ///< [N]
  bool test_flip = false;  ///< as in `ScoringOptions`
  /// With --skip-unreadable: pictures that could not be read, and the reason.
  std::vector<std::string> skipped;
  bool stopped = false;  ///< by `ScoringOptions::go_on`: these are some of all
};

/// How pictures are scored. The logits do not depend on the first three, but for
/// rounding.
struct ScoringOptions {
  torch::Device device = torch::kCPU;
  size_t workers = 2;
  size_t batch = 20;
  /// The logits are the mean of those of each picture and of its mirror image,
  /// with left and right exchanged.
  bool test_flip = false;
  /// Called after each batch with the number of pictures that are done. Where
  /// it returns false, the scoring stops. None: it does not stop.
  std::function<bool(int64_t)> go_on = nullptr;
};

/// A network gave logits that are not finite. `what()` names the first picture.
class NotFiniteError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Runs the network on the pictures, without gradients. The network is then in
/// evaluation mode.
/// Throws: `NotFiniteError`.
ScoredPictures score_pictures(
    Network& network, std::vector<cyborg::data::Row> rows,
    const Settings& settings, const ScoringOptions& options);

/// A network of a checkpoint, and the settings that it was trained with.
struct TrainedNetwork {
  Settings settings;
  Network network;
};

/// Throws: `cyborg::io::FileError` for a file that `train` did not write.
TrainedNetwork load_trained(const std::filesystem::path& checkpoint);

/// A CSV file of several splits, one after the other, with the columns
/// path,split,class,label,score,logit_0,...,attack,group,subject and, if mirror
/// images were scored, test_flip. The score is the softmax of class 1 or, with
/// more than two classes, of the true class.
std::string scores_csv(const std::vector<ScoredPictures>& parts);

/// A score [N] for the area under the ROC curve: logit 1 - logit 0. It puts
/// pictures in the same order as the softmax and does not saturate.
torch::Tensor margin(const torch::Tensor& logits);

}  // namespace programs
