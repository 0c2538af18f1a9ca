// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <filesystem>

namespace programs {

/// Keeps other trainings out of an output folder as long as it lives. The
/// system ends the lock with the process, also after `kill -9`. (On a file
/// system that has no locks it does nothing.)
///
/// The lock is a file `.lock` in the folder, with the name of the computer, the
/// number of the process and the time of its start.
class OutputLock {
 public:
  /// Creates the folder where it is not there.
  /// Throws: `cyborg::io::FileError`, which says who holds the lock, and for a
  /// folder that cannot be written.
  explicit OutputLock(const std::filesystem::path& folder);
  ~OutputLock();
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace programs
