// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/checksum.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

// The format of a picture file and whether it is complete, from its bytes. stb
// decodes a truncated JPEG or BMP and leaves the rest grey or black, reads some
// CMYK files as RGB, and ignores the checksums of PNG. Such pictures must not
// get into a training unnoticed, so the file is checked before stb reads it.
namespace cyborg::data::detail {

/// The formats that are read. `kNone`: another one, or not a picture.
enum class PictureFormat { kNone, kPng, kJpeg, kBmp };

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

/// The format of a file by its first bytes, whatever its name is.
inline PictureFormat picture_format(std::string_view bytes) {
  if (holds(bytes, 0, kPngSignature)) {
    return PictureFormat::kPng;
  }
  if (holds(bytes, 0, "\xFF\xD8\xFF")) {
    return PictureFormat::kJpeg;
  }
  if (holds(bytes, 0, "BM") && bytes.size() >= 26) {
    // "BM" alone could begin a text. The size of the second header, which
    // follows, has only these values: 12 in OS/2, 40 to 124 in Windows.
    const auto header = little_endian_32(bytes, 14);
    if (header == 12 || (header >= 40 && header <= 124)) {
      return PictureFormat::kBmp;
    }
  }
  return PictureFormat::kNone;
}

/// The name of a format for error messages.
inline const char* format_name(PictureFormat format) {
  switch (format) {
    case PictureFormat::kPng:
      return "PNG";
    case PictureFormat::kJpeg:
      return "JPEG";
    case PictureFormat::kBmp:
      return "BMP";
    case PictureFormat::kNone:
      break;
  }
  return "unknown";
}

/// The format that the extension of a file name says; `kNone` for an extension
/// of no such format.
inline PictureFormat promised_format(std::string extension) {
  for (auto& c : extension) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  if (extension == ".png") {
    return PictureFormat::kPng;
  }
  if (extension == ".jpg" || extension == ".jpeg" || extension == ".jpe" ||
      extension == ".jfif") {
    return PictureFormat::kJpeg;
  }
  if (extension == ".bmp" || extension == ".dib") {
    return PictureFormat::kBmp;
  }
  return PictureFormat::kNone;
}

/// The probable format of a file that is not a PNG, JPEG or BMP, for the error
/// message; "" if it is not known.
inline std::string foreign_format(std::string_view bytes) {
  if (holds(bytes, 0, "GIF8")) {
    return "GIF";
  }
  if (holds(bytes, 0, "RIFF") && holds(bytes, 8, "WEBP")) {
    return "WebP";
  }
  if (holds(bytes, 0, {"II*\0", 4}) || holds(bytes, 0, {"MM\0*", 4})) {
    return "TIFF";
  }
  if (holds(bytes, 4, "ftyp")) {
    return "HEIF, AVIF or video";
  }
  if (holds(bytes, 0, {"\0\0\0\x0CjP", 6}) || holds(bytes, 0, "\xFF\x4F\xFF")) {
    return "JPEG 2000";
  }
  if (holds(bytes, 0, "%PDF")) {
    return "PDF";
  }
  // Without control characters in its first bytes, it is probably a text.
  for (size_t i = 0; i < bytes.size() && i < 256; ++i) {
    const auto c = byte_at(bytes, i);
    if (c < 32 && c != '\t' && c != '\n' && c != '\r') {
      return "";
    }
  }
  return "text";
}

/// What is known of a picture before it is decoded.
struct Inspection {
  int64_t width = 0;    ///< 0 if it was not found
  int64_t height = 0;   ///< 0 if it was not found
  std::string problem;  ///< why the file must not be decoded; "" if it may be
};

/// Checks a PNG: its chunks must be complete and have the right checksums, and
/// the last one must be IEND.
///
/// After the signature (8 bytes) come chunks: the length of the data (4 bytes),
/// the name (4), the data, and a CRC-32 of name and data (4). The first chunk
/// is IHDR, whose data begin with width and height. Bytes after IEND are
/// ignored.
inline Inspection inspect_png(std::string_view bytes) {
  Inspection found;
  if (bytes.size() >= 24 && !holds(bytes, 12, "IHDR")) {
    found.problem = "is damaged: the PNG does not begin with its header";
    return found;
  }
  found.width = big_endian_32(bytes, 16);
  found.height = big_endian_32(bytes, 20);
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
    if (holds(bytes, at + 4, "IEND")) {
      return found;
    }
    at += 12 + length;
  }
}

/// Whether a JPEG marker begins a frame. 0xC4 has Huffman tables, 0xCC
/// arithmetic tables, and 0xC8 is reserved.
inline bool is_jpeg_frame(uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 &&
         marker != 0xCC;
}

/// Whether a JPEG segment of Huffman tables is complete and has at most 256
/// codes in each table. `at` is the position of the segment's length. With more
/// codes, stb before 2.28 writes past the end of its own table.
inline bool huffman_tables_fit(
    std::string_view bytes, size_t at, size_t length) {
  // A table is its number (1 byte), how many codes there are of each length
  // from 1 to 16 bits (16 bytes), and one byte for each code.
  const size_t end = at + length;
  at += 2;
  while (at < end) {
    size_t codes = 0;
    for (size_t i = 1; i <= 16; ++i) {
      codes += byte_at(bytes, at + i);
    }
    if (codes > 256 || end - at < 17 + codes) {
      return false;
    }
    at += 17 + codes;
  }
  return true;
}

/// Checks a JPEG: its markers must lead to the end-of-image marker, it must
/// have one frame of 8 bits and one or three components, and its Huffman tables
/// must fit into their segments.
///
/// A marker is 0xFF and one byte that is neither 0 nor 0xFF. Most markers begin
/// a segment: a length (2 bytes, these included) and data. A frame segment
/// gives size, bits and components. A scan segment (0xDA) is followed by
/// compressed data, in which 0xFF 0x00 is a byte of data and not a marker.
inline Inspection inspect_jpeg(std::string_view bytes) {
  Inspection found;
  const auto fail = [&](std::string problem) {
    found.problem = std::move(problem);
    return found;
  };
  const auto cut = [&] {
    return fail("is truncated: the JPEG's end-of-image marker is missing");
  };
  size_t at = 2;         // after the start-of-image marker
  bool in_scan = false;  // compressed data may come here
  bool has_frame = false;
  while (at + 1 < bytes.size()) {
    if (byte_at(bytes, at) != 0xFF) {
      if (!in_scan) {
        return fail(
            "is damaged: a JPEG marker was expected at byte " +
            std::to_string(at));
      }
      const auto next = bytes.find('\xFF', at);  // skip entropy-coded data
      if (next == std::string_view::npos) {
        return cut();
      }
      at = next;
      continue;
    }
    const auto marker = byte_at(bytes, at + 1);
    if (marker == 0xFF) {  // fill byte
      ++at;
    } else if (marker == 0xD9) {
      return has_frame ? found : fail("is damaged: the JPEG holds no picture");
    } else if (
        marker == 0x00 || marker == 0x01 ||
        (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;  // a stuffed zero, or a marker without a segment
    } else {
      const size_t length =
          byte_at(bytes, at + 2) << 8 | byte_at(bytes, at + 3);
      if (length < 2 || bytes.size() - at - 2 < length) {
        return cut();
      }
      const bool frame = is_jpeg_frame(marker);
      if (frame) {
        if (has_frame) {
          return fail("is damaged: the JPEG holds two frames");
        }
        has_frame = true;
        found.height = byte_at(bytes, at + 5) << 8 | byte_at(bytes, at + 6);
        found.width = byte_at(bytes, at + 7) << 8 | byte_at(bytes, at + 8);
        const auto bits = byte_at(bytes, at + 4);
        const auto components = byte_at(bytes, at + 9);
        if (components == 4) {
          return fail("is a CMYK JPEG (4 components); convert it to RGB");
        }
        if (components != 1 && components != 3) {
          return fail(
              "is a JPEG of " + std::to_string(components) +
              " components, expected 1 or 3");
        }
        if (bits != 8) {
          return fail(
              "is a JPEG of " + std::to_string(bits) +
              " bits, which cannot be decoded; expected 8");
        }
        // 0xC0 and 0xC1 are sequential, 0xC2 is progressive.
        if (marker > 0xC2) {
          return fail(
              "is a lossless, hierarchical or arithmetic JPEG, which cannot "
              "be decoded; convert it to a baseline or progressive one");
        }
      }
      if (marker == 0xC4 && !huffman_tables_fit(bytes, at + 2, length)) {
        return fail(
            "is damaged: a JPEG Huffman table does not fit its segment");
      }
      in_scan = marker == 0xDA || (in_scan && !frame);
      at += 2 + length;
    }
  }
  return cut();
}

/// Checks a BMP: its rows must be complete and not run-length coded.
///
/// A file header of 14 bytes ends with the position of the pixels (byte 10).
/// The second header begins with its own size (byte 14): 12 in the old format
/// of OS/2, which has 16-bit fields, and more in those of Windows, which have
/// 32-bit ones. Each row is padded to a multiple of 4 bytes.
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
  const uint64_t stride = (width * bits + 31) / 32 * 4;
  // Many files leave out the padding of the last row, which is not needed.
  const uint64_t expected = little_endian_32(bytes, 10) +
                            (height > 0 ? stride * (height - 1) : 0) +
                            (width * bits + 7) / 8;
  if (bytes.size() < expected) {
    found.problem = "is truncated: " + std::to_string(bytes.size()) + " of " +
                    std::to_string(expected) + " bytes";
  }
  return found;
}

/// Checks a file of this format.
inline Inspection inspect(std::string_view bytes, PictureFormat format) {
  switch (format) {
    case PictureFormat::kPng:
      return inspect_png(bytes);
    case PictureFormat::kJpeg:
      return inspect_jpeg(bytes);
    case PictureFormat::kBmp:
      return inspect_bmp(bytes);
    case PictureFormat::kNone:
      break;
  }
  return {};
}

}  // namespace cyborg::data::detail
