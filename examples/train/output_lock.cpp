// SPDX-License-Identifier: BSD-3-Clause
#include "output_lock.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <string>
#include <system_error>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#endif

namespace programs {

#if defined(_WIN32)

OutputLock::OutputLock(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
}

OutputLock::~OutputLock() = default;

#else

namespace {

/// Who this process is, for the person whose training has to wait.
std::string holder() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format(
      "{}, process {}, since {:%Y-%m-%d %H:%M:%S} UTC", host.data(), ::getpid(),
      fmt::gmtime(std::time(nullptr)));
}

/// Removes the temporary files of processes that were killed while they wrote.
/// The folder is locked, so nobody is writing.
void remove_leftovers(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    if (name.size() > 5 && name.front() == '.' &&
        name.compare(name.size() - 4, 4, ".tmp") == 0) {
      std::filesystem::remove(entry.path(), error);
    }
  }
}

std::string content(int file) {
  std::array<char, 512> text{};
  const auto count = ::pread(file, text.data(), text.size(), 0);
  return {text.data(), count > 0 ? static_cast<size_t>(count) : 0};
}

}  // namespace

OutputLock::OutputLock(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const auto path = folder / ".lock";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0 && error) {
    throw cyborg::io::FileError(
        "--out", folder, "cannot be made: " + error.message());
  }
  if (file_ < 0) {
    throw cyborg::io::FileError(
        "--out", folder,
        "cannot be written: " + std::generic_category().message(errno));
  }
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const auto other = content(file_);
    ::close(file_);
    throw cyborg::io::FileError(
        "--out", folder,
        "is in use by another training (" + other +
            "): wait for its end, or choose another --out");
  }
  remove_leftovers(folder);
  const auto text = holder();
  if (::ftruncate(file_, 0) != 0 ||
      ::pwrite(file_, text.data(), text.size(), 0) < 0) {
    // On a full disk; the lock holds without the text.
  }
}

OutputLock::~OutputLock() {
  ::close(file_);
}

#endif

}  // namespace programs
