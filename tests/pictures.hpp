// SPDX-License-Identifier: BSD-3-Clause
//
// Picture files for tests, made byte by byte, so that every number in them is
// known; and folders that are deleted at the end of a test.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <unistd.h>

namespace pictures {

namespace fs = std::filesystem;

/// A new, empty folder. The destructor deletes it with all its files.
class Folder {
 public:
  Folder() {
    static std::atomic<int> count{0};
    path_ = fs::temp_directory_path() /
            ("cyborg-test-" + std::to_string(::getpid()) + "-" +
             std::to_string(count++));
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }
  const fs::path& path() const { return path_; }

  /// Writes a file and creates its folders; returns its path.
  std::string write(const std::string& name, std::string_view bytes) const {
    const auto path = path_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path.string();
  }

  /// The number of files and folders directly inside.
  std::ptrdiff_t entries() const {
    return std::distance(fs::directory_iterator(path_), {});
  }

 private:
  fs::path path_;
};

inline std::string big_endian(uint32_t value, int bytes = 4) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) {
    out += static_cast<char>((value >> (8 * i)) & 0xFFU);
  }
  return out;
}

inline std::string little_endian(uint32_t value, int bytes = 4) {
  const auto reversed = big_endian(value, bytes);
  return {reversed.rbegin(), reversed.rend()};
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : type + data) {
    crc ^= static_cast<unsigned char>(c);
    for (int k = 0; k < 8; ++k) {
      crc = (crc & 1U) != 0 ? 0xEDB88320U ^ (crc >> 1) : crc >> 1;
    }
  }
  return big_endian(static_cast<uint32_t>(data.size())) + type + data +
         big_endian(crc ^ 0xFFFFFFFFU);
}

/// A PNG file of rows as they are compressed: each begins with the number of
/// its filter. `chunks` come before the rows.
inline std::string png_of_rows(
    uint32_t width, uint32_t height, int depth, int kind,
    const std::string& rows, const std::string& chunks = "",
    bool interlaced = false) {
  uint32_t a = 1;
  uint32_t b = 0;
  for (const char c : rows) {  // Adler-32
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  const auto size = static_cast<uint32_t>(rows.size());
  return std::string("\x89PNG\r\n\x1a\n") +
         png_chunk(
             "IHDR", big_endian(width) + big_endian(height) +
                         static_cast<char>(depth) + static_cast<char>(kind) +
                         std::string(2, '\0') + (interlaced ? '\1' : '\0')) +
         chunks +
         png_chunk(
             "IDAT", std::string("\x78\x01\x01") + little_endian(size, 2) +
                         little_endian(~size, 2) + rows +
                         big_endian(b << 16 | a)) +
         png_chunk("IEND", "");
}

/// A PNG file from raw samples, row by row. `kind`: 0 grey, 2 RGB, 4 grey and
/// alpha, 6 RGB and alpha.
inline std::string png(
    uint32_t width, uint32_t height, int depth, int kind,
    const std::vector<uint32_t>& samples) {
  const size_t row = samples.size() / height;
  std::string rows;
  for (size_t i = 0; i < samples.size(); ++i) {
    rows += i % row == 0 ? std::string(1, '\0') : "";  // no filter
    rows += big_endian(samples[i], depth / 8);
  }
  return png_of_rows(width, height, depth, kind, rows);
}

/// A 24-bit BMP file from RGB samples, top row first.
inline std::string bmp(
    uint32_t width, uint32_t height, const std::vector<uint32_t>& rgb) {
  std::string rows;
  for (uint32_t y = height; y-- > 0;) {  // bottom up
    std::string row;
    for (uint32_t x = 0; x < width; ++x) {
      for (uint32_t c = 3; c-- > 0;) {  // blue first
        row += static_cast<char>(rgb[(y * width + x) * 3 + c]);
      }
    }
    row.resize((row.size() + 3) / 4 * 4);
    rows += row;
  }
  return "BM" + little_endian(static_cast<uint32_t>(54 + rows.size())) +
         little_endian(0) + little_endian(54) + little_endian(40) +
         little_endian(width) + little_endian(height) + little_endian(1, 2) +
         little_endian(24, 2) + std::string(24, '\0') + rows;
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// 8 x 8, baseline, all (198, 101, 50) once decoded.
inline std::string jpeg_rgb() {
  return from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d"
      "0e1211101318281a181616183123251d283a333d3c3933383740485c4e4044574537"
      "38506d51575f626768673e4d71797064785c656763ffdb0043011112121815182f1a"
      "1a2f6342384263636363636363636363636363636363636363636363636363636363"
      "63636363636363636363636363636363636363636363ffc000110800080008030122"
      "00021101031101ffc4001500010100000000000000000000000000000002ffc40014"
      "100100000000000000000000000000000000ffc40014010100000000000000000000"
      "000000000005ffc40014110100000000000000000000000000000000ffda000c0301"
      "0002110311003f009005997fffd9");
}

/// 8 x 8, one component, all 120.
inline std::string jpeg_grey() {
  return from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d"
      "0e1211101318281a181616183123251d283a333d3c3933383740485c4e4044574537"
      "38506d51575f626768673e4d71797064785c656763ffc0000b080008000801011100"
      "ffc40014000100000000000000000000000000000003ffc400141001000000000000"
      "00000000000000000000ffda0008010100003f0037ffd9");
}

/// The picture of `jpeg_rgb` as a progressive JPEG, with several scans.
inline std::string jpeg_progressive() {
  return from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d"
      "0e1211101318281a181616183123251d283a333d3c3933383740485c4e4044574537"
      "38506d51575f626768673e4d71797064785c656763ffdb0043011112121815182f1a"
      "1a2f6342384263636363636363636363636363636363636363636363636363636363"
      "63636363636363636363636363636363636363636363ffc200110800080008030122"
      "00021101031101ffc4001500010100000000000000000000000000000001ffc40014"
      "010100000000000000000000000000000004ffda000c0301000210031000000180ac"
      "ffc40014100100000000000000000000000000000000ffda00080101000105027fff"
      "c40014110100000000000000000000000000000000ffda0008010301013f017fffc4"
      "0014110100000000000000000000000000000000ffda0008010201013f017fffc400"
      "14100100000000000000000000000000000000ffda0008010100063f027fffc40014"
      "100100000000000000000000000000000000ffda0008010100013f217fffda000c03"
      "01000200030000001007ffc40014110100000000000000000000000000000000ffda"
      "0008010301013f107fffc40014110100000000000000000000000000000000ffda00"
      "08010201013f107fffc40014100100000000000000000000000000000000ffda0008"
      "010100013f107fffd9");
}

/// 20 x 12 and of many colours, progressive, with several scans. Written by
/// Pillow 13.0: quality=20, progressive=True, subsampling=2.
inline std::string jpeg_progressive_colours() {
  return from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300281c1e231e19282321"
      "232d2b28303c64413c37373c7b585d4964918099968f808c8aa0b4e6c3a0aadaad8a"
      "8cc8ffcbdaeef5ffffff9bc1fffffffaffe6fdfff8ffdb0043012b2d2d3c353c7641"
      "4176f8a58ca5f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8"
      "f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8ffc2001108000c0014030122"
      "00021101031101ffc40017000003010000000000000000000000000000020304ffc4"
      "00160101010100000000000000000000000000020003ffda000c0301000210031000"
      "00018bd5e3134076ffc400161001010100000000000000000000000000110020ffda"
      "00080101000105022231ffc400161101010100000000000000000000000000000212"
      "ffda0008010301013f019a69ffc40017110100030000000000000000000000000000"
      "010212ffda0008010201013f019b36ffc40014100100000000000000000000000000"
      "000020ffda0008010100063f025fffc4001710010101010000000000000000000000"
      "0001001011ffda0008010100013f212998405cbfffda000c03010002000300000010"
      "0b1fffc4001511010100000000000000000000000000000100ffda0008010301013f"
      "107877ffc400181101010003000000000000000000000000010011b1f0ffda000801"
      "0201013f1049638eddffc4001a100002030101000000000000000000000000011121"
      "6181e1ffda0008010100013f10c4c782af8254149411548fffd9");
}

/// 20 x 12, grey, 0 at the left to 228 at the right, with a restart marker
/// after each of its six blocks but the last. Written by Pillow 13.0:
/// quality=20, restart_marker_blocks=1.
inline std::string jpeg_restarts() {
  return from_hex(
      "ffd8ffe000104a46494600010100000100010000ffdb004300281c1e231e19282321"
      "232d2b28303c64413c37373c7b585d4964918099968f808c8aa0b4e6c3a0aadaad8a"
      "8cc8ffcbdaeef5ffffff9bc1fffffffaffe6fdfff8ffc0000b08000c001401011100"
      "ffc4001500010100000000000000000000000000000502ffc4001810000301010000"
      "000000000000000000000004410232ffdd00040001ffda0008010100003f0039787f"
      "ffd0a5e1ffd14b1c9fffd239787fffd3a5e1ffd44b1c9fffd9");
}

/// 8 x 8, four components.
inline std::string jpeg_cmyk() {
  return from_hex(
      "ffd8ffee000e41646f626500640000000002ffdb00430050373c463c32504641465a"
      "55505f78c882786e6e78f5afb991c8ffffffffffffffffffffffffffffffffffffff"
      "ffffffffffffffffffffffffffffffffffffffffdb004301555a5a786978eb8282eb"
      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
      "ffffffffffffffffffffffffffffffffffffffffffc0001408000800080401220002"
      "1101031101042200ffc4001500010100000000000000000000000000000004ffc400"
      "14100100000000000000000000000000000000ffc400140101000000000000000000"
      "00000000000001ffc40014110100000000000000000000000000000000ffda000e04"
      "0100021103110400003f0090021480ffd9");
}

}  // namespace pictures
