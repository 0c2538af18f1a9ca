// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/image.hpp>
#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <torch/arg.h>
#include <torch/types.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#if !defined(_WIN32)
#include <unistd.h>
#endif

// Curves and pictures of a training for TensorBoard. TensorFlow is not needed:
// the three kinds of protobuf messages in such a file are written here. This
// header is in report/ because pictures are written as PNG, which needs stb.

namespace cyborg::report {

/// Options of `EventWriter`.
struct EventOptions {
  /// Returns the seconds since 1970. It is called once for the name of the file
  /// and once for each record. Default: the system's clock.
  TORCH_ARG(std::function<double()>, clock);
  /// The end of the file's name. Default: the name of this machine.
  TORCH_ARG(std::string, host);

 public:
};

namespace detail {

/// The checksum of a record. TensorBoard masks it, because the plain checksum
/// is weak on data that contain their own checksum.
inline uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = io::crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xA282EAD8U;
}

/// The lowest `bytes` bytes of a number, the lowest one first.
inline std::string little_endian(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) {
    out += static_cast<char>(value >> (8 * i) & 0xFFU);
  }
  return out;
}

/// A record of the file: the length of the data (8 bytes), its checksum, the
/// data, their checksum.
inline std::string event_record(std::string_view data) {
  auto record = little_endian(data.size(), 8);
  record += little_endian(masked_crc32c(record), 4);
  record += data;
  return record += little_endian(masked_crc32c(data), 4);
}

/// A protobuf message that is written field by field. Numbers of fields are
/// below 16, so that each key (number and type) is one byte.
class Message {
 public:
  Message& integer(uint32_t field, uint64_t value) {
    return key(field, 0).varint(value);
  }

  Message& real64(uint32_t field, double value) {
    uint64_t bits = 0;
    static_assert(sizeof bits == sizeof value, "a double has 64 bits");
    std::memcpy(&bits, &value, sizeof bits);
    key(field, 1).bytes_ += little_endian(bits, 8);
    return *this;
  }

  Message& real32(uint32_t field, float value) {
    uint32_t bits = 0;
    static_assert(sizeof bits == sizeof value, "a float has 32 bits");
    std::memcpy(&bits, &value, sizeof bits);
    key(field, 5).bytes_ += little_endian(bits, 4);
    return *this;
  }

  /// A string, bytes, or another message.
  Message& text(uint32_t field, std::string_view value) {
    key(field, 2).varint(value.size()).bytes_ += value;
    return *this;
  }

  const std::string& bytes() const noexcept { return bytes_; }

 private:
  /// What precedes each value. `type` is 0: varint, 1: 64 bits, 2: a length and
  /// so many bytes, 5: 32 bits.
  Message& key(uint32_t field, uint32_t type) {
    return varint(field << 3 | type);
  }

  /// A whole number, seven bits in each byte and the lowest ones first; the top
  /// bit of a byte says that another byte follows.
  Message& varint(uint64_t value) {
    for (; value > 0x7FU; value >>= 7) {
      bytes_ += static_cast<char>((value & 0x7FU) | 0x80U);
    }
    bytes_ += static_cast<char>(value);
    return *this;
  }

  std::string bytes_;
};

/// The default of `EventOptions::clock`.
inline double system_seconds() {
  return std::chrono::duration<double>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The default of `EventOptions::host`; "localhost" if the system gives none.
inline std::string host_name() {
#if !defined(_WIN32)
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0') {
    return name.data();
  }
#endif
  return "localhost";
}

}  // namespace detail

/// Writes numbers and pictures of a training for TensorBoard.
///
/// Each writer makes a new file `events.out.tfevents.<time>.<host>` in the
/// folder, and the folder if it does not exist. TensorBoard shows all files of
/// a folder as one run, so a training that is resumed writes a file of its own.
/// Each record is given to the system in one write, before the function
/// returns. A program that is killed leaves whole records, and perhaps a part
/// of the last one, at which TensorBoard stops reading. After an error the file
/// ends with the last whole record.
///
/// One thread at a time may use a writer.
/// Throws: `io::FileError` for a folder or file that cannot be created, and for
/// a record that cannot be written, for example on a full disk.
/// Source: TFRecord and tensorflow/core/util/event.proto.
/// Example:
///     cyborg::report::EventWriter events("runs/7");
///     events.scalar("loss/train", loss.item<double>(), epoch);
///     events.image("cam", cyborg::report::overlay(image, map), epoch);
class EventWriter {
 public:
  explicit EventWriter(
      const std::filesystem::path& folder, EventOptions options = {})
      : clock_(options.clock() ? options.clock() : detail::system_seconds),
        file_(nullptr, &std::fclose) {
    open(
        folder,
        "events.out.tfevents." +
            std::to_string(static_cast<int64_t>(clock_())) + "." +
            (options.host().empty() ? detail::host_name() : options.host()));
    write(event().text(kFileVersion, "brain.Event:2"));
  }

  /// Writes a point of the curve `tag`.
  ///
  /// Range: any number, stored as float32. TensorBoard shows NaN and infinity.
  /// Throws: `c10::ValueError` for an empty tag; `io::FileError`.
  void scalar(const std::string& tag, double value, int64_t step) {
    add(tag, step,
        detail::Message().real32(kSimpleValue, static_cast<float>(value)));
  }

  /// Writes a picture of the series `tag`.
  ///
  /// Shapes: image [H, W], [1, H, W] or [3, H, W].
  /// Range: [0, 1], or uint8, as in `data::encode_png`.
  /// Throws: `c10::ValueError` as `data::encode_png`, and for an empty tag;
  ///         `io::FileError`.
  void image(const std::string& tag, const torch::Tensor& image, int64_t step) {
    const auto png = data::encode_png(image);
    const bool colour = image.dim() == 3 && image.size(0) == 3;
    add(tag, step,
        detail::Message().text(
            kImage, detail::Message()
                        .integer(kHeight, static_cast<uint64_t>(image.size(-2)))
                        .integer(kWidth, static_cast<uint64_t>(image.size(-1)))
                        .integer(kColorspace, colour ? 3 : 1)
                        .text(kEncodedImage, png)
                        .bytes()));
  }

  /// Returns when all records are on the disk, so that a power cut cannot lose
  /// them. TensorBoard sees the records also without this call.
  ///
  /// Throws: `io::FileError`.
  void flush() {
#if !defined(_WIN32)
    // EINVAL: this file system cannot sync. That is no reason to stop.
    if (::fsync(::fileno(file_.get())) != 0 && errno != EINVAL) {
      fail("cannot be synced", errno);
    }
#endif
  }

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  // The numbers of the fields in event.proto and summary.proto.
  enum EventField : uint32_t {
    kWallTime = 1,
    kStep = 2,
    kFileVersion = 3,
    kSummary = 5,
  };
  enum SummaryField : uint32_t { kValue = 1 };
  enum ValueField : uint32_t { kTag = 1, kSimpleValue = 2, kImage = 4 };
  enum ImageField : uint32_t {
    kHeight = 1,
    kWidth = 2,
    kColorspace = 3,
    kEncodedImage = 4,
  };

  [[noreturn]] void fail(const std::string& what, int code) const {
    throw io::FileError(
        "cyborg::report::EventWriter", path_,
        what + (code != 0 ? ": " + std::generic_category().message(code) : ""));
  }

  /// Creates the first of these files that does not exist: `name`, `name`.1,
  /// `name`.2, ...
  void open(const std::filesystem::path& folder, const std::string& name) {
    path_ = folder;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      fail("cannot be created", error.value());
    }
    for (int i = 0; file_ == nullptr; ++i) {
      path_ = folder / (i == 0 ? name : name + "." + std::to_string(i));
      errno = 0;
      file_.reset(std::fopen(path_.string().c_str(), "wbx"));
      if (file_ == nullptr && errno != EEXIST) {
        fail("cannot be opened", errno);
      }
    }
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);  // one write for each record
  }

  /// The beginning of each record: the time.
  detail::Message event() const {
    return detail::Message().real64(kWallTime, clock_());
  }

  void add(
      const std::string& tag, int64_t step, const detail::Message& content) {
    TORCH_CHECK_VALUE(
        !tag.empty(),
        "cyborg::report::EventWriter: expected a tag, got an empty one");
    const auto value =
        detail::Message().text(kTag, tag).bytes() + content.bytes();
    write(event()
              .integer(kStep, static_cast<uint64_t>(step))
              .text(kSummary, detail::Message().text(kValue, value).bytes()));
  }

  /// Appends a record. If that fails, the file is cut to the records before.
  void write(const detail::Message& event) {
    const auto record = detail::event_record(event.bytes());
    errno = 0;
    if (std::fwrite(record.data(), 1, record.size(), file_.get()) !=
        record.size()) {
      const int code = errno;
      std::clearerr(file_.get());
      std::error_code ignored;
      std::filesystem::resize_file(path_, size_, ignored);
      std::fseek(file_.get(), static_cast<long>(size_), SEEK_SET);
      fail("cannot be written", code);
    }
    size_ += record.size();
  }

  std::function<double()> clock_;
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  uint64_t size_ = 0;  // bytes of whole records
};

}  // namespace cyborg::report
