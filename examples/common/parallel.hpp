// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Independent jobs on several threads.

#include <ATen/Parallel.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace programs {

/// Runs job(0) ... job(count - 1) on up to `threads` threads and waits for
/// them. After the first exception no further job begins, and it is thrown
/// here.
///
/// Inside a job LibTorch computes with one thread, so that its sums always have
/// the same order: the results do not depend on `threads`.
inline void parallel(
    int64_t count, int64_t threads, const std::function<void(int64_t)>& job) {
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex mutex;
  const auto work = [&] {
    at::set_num_threads(1);
    for (int64_t i = next++; i < count; i = next++) {
      try {
        job(i);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!error) {
          error = std::current_exception();
        }
        next = count;
      }
    }
  };
  std::vector<std::thread> pool;
  for (int64_t i = 0; i < std::min(threads, count); ++i) {
    pool.emplace_back(work);
  }
  for (auto& thread : pool) {
    thread.join();
  }
  if (error) {
    std::rethrow_exception(error);
  }
}

}  // namespace programs
