// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Every number that the demo's protocol fixes. How each was chosen, and what
// it was chosen from, is in docs/demo.md; `demo --develop` prints it again.

#include <cstdint>
#include <string>
#include <vector>

namespace demo {

/// How hard the pictures are. Chosen on plain training (`ce`) alone, with the
/// development seeds, so that it learns its own generator perfectly and the
/// others almost: seen >= .99, unseen .92 to .97. Unit: a stroke's brightness.
struct Difficulty {
  /// Root mean square of a generator's fingerprint.
  double fingerprint = 0.015;
  /// Standard deviation of the noise; a picture's own level lies between half
  /// of it and one and a half.
  double noise = 0.04;
};

/// The size of one repetition (one seed).
struct Sizes {
  int64_t annotated = 200;    ///< training pictures, half of them synthetic
  int64_t more = 1200;        ///< further ones for `ce_7x`, without human maps
  int64_t test = 300;         ///< digits that the tests are made of
  int64_t steps = 250;        ///< optimiser steps of most rows
  int64_t long_steps = 1750;  ///< of `ce_long` and `ce_7x`
  int64_t batch = 20;
};

constexpr double kLearningRate = 2e-3;  // Adam, no schedule, last step counts

/// alpha, the weight of the classification term, per distance: the best on
/// the validation generator (which no result is computed from), with the
/// development seeds.
constexpr double kAlphaL1 = 0.3;
constexpr double kAlphaL2 = 0.2;
constexpr double kAlphaKL = 0.1;

/// Seeds that settings may be chosen on, and seeds that results come from.
inline std::vector<int64_t> development_seeds() {
  return {100, 101, 102};
}
inline std::vector<int64_t> result_seeds(bool quick) {
  return quick ? std::vector<int64_t>{0, 1, 2}
               : std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
}

}  // namespace demo
