// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "jpegs.hpp"
#include "pictures.hpp"

#include <cyborg/data/image.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace data = cyborg::data;
using jpegs::joined;
using jpegs::marker_of;
using jpegs::parts_of;
using jpegs::without;
using pictures::Folder;
using torch::Tensor;

namespace {

constexpr uint32_t kQuantisation = 0xDB;
constexpr uint32_t kHuffman = 0xC4;
constexpr uint32_t kScan = 0xDA;

Tensor read(const std::string& jpeg) {
  const Folder folder;
  return data::read_image(folder.write("a.jpg", jpeg));
}

/// Why the picture is rejected; "" if it is read.
std::string problem_of(const std::string& jpeg) {
  try {
    read(jpeg);
  } catch (const cyborg::io::FileError& error) {
    return error.reason();
  }
  return "";
}

/// The position of the first part of a kind.
size_t first(const jpegs::Parts& parts, uint32_t marker) {
  return static_cast<size_t>(
      std::find_if(
          parts.begin(), parts.end(),
          [&](const auto& part) { return marker_of(part) == marker; }) -
      parts.begin());
}

/// The Huffman tables of one segment in a segment for each: DC 0, AC 0, ...
jpegs::Parts tables_of(const std::string& segment) {
  jpegs::Parts tables;
  for (size_t at = 4; at < segment.size();) {
    size_t size = 17;
    for (size_t i = 1; i <= 16; ++i) {
      size += jpegs::byte(segment, at + i);
    }
    tables.push_back(
        "\xFF\xC4" + pictures::big_endian(static_cast<uint32_t>(size + 2), 2) +
        segment.substr(at, size));
    at += size;
  }
  return tables;
}

}  // namespace

TEST_CASE(
    "A JPEG without Huffman tables gets the standard ones, as of a webcam",
    "[data][jpeg]") {
  const auto whole = jpegs::colours();
  const auto frame = without(whole, kHuffman);
  REQUIRE(frame.size() == whole.size() - 420);
  CHECK(at::equal(read(frame), read(whole)));
  // Two scans, of which the first one gets the tables for both.
  CHECK(
      problem_of(without(pictures::jpeg_progressive(), kHuffman)) ==
      "is damaged: the JPEG's Huffman table DC 0 is missing");
}

TEST_CASE(
    "A JPEG that lacks some of its Huffman tables is rejected",
    "[data][jpeg]") {
  auto parts = parts_of(jpegs::colours());
  const auto at = first(parts, kHuffman);
  const auto tables = tables_of(parts[at]);
  REQUIRE(tables.size() == 4);
  const char* const names[] = {"DC 0", "AC 0", "DC 1", "AC 1"};
  for (size_t lost = 0; lost < 4; ++lost) {
    parts[at] = "";
    for (size_t i = 0; i < 4; ++i) {
      parts[at] += i == lost ? "" : tables[i];
    }
    CHECK(
        problem_of(joined(parts)) ==
        std::string("is damaged: the JPEG's Huffman table ") + names[lost] +
            " is missing");
  }
  // All of them come after the scan that names them.
  parts[at] = "";
  parts.insert(parts.end() - 1, tables.begin(), tables.end());
  CHECK(at::equal(read(joined(parts)), read(jpegs::colours())));
  parts.insert(parts.begin() + 1, tables[1]);
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: the JPEG's Huffman table DC 0 is missing");
}

TEST_CASE(
    "A scan that names another Huffman table than the standard ones needs it",
    "[data][jpeg]") {
  auto parts = parts_of(without(jpegs::colours(), kHuffman));
  auto& scan = parts[first(parts, kScan)];
  for (const char number : {'\x20', '\x02', '\xF0'}) {
    scan[6] = number;  // DC and AC table of the first component
    CHECK(
        problem_of(joined(parts)) ==
        std::string("is damaged: the JPEG's Huffman table ") +
            (number == '\x20'   ? "DC 2"
             : number == '\x02' ? "AC 2"
                                : "DC 15") +
            " is missing");
  }
}

TEST_CASE(
    "A JPEG that lacks a quantisation table is rejected", "[data][jpeg]") {
  const auto whole = jpegs::colours();
  CHECK(
      problem_of(without(whole, kQuantisation)) ==
      "is damaged: the JPEG's quantisation table 0 is missing");
  for (const int number : {0, 1}) {
    CHECK(
        problem_of(
            without(pictures::jpeg_progressive(), kQuantisation, number)) ==
        "is damaged: the JPEG's quantisation table " + std::to_string(number) +
            " is missing");
  }
  auto parts = parts_of(whole);
  const auto at = first(parts, kQuantisation);
  const auto table = parts[at];
  parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at));
  parts.insert(parts.end() - 1, table);
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: the JPEG's quantisation table 0 is missing");
  auto frame = parts_of(whole);
  frame[first(frame, 0xC0)][12] = '\x07';
  CHECK(
      problem_of(joined(frame)) ==
      "is damaged: the JPEG's quantisation table 7 is missing");
}

TEST_CASE(
    "Tables that do not fit their segments are rejected", "[data][jpeg]") {
  auto parts = parts_of(jpegs::colours());
  const auto with = [&](uint32_t marker, size_t at, char value) {
    auto changed = parts;
    changed[first(parts, marker)][at] = value;
    return problem_of(joined(changed));
  };
  const std::string huffman =
      "is damaged: a JPEG Huffman table does not fit its segment";
  CHECK(with(kHuffman, 4, '\x20') == huffman);  // class 2
  CHECK(with(kHuffman, 4, '\x04') == huffman);  // number 4
  CHECK(with(kHuffman, 5, '\xFF') == huffman);  // 255 codes of one bit
  const std::string quantisation =
      "is damaged: a JPEG quantisation table does not fit its segment";
  CHECK(with(kQuantisation, 4, '\x20') == quantisation);
  CHECK(with(kQuantisation, 4, '\x04') == quantisation);
  CHECK(with(kQuantisation, 4, '\x10') == quantisation);  // 16-bit values
}

TEST_CASE(
    "A progressive JPEG needs the tables that each scan uses", "[data][jpeg]") {
  for (const auto& whole :
       {pictures::jpeg_progressive(), pictures::jpeg_progressive_colours()}) {
    const auto picture = read(whole);
    // Segments: DC; brightness AC; red AC; blue AC; and the bits that follow.
    CHECK(
        problem_of(without(whole, kHuffman, 0)) ==
        "is damaged: the JPEG's Huffman table DC 0 is missing");
    auto parts = parts_of(whole);
    size_t refinements = 0;
    for (auto& part : parts) {
      if (marker_of(part) == kScan && jpegs::byte(part, 4) == 3 &&
          jpegs::byte(part, 13) >> 4 > 0) {
        // One more bit of the DC needs no table, so any number will do.
        part[6] = part[8] = part[10] = '\x33';
        ++refinements;
      }
    }
    CHECK(refinements == 1);
    CHECK(at::equal(read(joined(parts)), picture));
    // The scan of brightness names an AC table that nobody defined.
    for (auto& part : parts) {
      if (marker_of(part) == kScan && jpegs::byte(part, 4) == 1) {
        part[6] = '\x02';
        break;
      }
    }
    CHECK(
        problem_of(joined(parts)) ==
        "is damaged: the JPEG's Huffman table AC 2 is missing");
  }
}

TEST_CASE("A component without compressed data is an error", "[data][jpeg]") {
  CHECK(
      problem_of(without(jpegs::colours(), kScan)) ==
      "is damaged: component 1 of 3 of the JPEG has no data");
  CHECK(
      problem_of(without(pictures::jpeg_progressive(), kScan, 0)) ==
      "is damaged: component 1 of 3 of the JPEG has no data");
  // A scan of the first and the third component.
  auto parts = parts_of(jpegs::colours());
  auto& scan = parts[first(parts, kScan)];
  scan[3] = '\x0A';
  scan[4] = '\x02';
  scan.erase(7, 2);
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: component 2 of 3 of the JPEG has no data");
  scan[5] = '\x09';
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: a JPEG scan names component 9, which the frame lacks");
  scan[4] = '\x03';
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: a JPEG scan header has a wrong length");
  std::swap(parts[first(parts, kScan)], parts[first(parts, 0xC0)]);
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: a JPEG scan comes before its frame");
  auto frame = parts_of(jpegs::colours());
  frame[first(frame, 0xC0)][9] = '\x01';
  CHECK(
      problem_of(joined(frame)) ==
      "is damaged: the JPEG's frame header has a wrong length");
}

TEST_CASE("A JPEG that has lost a restart marker is rejected", "[data][jpeg]") {
  const auto whole = pictures::jpeg_restarts();
  const auto picture = read(whole);
  CHECK(picture.sizes() == at::IntArrayRef({3, 12, 20}));
  CHECK(picture[0][0][0].item<float>() < 0.1);
  CHECK(picture[0][11][19].item<float>() > 0.8);
  for (char number = '\xD0'; number <= '\xD4'; ++number) {
    auto cut = whole;
    cut.erase(cut.rfind(std::string("\xFF") + number), 2);
    CHECK(
        problem_of(cut) ==
        "is damaged: a JPEG scan has 4 of 5 restart markers");
  }
  // Colours with half the resolution: 2 x 1 areas of 16 x 16 pixels.
  auto parts = parts_of(jpegs::colours());
  parts.insert(parts.begin() + 1, std::string("\xFF\xDD\0\4\0\1", 6));
  CHECK(
      problem_of(joined(parts)) ==
      "is damaged: a JPEG scan has 0 of 1 restart markers");
  parts[1][5] = '\2';  // a marker after every second area: none is needed
  CHECK(at::equal(read(joined(parts)), read(jpegs::colours())));
}

TEST_CASE(
    "A progressive JPEG must not change a table after its use",
    "[data][jpeg]") {
  auto parts = parts_of(pictures::jpeg_progressive());
  const auto table = parts[first(parts, kQuantisation)];
  parts.insert(parts.end() - 1, table);  // the same again
  CHECK(at::equal(read(joined(parts)), read(pictures::jpeg_progressive())));
  parts[parts.size() - 2].back() = '\1';
  CHECK(
      problem_of(joined(parts)) ==
      "is a progressive JPEG that changes a quantisation table after its use, "
      "which cannot be decoded");
}

TEST_CASE("The memory of the decoder is zero at first", "[data][jpeg]") {
#if defined(__GLIBC__)
  mallopt(M_PERTURB, 0x5A);  // what malloc returns is not zero
#endif
  namespace stb = data::detail::stb;
  constexpr size_t kSize = 1000;
  auto* bytes = static_cast<unsigned char*>(stb::stbi__malloc(kSize));
  const auto zeros = [&](size_t begin, size_t end) {
    return std::count(bytes + begin, bytes + end, 0) ==
           static_cast<std::ptrdiff_t>(end - begin);
  };
  CHECK(zeros(0, kSize));
  std::fill_n(bytes, kSize, static_cast<unsigned char>(7));
  bytes =
      static_cast<unsigned char*>(stb::realloc_zeroed(bytes, kSize, 5 * kSize));
  CHECK(std::count(bytes, bytes + kSize, 7) == kSize);
  CHECK(zeros(kSize, 5 * kSize));
  stb::stbi_image_free(bytes);
#if defined(__GLIBC__)
  mallopt(M_PERTURB, 0);
#endif
}
