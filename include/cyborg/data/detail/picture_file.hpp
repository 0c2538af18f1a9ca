// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/jpeg_file.hpp>
#include <cyborg/data/detail/picture_bytes.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/io/checksum.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Whether a picture file is complete, from its bytes. stb decodes a truncated
// JPEG or BMP and leaves the rest grey or black, reads some CMYK files as RGB,
// ignores the checksums of PNG, and reads colours that a palette lacks from
// whatever is in memory. Such pictures must not get into a training unnoticed,
// so the file is checked before stb reads it.
namespace cyborg::data::detail {

/// Checks a PNG: its chunks must be complete and have the right checksums, and
/// the last one must be IEND.
///
/// After the signature (8 bytes) come chunks: the length of the data (4 bytes),
/// the name (4), the data, and a CRC-32 of name and data (4). The first chunk
/// is IHDR, whose data are width, height (4 bytes each), the bits of a sample
/// and the kind of the picture (3: with a palette). Bytes after IEND are
/// ignored.
inline Inspection inspect_png(std::string_view bytes) {
  Inspection found;
  if (bytes.size() >= 24 && !holds(bytes, 12, "IHDR")) {
    found.problem = "is damaged: the PNG does not begin with its header";
    return found;
  }
  found.width = big_endian_32(bytes, 16);
  found.height = big_endian_32(bytes, 20);
  const bool has_palette = byte_at(bytes, 25) == 3;
  const auto most_colours = int64_t{1} << std::min(byte_at(bytes, 24), 8U);
  size_t transparency = 0;           // where that chunk begins; 0: none
  size_t at = kPngSignature.size();  // where a chunk begins
  while (true) {
    if (bytes.size() < at + 12) {
      found.problem = "is truncated: it ends before the PNG's last chunk";
      return found;
    }
    const size_t length = big_endian_32(bytes, at);
    if (bytes.size() - at - 12 < length) {
      found.problem = "is truncated: it ends inside a PNG chunk";
      return found;
    }
    if (io::crc32(bytes.substr(at + 4, 4 + length)) !=
        big_endian_32(bytes, at + 8 + length)) {
      found.problem = "is damaged: a PNG chunk has a wrong checksum";
      return found;
    }
    if (holds(bytes, at + 4, "PLTE")) {
      found.colours = static_cast<int64_t>(length / 3);
    } else if (holds(bytes, at + 4, "tRNS")) {
      transparency = at;
    } else if (holds(bytes, at + 4, "IEND")) {
      break;
    }
    at += 12 + length;
  }
  if (!has_palette || found.colours >= most_colours) {
    found.colours = 0;
    return found;
  }
  found.indices = std::string(bytes);
  found.indices[25] = 0;  // grey
  if (transparency > 0) {
    found.indices[transparency + 7] = 'x';  // a chunk that nobody knows
  }
  return found;
}

/// The largest value of the pixels of a BMP with `bits` for each, 8 at most.
inline uint32_t largest_index(
    std::string_view pixels, size_t width, size_t stride, size_t bits) {
  uint32_t largest = 0;
  for (size_t at = 0; at < pixels.size(); at += stride) {
    for (size_t x = 0; x < width * bits; x += bits) {
      const auto byte = byte_at(pixels, at + x / 8);
      const auto value = byte >> (8 - bits - x % 8) & ((1U << bits) - 1);
      largest = std::max(largest, value);
    }
  }
  return largest;
}

/// Checks a BMP: its rows must be complete and not run-length coded, and must
/// not name colours that the palette lacks.
///
/// A file header of 14 bytes ends with the position of the pixels (byte 10).
/// The second header begins with its own size (byte 14): 12 in the old format
/// of OS/2, which has 16-bit fields, and more in those of Windows, which have
/// 32-bit ones. The palette follows, if there is one: 3 bytes for each colour
/// in the old format, and else 4. Each row is padded to a multiple of 4 bytes.
inline Inspection inspect_bmp(std::string_view bytes) {
  const bool old = little_endian_32(bytes, 14) == 12;
  const auto low = [&](size_t i) {
    return little_endian_32(bytes, i) & 0xFFFFU;
  };
  const auto magnitude = [&](size_t i) {
    const auto value = static_cast<int32_t>(little_endian_32(bytes, i));
    return static_cast<uint64_t>(
        value < 0 ? -static_cast<int64_t>(value) : value);
  };
  const uint64_t width = old ? low(18) : magnitude(18);
  const uint64_t height = old ? low(20) : magnitude(22);  // negative: top down
  Inspection found;
  found.width = static_cast<int64_t>(width);
  found.height = static_cast<int64_t>(height);
  const uint64_t bits = old ? low(24) : low(28);
  const auto compression = old ? 0U : little_endian_32(bytes, 30);
  if (compression == 1 || compression == 2) {
    found.problem = "is a run-length coded BMP, which cannot be decoded";
    return found;
  }
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 &&
      bits != 32) {
    found.problem = "is a BMP of " + std::to_string(bits) +
                    " bits, which cannot be decoded";
    return found;
  }
  const uint64_t start = little_endian_32(bytes, 10);
  const uint64_t header = 14 + uint64_t{little_endian_32(bytes, 14)};
  const uint64_t masks =
      compression == 3 && header <= 14 + 56 ? 12 : 0;  // after the header
  if (start < header + masks) {
    found.problem = "is damaged: the BMP's pixels begin inside its header";
    return found;
  }
  const uint64_t stride = (width * bits + 31) / 32 * 4;
  // Many files leave out the padding of the last row, which is not needed.
  const uint64_t expected =
      start + (height > 0 ? stride * (height - 1) : 0) + (width * bits + 7) / 8;
  if (bytes.size() < expected) {
    found.problem = "is truncated: " + std::to_string(bytes.size()) + " of " +
                    std::to_string(expected) + " bytes";
    return found;
  }
  const uint64_t colours = (start - header) / (old ? 3 : 4);
  if (bits <= 8 && colours < uint64_t{1} << bits &&
      colours <=
          largest_index(
              bytes.substr(start, expected - start), width, stride, bits)) {
    found.problem =
        "is damaged: a pixel of the BMP has a colour that its palette lacks";
  }
  if (old && bits <= 8) {
    // stb takes the old header for 12 bytes longer than it is, and so the
    // palette for shorter.
    found.repaired = std::string(bytes);
    found.repaired.insert(start, 12, '\0');
    for (size_t i = 0; i < 4; ++i) {
      found.repaired[10 + i] =
          static_cast<char>((start + 12) >> (8 * i) & 0xFFU);
    }
  }
  return found;
}

/// Checks a file of this format.
inline Inspection inspect(std::string_view bytes, PictureFormat format) {
  switch (format) {
    case PictureFormat::kPng:
      return inspect_png(bytes);
    case PictureFormat::kJpeg:
      return JpegInspector(bytes).inspect();
    case PictureFormat::kBmp:
      return inspect_bmp(bytes);
    case PictureFormat::kNone:
      break;
  }
  return {};
}

}  // namespace cyborg::data::detail
