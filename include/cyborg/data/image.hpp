// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/detail/stb.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/maps/resize.hpp>

#include <torch/arg.h>
#include <torch/types.h>
#include <torch/version.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Options of `read_image`.
struct ImageOptions {
  /// 1: grey, 3: RGB, 0: as in the file. Colour becomes grey by .299 R + .587 G
  /// + .114 B (ITU-R BT.601, as PIL), and grey becomes three equal channels.
  /// Default 3.
  TORCH_ARG(int64_t, channels) = 3;
  /// The picture is resized to this size {H, W} by antialiased bilinear
  /// interpolation, without keeping its proportions. 8-bit pictures are resized
  /// in 8 bits, so values are rounded to 1 / 255, as by PIL in the published
  /// code. Default: it is not resized.
  TORCH_ARG(std::vector<int64_t>, size);
  /// The stored values {low, high} that become 0 and 1, for pictures of which
  /// only a range of values matters: {0, 4095} for 12 bits in 16. A channel's
  /// value v becomes (v - low) / (high - low), cut to [0, 1]. Cutting is not
  /// linear, so this comes before resizing and before colour becomes grey; the
  /// result is resized in floating point. Stored values are 0 to 255, and 0 to
  /// 65535 in a 16-bit PNG. Default: none, 0 becomes 0 and the largest one 1.
  TORCH_ARG(std::vector<double>, window);
  /// Pictures of more pixels are rejected before they are decoded. Default
  /// 2^26, 64 megapixels: decoding an RGB picture of that size needs about 800
  /// MB.
  TORCH_ARG(int64_t, max_pixels) = int64_t{1} << 26;
  /// Whether it is an error if the extension of a file names another format
  /// than that of its content (a JPEG named .png). Default true.
  TORCH_ARG(bool, check_extension) = true;
  /// Whether the picture is turned as its EXIF orientation says (JPEG and PNG).
  /// Default false: as it is stored.
  TORCH_ARG(bool, apply_orientation) = false;

 public:
};

namespace detail {

/// Resizes pixels [1, C, H, W]. Bytes are resized as bytes, and rounded.
inline torch::Tensor resize_pixels(
    const torch::Tensor& pixels, at::IntArrayRef size) {
#if TORCH_VERSION_MAJOR < 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 1)
  constexpr bool kBytes = false;  // LibTorch resizes floating point only
#else
  constexpr bool kBytes = true;  // several times as fast as floating point
#endif
  const bool bytes = pixels.scalar_type() == at::kByte;
  const auto input = pixels.contiguous(at::MemoryFormat::ChannelsLast);
  if (bytes && !kBytes) {
    return at::_upsample_bilinear2d_aa(
               input.to(at::kFloat), size, /*align_corners=*/false)
        .round();
  }
  return at::_upsample_bilinear2d_aa(input, size, /*align_corners=*/false);
}

/// The size of the largest file that is read. No picture of `max_pixels` needs
/// more than 8 bytes for each pixel and 16 MiB of metadata. So a large file
/// that is not a picture is not loaded.
inline uint64_t max_file_bytes(const ImageOptions& options) {
  return (uint64_t{1} << 24) +
         8 * std::min(
                 static_cast<uint64_t>(options.max_pixels()),
                 uint64_t{1} << 56);
}

/// The format that the name of a file promises, if that is to be checked.
inline PictureFormat checked_format(
    const std::filesystem::path& path, bool check_extension) {
  return check_extension ? promised_format(path.extension().string())
                         : PictureFormat::kNone;
}

/// Calls `fail(reason)`, which has to throw, if a window reaches above the largest
/// value that a picture can have.
template <class Fail>
void check_fits(
    const std::vector<double>& window, double largest, const Fail& fail) {
  if (reaches_above(window, largest)) {
    fail(window_problem(
        window,
        "Save it with 16 bits and values like those of the others, or leave "
        "the window out if all pictures have 8 bits"));
  }
}

/// The colours of `pixels`, in [0, 1] as a window {low, high} says. `fail(reason)`
/// is called for pixels whose largest value is below `high`, and has to throw.
template <class Fail>
Pixels windowed(
    const Pixels& pixels, const std::vector<double>& window, const Fail& fail) {
  check_fits(window, pixels.largest, fail);
  Pixels shown;
  shown.values = pixels.colours()
                     .to(at::kFloat)
                     .sub(window[0])
                     .div_(window[1] - window[0])
                     .clamp_(0, 1);
  shown.largest = 1;
  return shown;
}

/// Decodes the bytes of a whole file. `promised` is the format that the file's
/// name says. `fail(reason)` is called for a picture that cannot be used, and
/// has to throw.
template <class Fail>
torch::Tensor decode_picture(
    std::string_view bytes, PictureFormat promised, const ImageOptions& options,
    const Fail& fail) {
  auto stored = decode_pixels(bytes, promised, options.max_pixels(), fail);
  if (options.apply_orientation()) {
    stored = turned(std::move(stored), bytes);
  }
  if (!options.window().empty()) {
    stored = windowed(stored, options.window(), fail);
  }
  auto pixels = stored.colours();  // alpha is dropped
  const auto& size = options.size();
  const bool fits =
      size.empty() || (size[0] == stored.height() && size[1] == stored.width());
  if (!fits) {
    pixels = resize_pixels(pixels, size);
  }
  auto image = at::empty(pixels.sizes().slice(1), at::kFloat);
  image.copy_(pixels[0]);
  image.div_(stored.largest);
  if (options.channels() == 1 && image.size(0) == 3) {
    image = luminance(image);
  } else if (options.channels() == 3 && image.size(0) == 1) {
    image = image.repeat({3, 1, 1});
  }
  return image;
}

}  // namespace detail

/// Reads a PNG, JPEG or BMP picture.
///
/// An alpha channel is dropped without composing (as by PIL's
/// `convert("RGB")`). Colour profiles are ignored, and orientation tags unless
/// `ImageOptions::apply_orientation` is set.
/// Shapes: [C, H, W] float32, contiguous, with C of `ImageOptions::channels`.
/// Range: [0, 1]: 8-bit values / 255, values of a 16-bit PNG / 65535, unless
///        `ImageOptions::window` is set. Pixels of fewer than 8 bits are
///        stretched to 8 bits first.
/// Throws: `io::FileError`, with path and reason, for a file that is missing, a
///         directory, empty, truncated, damaged, not a picture, of another
///         format than its name says, larger than `max_pixels`, CMYK, or in a
///         variant that cannot be decoded; and for an 8-bit picture with a
///         window above 255. `c10::ValueError` for invalid options.
/// Example:
///     auto face = cyborg::data::read_image("face.jpg");
///     auto map = cyborg::data::read_image(
///         "map.png", cyborg::data::ImageOptions().channels(1))[0];
inline torch::Tensor read_image(
    const std::filesystem::path& path, const ImageOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::read_image";
  TORCH_CHECK_VALUE(
      options.channels() == 0 || options.channels() == 1 ||
          options.channels() == 3,
      kFunction, ": expected 0, 1 or 3 channels, got ", options.channels());
  TORCH_CHECK_VALUE(
      options.size().empty() ||
          (options.size().size() == 2 && options.size()[0] > 0 &&
           options.size()[1] > 0),
      kFunction, ": expected size {H, W}, got ",
      at::IntArrayRef(options.size()));
  TORCH_CHECK_VALUE(
      options.max_pixels() > 0, kFunction, ": expected max_pixels > 0, got ",
      options.max_pixels());
  detail::check_window(kFunction, options.window());
  const auto bytes =
      io::read_file(path, detail::max_file_bytes(options), kFunction);
  return detail::decode_picture(
      bytes, detail::checked_format(path, options.check_extension()), options,
      [&](const std::string& reason) {
        throw io::FileError(kFunction, path, reason);
      });
}

/// The bytes of a PNG file that holds `image`.
///
/// Shapes: image [H, W], [1, H, W] or [3, H, W].
/// Range: uint8, or floating point in [0, 1]. A floating-point value x becomes
///        round(255 x), after it was clamped to [0, 1].
/// Throws: `c10::ValueError` for another shape or type, and for NaN or
/// infinity.
inline std::string encode_png(const torch::Tensor& image) {
  TORCH_CHECK_VALUE(
      image.defined() && image.numel() > 0 &&
          (image.dim() == 2 ||
           (image.dim() == 3 && (image.size(0) == 1 || image.size(0) == 3))),
      "cyborg::data::encode_png: expected an image [H, W], [1, H, W] or "
      "[3, H, W], got ",
      image.defined() ? image.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      image.scalar_type() == at::kByte || image.is_floating_point(),
      "cyborg::data::encode_png: expected uint8 or floating point, got ",
      image.scalar_type());
  auto pixels = image.detach().to(at::kCPU);
  if (pixels.is_floating_point()) {
    pixels = pixels.to(at::kFloat);
    TORCH_CHECK_VALUE(
        at::isfinite(pixels).all().item<bool>(),
        "cyborg::data::encode_png: expected finite values, got NaN or "
        "infinity");
    pixels = pixels.clamp(0, 1).mul(255).round().to(at::kByte);
  }
  pixels = pixels.dim() == 2 ? pixels.unsqueeze(-1) : pixels.permute({1, 2, 0});
  pixels = pixels.contiguous();
  TORCH_CHECK_VALUE(
      pixels.numel() < INT_MAX / 2,
      "cyborg::data::encode_png: expected fewer than 2^30 values, got ",
      image.sizes());
  const auto height = static_cast<int>(pixels.size(0));
  const auto width = static_cast<int>(pixels.size(1));
  const auto channels = static_cast<int>(pixels.size(2));
  std::string bytes;
  const auto append = [](void* to, void* data, int size) {
    static_cast<std::string*>(to)->append(
        static_cast<const char*>(data), static_cast<size_t>(size));
  };
  const int written = detail::stb::stbi_write_png_to_func(
      append, &bytes, width, height, channels, pixels.data_ptr<uint8_t>(),
      width * channels);
  TORCH_CHECK(written != 0, "cyborg::data::encode_png: out of memory");
  return bytes;
}

/// Writes an image, as in `encode_png`, into a PNG file. The file is first
/// written under a temporary name and then renamed, so it is never incomplete.
/// The folder must exist.
///
/// Throws: `c10::ValueError` as `encode_png`, and `io::FileError`.
inline void write_png(
    const std::filesystem::path& path, const torch::Tensor& image) {
  io::write_file(path, encode_png(image), "cyborg::data::write_png");
}

/// Resizes a picture or a batch of pictures to `size` {H, W} by antialiased
/// bilinear interpolation in floating point. The result is that of PIL before
/// PIL rounds it to whole numbers.
///
/// Shapes: image [C, H, W] or [B, C, H, W]; returns the same with the new size.
/// Gradient: image.
/// Throws: `c10::ValueError` for other shapes.
inline torch::Tensor resize_image(
    const torch::Tensor& image, at::IntArrayRef size) {
  TORCH_CHECK_VALUE(
      image.defined() && (image.dim() == 3 || image.dim() == 4) &&
          size.size() == 2,
      "cyborg::data::resize_image: expected an image [C, H, W] and a size "
      "{H, W}, got ",
      image.defined() ? image.sizes() : at::IntArrayRef(), " and ", size);
  return maps::resize(image, size, maps::Resize::kAntialias);
}

}  // namespace cyborg::data
