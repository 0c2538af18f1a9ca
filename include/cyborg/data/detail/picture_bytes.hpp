// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// The bytes of a picture file, and the format that they begin with.
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
  if (holds(bytes, 0, "version https://git-lfs")) {
    return "a pointer of Git LFS";
  }
  const auto begin = std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size());
  for (const std::string_view html : {"<!doctype html", "<html"}) {
    std::string start(bytes.substr(begin, html.size()));
    for (auto& c : start) {
      c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (start == html) {
      return "HTML";
    }
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

/// How to convert a picture of such a format with ImageMagick. Without a number
/// of bits, values that fit into 8 bits would be written with 8.
inline std::string conversion_command(const std::string& file = "FILE") {
  return "mogrify -define png:bit-depth=16 -format png " + file;
}

/// What to do about a file of a `foreign_format`, as the end of an error's text.
/// `file` is its name in the command that converts it.
inline std::string foreign_way_out(
    const std::string& format, const std::string& file = "FILE") {
  if (format.empty() || format == "text") {
    return "";
  }
  if (format == "HTML") {
    return ": is it the page of a download that failed?";
  }
  return format.find("Git LFS") != std::string::npos
             ? ": fetch the file itself, with: git lfs pull"
             : ": convert it, for example with: " + conversion_command(file);
}

/// Why a file with these first bytes, which is not a PNG, JPEG or BMP, is not
/// read. `file`: as in `foreign_way_out`.
inline std::string foreign_problem(
    std::string_view bytes, const std::string& file = "FILE") {
  const auto format = foreign_format(bytes);
  return (format.empty() ? "its content is not"
                         : "its content is " + format + ", not") +
         std::string(" a PNG, JPEG or BMP picture") +
         foreign_way_out(format, file);
}

/// Why a file with these first bytes is not read as a picture; "" if it is.
/// `promised` is the format that its name says; `kNone`: any. `file`: as in
/// `foreign_problem`.
inline std::string format_problem(
    std::string_view bytes, PictureFormat promised,
    const std::string& file = "FILE") {
  const auto format = picture_format(bytes);
  if (format == PictureFormat::kNone) {
    return (promised != PictureFormat::kNone ? "is mislabelled: " : "") +
           foreign_problem(bytes, file);
  }
  return promised == PictureFormat::kNone || promised == format
             ? ""
             : std::string("is mislabelled: named as ") +
                   format_name(promised) + " but its content is " +
                   format_name(format) +
                   "; rename it, or allow this (check_extension; "
                   "--any-extension in the programs)";
}

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

/// What the first bytes of a file say that it is, for error messages: "PNG",
/// "WebP", "text", ...; "" if it is not known.
inline std::string content_name(std::string_view bytes) {
  const auto format = picture_format(bytes);
  return format != PictureFormat::kNone ? format_name(format)
                                        : foreign_format(bytes);
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
