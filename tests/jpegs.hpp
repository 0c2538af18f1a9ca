// SPDX-License-Identifier: BSD-3-Clause
//
// JPEG files that are taken apart, changed and put together again.
#pragma once

#include "pictures.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
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

/// 21 x 13 and of many colours, baseline, with the standard Huffman tables in
/// one segment. Written by stb_image_write 1.16 (quality 30; the colours have
/// half the resolution) from the pixels (12 x, 20 y, (37 x + 59 y) % 256).
inline std::string colours() {
  return pictures::from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb0084001b12141714111b1716"
      "171e1c1b2028422b28252528513a3d3042605565645f555d5b6a7899816a7190735b"
      "5d85b586909ea3abadab6780bcc9baa6c799a8aba4011c1e1e2823284e2b2b4ea46e"
      "5d6ea4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4"
      "a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4ffc0001108000d001503012200021101"
      "031101ffc401a2000001050101010101010000000000000000010203040506070809"
      "0a0b100002010303020403050504040000017d010203000411051221314106135161"
      "07227114328191a1082342b1c11552d1f02433627282090a161718191a2526272829"
      "2a3435363738393a434445464748494a535455565758595a636465666768696a7374"
      "75767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3"
      "b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9"
      "eaf1f2f3f4f5f6f7f8f9fa0100030101010101010101010000000000000102030405"
      "060708090a0b11000201020404030407050404000102770001020311040521310612"
      "41510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718"
      "191a262728292a35363738393a434445464748494a535455565758595a6364656667"
      "68696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6"
      "a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4"
      "e5e6e7e8e9eaf2f3f4f5f6f7f8f9faffda000c03010002110311003f00cd8ed38e98"
      "1e95652d3b63f0ad18e15ce3f5ab114084e07029cabbdbfafebfad4c2862599ab6bc"
      "7f852fd97d9ab6638548e38a77923d7f4ac3db37aff5f99ea2c4bb1fffd9");
}

}  // namespace jpegs
