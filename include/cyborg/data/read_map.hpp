// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/io/file.hpp>

#include <torch/arg.h>
#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

namespace cyborg::data {

/// Options of `read_map`.
struct MapOptions {
  /// How the values are read. Default `MapValues::kGrey`.
  TORCH_ARG(MapValues, values) = MapValues::kGrey;
  /// As in `ImageOptions`.
  TORCH_ARG(int64_t, max_pixels) = ImageOptions().max_pixels();
  /// As in `ImageOptions`.
  TORCH_ARG(bool, check_extension) = true;
  /// As in `ImageOptions`.
  TORCH_ARG(bool, apply_orientation) = false;

 public:
};

namespace detail {

/// How much red, green and blue of a grey map may differ, of 1: JPEG changes
/// them a little.
inline constexpr double kGreyTolerance = 16.0 / 255;

/// Whether a tensor has the same value everywhere.
inline bool is_constant(const torch::Tensor& values) {
  return values.min().item<double>() == values.max().item<double>();
}

/// Whether the alpha channel is not the same everywhere.
inline bool varies_in_alpha(const Pixels& pixels) {
  return pixels.has_alpha && !is_constant(pixels.values[0][-1]);
}

/// Whether a pixel is neither grey nor nearly so.
inline bool is_coloured(const Pixels& pixels) {
  const auto colours = pixels.colours()[0];
  return colours.size(0) == 3 &&
         (colours.amax(/*dim=*/0) - colours.amin(/*dim=*/0))
                 .max()
                 .item<double>() > kGreyTolerance * pixels.largest;
}

/// Why these pixels are not a map whose values are read in this way; "" if they
/// are.
inline std::string map_problem(const Pixels& pixels, MapValues values) {
  if (values == MapValues::kAlpha) {
    return pixels.has_alpha
               ? ""
               : "has no alpha channel, from which maps are to be read";
  }
  const bool in_alpha = varies_in_alpha(pixels);
  const bool one_colour = in_alpha && [&] {
    const auto colours = pixels.colours()[0].flatten(/*start_dim=*/1);
    return colours.amax(/*dim=*/1).equal(colours.amin(/*dim=*/1));
  }();
  constexpr auto* kReadAlpha =
      "read its alpha channel (MapValues::kAlpha; --map-values alpha in the "
      "programs)";
  if (one_colour) {
    return std::string(
               "has the same colour everywhere, and a map in its alpha "
               "channel: ") +
           kReadAlpha;
  }
  if (values == MapValues::kGrey && is_coloured(pixels)) {
    return std::string(
               "is a map of colours, whose brightness need not rise with "
               "its values (that of \"jet\" falls at the peak): save the "
               "values themselves in grey. Where the brightness does rise with "
               "them, read the luminance (MapValues::kLuminance; --map-values "
               "luminance in the programs)") +
           (in_alpha ? std::string(", or ") + kReadAlpha : "");
  }
  return "";
}

/// The values [H, W] of a map, in [0, 1]. `map_problem` found none.
inline torch::Tensor map_values(const Pixels& pixels, MapValues values) {
  auto map = (values == MapValues::kAlpha
                  ? pixels.values[0].narrow(0, pixels.values.size(1) - 1, 1)
                  : pixels.colours()[0])
                 .to(at::kFloat)
                 .div(pixels.largest);
  return (map.size(0) == 3 ? luminance(map) : map)[0].contiguous();
}

}  // namespace detail

/// Reads a human map from a PNG, JPEG or BMP file.
///
/// Shapes: [H, W] float32, contiguous.
/// Range: [0, 1], bright means salient; with `MapValues::kAlpha` opaque does.
/// Throws: `io::FileError` as `read_image`; and for a map of colours, or one
///         whose map is in its alpha channel, unless `MapOptions::values` says
///         how to read it.
/// Example:
///     auto map = cyborg::data::read_map("maps/face.png");
inline torch::Tensor read_map(
    const std::filesystem::path& path, const MapOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::read_map";
  TORCH_CHECK_VALUE(
      options.max_pixels() > 0, kFunction, ": expected max_pixels > 0, got ",
      options.max_pixels());
  const auto fail = [&](const std::string& reason) {
    throw io::FileError(kFunction, path, reason);
  };
  const auto bytes = io::read_file(
      path,
      detail::max_file_bytes(ImageOptions().max_pixels(options.max_pixels())),
      kFunction);
  auto pixels = detail::decode_pixels(
      bytes, detail::checked_format(path, options.check_extension()),
      options.max_pixels(), fail);
  if (options.apply_orientation()) {
    pixels = detail::turned(std::move(pixels), bytes);
  }
  const auto problem = detail::map_problem(pixels, options.values());
  if (!problem.empty()) {
    fail(problem);
  }
  return detail::map_values(pixels, options.values());
}

}  // namespace cyborg::data
