// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_bytes.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Whether a JPEG is complete: its segments, and the tables that they name. stb
// decodes with tables that no segment defined, and fills what no scan writes
// with whatever was in memory.
namespace cyborg::data::detail {

/// A segment of the Huffman tables 0 and 1, for DC and AC, of ITU-T T.81, annex
/// K.3. Motion JPEG leaves them out, so the frames of many webcams do.
inline constexpr std::string_view kStandardHuffmanTables{
    "\xFF\xC4\x01\xA2\x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x10\x00\x02"
    "\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7D\x01\x02\x03\x00"
    "\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91"
    "\xA1\x08\x23\x42\xB1\xC1\x15\x52\xD1\xF0\x24\x33\x62\x72\x82\x09\x0A\x16"
    "\x17\x18\x19\x1A\x25\x26\x27\x28\x29\x2A\x34\x35\x36\x37\x38\x39\x3A\x43"
    "\x44\x45\x46\x47\x48\x49\x4A\x53\x54\x55\x56\x57\x58\x59\x5A\x63\x64\x65"
    "\x66\x67\x68\x69\x6A\x73\x74\x75\x76\x77\x78\x79\x7A\x83\x84\x85\x86\x87"
    "\x88\x89\x8A\x92\x93\x94\x95\x96\x97\x98\x99\x9A\xA2\xA3\xA4\xA5\xA6\xA7"
    "\xA8\xA9\xAA\xB2\xB3\xB4\xB5\xB6\xB7\xB8\xB9\xBA\xC2\xC3\xC4\xC5\xC6\xC7"
    "\xC8\xC9\xCA\xD2\xD3\xD4\xD5\xD6\xD7\xD8\xD9\xDA\xE1\xE2\xE3\xE4\xE5\xE6"
    "\xE7\xE8\xE9\xEA\xF1\xF2\xF3\xF4\xF5\xF6\xF7\xF8\xF9\xFA\x01\x00\x03\x01"
    "\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04"
    "\x05\x06\x07\x08\x09\x0A\x0B\x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05"
    "\x04\x04\x00\x01\x02\x77\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41"
    "\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xA1\xB1\xC1\x09\x23\x33"
    "\x52\xF0\x15\x62\x72\xD1\x0A\x16\x24\x34\xE1\x25\xF1\x17\x18\x19\x1A\x26"
    "\x27\x28\x29\x2A\x35\x36\x37\x38\x39\x3A\x43\x44\x45\x46\x47\x48\x49\x4A"
    "\x53\x54\x55\x56\x57\x58\x59\x5A\x63\x64\x65\x66\x67\x68\x69\x6A\x73\x74"
    "\x75\x76\x77\x78\x79\x7A\x82\x83\x84\x85\x86\x87\x88\x89\x8A\x92\x93\x94"
    "\x95\x96\x97\x98\x99\x9A\xA2\xA3\xA4\xA5\xA6\xA7\xA8\xA9\xAA\xB2\xB3\xB4"
    "\xB5\xB6\xB7\xB8\xB9\xBA\xC2\xC3\xC4\xC5\xC6\xC7\xC8\xC9\xCA\xD2\xD3\xD4"
    "\xD5\xD6\xD7\xD8\xD9\xDA\xE2\xE3\xE4\xE5\xE6\xE7\xE8\xE9\xEA\xF2\xF3\xF4"
    "\xF5\xF6\xF7\xF8\xF9\xFA",
    420};

/// Whether a JPEG marker begins a frame. 0xC4 has Huffman tables, 0xCC
/// arithmetic tables, and 0xC8 is reserved.
inline bool is_jpeg_frame(uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 &&
         marker != 0xCC;
}

/// Checks a JPEG: its markers must lead to the end-of-image marker. It must have
/// one frame of 8 bits and one or three components, and compressed data for each
/// of these. All tables that a scan names must have been defined before it.
///
/// A marker is 0xFF and one byte that is neither 0 nor 0xFF. Most markers begin
/// a segment: a length (2 bytes, these included) and data. A frame segment
/// gives size, bits and components. A scan segment (0xDA) is followed by
/// compressed data, in which 0xFF 0x00 is a byte of data and not a marker, and
/// which restart markers (0xD0 to 0xD7) may cut into pieces.
class JpegInspector {
 public:
  explicit JpegInspector(std::string_view bytes) : bytes_(bytes) {}

  Inspection inspect() {
    size_t at = 2;         // after the start-of-image marker
    bool in_scan = false;  // compressed data may come here
    while (at + 1 < bytes_.size() && found_.problem.empty()) {
      if (byte(at) != 0xFF) {
        if (!in_scan) {
          fail(
              "is damaged: a JPEG marker was expected at byte " +
              std::to_string(at));
          break;
        }
        const auto next = bytes_.find('\xFF', at);  // skip compressed data
        if (next == std::string_view::npos) {
          return cut();
        }
        at = next;
        continue;
      }
      const auto marker = byte(at + 1);
      if (marker == 0xFF) {  // fill byte
        ++at;
      } else if (marker == 0xD9) {
        end_scan();
        end_image();
        return found_;
      } else if (
          marker == 0x00 || marker == 0x01 ||
          (marker >= 0xD0 && marker <= 0xD8)) {
        restarts_ += marker >= 0xD0 && marker <= 0xD7 ? 1 : 0;
        at += 2;  // a stuffed zero, or a marker without a segment
      } else {
        const size_t length = byte(at + 2) << 8 | byte(at + 3);
        if (length < 2 || bytes_.size() - at - 2 < length) {
          return cut();
        }
        end_scan();
        const bool frame = is_jpeg_frame(marker);
        if (frame) {
          read_frame(marker, at + 4, length - 2);
        } else if (marker == 0xC4) {
          read_huffman_tables(at + 4, length - 2);
        } else if (marker == 0xDB) {
          read_quantisation_tables(at + 4, length - 2);
        } else if (marker == 0xDD) {
          restart_interval_ = byte(at + 4) << 8 | byte(at + 5);
        } else if (marker == 0xDA) {
          read_scan(at, length - 2);
        }
        in_scan = marker == 0xDA || (in_scan && !frame);
        at += 2 + length;
      }
    }
    return found_.problem.empty() ? cut() : found_;
  }

 private:
  /// One colour of a picture, for example its brightness.
  struct Component {
    uint32_t id;
    uint32_t across;        ///< blocks in one unit of the picture, horizontally
    uint32_t down;          ///< and vertically
    uint32_t quantisation;  ///< the number of its table
    bool scanned = false;   ///< a scan gives its values
  };
  enum TableClass { kDc, kAc };

  uint32_t byte(size_t i) const { return byte_at(bytes_, i); }

  void fail(std::string problem) {
    if (found_.problem.empty()) {
      found_.problem = std::move(problem);
    }
  }

  const Inspection& cut() {
    fail("is truncated: the JPEG's end-of-image marker is missing");
    return found_;
  }

  // Each of these functions reads the data of a segment, `length` bytes from
  // `at` on.

  void read_frame(uint32_t marker, size_t at, size_t length) {
    if (!components_.empty()) {
      return fail("is damaged: the JPEG holds two frames");
    }
    found_.height = byte(at + 1) << 8 | byte(at + 2);
    found_.width = byte(at + 3) << 8 | byte(at + 4);
    const auto bits = byte(at);
    const auto count = byte(at + 5);
    if (count == 4) {
      return fail("is a CMYK JPEG (4 components); convert it to RGB");
    }
    if (count != 1 && count != 3) {
      return fail(
          "is a JPEG of " + std::to_string(count) +
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
    if (length != 6 + 3 * count) {
      return fail("is damaged: the JPEG's frame header has a wrong length");
    }
    progressive_ = marker == 0xC2;
    for (size_t i = at + 6; i < at + length; i += 3) {
      components_.push_back(
          {byte(i), byte(i + 1) >> 4, byte(i + 1) & 15U, byte(i + 2)});
      across_ = std::max(across_, components_.back().across);
      down_ = std::max(down_, components_.back().down);
    }
  }

  void read_huffman_tables(size_t at, size_t length) {
    // A table is its class and number (1 byte), how many codes there are of
    // each length from 1 to 16 bits (16 bytes), and one byte for each code.
    // With more than 256 codes, stb before 2.28 writes past the end of its own
    // table.
    const size_t end = at + length;
    while (at < end) {
      const auto cls = byte(at) >> 4;
      const auto number = byte(at) & 15U;
      size_t codes = 0;
      for (size_t i = 1; i <= 16; ++i) {
        codes += byte(at + i);
      }
      if (codes > 256 || end - at < 17 + codes || cls > 1 || number > 3) {
        return fail(
            "is damaged: a JPEG Huffman table does not fit its segment");
      }
      huffman_[cls][number] = true;
      any_huffman_ = true;
      at += 17 + codes;
    }
  }

  void read_quantisation_tables(size_t at, size_t length) {
    // A table is its precision and number (1 byte), and 64 values of 1 or 2
    // bytes.
    const size_t end = at + length;
    while (at < end) {
      const auto bytes_of_value = (byte(at) >> 4) + 1;
      const auto number = byte(at) & 15U;
      const size_t size = 1 + 64 * bytes_of_value;
      if (bytes_of_value > 2 || number > 3 || end - at < size) {
        return fail(
            "is damaged: a JPEG quantisation table does not fit its segment");
      }
      const auto table = bytes_.substr(at, size);
      // stb multiplies by the tables at the end of a progressive file, when all
      // scans have been read.
      const bool used = std::any_of(
          components_.begin(), components_.end(), [&](const auto& one) {
            return one.scanned && one.quantisation == number;
          });
      if (progressive_ && used && table != quantisation_[number]) {
        return fail(
            "is a progressive JPEG that changes a quantisation table after "
            "its use, which cannot be decoded");
      }
      quantisation_[number] = table;
      at += size;
    }
  }

  /// `at` is the position of the marker.
  void read_scan(size_t at, size_t length) {
    const size_t count = byte(at + 4);
    if (components_.empty()) {
      return fail("is damaged: a JPEG scan comes before its frame");
    }
    if (length != 4 + 2 * count || count == 0) {
      return fail("is damaged: a JPEG scan header has a wrong length");
    }
    // In a progressive JPEG a scan gives the mean of each block (DC) or a part
    // of the rest (AC), for the first time or with one more bit (`refines`). A
    // bit more of the DC needs no table.
    const auto first = byte(at + 5 + 2 * count);
    const bool refines = byte(at + 7 + 2 * count) >> 4 != 0;
    const bool dc = first == 0 && !refines;
    const bool ac = first > 0 || !progressive_;
    const Component* last = nullptr;
    for (size_t k = at + 5; k < at + 5 + 2 * count; k += 2) {
      const auto found = std::find_if(
          components_.begin(), components_.end(),
          [&](const auto& one) { return one.id == byte(k); });
      if (found == components_.end()) {
        return fail(
            "is damaged: a JPEG scan names component " +
            std::to_string(byte(k)) + ", which the frame lacks");
      }
      const auto table = found->quantisation;
      if (table > 3 || quantisation_[table].empty()) {
        return fail(
            "is damaged: the JPEG's quantisation table " +
            std::to_string(table) + " is missing");
      }
      if (dc) {
        need_huffman_table(kDc, byte(k + 1) >> 4, at);
        found->scanned = true;
      }
      if (ac) {
        need_huffman_table(kAc, byte(k + 1) & 15U, at);
      }
      last = &*found;
    }
    if (restart_interval_ > 0) {
      restarts_ = 0;
      expected_restarts_ = (units_of(count == 1 ? last : nullptr) - 1) /
                           static_cast<int64_t>(restart_interval_);
    }
  }

  void need_huffman_table(TableClass cls, uint32_t number, size_t scan) {
    if (!any_huffman_ && !progressive_ && number <= 1) {
      found_.repaired = std::string(bytes_.substr(0, scan));
      found_.repaired += kStandardHuffmanTables;
      found_.repaired += bytes_.substr(scan);
      any_huffman_ = true;
      for (auto& of_class : huffman_) {
        of_class[0] = of_class[1] = true;
      }
    }
    if (number > 3 || !huffman_[cls][number]) {
      fail(
          std::string("is damaged: the JPEG's Huffman table ") +
          (cls == kDc ? "DC " : "AC ") + std::to_string(number) +
          " is missing");
    }
  }

  /// How many units a scan has: blocks of one component, or else areas of the
  /// picture with some blocks of each component.
  int64_t units_of(const Component* alone) const {
    const auto parts = [](int64_t size, int64_t part) {
      return (size + part - 1) / part;
    };
    const int64_t across = std::max(across_, 1U);
    const int64_t down = std::max(down_, 1U);
    if (alone == nullptr) {
      return parts(found_.width, 8 * across) * parts(found_.height, 8 * down);
    }
    return parts(parts(found_.width * alone->across, across), 8) *
           parts(parts(found_.height * alone->down, down), 8);
  }

  /// A scan that has lost a restart marker: stb leaves out the rest of it.
  void end_scan() {
    if (restarts_ < expected_restarts_) {
      fail(
          "is damaged: a JPEG scan has " + std::to_string(restarts_) + " of " +
          std::to_string(expected_restarts_) + " restart markers");
    }
    expected_restarts_ = 0;
  }

  void end_image() {
    if (components_.empty()) {
      fail("is damaged: the JPEG holds no picture");
    }
    for (size_t i = 0; i < components_.size(); ++i) {
      if (!components_[i].scanned) {
        fail(
            "is damaged: component " + std::to_string(i + 1) + " of " +
            std::to_string(components_.size()) + " of the JPEG has no data");
      }
    }
  }

  std::string_view bytes_;
  Inspection found_;
  std::vector<Component> components_;  ///< of the frame; empty before it
  uint32_t across_ = 0;                ///< largest of the components
  uint32_t down_ = 0;                  ///< largest of the components
  bool progressive_ = false;
  std::array<std::string_view, 4> quantisation_;  ///< empty: not defined
  std::array<std::array<bool, 4>, 2> huffman_{};  ///< defined, for DC and AC
  bool any_huffman_ = false;
  uint32_t restart_interval_ = 0;  ///< in units of a scan; 0: no restarts
  int64_t restarts_ = 0;           ///< in this scan
  int64_t expected_restarts_ = 0;  ///< in this scan
};

}  // namespace cyborg::data::detail
