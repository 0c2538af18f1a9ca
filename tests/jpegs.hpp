// SPDX-License-Identifier: BSD-3-Clause
//
// JPEG files that are taken apart, changed and put together again.
#pragma once

#include <cyborg/data/image.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace jpegs {

/// The parts of a JPEG: each marker with its segment or, after a scan's, with
/// the compressed data.
using Parts = std::vector<std::string>;

inline uint32_t byte(const std::string& text, size_t i) {
  return static_cast<unsigned char>(text.at(i));
}

inline Parts parts_of(const std::string& jpeg) {
  Parts parts;
  for (size_t at = 0; at < jpeg.size();) {
    const auto marker = byte(jpeg, at + 1);
    size_t end = at + 2;
    if (marker != 0xD8 && marker != 0xD9) {
      end += byte(jpeg, at + 2) << 8 | byte(jpeg, at + 3);
    }
    while (marker == 0xDA &&
           !(byte(jpeg, end) == 0xFF && byte(jpeg, end + 1) != 0 &&
             byte(jpeg, end + 1) >> 3 != 0xD0 >> 3)) {
      ++end;
    }
    parts.push_back(jpeg.substr(at, end - at));
    at = end;
  }
  return parts;
}

inline std::string joined(const Parts& parts) {
  std::string jpeg;
  for (const auto& part : parts) {
    jpeg += part;
  }
  return jpeg;
}

inline uint32_t marker_of(const std::string& part) {
  return byte(part, 1);
}

/// The JPEG without the parts that begin with `marker`: without all of them, or
/// without the one of this number, from 0.
inline std::string without(
    const std::string& jpeg, uint32_t marker, int number = -1) {
  std::string out;
  int i = 0;
  for (const auto& part : parts_of(jpeg)) {
    if (marker_of(part) != marker || (number >= 0 && i++ != number)) {
      out += part;
    }
  }
  return out;
}

/// A baseline JPEG of these 8-bit RGB pixels, with the standard Huffman tables
/// in one segment.
inline std::string written(
    const std::vector<uint8_t>& rgb, int width, int height, int quality = 80) {
  std::string out;
  cyborg::data::detail::stb::stbi_write_jpg_to_func(
      [](void* to, void* data, int size) {
        static_cast<std::string*>(to)->append(
            static_cast<const char*>(data), static_cast<size_t>(size));
      },
      &out, width, height, /*comp=*/3, rgb.data(), quality);
  return out;
}

/// The same with a picture of many colours.
inline std::string colours(int width = 21, int height = 13, int quality = 80) {
  std::vector<uint8_t> rgb;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      rgb.push_back(static_cast<uint8_t>(x * 12));
      rgb.push_back(static_cast<uint8_t>(y * 20));
      rgb.push_back(static_cast<uint8_t>((x * 37 + y * 59) % 256));
    }
  }
  return written(rgb, width, height, quality);
}

}  // namespace jpegs
