// SPDX-License-Identifier: BSD-3-Clause
#include "decoys.hpp"

#include "../common/random.hpp"

#include <torch/torch.h>

namespace methods {

namespace {

/// What random numbers are drawn for.
enum PicturePurpose : uint64_t { kSplit = 3000, kTrainPlaces, kTestPlaces };

/// A number in [0, count).
int64_t draw(int64_t count, torch::Generator& random) {
  return torch::randint(count, {1}, random, torch::kLong).item<int64_t>();
}

/// A place for the patch that does not touch the digit [top, top + side).
std::pair<int64_t, int64_t> beside(
    int64_t top, int64_t left, int64_t side, torch::Generator& random) {
  for (;;) {
    const auto y = draw(kSide - kPatch + 1, random);
    const auto x = draw(kSide - kPatch + 1, random);
    const bool apart = y + kPatch <= top || y >= top + side ||
                       x + kPatch <= left || x >= left + side;
    if (apart) {
      return {y, x};
    }
  }
}

Pictures make_pictures(
    const torch::Tensor& digits, const torch::Tensor& labels, Decoy decoy,
    bool training, torch::Generator random) {
  const bool corners = decoy == Decoy::kCorners;
  const int64_t side = corners ? 20 : 16;
  const auto count = digits.size(0);
  const auto drawn =
      at::upsample_bilinear2d(digits, {side, side}, /*align_corners=*/false)
          .clamp(0, 1)
          .squeeze(1);
  const auto clean = torch::zeros({count, kSide, kSide});
  const auto patch = torch::zeros({count, kSide, kSide});
  const auto wrong = torch::zeros({count, kSide, kSide});
  constexpr int64_t kEnd = kSide - kPatch;
  for (int64_t i = 0; i < count; ++i) {
    const auto top =
        corners ? (kSide - side) / 2 : draw(kSide - side + 1, random);
    const auto left = corners ? top : draw(kSide - side + 1, random);
    clean[i].narrow(0, top, side).narrow(1, left, side).copy_(drawn[i]);
    const auto [y, x] =
        corners ? std::pair(kEnd * draw(2, random), kEnd * draw(2, random))
                : beside(top, left, side, random);
    patch[i].narrow(0, y, kPatch).narrow(1, x, kPatch).fill_(1);
  }
  if (corners) {
    for (const int64_t y : {int64_t{0}, kEnd}) {
      for (const int64_t x : {int64_t{0}, kEnd}) {
        wrong.narrow(1, y, kPatch).narrow(2, x, kPatch).fill_(1);
      }
    }
  } else {
    wrong.copy_(patch);
  }
  const auto label = labels.to(torch::kFloat).reshape({-1, 1, 1});
  const auto value = training ? (255 - 25 * label) / 255 : 25 * label / 255;
  const auto image = torch::where(patch.gt(0), value.expand_as(clean), clean);
  return {
      image.unsqueeze(1), clean.unsqueeze(1), labels.clone(), clean.clone(),
      wrong};
}

}  // namespace

Repetition make_repetition(
    const torch::Tensor& digits, const torch::Tensor& labels, Decoy decoy,
    int64_t seed) {
  const auto of = [&](uint64_t purpose) {
    return programs::random_generator(static_cast<uint64_t>(seed), purpose);
  };
  const auto count = digits.size(0);
  const auto order = torch::randperm(count, of(kSplit), torch::kLong);
  const auto train = order.narrow(0, 0, count * 4 / 5);
  const auto test = order.narrow(0, train.size(0), count - train.size(0));
  const auto part = [&](const torch::Tensor& which, bool training) {
    return make_pictures(
        digits.index_select(0, which), labels.index_select(0, which), decoy,
        training, of(training ? kTrainPlaces : kTestPlaces));
  };
  return {seed, part(train, true), part(test, false)};
}

}  // namespace methods
