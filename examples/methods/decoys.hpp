// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Pictures of digits with a decoy: a patch whose brightness tells the digit in
// training, and something else in the tests. Which pixels are wrong is known.

#include <torch/types.h>

#include <cstdint>

namespace methods {

constexpr int64_t kSide = 28;  // pixels of a picture
constexpr int64_t kPatch = 5;  // pixels of the patch's side
constexpr int64_t kClasses = 10;

/// Where the patch is.
enum class Decoy {
  kCorners,  ///< in one of the four corners; the digit is in the middle
  kMoving,   ///< anywhere beside a smaller digit, which is anywhere
};

/// Pictures of one part, training or test.
struct Pictures {
  torch::Tensor image;   ///< [n, 1, 28, 28] in [0, 1]
  torch::Tensor clean;   ///< the same pictures without the patch
  torch::Tensor label;   ///< [n]
  torch::Tensor stroke;  ///< [n, 28, 28], the digit: where to look
  torch::Tensor wrong;   ///< [n, 28, 28], 1 where the patch may be
};

/// Training and test pictures of one seed, four fifths and one fifth of the
/// digits.
struct Repetition {
  int64_t seed;
  Pictures train, test;
};

/// The pictures of a seed. In training the patch has the brightness
/// (255 - 25 y) / 255 for digit y, in the tests 25 y / 255. Where `decoy` is
/// kCorners, all four corners are wrong (the patch may be in any); where it is
/// kMoving, the patch is.
///
/// Shapes: digits [N, 1, 8, 8] in [0, 1], labels [N].
/// Source: kCorners is the decoy of Rieger et al., "Interpretations are
/// useful", ICML 2020, with other digits.
Repetition make_repetition(
    const torch::Tensor& digits, const torch::Tensor& labels, Decoy decoy,
    int64_t seed);

}  // namespace methods
