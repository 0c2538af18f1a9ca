// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/image.hpp>

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

// Small copies of pictures, for pages. A page that held the pictures themselves
// would be too large to open.

namespace programs::report {

/// The longest side of a thumbnail in pixels: twice what a page shows, for
/// screens with two pixels for each CSS pixel.
constexpr int64_t kThumbnailSide = 320;

/// The picture with a longest side of at most `side` pixels (antialiased, with
/// its proportions). A picture that is not larger is unchanged, and so is every
/// picture with `side` 0.
///
/// Shapes: image [C, H, W] -> [C, h, w].
/// Example:
///     auto small = programs::report::shrunk(photo, 1024);
inline torch::Tensor shrunk(const torch::Tensor& image, int64_t side) {
  const auto longest = std::max(image.size(1), image.size(2));
  if (side == 0 || longest <= side) {
    return image;
  }
  const auto scaled = [&](int64_t length) {
    return std::max<int64_t>(
        1, std::llround(
               static_cast<double>(length) * static_cast<double>(side) /
               static_cast<double>(longest)));
  };
  return cyborg::data::resize_image(
      image, {scaled(image.size(1)), scaled(image.size(2))});
}

/// The PNG file of a picture for a page.
inline std::string thumbnail(const torch::Tensor& image) {
  return cyborg::data::encode_png(shrunk(image, kThumbnailSide));
}

}  // namespace programs::report
