// SPDX-License-Identifier: BSD-3-Clause
#include "progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace programs {

namespace {

bool is_terminal() {
#if defined(_WIN32)
  return _isatty(_fileno(stdout)) != 0;
#else
  return ::isatty(STDOUT_FILENO) != 0;
#endif
}

}  // namespace

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::lround(std::max(seconds, 0.0)));
  if (whole < 60) {
    return std::to_string(whole) + " s";
  }
  const auto rest = std::to_string(whole % 60);
  return std::to_string(whole / 60) + " min " + (rest.size() < 2 ? "0" : "") +
         rest + " s";
}

Progress::Progress(std::string what, int64_t total, bool quiet)
    : what_(std::move(what)),
      total_(std::max<int64_t>(total, 1)),
      quiet_(quiet),
      terminal_(is_terminal()),
      begin_(std::chrono::steady_clock::now()),
      printed_(begin_) {}

Progress::~Progress() {
  if (!quiet_ && terminal_ && done_ > 0) {
    std::putchar('\n');
  }
}

double Progress::seconds() const {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now() - begin_)
      .count();
}

void Progress::add(int64_t units, const std::string& note) {
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ = std::min(done_ + units, total_);
  if (quiet_) {
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  const int64_t tenth = 10 * done_ / total_;
  const bool due =
      terminal_
          ? now - printed_ > std::chrono::milliseconds(200) || done_ == total_
          : tenth > tenth_;
  if (due) {
    printed_ = now;
    tenth_ = tenth;
    print(done_ == total_, note);
  }
}

void Progress::print(bool last, const std::string& note) {
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  const double elapsed = seconds();
  const auto percent = static_cast<int>(100 * share);
  const auto time =
      last ? duration(elapsed) : duration(elapsed / share - elapsed) + " left";
  if (terminal_) {
    constexpr int kWidth = 30;
    const auto filled = static_cast<int>(kWidth * share);
    // \x1b[K erases what a longer line left behind.
    std::printf(
        "\r%s [%s%s] %3d %%  %s  %s\x1b[K", what_.c_str(),
        std::string(static_cast<size_t>(filled), '=').c_str(),
        std::string(static_cast<size_t>(kWidth - filled), ' ').c_str(), percent,
        time.c_str(), note.c_str());
  } else {
    std::printf(
        "%s: %d %%, %s%s%s\n", what_.c_str(), percent, time.c_str(),
        note.empty() ? "" : ", ", note.c_str());
  }
  std::fflush(stdout);
}

}  // namespace programs
