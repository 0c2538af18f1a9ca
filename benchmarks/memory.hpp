// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The bytes that LibTorch's allocator hands out while something runs.

#include "tensors.hpp"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace claims {

/// Counts the bytes that are allocated on this thread while it is installed.
class AllocationCount : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(
      void* /*pointer*/, int64_t size, size_t /*allocated*/,
      size_t /*reserved*/, c10::Device /*device*/) override {
    now_ += size;  // negative when memory is returned
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  int64_t now() const { return now_; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

/// Allocated bytes, without those from before.
struct Memory {
  int64_t kept;  ///< allocated between forward and backward
  int64_t peak;  ///< the most at one time, with the gradients that remain
};

/// The memory of a forward and a backward.
inline Memory memory_of(const Compute& loss, const Tensors& leaves) {
  const auto count = std::make_shared<AllocationCount>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, count);
  auto value = loss();
  const int64_t kept = count->now();
  value.backward();
  take_gradients(leaves);
  return {kept, count->peak()};
}

}  // namespace claims
