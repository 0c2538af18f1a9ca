// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What tests of the kernels set for a while.

#include <cyborg/detail/kernels/instruction_set.hpp>

#include <ATen/Parallel.h>

#include <cstdint>
#include <limits>

namespace kernel_guards {

/// A cache so large that no gradient is stored past it.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

/// While it lives, the kernels work as with a cache of so many bytes.
class CacheGuard {
 public:
  explicit CacheGuard(int64_t bytes) : before_(cyborg::detail::cache_bytes()) {
    cyborg::detail::cache_bytes() = bytes;
  }
  ~CacheGuard() { cyborg::detail::cache_bytes() = before_; }
  CacheGuard(const CacheGuard&) = delete;
  CacheGuard& operator=(const CacheGuard&) = delete;

 private:
  int64_t before_;
};

/// While it lives, LibTorch has so many threads.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(at::get_num_threads()) {
    at::set_num_threads(threads);
  }
  ~ThreadsGuard() { at::set_num_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

}  // namespace kernel_guards
