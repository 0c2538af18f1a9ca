// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/picture_format.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

// What a picture file says of its picture before the compressed data: size, bits,
// colours and orientation. Little of the file is read, so it is quick for whole
// folders.
namespace cyborg::data {

/// What the header of a picture file says.
struct PictureHeader {
  PictureFormat format = PictureFormat::kNone;
  int64_t height = 0;    ///< as stored; 0 if it was not found
  int64_t width = 0;     ///< as stored; 0 if it was not found
  int64_t bits = 8;      ///< of a stored value once it is decoded: 8 or 16
  int64_t channels = 3;  ///< once it is decoded, without alpha: 1 or 3
  /// EXIF's orientation, 1 to 8: how the stored picture is turned. 1: not at
  /// all, or not known. From 5 on, height and width are exchanged.
  uint32_t orientation = 1;

  /// Whether it says a size. Then the file is probably a picture.
  bool found() const { return height > 0 && width > 0; }

  /// The size {H, W}; empty if it was not found. `turned`: as it is after EXIF's
  /// orientation was applied (`ImageOptions::apply_orientation`).
  std::vector<int64_t> size(bool turned = false) const {
    if (!found()) {
      return {};
    }
    return turned && orientation >= 5 ? std::vector<int64_t>{width, height}
                                      : std::vector<int64_t>{height, width};
  }
};

namespace detail {

/// The tag 0x0112 of the first directory of EXIF data, which have the layout of
/// a TIFF file; 1 if it is missing or makes no sense.
///
/// The data begin with the byte order, "II" or "MM", and at byte 4 the position
/// of the directory. That is the number of its entries (2 bytes) and 12 bytes
/// for each: tag (2), type (2; 3 means 16 bits), count (4) and value (4).
/// Source: CIPA DC-008, 4.6.4.
inline uint32_t exif_orientation(std::string_view exif) {
  const bool little = holds(exif, 0, {"II*\0", 4});
  if (!little && !holds(exif, 0, {"MM\0*", 4})) {
    return 1;
  }
  const auto two = [&](size_t i) {
    return little ? byte_at(exif, i + 1) << 8 | byte_at(exif, i)
                  : byte_at(exif, i) << 8 | byte_at(exif, i + 1);
  };
  const size_t at = little ? little_endian_32(exif, 4) : big_endian_32(exif, 4);
  for (size_t i = 0; i < two(at); ++i) {
    const auto entry = at + 2 + 12 * i;
    if (two(entry) == 0x0112) {
      const auto value = two(entry + 8);
      return two(entry + 2) == 3 && value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}

/// How many parts of a file are looked at. A damaged file may have very many.
inline constexpr int kMostSegments = 4096;

/// The header of a file. `read(at, count)` returns up to `count` of its bytes
/// from position `at`, fewer at the end of the file.
template <class Read>
PictureHeader parse_header(const Read& read) {
  const auto start = read(size_t{0}, size_t{32});
  PictureHeader header;
  header.format = picture_format(start);
  if (header.format == PictureFormat::kBmp) {
    const auto found = inspect_bmp(start);  // its problem: the pixels are cut
    header.height = found.height;
    header.width = found.width;
  } else if (header.format == PictureFormat::kPng) {
    header.width = big_endian_32(start, 16);
    header.height = big_endian_32(start, 20);
    header.bits = byte_at(start, 24) == 16 ? 16 : 8;
    header.channels = byte_at(start, 25) % 4 == 0 ? 1 : 3;  // 0 and 4: grey
    size_t at = kPngSignature.size();
    for (int i = 0; i < kMostSegments; ++i) {
      const auto chunk = read(at, size_t{8});  // length and name
      const size_t length = big_endian_32(chunk, 0);
      if (holds(chunk, 4, "eXIf")) {
        header.orientation = exif_orientation(read(at + 8, length));
      } else if (
          chunk.size() < 8 || holds(chunk, 4, "IDAT") ||
          holds(chunk, 4, "IEND")) {
        return header;
      }
      at += 12 + length;
    }
  } else if (header.format == PictureFormat::kJpeg) {
    size_t at = 2;  // after the start-of-image marker
    for (int i = 0; i < kMostSegments; ++i) {
      const auto segment = read(at, size_t{10});
      const auto marker = byte_at(segment, 1);
      if (segment.size() < 4 || byte_at(segment, 0) != 0xFF || marker == 0xDA ||
          marker == 0xD9) {
        return header;
      }
      const size_t length = byte_at(segment, 2) << 8 | byte_at(segment, 3);
      if (marker == 0xFF) {
        at += 1;  // fill byte
      } else if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
        at += 2;
      } else if (is_jpeg_frame(marker)) {
        header.height = byte_at(segment, 5) << 8 | byte_at(segment, 6);
        header.width = byte_at(segment, 7) << 8 | byte_at(segment, 8);
        header.channels = byte_at(segment, 9) == 1 ? 1 : 3;
        return header;
      } else {
        if (marker == 0xE1 && holds(segment, 4, {"Exif\0\0", 6})) {
          header.orientation = exif_orientation(read(at + 10, length));
        }
        at += 2 + length;
      }
    }
  }
  return header;
}

/// The header of a file whose bytes are in memory.
inline PictureHeader picture_header(std::string_view bytes) {
  return parse_header([&](size_t at, size_t count) {
    return at < bytes.size() ? bytes.substr(at, count) : std::string_view();
  });
}

}  // namespace detail

/// The header of a file on the disk, of which only the header is read: it is not
/// decoded, and may be damaged. Without a format if there is no such file, or if
/// it is not a picture. Throws nothing.
///
/// Example:
///     cyborg::data::read_picture_header("scan.png").bits;  // 16
inline PictureHeader read_picture_header(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return detail::parse_header([&](size_t at, size_t count) {
    // The length of a segment may be wrong, so no more than a header needs.
    std::string bytes(std::min(count, size_t{1} << 16), '\0');
    file.clear();
    file.seekg(static_cast<std::streamoff>(at));
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    bytes.resize(
        static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    return bytes;
  });
}

/// The size {H, W} of a PNG, JPEG or BMP, from its header alone, as
/// `PictureHeader::size` says. Throws nothing for files that cannot be read.
///
/// Example:
///     cyborg::data::picture_size("faces/1.jpg");  // {480, 640}
inline std::vector<int64_t> picture_size(
    const std::filesystem::path& path, bool turned = false) {
  return read_picture_header(path).size(turned);
}

}  // namespace cyborg::data
