// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What is compared, one training, and its tests.

#include "settings.hpp"

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace demo {

enum class Distance { kNone, kL1, kL2, kKL };
enum class Maps { kHuman, kSegmentation, kShuffled, kInverted, kRandom };

/// One line of the results table.
struct Row {
  std::string name;
  Distance distance;
  Maps maps;
  int64_t train_images;
  int64_t steps;
  double alpha;  ///< weight of the classification term; 1 without guidance
};

/// All rows, in the order of the table.
std::vector<Row> protocol_rows(const Sizes& sizes);

/// The pictures of one repetition, read from the disk. All rows of a seed share
/// them.
struct Repetition {
  int64_t seed;
  torch::Tensor image;         ///< [annotated + more, 1, 32, 32], training
  torch::Tensor label;         ///< [annotated + more], 1: synthetic
  torch::Tensor human;         ///< [annotated, 32, 32]
  torch::Tensor segmentation;  ///< [annotated, 32, 32]
  torch::Tensor test_image;
  torch::Tensor test_label;
  torch::Tensor test_map;  ///< NaN for a picture without a map
  torch::Tensor real;      ///< indices of the clean reals among the tests
  std::map<std::string, torch::Tensor> synthetic;  ///< by generator
  std::map<std::string, torch::Tensor> marked;  ///< reals with its fingerprint
};

/// Reads the pictures that `write_samples` wrote, with `cyborg::data`, as the
/// pictures of a user are read.
Repetition read_repetition(const std::filesystem::path& folder, int64_t seed);

/// Losses during training, each a mean over a few steps.
struct Curve {
  std::vector<double> step;
  std::vector<double> classification;
  std::vector<double> saliency;  ///< 0 throughout without guidance
};

/// One training and its tests.
struct Run {
  std::vector<double> clean;  ///< AUC per generator, reals without fingerprints
  std::vector<double>
      shifted;  ///< ... half of the reals carry that fingerprint
  Curve curve;
  torch::Tensor maps;  ///< class activation maps of `shown`
};

/// Trains `row` on the repetition's pictures and tests it with the generators
/// `tested`. Initial weights, the order of the pictures and the test sets
/// depend on the seed only: they are the same in all rows. `shown`: indices of
/// test pictures whose class activation maps are kept. `stepped`: called with
/// the number of steps since the last call.
Run run(
    const Row& row, const Repetition& repetition, const Sizes& sizes,
    const std::vector<std::string>& tested, const torch::Tensor& shown = {},
    const std::function<void(int64_t)>& stepped = {});

}  // namespace demo
