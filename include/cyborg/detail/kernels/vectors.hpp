// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Vectors of a fixed width, for kernels in headers. Users compile the headers
// with any flags, so a kernel cannot rely on -mavx2. Instead each kernel is
// written once, as a template on its vectors. It is inlined into one function
// for each instruction set, and that function has the attribute which allows
// the instructions (see instruction_set.hpp).

#include <cyborg/detail/kernels/instruction_set.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#if CYBORG_SSE2
#include <emmintrin.h>
#endif

namespace cyborg::detail {

#if CYBORG_KERNELS

/// The vectors of one instruction set: `kBytes` long, with numbers of type `T`.
/// A number of a vector is a lane. A mask has all bits of a lane set or none.
///
/// Invariant: no function takes or returns a vector by value, because the
/// calling convention for vectors differs between instruction sets.
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

/// Reads a vector, or one number, from memory of any alignment.
template <class X, class T>
CYBORG_INLINE void load(X& to, const T* from) {
  __builtin_memcpy(&to, from, sizeof(X));
}

/// Writes a vector, or one number, to memory of any alignment.
template <class X, class T>
CYBORG_INLINE void store(T* to, const X& from) {
  __builtin_memcpy(to, &from, sizeof(X));
}

/// Stores past the caches where the processor can. A usual store first reads
/// the line of the cache that it writes to; this one does not. `to` must have
/// the alignment of a vector. Other threads see the store after `streamed()`.
template <class X, class T>
CYBORG_INLINE void stream(T* to, const X& from) {
#if !CYBORG_SSE2
  store(to, from);
#elif defined(__clang__)
  __builtin_nontemporal_store(from, reinterpret_cast<X*>(to));
#else
  // GCC has no such builtin. Its intrinsics need the instruction set in the
  // function where they are written, not where that is inlined.
  auto& place = *reinterpret_cast<X*>(to);
  if constexpr (sizeof(X) == 32) {
    asm("vmovntps {%1, %0|%0, %1}" : "=m"(place) : "x"(from));
  } else {
    static_assert(sizeof(X) == 16);
    asm("movntps {%1, %0|%0, %1}" : "=m"(place) : "x"(from));
  }
#endif
}
/// Ends a series of `stream` calls: what they stored is visible afterwards.
CYBORG_INLINE void streamed() {
#if CYBORG_SSE2
  _mm_sfence();
#endif
}

/// Calls `f` with 0, 1, ... N - 1 as compile-time constants, so that arrays of
/// vectors that are indexed by them stay in registers.
template <int N, class F>
CYBORG_INLINE void unrolled(const F& f) {
  if constexpr (N > 0) {
    unrolled<N - 1>(f);
    f(std::integral_constant<int, N - 1>());
  }
}

/// Calls `f(p, x)` for the positions p in [0, n). `x` is a vector while a whole
/// vector is left and a single number after that; `f` uses its type, not its
/// value.
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

/// A sum of what `each` visits, vectors and single numbers. `vector` has one
/// partial sum in each lane; `total` adds them up.
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

/// One step of `sum_rows`. Cuts `first` and `second` into blocks of `kBlock`
/// lanes, and adds the lower half of each block to its upper half. `out` holds
/// the results, those of `first` and `second` in turn.
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

/// rows[0][i] = the sum of the lanes of rows[i], for as many rows as there are
/// lanes; the other rows are overwritten. It takes fewer steps than to add up
/// each row by itself.
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
