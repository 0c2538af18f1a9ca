// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace cyborg::io {

/// A file cannot be used. `what()` is "function: path: reason"; `path()` and
/// `reason()` are its last two parts alone.
class FileError : public std::runtime_error {
 public:
  FileError(
      const std::string& function, const std::filesystem::path& path,
      const std::string& reason)
      : std::runtime_error(function + ": " + path.string() + ": " + reason),
        path_(path.string()),
        reason_(reason) {}

  const std::string& path() const noexcept { return path_; }
  const std::string& reason() const noexcept { return reason_; }

 private:
  std::string path_;
  std::string reason_;
};

/// Reads a whole file.
///
/// A file larger than `max_bytes` is rejected before anything is read. Errors
/// begin with the name `function`.
/// Throws: `FileError` for a file that is missing, a directory, not a regular
/// file, empty, too large or unreadable.
inline std::string read_file(
    const std::filesystem::path& path,
    uint64_t max_bytes = std::numeric_limits<uint64_t>::max(),
    const char* function = "cyborg::io::read_file") {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    throw FileError(function, path, "no such file");
  }
  if (error) {
    throw FileError(function, path, error.message());
  }
  if (fs::is_directory(status)) {
    throw FileError(function, path, "is a directory, expected a file");
  }
  if (!fs::is_regular_file(status)) {
    throw FileError(function, path, "is not a regular file");
  }
  const uint64_t size = fs::file_size(path, error);
  if (error) {
    throw FileError(function, path, error.message());
  }
  if (size == 0) {
    throw FileError(function, path, "is empty (0 bytes)");
  }
  if (size > max_bytes) {
    throw FileError(
        function, path,
        "is too large: " + std::to_string(size) + " bytes, the limit is " +
            std::to_string(max_bytes));
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    const auto code = errno;
    throw FileError(
        function, path,
        "cannot be opened" +
            (code != 0 ? ": " + std::generic_category().message(code) : ""));
  }
  std::string bytes(static_cast<size_t>(size), '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(stream.gcount()) != size) {
    throw FileError(
        function, path,
        "cannot be read: " + std::to_string(stream.gcount()) + " of " +
            std::to_string(size) + " bytes arrived");
  }
  return bytes;
}

/// Writes a whole file. A reader finds the old file or the new one, but never a
/// part of it: the bytes are written to a file with a temporary name in the
/// same folder and synced to the disk, and then the file is renamed. The folder
/// must exist. After an error the old file is unchanged, and the temporary one
/// is deleted.
///
/// Throws: `FileError`, also on a full disk.
inline void write_file(
    const std::filesystem::path& path, std::string_view bytes,
    const char* function = "cyborg::io::write_file") {
  namespace fs = std::filesystem;
  static std::atomic<uint64_t> counter{0};
  auto temporary = path;
  temporary.replace_filename(
      "." + path.filename().string() + "." + std::to_string(counter++) + ".");
#if defined(_WIN32)
  temporary += "tmp";
  {
    std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.flush();
    if (!stream) {
      std::error_code ignored;
      fs::remove(temporary, ignored);
      throw FileError(function, path, "cannot be written");
    }
  }
#else
  temporary += std::to_string(::getpid()) + ".tmp";
  const auto fail = [&](const char* what) {
    const auto reason = std::generic_category().message(errno);
    ::unlink(temporary.c_str());
    throw FileError(function, path, std::string(what) + ": " + reason);
  };
  const int file =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) {
    fail("cannot be written");
  }
  const char* next = bytes.data();
  size_t left = bytes.size();
  while (left > 0) {
    const auto written = ::write(file, next, left);
    if (written < 0 && errno != EINTR) {
      const int code = errno;
      ::close(file);
      errno = code;
      fail("cannot be written");
    }
    if (written > 0) {
      next += written;
      left -= static_cast<size_t>(written);
    }
  }
  // EINVAL: this file system cannot sync. That is no reason to stop.
  const bool synced = ::fsync(file) == 0 || errno == EINVAL;
  const int code = errno;
  if (::close(file) != 0 || !synced) {
    errno = synced ? errno : code;
    fail("cannot be synced");
  }
#endif
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw FileError(function, path, "cannot be replaced: " + error.message());
  }
}

}  // namespace cyborg::io
