// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Vectors of a fixed width, for kernels that a header brings along: a user
// compiles them with whatever flags there are, so each kernel is written once,
// as a template on its vectors, and inlined into one function per instruction
// set, which says what it may use. The processor is asked at run time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__GNUC__)  // GCC and Clang, whose vector types these are
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
#include <emmintrin.h>
#define CYBORG_SSE2 1
#else
#define CYBORG_SSE2 0
#endif

namespace cyborg::detail {

/// What the kernels may use, from least to most.
enum class InstructionSet { kNone, kPortable, kAvx2 };

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

/// Bytes of the processor's largest cache, as it says itself; 32 MiB where it
/// does not.
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

/// What decides which gradients go past the caches; tests change it.
inline int64_t& cache_bytes() {
  static int64_t bytes = find_cache_bytes();
  return bytes;
}

/// The most that this thread's calls may use.
inline InstructionSet& instruction_set_limit() {
  static thread_local InstructionSet limit = InstructionSet::kAvx2;
  return limit;
}

/// What this thread's calls use.
inline InstructionSet active_instruction_set() {
  return instruction_set_limit() < best_instruction_set()
             ? instruction_set_limit()
             : best_instruction_set();
}

/// While it lives, calls of this thread use no more than `limit`; with kNone
/// ATen's operators alone. For tests, and for who suspects a kernel.
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

#if CYBORG_KERNELS

/// Vectors of `kBytes` that hold `T`. Nothing here takes or returns one by
/// value: how that is done differs between instruction sets.
template <class T, int kBytes>
struct Lanes {
  using Scalar = T;
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  // NOLINTBEGIN(modernize-use-using): the attribute wants a typedef
  typedef T Vector __attribute__((vector_size(kBytes)));
  typedef Bits Mask __attribute__((vector_size(kBytes)));
  // NOLINTEND(modernize-use-using)
  static constexpr int kWidth = kBytes / static_cast<int>(sizeof(T));
  /// Rows up to this many vectors stay in registers: float32 maps of up to 8 x
  /// 8 positions. Narrow vectors have too few registers; float64 is not worth
  /// what it costs to compile.
  static constexpr int kRegisters = kBytes >= 32 && sizeof(T) == 4 ? 8 : 0;
};

template <class X, class T>
CYBORG_INLINE void load(X& to, const T* from) {
  __builtin_memcpy(&to, from, sizeof(X));
}

template <class X, class T>
CYBORG_INLINE void store(T* to, const X& from) {
  __builtin_memcpy(to, &from, sizeof(X));
}

/// Stores past the caches, where the processor can; `to` has a vector's
/// alignment. Other threads see it after `streamed()`.
template <class X, class T>
CYBORG_INLINE void stream(T* to, const X& from) {
#if !CYBORG_SSE2
  store(to, from);
#elif defined(__clang__)
  __builtin_nontemporal_store(from, reinterpret_cast<X*>(to));
#else
  // GCC has no such builtin, and its intrinsics want their instruction set
  // where they are written, not where this is inlined.
  auto& place = *reinterpret_cast<X*>(to);
  if constexpr (sizeof(X) == 32) {
    asm("vmovntps {%1, %0|%0, %1}" : "=m"(place) : "x"(from));
  } else {
    static_assert(sizeof(X) == 16);
    asm("movntps {%1, %0|%0, %1}" : "=m"(place) : "x"(from));
  }
#endif
}
CYBORG_INLINE void streamed() {
#if CYBORG_SSE2
  _mm_sfence();
#endif
}

/// Calls `f` with 0, 1, ... N - 1 as types, so that arrays stay registers.
template <int N, class F>
CYBORG_INLINE void unrolled(const F& f) {
  if constexpr (N > 0) {
    unrolled<N - 1>(f);
    f(std::integral_constant<int, N - 1>());
  }
}

/// Calls `f(p, x)` for p up to n: x a vector for as long as whole ones are
/// left, then a scalar. What x holds does not matter, its type does.
template <class L, class F>
CYBORG_INLINE void each(int64_t n, const F& f) {
  int64_t p = 0;
  for (; p + L::kWidth <= n; p += L::kWidth) {
    typename L::Vector x{};
    f(p, x);
  }
  for (; p < n; ++p) {
    typename L::Scalar x{};
    f(p, x);
  }
}

/// A sum over what `each` visits.
template <class L>
struct Sum {
  typename L::Vector vector{};
  typename L::Scalar scalar{};

  CYBORG_INLINE void add(const typename L::Vector& x) { vector += x; }
  CYBORG_INLINE void add(const typename L::Scalar& x) { scalar += x; }
  CYBORG_INLINE typename L::Scalar total() const {
    typename L::Scalar sum = scalar;
    for (int i = 0; i < L::kWidth; ++i) {
      sum += vector[i];
    }
    return sum;
  }
};

/// Lane i of a + b, where a holds the lower halves of blocks of `kBlock` of
/// `first` and `second`, one after the other, and b the upper ones.
template <class L, int kBlock, int... kLane>
CYBORG_INLINE void fold_halves(
    typename L::Vector& out, const typename L::Vector& first,
    const typename L::Vector& second, std::integer_sequence<int, kLane...>) {
#define CYBORG_LOWER \
  (kLane % kBlock < kBlock / 2 ? kLane : L::kWidth + kLane - kBlock / 2)
#define CYBORG_UPPER \
  (kLane % kBlock < kBlock / 2 ? kLane + kBlock / 2 : L::kWidth + kLane)
#if defined(__clang__) || __GNUC__ >= 12
  out = __builtin_shufflevector(first, second, CYBORG_LOWER...) +
        __builtin_shufflevector(first, second, CYBORG_UPPER...);
#else
  out = __builtin_shuffle(first, second, typename L::Mask{CYBORG_LOWER...}) +
        __builtin_shuffle(first, second, typename L::Mask{CYBORG_UPPER...});
#endif
#undef CYBORG_LOWER
#undef CYBORG_UPPER
}

/// rows[0][i] = the sum of rows[i], for as many rows as there are lanes.
template <class L, int kBlock = L::kWidth>
CYBORG_INLINE void sum_rows(typename L::Vector* rows) {
  if constexpr (kBlock > 1) {
    unrolled<kBlock / 2>([&](auto i) CYBORG_INLINE_LAMBDA {
      fold_halves<L, kBlock>(
          rows[i], rows[i], rows[i + kBlock / 2],
          std::make_integer_sequence<int, L::kWidth>());
    });
    sum_rows<L, kBlock / 2>(rows);
  }
}

#endif  // CYBORG_KERNELS

}  // namespace cyborg::detail
