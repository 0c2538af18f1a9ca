// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/file.hpp>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace cyborg::data {

/// What the stored values of a picture are, and what a window leaves of them.
/// Alpha does not count.
struct PictureLook {
  int64_t bits = 8;    ///< of a stored value: 8 or 16
  double least = 0;    ///< the smallest stored value
  double largest = 0;  ///< the largest stored value
  double below = 0;    ///< share of values less than the window: they are black
  double above = 0;    ///< share of values above the window: they are white
  double mean = 0;     ///< of what is shown, in [0, 1]
  /// Whether each channel is the same everywhere, as it is shown.
  bool blank = false;
};

namespace detail {

/// The look of pixels in a window, which may be empty: none.
inline PictureLook look_at(
    const Pixels& pixels, const std::vector<double>& window) {
  const auto values = pixels.colours().to(at::kFloat);
  const double low = window.empty() ? 0 : window[0];
  const double high = window.empty() ? pixels.largest : window[1];
  const auto shown = values.sub(low).div_(high - low).clamp_(0, 1);
  const auto channels = shown[0].flatten(/*start_dim=*/1);
  const auto share = [&](const torch::Tensor& which) {
    return static_cast<double>(which.sum().item<int64_t>()) /
           static_cast<double>(values.numel());
  };
  PictureLook look;
  look.bits = pixels.deep() ? 16 : 8;
  look.least = values.min().item<double>();
  look.largest = values.max().item<double>();
  look.below = share(values.lt(low));
  look.above = share(values.gt(high));
  look.mean = shown.mean(at::kDouble).item<double>();
  look.blank = channels.amax(/*dim=*/1).equal(channels.amin(/*dim=*/1));
  return look;
}

}  // namespace detail

/// Reads a picture and looks at its stored values. Of `options`, those are used
/// that say how a file is read, and `window`.
///
/// Throws: as `read_image`.
/// Example:
///     const auto look = cyborg::data::look_at_picture(
///         "scan.png", cyborg::data::ImageOptions().window({0, 4095}));
///     std::cout << look.above << " of all values are cut to white\n";
inline PictureLook look_at_picture(
    const std::filesystem::path& path, const ImageOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::look_at_picture";
  detail::check_window(kFunction, options.window());
  const auto bytes =
      io::read_file(path, detail::max_file_bytes(options), kFunction);
  const auto fail = [&](const std::string& reason) {
    throw io::FileError(kFunction, path, reason);
  };
  const auto pixels = detail::decode_pixels(
      bytes, detail::checked_format(path, options.check_extension()),
      options.max_pixels(), fail);
  detail::check_fits(options.window(), pixels.largest, fail);
  return detail::look_at(pixels, options.window());
}

}  // namespace cyborg::data
