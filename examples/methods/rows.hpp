// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What is compared: one row a way to train.

#include "decoys.hpp"

#include "../common/terms.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace methods {

/// The network of a training.
enum class Net {
  kConvolutional,  ///< three blocks of 16, 32 and 64 channels, global mean
  kPerceptron,     ///< two hidden layers of 50 and 30, the published one
};

/// Which pictures a row trains with.
enum class Data { kDecoy, kClean, kCounterExamples };

/// Which maps and masks a row trains with; all but kTrue are controls.
enum class Guide { kTrue, kShuffled, kInverted, kRandom, kCentre };

/// A row of the table.
struct Row {
  std::string name;
  std::string of = {};  ///< a control's row with the true maps; else ""
  Data data = Data::kDecoy;
  Guide guide = Guide::kTrue;
  /// The term; none for plain cross entropy.
  std::optional<programs::TermSetting> term = {};
};

/// All rows of a network and a decoy, in the order of the table. Each term has its
/// first strength, the default of `train`.
std::vector<Row> rows_of(Net net, Decoy decoy);

/// The strengths that are tried in development, for each term.
std::vector<double> strengths_tried(const std::string& term);

/// How all rows of a table are trained. Where the patch moves, networks learn the
/// digits more slowly, and have twice as many epochs, unless the comparison is
/// quick.
struct Recipe {
  int64_t epochs, batch;
  double learning_rate;
};
Recipe recipe_of(Net net, Decoy decoy, bool quick = false);

}  // namespace methods
