// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/detail/stb.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/picture_header.hpp>

#include <torch/types.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// From the bytes of a file to its pixels as they are stored.
namespace cyborg::data::detail {

/// The pixels of a file.
struct Pixels {
  torch::Tensor values;    ///< [1, C, H, W]: bytes, or float for 16 bits
  double largest = 255;    ///< the value that means 1
  bool has_alpha = false;  ///< the last channel is alpha

  bool deep() const { return largest > 255; }
  int64_t height() const { return values.size(2); }
  int64_t width() const { return values.size(3); }
  /// The channels without alpha, 1 or 3.
  torch::Tensor colours() const {
    return values.narrow(1, 0, values.size(1) - (has_alpha ? 1 : 0));
  }
};

/// Whether the pixels of a grey PNG are below `colours`. True where it cannot be
/// decoded: the picture with these pixels cannot, either, and says why.
inline bool indices_below(std::string_view png, int64_t colours) {
  int width = 0;
  int height = 0;
  int stored = 0;
  auto* raw = stb::stbi_load_from_memory(
      reinterpret_cast<const stb::stbi_uc*>(png.data()),
      static_cast<int>(png.size()), &width, &height, &stored,
      /*desired_channels=*/1);
  if (raw == nullptr) {
    return true;
  }
  // stb stretches values of 1, 2 and 4 bits to 8.
  const int bits = static_cast<unsigned char>(png[24]);
  const int step = bits < 8 ? 255 / ((1 << bits) - 1) : 1;
  const auto largest =
      *std::max_element(raw, raw + static_cast<ptrdiff_t>(width) * height);
  stb::stbi_image_free(raw);
  return largest / step < colours;
}

/// The pixels of a picture file whose bytes are in memory. `promised` is the
/// format that the file's name says; `kNone`: any. `fail(reason)` is called for
/// a picture that cannot be used, and has to throw.
template <class Fail>
Pixels decode_pixels(
    std::string_view bytes, PictureFormat promised, int64_t max_pixels,
    const Fail& fail) {
  const auto problem = promise_problem(bytes, promised);
  if (!problem.empty()) {
    fail(problem);
  }
  if (bytes.size() > static_cast<size_t>(INT_MAX)) {
    fail("is too large: more than 2 GiB");
  }
  // The checks come before stb reads the bytes, because stb accepts damaged
  // files (picture_file.hpp).
  const auto found = inspect(bytes, picture_format(bytes));
  const auto too_large = size_problem(found.height, found.width, max_pixels);
  if (!too_large.empty()) {
    fail(too_large);
  }
  if (!found.problem.empty()) {
    fail(found.problem);
  }
  if (found.width <= 0 || found.height <= 0) {
    fail("holds no pixels");
  }
  if (found.colours > 0 && !indices_below(found.indices, found.colours)) {
    fail("is damaged: a pixel of the PNG has a colour that its palette lacks");
  }
  const std::string_view decoded =
      found.repaired.empty() ? bytes : found.repaired;
  const auto* data = reinterpret_cast<const stb::stbi_uc*>(decoded.data());
  const auto length = static_cast<int>(decoded.size());
  int width = 0;
  int height = 0;
  int stored = 0;
  const bool deep = stb::stbi_is_16_bit_from_memory(data, length) != 0;
  void* raw = nullptr;
  if (deep) {
    raw = stb::stbi_load_16_from_memory(
        data, length, &width, &height, &stored, /*desired_channels=*/0);
  } else {
    raw = stb::stbi_load_from_memory(
        data, length, &width, &height, &stored, /*desired_channels=*/0);
  }
  if (raw == nullptr) {
    // Each translation unit has its own copy of stb and of its last error. So
    // the function that called stb has to ask for it.
    const char* reason = stb::stbi_failure_reason();
    fail(
        std::string("cannot be decoded: ") +
        (reason != nullptr ? reason : "unknown reason"));
  }
  Pixels pixels;
  // A view of the decoder's buffer, which has the channels last.
  pixels.values = at::from_blob(
                      raw, {1, height, width, stored},
                      [](void* block) { stb::stbi_image_free(block); },
                      at::TensorOptions(deep ? at::kShort : at::kByte))
                      .permute({0, 3, 1, 2});
  if (deep) {  // LibTorch 1.13 has no unsigned 16-bit type
    pixels.values =
        pixels.values.to(at::kInt).bitwise_and(0xFFFF).to(at::kFloat);
    pixels.largest = 65535;
  }
  pixels.has_alpha = stored % 2 == 0;
  return pixels;
}

/// An image [*, H, W] turned as EXIF's orientation, 1 to 8, says.
inline torch::Tensor turned(const torch::Tensor& image, uint32_t orientation) {
  switch (orientation) {
    case 2:
      return image.flip({-1});
    case 3:
      return image.flip({-2, -1});
    case 4:
      return image.flip({-2});
    case 5:
      return image.transpose(-2, -1);
    case 6:  // the top is on the right: a quarter clockwise
      return image.transpose(-2, -1).flip({-1});
    case 7:
      return image.transpose(-2, -1).flip({-2, -1});
    case 8:  // the top is on the left: a quarter counterclockwise
      return image.transpose(-2, -1).flip({-2});
    default:
      return image;
  }
}

/// `Pixels` turned as the orientation in the file's bytes says.
///
/// The pixels are copied, channels last. A turned view may have other strides
/// where a size is 1, and LibTorch's resizing of bytes then reads memory that is
/// not the picture's (2.13).
inline Pixels turned(Pixels pixels, std::string_view bytes) {
  const auto orientation = picture_header(bytes).orientation;
  if (orientation != 1) {
    const auto view = turned(pixels.values, orientation);
    pixels.values = at::empty(
        view.sizes(),
        view.options().memory_format(at::MemoryFormat::ChannelsLast));
    pixels.values.copy_(view);
  }
  return pixels;
}

/// R, G and B [3, *S] as grey [1, *S] (ITU-R BT.601, as PIL).
inline torch::Tensor luminance(const torch::Tensor& image) {
  return (image[0] * 0.299 + image[1] * 0.587 + image[2] * 0.114)
      .unsqueeze(/*dim=*/0);
}

}  // namespace cyborg::data::detail
