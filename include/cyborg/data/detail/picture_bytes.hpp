// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// The bytes of a picture file.
namespace cyborg::data::detail {

/// Byte `i`, or 0 after the end. So it is safe to read any position of a
/// truncated file.
inline uint32_t byte_at(std::string_view bytes, size_t i) {
  return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U;
}

/// The four bytes from `i` as a number, the highest first (PNG, JPEG).
inline uint32_t big_endian_32(std::string_view bytes, size_t i) {
  return byte_at(bytes, i) << 24 | byte_at(bytes, i + 1) << 16 |
         byte_at(bytes, i + 2) << 8 | byte_at(bytes, i + 3);
}

/// The four bytes from `i` as a number, the lowest first (BMP).
inline uint32_t little_endian_32(std::string_view bytes, size_t i) {
  return byte_at(bytes, i + 3) << 24 | byte_at(bytes, i + 2) << 16 |
         byte_at(bytes, i + 1) << 8 | byte_at(bytes, i);
}

/// Whether `bytes` has `text` at position `at`.
inline bool holds(std::string_view bytes, size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() &&
         bytes.compare(at, text.size(), text) == 0;
}

/// The first bytes of every PNG.
inline constexpr std::string_view kPngSignature{"\x89PNG\r\n\x1a\n", 8};

/// Why a picture of this size is not read; "" if it is.
inline std::string size_problem(
    int64_t height, int64_t width, int64_t max_pixels) {
  return width <= 0 || height <= max_pixels / width
             ? ""
             : "is too large: " + std::to_string(width) + " x " +
                   std::to_string(height) + " pixels, the limit is " +
                   std::to_string(max_pixels) +
                   " (max_pixels; --max-pixels in the programs)";
}

/// What is known of a picture before it is decoded.
struct Inspection {
  int64_t width = 0;    ///< 0 if it was not found
  int64_t height = 0;   ///< 0 if it was not found
  std::string problem;  ///< why the file must not be decoded; "" if it may be
  /// The bytes that are decoded in place of the file's, where stb needs more
  /// than these; "": the file's own.
  std::string repaired;
  /// How many colours the palette of a PNG has, where its pixels could name
  /// more; 0 otherwise. Then `indices` is a grey PNG whose values are the
  /// numbers of the colours: only the compressed data say which these are.
  int64_t colours = 0;
  std::string indices;
};

}  // namespace cyborg::data::detail
