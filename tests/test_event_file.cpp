// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/report/event_file.hpp>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/resource.h>

namespace inner = cyborg::report::detail;
using cyborg::report::EventOptions;
using cyborg::report::EventWriter;
using pictures::Folder;
using support::close;
using support::contains;
using support::error_of;
using support::t;

namespace {

template <class Number>
Number number_at(std::string_view bytes, size_t at) {
  Number value{};
  REQUIRE(bytes.size() >= at + sizeof value);
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// The data of the complete records of a file.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; file.size() >= at + 12;) {
    const auto length = number_at<uint64_t>(file, at);
    CHECK(
        number_at<uint32_t>(file, at + 8) ==
        inner::masked_crc32c(file.substr(at, 8)));
    if (file.size() < at + 16 + length) {
      break;  // cut off
    }
    records.push_back(file.substr(at + 12, length));
    CHECK(
        number_at<uint32_t>(file, at + 12 + length) ==
        inner::masked_crc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

/// The fields of a protobuf message: number, and the bytes or the integer.
struct Field {
  uint64_t number;
  uint64_t integer;
  std::string bytes;
};

uint64_t varint_at(std::string_view bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    REQUIRE(at < bytes.size());
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80U) {
      return value;
    }
  }
}

std::vector<Field> fields_of(const std::string& message) {
  std::vector<Field> fields;
  for (size_t at = 0; at < message.size();) {
    const auto key = varint_at(message, at);
    const auto type = key & 7U;
    Field field{key >> 3U, 0, ""};
    if (type == 0) {
      field.integer = varint_at(message, at);
    } else {
      const size_t length = type == 1   ? 8
                            : type == 5 ? 4
                                        : varint_at(message, at);
      REQUIRE(message.size() >= at + length);
      field.bytes = message.substr(at, length);
      at += length;
    }
    fields.push_back(field);
  }
  return fields;
}

/// One value as TensorBoard sees it.
struct Value {
  double time = 0;
  int64_t step = 0;
  std::string tag;
  float scalar = std::numeric_limits<float>::quiet_NaN();
  std::vector<Field> image;
};

Value value_of(const std::string& record) {
  Value value;
  for (const auto& field : fields_of(record)) {
    if (field.number == 1) {
      value.time = number_at<double>(field.bytes, 0);
    } else if (field.number == 2) {
      value.step = static_cast<int64_t>(field.integer);
    } else {
      REQUIRE(field.number == 5);
      const auto summary = fields_of(field.bytes);
      REQUIRE(summary.size() == 1);
      REQUIRE(summary[0].number == 1);
      for (const auto& part : fields_of(summary[0].bytes)) {
        if (part.number == 1) {
          value.tag = part.bytes;
        } else if (part.number == 2) {
          value.scalar = number_at<float>(part.bytes, 0);
        } else {
          REQUIRE(part.number == 4);
          value.image = fields_of(part.bytes);
        }
      }
    }
  }
  return value;
}

std::vector<Value> values_of(const std::filesystem::path& path) {
  const auto records = records_of(cyborg::io::read_file(path));
  std::vector<Value> values;
  for (size_t i = 1; i < records.size(); ++i) {  // the first is the version
    values.push_back(value_of(records[i]));
  }
  return values;
}

/// A clock that begins at 1000 and advances by half a second.
EventOptions ticking() {
  return EventOptions().host("host").clock(
      [now = 999.5]() mutable { return now += 0.5; });
}

}  // namespace

TEST_CASE("The checksum is CRC-32C, masked", "[train][events]") {
  CHECK(cyborg::io::crc32c("123456789") == 0xE3069283U);
  CHECK(cyborg::io::crc32c("") == 0);
  // RFC 3720, B.4: 32 bytes of zeros, of ones, and 0 ... 31.
  CHECK(cyborg::io::crc32c(std::string(32, '\0')) == 0x8A9136AAU);
  CHECK(cyborg::io::crc32c(std::string(32, '\xFF')) == 0x62A8AB43U);
  std::string counting;
  for (char c = 0; c < 32; ++c) {
    counting += c;
  }
  CHECK(cyborg::io::crc32c(counting) == 0x46DD794EU);
  // Rotated right by 15 bits (0x2507C60D), plus the constant.
  CHECK(inner::masked_crc32c("123456789") == 0x2507C60DU + 0xA282EAD8U);
}

TEST_CASE("A record has exactly these bytes", "[train][events]") {
  const Folder folder;
  EventWriter events(folder.path(), ticking());
  events.scalar("a", 1.5, 300);
  events.scalar("b", -2, -1);
  const auto file = cyborg::io::read_file(events.path());
  const auto records = records_of(file);
  REQUIRE(records.size() == 3);
  // Wall time 1000.5 (field 1, 64 bits), version (field 3, 13 bytes).
  const auto first =
      pictures::from_hex("090000000000448f401a0d") + "brain.Event:2";
  CHECK(records[0] == first);
  CHECK(file.substr(0, 8) == pictures::from_hex("1800000000000000"));
  // Wall time 1001; step 300; summary of 10 bytes, its value of 8: tag "a",
  // simple_value 1.5.
  CHECK(
      records[1] == pictures::from_hex("090000000000488f40"
                                       "10ac02"
                                       "2a0a0a080a0161150000c03f"));
  // A negative step takes ten bytes.
  CHECK(
      records[2] == pictures::from_hex("0900000000004c8f40"
                                       "10ffffffffffffffffff01"
                                       "2a0a0a080a016215000000c0"));
}

TEST_CASE("A number has as few bytes as protobuf allows", "[train][events]") {
  const auto bytes = [](uint64_t value) {
    return inner::Message().integer(1, value).bytes();
  };
  CHECK(bytes(0) == pictures::from_hex("0800"));
  CHECK(bytes(127) == pictures::from_hex("087f"));
  CHECK(bytes(128) == pictures::from_hex("088001"));
  CHECK(bytes(16383) == pictures::from_hex("08ff7f"));
  CHECK(bytes(16384) == pictures::from_hex("08808001"));
  // So does the length of a text: 128 letters.
  CHECK(
      inner::Message().text(2, std::string(128, 'a')).bytes() ==
      pictures::from_hex("128001") + std::string(128, 'a'));
}

TEST_CASE(
    "Curves and pictures are read back as they were written",
    "[train][events]") {
  const Folder own;
  // tests/read_events.py names a folder, and reads it with TensorBoard.
  const char* named = std::getenv("CYBORG_EVENTS_FOLDER");
  const std::filesystem::path folder = named ? named : own / "run/7";
  EventWriter events(folder, ticking());
  CHECK(events.path() == folder / "events.out.tfevents.1000.host");
  for (int64_t step = 0; step < 3; ++step) {
    events.scalar("loss/train", 1.0 / static_cast<double>(1 + step), step);
  }
  events.scalar("auc", std::nan(""), 2);
  const auto colours = t({1, 0, 0, 1, 0, 0}, {3, 1, 2});
  events.image("cam/a", colours, 7);
  const auto grey = t({0, .2, .4, .6, .8, 1}, {3, 2});
  events.image("map", grey, int64_t{1} << 40);
  events.flush();

  const auto values = values_of(events.path());
  REQUIRE(values.size() == 6);
  for (int64_t step = 0; step < 3; ++step) {
    const auto& value = values[static_cast<size_t>(step)];
    CHECK(value.tag == "loss/train");
    CHECK(value.step == step);
    CHECK(value.scalar == 1.0F / static_cast<float>(1 + step));
    CHECK(value.time == 1001 + 0.5 * static_cast<double>(step));
  }
  CHECK(values[3].tag == "auc");
  CHECK(std::isnan(values[3].scalar));

  CHECK(values[4].tag == "cam/a");
  CHECK(values[4].step == 7);
  const auto& image = values[4].image;
  REQUIRE(image.size() == 4);
  CHECK(image[0].integer == 1);  // height
  CHECK(image[1].integer == 2);  // width
  CHECK(image[2].integer == 3);  // RGB
  CHECK(image[3].number == 4);
  CHECK(close(
      cyborg::data::read_image(own.write("a.png", image[3].bytes)), colours));

  CHECK(values[5].step == int64_t{1} << 40);
  REQUIRE(values[5].image.size() == 4);
  CHECK(values[5].image[0].integer == 3);
  CHECK(values[5].image[1].integer == 2);
  CHECK(values[5].image[2].integer == 1);  // grey
  CHECK(close(
      cyborg::data::read_image(
          own.write("g.png", values[5].image[3].bytes),
          cyborg::data::ImageOptions().channels(1))[0],
      grey, 1e-6));

  // [1, H, W] is the same picture. Not for read_events.py, so in its own file.
  EventWriter more(own / "more", ticking());
  more.image("map", grey.unsqueeze(0), 1);
  const auto image_of_more = values_of(more.path()).at(0).image;
  REQUIRE(image_of_more.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(image_of_more[i].integer == values[5].image[i].integer);
    CHECK(image_of_more[i].bytes == values[5].image[i].bytes);
  }
}

TEST_CASE("Each writer has its own file", "[train][events]") {
  const Folder folder;
  const auto options = EventOptions().host("h").clock([] { return 7.9; });
  EventWriter first(folder.path(), options);
  EventWriter second(folder.path(), options);
  EventWriter third(folder.path(), options);
  CHECK(first.path().filename() == "events.out.tfevents.7.h");
  CHECK(second.path().filename() == "events.out.tfevents.7.h.1");
  CHECK(third.path().filename() == "events.out.tfevents.7.h.2");
  first.scalar("a", 1, 0);
  auto moved = std::move(second);
  moved.scalar("a", 2, 1);
  CHECK(values_of(first.path()).at(0).scalar == 1);
  CHECK(values_of(moved.path()).at(0).scalar == 2);
}

TEST_CASE("By default time and host come from the system", "[train][events]") {
  const Folder folder;
  const double before = inner::system_seconds();
  EventWriter events(folder.path());
  events.scalar("a", 1, 0);
  const double after = inner::system_seconds();
  const auto time = values_of(events.path()).at(0).time;
  CHECK(before <= time);
  CHECK(time <= after);
  CHECK(before > 1.7e9);  // 2023: seconds since 1970
  CHECK(contains(events.path().string(), "." + inner::host_name()));
}

TEST_CASE("A full disk leaves whole records", "[train][events][error]") {
  const Folder folder;
  EventWriter events(folder.path(), ticking());
  events.scalar("a", 1, 0);
  const auto size = std::filesystem::file_size(events.path());

  // The system lets the file grow by ten more bytes.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  auto small = limit;
  small.rlim_cur = size + 10;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto error = error_of([&] { events.scalar("a", 2, 1); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);

  CHECK(
      error == "cyborg::report::EventWriter: " + events.path().string() +
                   ": cannot be written: File too large");
  CHECK(std::filesystem::file_size(events.path()) == size);
  events.scalar("a", 3, 2);
  const auto values = values_of(events.path());
  REQUIRE(values.size() == 2);
  CHECK(values[1].scalar == 3);
}

TEST_CASE(
    "After a truncated last record the others can be read", "[train][events]") {
  const Folder folder;
  EventWriter events(folder.path(), ticking());
  events.scalar("a", 1, 0);
  events.scalar("a", 2, 1);
  const auto size = std::filesystem::file_size(events.path());
  std::filesystem::resize_file(events.path(), size - 5);
  CHECK(values_of(events.path()).size() == 1);
}

TEST_CASE(
    "The errors of the writer name file and reason", "[train][events][error]") {
  const Folder folder;
  const auto file = folder.write("file", "x");
  CHECK(contains(
      error_of([&] { EventWriter(file + "/run"); }),
      "cyborg::report::EventWriter: " + file + "/run: cannot be created: "));
  CHECK(
      error_of([&] {
        EventWriter(folder.path(), EventOptions().host("no/folder").clock([] {
          return 1;
        }));
      }) ==
      "cyborg::report::EventWriter: " + (folder / "events.out.tfevents.1.no") +
          "/folder: cannot be opened: No such file or directory");
  EventWriter events(folder.path());
  CHECK(error_of([&] {
          events.scalar("", 1, 0);
        }) == "cyborg::report::EventWriter: expected a tag, got an empty one");
  CHECK(contains(
      error_of([&] { events.image("a", torch::zeros({2, 4, 4}), 0); }),
      "cyborg::data::encode_png: expected an image"));
  CHECK(values_of(events.path()).empty());
}
