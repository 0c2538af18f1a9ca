// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What happens while one waits: a bar with the time left on a terminal, and a
// plain line at every tenth where the output goes to a file.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace demo {

class Progress {
 public:
  /// `total` units of work, of any kind; `quiet` prints nothing (tests).
  Progress(std::string what, int64_t total, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Some units are done. May be called from any thread. `note`, where there
  /// is one, is shown behind the time.
  void add(int64_t units, const std::string& note = "");

  /// Seconds since the beginning.
  double seconds() const;

 private:
  void print(bool last, const std::string& note);

  const std::string what_;
  const int64_t total_;
  const bool quiet_;
  const bool terminal_;
  const std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point printed_;
  int64_t done_ = 0;
  int64_t tenth_ = 0;
  std::mutex mutex_;
};

/// Seconds as people say them: "48 s", "3 min 05 s".
std::string duration(double seconds);

}  // namespace demo
