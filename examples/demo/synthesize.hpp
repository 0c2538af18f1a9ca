// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Makes the demo's pictures out of real handwriting.
//
// A *real* picture is a digit. A *synthetic* one has a splice (a round region
// that is replaced by a turned patch of another digit) and the fingerprint of
// the generator that made it (a weak pattern over the whole picture). All
// generators splice, and each has a fingerprint of its own: a network that
// learns the fingerprint fails with the next generator.

#include "settings.hpp"

#include "../common/random.hpp"

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace demo {

constexpr int64_t kSide = 32;  // pixels
constexpr int64_t kShown = 8;  // test pictures of a kind that have a map too

/// The generators: the one that is trained on, the six that no training saw,
/// and one more that alpha is chosen on.
const std::vector<std::string>& generators();
constexpr int64_t kSeen = 0;
constexpr int64_t kFirstUnseen = 1;
constexpr int64_t kUnseenCount = 6;
constexpr int64_t kValidation = 7;

/// The fingerprint of generator `index`, [n, 32, 32], with mean 0 and root
/// mean square 1 (the one named "noise" is drawn anew for every picture).
torch::Tensor fingerprint(int64_t index, int64_t n, torch::Generator& random);

/// The 1,797 digits, [1797, 32, 32] in [0, 1], from a folder with digits.png.
torch::Tensor read_digits(const std::filesystem::path& folder);

/// Pictures with a splice each.
struct Spliced {
  torch::Tensor picture;  ///< [n, 32, 32]
  torch::Tensor region;   ///< [n, 32, 32], 1 where the splice replaced, else 0
  torch::Tensor map;  ///< [n, 32, 32] in [0, 1], what a perfect annotator draws
};

/// Replaces a disc at a random place of each picture [n, 32, 32] by the same
/// disc of its donor [n, 32, 32], turned by 90 degrees and a little paler.
Spliced splice(
    const torch::Tensor& pictures, const torch::Tensor& donors,
    torch::Generator& random);

/// Strokes of the pictures [n, 32, 32], a little wider than the ink and with
/// maximum 1: what an annotator draws on a real picture.
torch::Tensor strokes(const torch::Tensor& pictures);

/// One picture as it will lie on the disk.
struct Sample {
  std::string split;      ///< "train" or "test"
  std::string part;       ///< "annotated", "more", "clean" or "shifted"
  std::string generator;  ///< of the fingerprint; empty without one
  int64_t digit;          ///< which digit it was made of
  int64_t donor;  ///< which digit the splice was taken from; -1 for none
  bool synthetic;
  torch::Tensor image;         ///< [1, 32, 32] in [0, 1], in steps of 1 / 255
  torch::Tensor map;           ///< [32, 32] of the perfect annotator
  torch::Tensor segmentation;  ///< [32, 32], all strokes of the picture
};

/// All pictures of one repetition: training ("annotated" and "more", both of
/// the seen generator), and per generator the tests. Tests hold `clean` reals
/// (without fingerprint), `synthetic` ones, and `shifted` reals: every second
/// real again, with the fingerprint, which is no evidence there.
///
/// Digits are shuffled by the seed; a digit is used in one part alone, as host
/// and as donor. With `validation`, the validation generator is tested as well.
std::vector<Sample> synthesize(
    const torch::Tensor& digits, int64_t seed, const Difficulty& difficulty,
    const Sizes& sizes, bool validation);

/// Writes the pictures as PNG, and two tables of them in the CSV format of
/// `cyborg::data`: `pictures.csv` (with the annotators' maps), and
/// `segmentation.csv` (the annotated training pictures, with segmentations).
/// Column `attack` is the generator of a synthetic picture; `group` its part,
/// and for shifted reals "shifted-" and the fingerprint they carry.
void write_samples(
    const std::vector<Sample>& samples, const std::filesystem::path& folder);

}  // namespace demo
