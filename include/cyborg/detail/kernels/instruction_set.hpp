// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Which vector instructions the kernels use, and where that is decided: here
// and nowhere else. A kernel is a template that is compiled once for each
// instruction set; `select_kernel` picks one of the results at run time.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#if defined(__GNUC__)  // GCC and Clang, whose vector types the kernels use
#define CYBORG_KERNELS 1
#define CYBORG_INLINE inline __attribute__((always_inline))
#define CYBORG_INLINE_LAMBDA __attribute__((always_inline))
#else
#define CYBORG_KERNELS 0
#define CYBORG_INLINE inline
#define CYBORG_INLINE_LAMBDA
#endif

#if CYBORG_KERNELS && defined(__x86_64__)
#define CYBORG_AVX 1
#define CYBORG_TARGET_AVX2 __attribute__((target("avx2,fma")))
#else
#define CYBORG_AVX 0
#endif

#if CYBORG_KERNELS && defined(__SSE2__)
#include <cpuid.h>
#define CYBORG_SSE2 1
#else
#define CYBORG_SSE2 0
#endif

namespace cyborg::detail {

/// What the kernels may use. The order matters: each includes those before it.
enum class InstructionSet {
  kNone,      ///< no kernels: ATen's operators compute everything
  kPortable,  ///< vectors of 16 bytes, which every compiler target has
  kAvx2,      ///< AVX2 with FMA, on x86-64 processors that have both
};

/// Its name, for benchmarks and bug reports.
inline const char* to_string(InstructionSet set) {
  switch (set) {
    case InstructionSet::kNone:
      return "none (ATen's operators)";
    case InstructionSet::kPortable:
      return "portable (16-byte vectors)";
    case InstructionSet::kAvx2:
      return "AVX2 with FMA";
  }
  return "unknown";
}

/// The largest instruction set of this processor, which is asked once.
inline InstructionSet best_instruction_set() {
#if CYBORG_AVX
  static const InstructionSet best =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          ? InstructionSet::kAvx2
          : InstructionSet::kPortable;
  return best;
#else
  return CYBORG_KERNELS ? InstructionSet::kPortable : InstructionSet::kNone;
#endif
}

/// The largest instruction set that calls on this thread may use. By default
/// there is no limit; `InstructionSetGuard` sets one.
inline InstructionSet& instruction_set_limit() {
  static thread_local InstructionSet limit = InstructionSet::kAvx2;
  return limit;
}

/// What calls on this thread use: the processor's best, within the limit.
inline InstructionSet active_instruction_set() {
  return std::min(instruction_set_limit(), best_instruction_set());
}

/// While it lives, calls on this thread use no more than `limit`; with kNone
/// they only use ATen's operators. It is for tests, and to find out whether a
/// kernel is at fault. A backward pass uses the limit of the thread that runs
/// it.
class InstructionSetGuard {
 public:
  explicit InstructionSetGuard(InstructionSet limit)
      : before_(instruction_set_limit()) {
    instruction_set_limit() = limit;
  }
  ~InstructionSetGuard() { instruction_set_limit() = before_; }
  InstructionSetGuard(const InstructionSetGuard&) = delete;
  InstructionSetGuard& operator=(const InstructionSetGuard&) = delete;

 private:
  InstructionSet before_;
};

#if CYBORG_AVX
/// The function to call now, of one kernel that was compiled for each set.
template <class Kernel>
Kernel* select_kernel(Kernel* portable, Kernel* avx2) {
  return active_instruction_set() == InstructionSet::kAvx2 ? avx2 : portable;
}
#endif

/// Bytes of the processor's largest cache, as the processor reports it; 32 MiB
/// where it reports none.
inline int64_t find_cache_bytes() {
  int64_t largest = 0;
#if CYBORG_SSE2
  // "Deterministic cache parameters", Intel's leaf and AMD's: one cache after
  // the other until there is none.
  for (const unsigned leaf : {0x4U, 0x8000001DU}) {
    unsigned type = 0, layout = 0, sets = 0, flags = 0;
    for (unsigned i = 0;
         i < 16 &&
         __get_cpuid_count(leaf, i, &type, &layout, &sets, &flags) != 0 &&
         (type & 31U) != 0;
         ++i) {
      const int64_t line = (layout & 0xfffU) + 1, ways = (layout >> 22U) + 1;
      const int64_t partitions = ((layout >> 12U) & 0x3ffU) + 1;
      largest = std::max(largest, line * partitions * ways * (sets + 1));
    }
  }
#endif
  return largest > 0 ? largest : int64_t{1} << 25;
}

/// The size of the cache by which `HeadPass` decides whether a gradient is
/// stored past the caches. It returns a reference, because tests set it.
inline int64_t& cache_bytes() {
  static int64_t bytes = find_cache_bytes();
  return bytes;
}

}  // namespace cyborg::detail
