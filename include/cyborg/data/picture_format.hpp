// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_bytes.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

// Which format a file has, by the bytes that it begins with.
namespace cyborg::data {

/// The formats that are read. `kNone`: another one, or not a picture.
enum class PictureFormat { kNone, kPng, kJpeg, kBmp };

/// The format of a file by its first bytes, whatever its name is. 32 bytes are
/// enough.
inline PictureFormat picture_format(std::string_view bytes) {
  if (detail::holds(bytes, 0, detail::kPngSignature)) {
    return PictureFormat::kPng;
  }
  if (detail::holds(bytes, 0, "\xFF\xD8\xFF")) {
    return PictureFormat::kJpeg;
  }
  if (detail::holds(bytes, 0, "BM") && bytes.size() >= 26) {
    // "BM" alone could begin a text. The size of the second header, which
    // follows, has only these values: 12 in OS/2, 40 to 124 in Windows.
    const auto header = detail::little_endian_32(bytes, 14);
    if (header == 12 || (header >= 40 && header <= 124)) {
      return PictureFormat::kBmp;
    }
  }
  return PictureFormat::kNone;
}

/// The name of a format for messages.
inline const char* to_string(PictureFormat format) {
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

namespace detail {

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

/// How a file of a format that is not read becomes one that is.
enum class Conversion { kNone, kCommand, kPython, kLfs, kDownload };

/// A format that is not read.
struct ForeignFormat {
  const char* name = "";  ///< "": not known
  Conversion conversion = Conversion::kNone;
};

/// The probable format of a file that is not a PNG, JPEG or BMP.
/// Source of the first bytes: DICOM PS3.10, 7.1; NIfTI-1 and NIfTI-2 (nifti1.h,
/// nifti2.h: `magic`); BigTIFF (libtiff); RFC 1952 (gzip).
inline ForeignFormat foreign_format(std::string_view bytes) {
  struct Signature {
    size_t at;
    std::string_view text;
    ForeignFormat format;
  };
  static constexpr Signature kSignatures[] = {
      {128, "DICM", {"DICOM", Conversion::kPython}},
      {344, {"n+1\0", 4}, {"NIfTI", Conversion::kPython}},
      {344, {"ni1\0", 4}, {"NIfTI", Conversion::kPython}},
      {4, {"n+2\0\r\n\x1a\n", 8}, {"NIfTI", Conversion::kPython}},
      {4, {"ni2\0\r\n\x1a\n", 8}, {"NIfTI", Conversion::kPython}},
      {0, "NRRD000", {"NRRD", Conversion::kPython}},
      {0, "\x93NUMPY", {"NumPy", Conversion::kPython}},
      {0, "\x89HDF\r\n", {"HDF5", Conversion::kPython}},
      {0, "\x1F\x8B\x08", {"gzip (as .nii.gz)", Conversion::kPython}},
      {0, {"II+\0", 4}, {"BigTIFF", Conversion::kCommand}},
      {0, {"MM\0+", 4}, {"BigTIFF", Conversion::kCommand}},
      {0, {"II*\0", 4}, {"TIFF", Conversion::kCommand}},
      {0, {"MM\0*", 4}, {"TIFF", Conversion::kCommand}},
      {0, "GIF8", {"GIF", Conversion::kCommand}},
      {4, "ftyp", {"HEIF, AVIF or video", Conversion::kCommand}},
      {0, {"\0\0\0\x0CjP", 6}, {"JPEG 2000", Conversion::kCommand}},
      {0, "\xFF\x4F\xFF", {"JPEG 2000", Conversion::kCommand}},
      {0, "%PDF", {"PDF", Conversion::kCommand}},
      {0,
       "version https://git-lfs",
       {"a pointer of Git LFS", Conversion::kLfs}}};
  if (holds(bytes, 0, "RIFF") && holds(bytes, 8, "WEBP")) {
    return {"WebP", Conversion::kCommand};
  }
  for (const auto& one : kSignatures) {
    if (holds(bytes, one.at, one.text)) {
      return one.format;
    }
  }
  const auto begin = std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size());
  for (const std::string_view html : {"<!doctype html", "<html"}) {
    std::string start(bytes.substr(begin, html.size()));
    for (auto& c : start) {
      c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (start == html) {
      return {"HTML", Conversion::kDownload};
    }
  }
  // Without control characters in its first bytes, it is probably a text.
  for (size_t i = 0; i < bytes.size() && i < 256; ++i) {
    const auto c = byte_at(bytes, i);
    if (c < 32 && c != '\t' && c != '\n' && c != '\r') {
      return {};
    }
  }
  return {"text", Conversion::kNone};
}

}  // namespace detail

/// How many of the first bytes of a file `content_name` and `format_problem`
/// look at.
inline constexpr size_t kFormatBytes = 512;

/// What the first bytes of a file say that it is, for messages: "PNG", "WebP",
/// "DICOM", "text", ...; "" if it is not known.
inline std::string content_name(std::string_view bytes) {
  const auto format = picture_format(bytes);
  return format != PictureFormat::kNone ? to_string(format)
                                        : detail::foreign_format(bytes).name;
}

/// How a file with these first bytes is converted into a picture that can be
/// read, to follow what is wrong with it: ": convert it, ..."; "" for a text, and
/// for a format that is not known. `file` is its name in a command.
inline std::string conversion_advice(
    std::string_view bytes, const std::string& file = "FILE") {
  switch (detail::foreign_format(bytes).conversion) {
    case detail::Conversion::kCommand:
      // Without a number of bits, values that fit into 8 bits would be written
      // with 8.
      return ": convert it, for example with: mogrify -define "
             "png:bit-depth=16 -format png " +
             file;
    case detail::Conversion::kPython:
      return ": convert it in Python, as docs/train.md shows under \"Other "
             "formats\": a window of its values becomes a PNG of 16 bits";
    case detail::Conversion::kLfs:
      return ": fetch the file itself, with: git lfs pull";
    case detail::Conversion::kDownload:
      return ": is it the page of a download that failed?";
    case detail::Conversion::kNone:
      break;
  }
  return "";
}

/// Why a file with these first bytes, which is not a PNG, JPEG or BMP, is not
/// read. `file` is its name in the command that converts it.
///
/// Example:
///     its content is TIFF, not a PNG, JPEG or BMP picture: convert it, ...
inline std::string format_problem(
    std::string_view bytes, const std::string& file = "FILE") {
  const auto name = content_name(bytes);
  return (name.empty() ? "its content is not"
                       : "its content is " + name + ", not") +
         std::string(" a PNG, JPEG or BMP picture") +
         conversion_advice(bytes, file);
}

namespace detail {

/// Why a file with these first bytes is not read as a picture; "" if it is.
/// `promised` is the format that its name says; `kNone`: any. `file`: as in
/// `format_problem` of the bytes alone.
inline std::string promise_problem(
    std::string_view bytes, PictureFormat promised,
    const std::string& file = "FILE") {
  const auto format = picture_format(bytes);
  if (format == PictureFormat::kNone) {
    return (promised != PictureFormat::kNone ? "is mislabelled: " : "") +
           format_problem(bytes, file);
  }
  return promised == PictureFormat::kNone || promised == format
             ? ""
             : std::string("is mislabelled: named as ") + to_string(promised) +
                   " but its content is " + to_string(format) +
                   "; rename it, or allow this (check_extension; "
                   "--any-extension in the programs)";
}

}  // namespace detail

}  // namespace cyborg::data
