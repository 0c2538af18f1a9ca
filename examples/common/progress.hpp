// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How far a long computation is: on a terminal a bar with the remaining time,
// in a file one line for every tenth of the work.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace programs {

class Progress {
 public:
  /// `total` is the number of units of work. With `quiet` nothing is printed.
  Progress(std::string what, int64_t total, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Says that so many more units are done. Any thread may call it. `note` is
  /// printed after the time.
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
  int64_t tenth_ = 0;  // tenths of the work that are printed (not a terminal)
  std::mutex mutex_;   // of all that `add` changes
};

/// A time as people write it: "48 s", "3 min 05 s".
std::string duration(double seconds);

}  // namespace programs
