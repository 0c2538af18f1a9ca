// SPDX-License-Identifier: BSD-3-Clause
//
// Damaged files: thousands of random changes of small pictures and tables. A
// file is read, with finite values in [0, 1], or rejected with an
// io::FileError. What is read must not depend on what was in memory before.
//
// CYBORG_MUTATIONS=N makes N changes of pictures and N of tables, CYBORG_SEED=S
// others. With -fsanitize=address,undefined the test finds more (preset asan).
#include "catch.hpp"
#include "support.hpp"

#include "jpegs.hpp"
#include "pictures.hpp"

#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/read_map.hpp>
#include <cyborg/data/table.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace data = cyborg::data;
using pictures::Folder;
using pictures::little_endian;
using torch::Tensor;

namespace {

using Random = std::mt19937;

uint32_t below(Random& random, size_t end) {
  return static_cast<uint32_t>(random() % std::max<size_t>(end, 1));
}

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// A BMP of Windows: 3 x 2 pixels of `bits`, after `palette`.
std::string bitmap(
    uint32_t bits, uint32_t compression, const std::string& palette,
    const std::string& pixels) {
  return "BM" +
         little_endian(
             static_cast<uint32_t>(54 + palette.size() + pixels.size())) +
         little_endian(0) +
         little_endian(static_cast<uint32_t>(54 + palette.size())) +
         little_endian(40) + little_endian(3) + little_endian(2) +
         little_endian(1, 2) + little_endian(bits, 2) +
         little_endian(compression) + std::string(20, '\0') + palette + pixels;
}

struct File {
  std::string bytes;
  data::PictureFormat format;
};

/// Small pictures of all kinds.
std::vector<File> files() {
  using Format = data::PictureFormat;
  std::vector<File> list;
  const auto add = [&](Format format, std::string bytes) {
    list.push_back({std::move(bytes), format});
  };
  std::vector<uint32_t> samples;
  for (uint32_t i = 0; i < 48; ++i) {
    samples.push_back(i * 5);
  }
  for (const int kind : {0, 2, 4, 6}) {
    for (const int depth : {8, 16}) {
      const uint32_t channels = kind == 0   ? 1
                                : kind == 2 ? 3
                                : kind == 4 ? 2
                                            : 4;
      add(Format::kPng, pictures::png(12 / channels, 4, depth, kind, samples));
    }
  }
  const auto palette = pictures::png_chunk(
      "PLTE", std::string("\1\2\3\xFF\0\0\x40\x50\x60\x70\x80\x90", 12));
  const auto transparent = pictures::png_chunk("tRNS", "\x80\x90");
  for (const int depth : {1, 2, 4, 8}) {
    add(Format::kPng, pictures::png_of_rows(
                          static_cast<uint32_t>(16 / depth), 2, depth, 3,
                          std::string("\0\1\1\4\1\0", 6),
                          depth == 1 ? palette : palette + transparent));
    add(Format::kPng, pictures::png_of_rows(
                          static_cast<uint32_t>(16 / depth), 2, depth, 0,
                          std::string("\2\1\1\3\1\0", 6)));
  }
  add(Format::kPng, pictures::png_of_rows(
                        2, 2, 8, 0, std::string("\0\1\0\2\0\3\4", 7),
                        pictures::png_chunk("tRNS", std::string("\0\2", 2)),
                        /*interlaced=*/true));
  const std::string exif(
      "II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0", 26);
  add(Format::kPng, pictures::png_of_rows(
                        2, 1, 8, 0, std::string("\0\1\2", 3),
                        pictures::png_chunk("eXIf", exif)));
  auto turned = pictures::jpeg_restarts();
  turned.insert(
      2, std::string(
             "\xFF\xE1\0\x22"
             "Exif\0\0",
             10) +
             exif);
  add(Format::kJpeg, turned);
  add(Format::kBmp,
      pictures::bmp(3, 2, {samples.begin(), samples.begin() + 18}));
  const std::string four("\1\2\3\0\4\5\6\0\7\x08\x09\0\x0A\x0B\x0C\0", 16);
  add(Format::kBmp, bitmap(8, 0, four, std::string("\0\1\2\0\3\2\1\0", 8)));
  add(Format::kBmp,
      bitmap(4, 0, four, std::string("\x12\x30\0\0\x10\0\0\0", 8)));
  add(Format::kBmp, bitmap(1, 0, four, std::string("\xA0\0\0\0\x40\0\0\0", 8)));
  add(Format::kBmp,
      bitmap(8, 1, four, std::string("\3\1\0\0\1\2\2\3\0\1", 10)));
  add(Format::kBmp, bitmap(32, 0, "", std::string(24, '\x55')));
  add(Format::kBmp,
      bitmap(
          16, 3,
          little_endian(0xF800) + little_endian(0x7E0) + little_endian(0x1F),
          std::string(16, '\x35')));
  add(Format::kBmp,
      "BM" + little_endian(0) + little_endian(0) + little_endian(38) +
          little_endian(12) + little_endian(3, 2) + little_endian(2, 2) +
          little_endian(1, 2) + little_endian(8, 2) + four.substr(0, 12) +
          std::string("\0\1\2\0\3\2\1\0", 8));
  for (auto& jpeg :
       {pictures::jpeg_rgb(), pictures::jpeg_grey(),
        pictures::jpeg_progressive(), pictures::jpeg_progressive_colours(),
        pictures::jpeg_restarts(), jpegs::colours(),
        jpegs::without(jpegs::colours(), 0xC4)}) {
    add(Format::kJpeg, jpeg);
  }
  return list;
}

/// The pieces of a file, for changes that keep its structure: segments of a
/// JPEG, chunks of a PNG, lines of a text.
std::vector<std::string> pieces_of(const std::string& bytes, bool text) {
  std::vector<std::string> pieces;
  size_t at = 0;
  if (text) {
    while (at < bytes.size()) {
      const auto end = std::min(bytes.find('\n', at), bytes.size() - 1) + 1;
      pieces.push_back(bytes.substr(at, end - at));
      at = end;
    }
    return pieces;
  }
  switch (data::picture_format(bytes)) {
    case data::PictureFormat::kJpeg:
      return jpegs::parts_of(bytes);
    case data::PictureFormat::kPng:
      pieces.push_back(bytes.substr(0, 8));
      for (at = 8; at + 12 <= bytes.size();) {
        const size_t size = 12 + data::detail::big_endian_32(bytes, at);
        pieces.push_back(bytes.substr(at, size));
        at += size;
      }
      return pieces;
    default:
      return {bytes.substr(0, 14), bytes.substr(14, 12), bytes.substr(26)};
  }
}

/// A PNG whose checksums are right again, so that a change gets past them.
std::string with_checksums(const std::string& png) {
  std::string fixed = png.substr(0, 8);
  size_t at = 8;
  while (at + 12 <= png.size()) {
    const size_t length = data::detail::big_endian_32(png, at);
    if (png.size() - at - 12 < length) {
      break;
    }
    fixed +=
        pictures::png_chunk(png.substr(at + 4, 4), png.substr(at + 8, length));
    at += 12 + length;
  }
  return fixed + png.substr(std::min(at, png.size()));
}

/// One to four random changes of a file. `other` gives pieces to it.
std::string mutated(
    const std::string& original, const std::string& other, Random& random,
    bool text) {
  auto bytes = original;
  if (below(random, 3) == 0) {
    auto pieces = pieces_of(bytes, text);
    const auto more = pieces_of(other, text);
    const auto at = below(random, pieces.size());
    const auto place = pieces.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(random, 4)) {
      case 0:
        pieces.erase(place);
        break;
      case 1:
        pieces.insert(place, pieces[below(random, pieces.size())]);
        break;
      case 2:
        pieces.insert(place, more[below(random, more.size())]);
        break;
      default:
        std::swap(*place, pieces[below(random, pieces.size())]);
    }
    bytes.clear();
    for (const auto& piece : pieces) {
      bytes += piece;
    }
  }
  // Headers are changed more often than data.
  const auto position = [&] {
    const bool front = below(random, 2) == 0;
    return below(
        random, front ? std::min<size_t>(bytes.size(), 64) : bytes.size());
  };
  for (auto left = below(random, 4); left > 0 && !bytes.empty(); --left) {
    const auto at = position();
    switch (below(random, 7)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(random, 8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(random());
        break;
      case 2: {
        constexpr char kSpecial[] = {'\0', '\1', '\x7F', '\x80', '\xFF'};
        bytes[at] = kSpecial[below(random, 5)];
        break;
      }
      case 3:  // a number of 2 or 4 bytes, as of lengths and sizes
        for (auto i = at;
             i < std::min<size_t>(at + 2 + 2 * below(random, 2), bytes.size());
             ++i) {
          bytes[i] = static_cast<char>(below(random, 3) == 0 ? random() : 0);
        }
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5:
        bytes.erase(at, 1 + below(random, 8));
        break;
      default:
        bytes.insert(at, bytes.substr(position(), 1 + below(random, 16)));
    }
  }
  if (!text && data::detail::holds(bytes, 0, data::detail::kPngSignature) &&
      below(random, 8) != 0) {
    bytes = with_checksums(bytes);
  }
  return bytes;
}

/// Fills memory that is free, on the heap and on the stack, so that code which
/// reads it before it writes it finds `value`.
void disturb_memory(int value) {
#if defined(__GLIBC__)
  mallopt(M_PERTURB, value);  // malloc fills what it returns
#endif
  volatile char stack[1 << 16];
  for (auto& byte : stack) {
    byte = static_cast<char>(value);
  }
  std::vector<std::string> heap;
  for (size_t size = 16; size < (1 << 18); size *= 2) {
    heap.emplace_back(size - 1, static_cast<char>(value));
  }
}

struct MutationCounts {
  uint64_t read = 0;
  std::map<std::string, uint64_t> reasons;
};

/// What is wrong with how these bytes are read; "" if nothing is.
std::string problem_of(
    const std::string& bytes, Random& random, MutationCounts& counts) {
  data::ImageOptions options;
  options.max_pixels(1 << 16).check_extension(false);
  options.channels(std::vector<int64_t>{0, 1, 3}[below(random, 3)]);
  if (below(random, 8) == 0) {
    options.size({5, 7});
  }
  options.apply_orientation(below(random, 2) == 0);
  const auto fail = [](const std::string& reason) {
    throw cyborg::io::FileError("mutated", "file", reason);
  };
  const auto decode = [&] {
    return data::detail::decode_picture(
        bytes, data::PictureFormat::kNone, options, fail);
  };
  Tensor first;
  std::string rejected;
  try {
    disturb_memory(0x11);
    first = decode();
    disturb_memory(0xEE);
    if (!at::equal(first, decode())) {
      return "the pixels depend on what was in memory";
    }
  } catch (const cyborg::io::FileError& error) {
    rejected = error.reason();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  if (!rejected.empty()) {
    ++counts.reasons[rejected.substr(0, rejected.find_first_of("0123456789"))];
    return first.defined() ? "it is read once, and then rejected" : "";
  }
  ++counts.read;
  const auto header = data::detail::picture_header(bytes);
  auto stored = std::vector<int64_t>{header.height, header.width};
  if (options.apply_orientation() && header.orientation >= 5) {
    std::swap(stored[0], stored[1]);
  }
  const auto expected = options.size().empty() ? stored : options.size();
  if (first.dim() != 3 || first.scalar_type() != at::kFloat ||
      first.sizes().slice(1) != at::IntArrayRef(expected) ||
      (options.channels() != 0 && first.size(0) != options.channels())) {
    return "another shape than the header's";
  }
  const auto in_range = [](const Tensor& values) {
    return values.ge(0).logical_and(values.le(1)).all().item<bool>();
  };
  if (!in_range(first)) {
    return "values outside of [0, 1]";
  }
  const auto pixels = data::detail::decode_pixels(
      bytes, data::PictureFormat::kNone, options.max_pixels(), fail);
  for (const auto values :
       {data::MapValues::kGrey, data::MapValues::kLuminance,
        data::MapValues::kAlpha}) {
    if (data::detail::map_problem(pixels, values).empty() &&
        !in_range(data::detail::map_values(pixels, values))) {
      return "a map with values outside of [0, 1]";
    }
  }
  return "";
}

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    constexpr auto* kDigits = "0123456789abcdef";
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

}  // namespace

TEST_CASE(
    "A damaged picture is read the same way each time, or rejected",
    "[data][mutated]") {
  const auto originals = files();
  MutationCounts counts;
  Random random(0);
  for (const auto& file : originals) {
    INFO(hex(file.bytes));
    CHECK(data::picture_format(file.bytes) == file.format);
    CHECK(problem_of(file.bytes, random, counts) == "");
  }
  CHECK(counts.read == originals.size() - 1);  // all but the run-length coded
  counts = {};
  const auto seed = setting("CYBORG_SEED", 0);
  const auto changes = setting("CYBORG_MUTATIONS", 6000);
  for (uint64_t i = 0; i < changes; ++i) {
    Random change(static_cast<uint32_t>(seed * 1000003 + i));
    const auto& original = originals[below(change, originals.size())].bytes;
    const auto& other = originals[below(change, originals.size())].bytes;
    const auto bytes = mutated(original, other, change, /*text=*/false);
    const auto problem = problem_of(bytes, change, counts);
    if (!problem.empty()) {
      INFO("CYBORG_SEED=" << seed << ", change " << i << ": " << hex(bytes));
      CHECK(problem == "");
    }
  }
  disturb_memory(0);
  if (std::getenv("CYBORG_MUTATIONS") != nullptr) {
    WARN("read: " << counts.read << " of " << changes);
    for (const auto& [reason, count] : counts.reasons) {
      WARN(count << " x " << reason);
    }
  }
  CHECK(counts.read > changes / 10);
  CHECK(counts.reasons.size() > 20);
}

TEST_CASE("A damaged table is read, or rejected", "[data][mutated]") {
  const std::vector<std::string> originals = {
      "train,Real,a.png,m.png\ntest,Synthetic,b.png\nval,Real,c.png,\n",
      "split,class,path,saliency_1,saliency_2,attack,group,subject\r\n"
      "train,a,\"x,1.png\",,m.png,print,g,\"Ann \"\"A\"\"\"\r\n"
      "train,b,y.png,m.png,,,,Bob\r\nval,b,z.png,,,,,\r\n",
      "\xEF\xBB\xBFpath,class,split,note\n\"a\nb.png\",normal,train,\n"
      "c.png,abnormal,test,old\n\n"};
  const Folder folder;
  uint64_t read = 0;
  const auto seed = setting("CYBORG_SEED", 0);
  const auto changes = setting("CYBORG_MUTATIONS", 2000);
  for (uint64_t i = 0; i < changes; ++i) {
    Random change(static_cast<uint32_t>(seed * 1000003 + i));
    const auto& original = originals[below(change, originals.size())];
    const auto& other = originals[below(change, originals.size())];
    const auto text = mutated(original, other, change, /*text=*/true);
    std::string problem;
    try {
      const auto table = data::read_table(
          folder.write(std::to_string(i) + ".csv", text),
          data::TableOptions().positive("b"));
      ++read;
      for (const auto& row : table.rows) {
        const bool complete =
            (row.split == "train" || row.split == "val" ||
             row.split == "test") &&
            row.label >= 0 &&
            row.label < static_cast<int64_t>(table.classes.size()) &&
            table.classes[static_cast<size_t>(row.label)] == row.cls &&
            !row.path.empty() && row.line > 0;
        problem = complete ? problem : "an incomplete row";
      }
    } catch (const cyborg::io::FileError&) {
      continue;
    } catch (const std::exception& error) {
      problem = std::string("another exception: ") + error.what();
    }
    if (!problem.empty()) {
      INFO("CYBORG_SEED=" << seed << ", change " << i << ": " << text);
      CHECK(problem == "");
    }
  }
  CHECK(read > changes / 50);
}
