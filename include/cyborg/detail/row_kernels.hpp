// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The loops that read features row by row: a row is one channel of one sample,
// its positions one after the other. Written once on vectors of any width.

#include <cyborg/detail/vectors.hpp>

#include <cstdint>
#include <type_traits>

#if CYBORG_KERNELS

namespace cyborg::detail {

/// Lanes of the last vector of a row that no other vector covers: rows end in
/// a vector that overlaps the one before.
template <class L>
CYBORG_INLINE void tail_mask(typename L::Mask& mask, int64_t positions) {
  const auto left = static_cast<int>(positions % L::kWidth);
  for (int i = 0; i < L::kWidth; ++i) {
    mask[i] = left == 0 || i >= L::kWidth - left ? -1 : 0;
  }
}

template <class L>
CYBORG_INLINE void apply_mask(
    typename L::Vector& x, const typename L::Mask& mask) {
  typename L::Mask bits;
  __builtin_memcpy(&bits, &x, sizeof(x));
  bits &= mask;
  __builtin_memcpy(&x, &bits, sizeof(x));
}

/// Asks for memory ahead of a long row, to be read or written: the processor's
/// own guess ends at every page. (Short rows gained nothing by it.)
template <bool kWrite>
CYBORG_INLINE void prefetch(const void* here) {
  constexpr uintptr_t kAhead = 16384;
  // A number, not a pointer: it may lie beyond the end.
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(here) + kAhead),
      /*rw=*/kWrite ? 1 : 0);
}

/// Scaled sums of one vector a row, as many rows at once as it has lanes:
/// `row(r, sum)` fills the vector.
template <class L, class F>
CYBORG_INLINE void summed_rows(
    int64_t count, typename L::Scalar scale, typename L::Scalar* sums,
    const F& row) {
  constexpr int kWidth = L::kWidth;
  typename L::Vector parts[kWidth];
  int64_t r = 0;
  for (; r + kWidth <= count; r += kWidth) {
    for (int i = 0; i < kWidth; ++i) {
      row(r + i, parts[i]);
    }
    sum_rows<L>(parts);
    parts[0] *= scale;
    store(sums + r, parts[0]);
  }
  for (; r < count; ++r) {
    Sum<L> sum;
    row(r, sum.vector);
    sums[r] = scale * sum.total();
  }
}

/// Where vector i of kVectors begins: the last one ends with the row.
template <class L, int kVectors>
constexpr int64_t vector_begin(int i, int64_t positions) {
  return i == kVectors - 1 ? positions - L::kWidth : int64_t{i} * L::kWidth;
}

/// cam += sum over rows of weight[r] row[r], and pooled[r] = scale times the
/// sum of row[r], for rows of kVectors vectors, the map in registers.
template <class L, int kVectors, bool kPool>
CYBORG_INLINE void short_forward(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t count, int64_t positions, typename L::Scalar* cam,
    typename L::Scalar scale, typename L::Scalar* pooled) {
  using Vector = typename L::Vector;
  const auto at = [&](int i) CYBORG_INLINE_LAMBDA {
    return vector_begin<L, kVectors>(i, positions);
  };
  typename L::Mask mask{};
  tail_mask<L>(mask, positions);
  Vector map[kVectors];
  unrolled<kVectors>([&](auto i)
                         CYBORG_INLINE_LAMBDA { load(map[i], cam + at(i)); });
  const auto row = [&](int64_t r, Vector& sum) CYBORG_INLINE_LAMBDA {
    const auto* values = rows + r * positions;
    const auto factor = weight[r];
    sum = Vector{};
    unrolled<kVectors>([&](auto i) CYBORG_INLINE_LAMBDA {
      Vector x;
      load(x, values + at(i));
      map[i] += factor * x;
      if constexpr (kPool) {
        if constexpr (i == kVectors - 1) {
          apply_mask<L>(x, mask);
        }
        sum += x;
      }
    });
  };
  if constexpr (kPool) {
    summed_rows<L>(count, scale, pooled, row);
  } else {
    Vector unused;
    for (int64_t r = 0; r < count; ++r) {
      row(r, unused);
    }
  }
  unrolled<kVectors>([&](auto i)
                         CYBORG_INLINE_LAMBDA { store(cam + at(i), map[i]); });
}

/// The same for rows of any length, kRows at once, the map in memory.
template <class L, int kRows, bool kPool>
CYBORG_INLINE void long_forward(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t positions, typename L::Scalar* cam, typename L::Scalar scale,
    typename L::Scalar* pooled) {
  using Scalar = typename L::Scalar;
  Sum<L> sums[kRows];
  each<L>(positions, [&](int64_t p, auto& map) CYBORG_INLINE_LAMBDA {
    load(map, cam + p);
    unrolled<kRows>([&](auto r) CYBORG_INLINE_LAMBDA {
      std::decay_t<decltype(map)> x;
      load(x, rows + r * positions + p);
      prefetch<false>(rows + r * positions + p);
      const Scalar factor = weight[r];
      map += factor * x;
      if constexpr (kPool) {
        sums[r].add(x);
      }
    });
    store(cam + p, map);
  });
  if constexpr (kPool) {
    unrolled<kRows>([&](auto r) CYBORG_INLINE_LAMBDA {
      pooled[r] = scale * sums[r].total();
    });
  }
}

template <class L, bool kPool, int kVectors = L::kRegisters>
CYBORG_INLINE void forward_rows(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t count, int64_t positions, typename L::Scalar* cam,
    typename L::Scalar scale, typename L::Scalar* pooled) {
  if constexpr (kVectors > 0) {
    const int64_t vectors = (positions + L::kWidth - 1) / L::kWidth;
    if (vectors == kVectors && positions >= L::kWidth) {
      short_forward<L, kVectors, kPool>(
          rows, weight, count, positions, cam, scale, pooled);
    } else {
      forward_rows<L, kPool, kVectors - 1>(
          rows, weight, count, positions, cam, scale, pooled);
    }
  } else {
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) {
      long_forward<L, 4, kPool>(
          rows + r * positions, weight + r, positions, cam, scale, pooled + r);
    }
    for (; r < count; ++r) {
      long_forward<L, 1, kPool>(
          rows + r * positions, weight + r, positions, cam, scale, pooled + r);
    }
  }
}

/// kWrite: grad[r] = weight[r] cam_grad + scale pooled_grad[r]; kDot:
/// weight_grad[r] = <row[r], cam_grad>. For rows of kVectors vectors.
template <class L, int kVectors, bool kDot, bool kWrite>
CYBORG_INLINE void short_backward(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t count, int64_t positions, const typename L::Scalar* cam_grad,
    typename L::Scalar scale, const typename L::Scalar* pooled_grad,
    typename L::Scalar* grad, typename L::Scalar* weight_grad) {
  using Vector = typename L::Vector;
  const auto at = [&](int i) CYBORG_INLINE_LAMBDA {
    return vector_begin<L, kVectors>(i, positions);
  };
  typename L::Mask mask{};
  tail_mask<L>(mask, positions);
  Vector map[kVectors];
  unrolled<kVectors>(
      [&](auto i) CYBORG_INLINE_LAMBDA { load(map[i], cam_grad + at(i)); });
  Vector tail = map[kVectors - 1];
  apply_mask<L>(tail, mask);
  const auto row = [&](int64_t r, Vector& sum) CYBORG_INLINE_LAMBDA {
    const auto factor = weight[r];
    const auto shift = pooled_grad != nullptr ? scale * pooled_grad[r] : 0;
    sum = Vector{};
    unrolled<kVectors>([&](auto i) CYBORG_INLINE_LAMBDA {
      if constexpr (kDot) {
        Vector x;
        load(x, rows + r * positions + at(i));
        sum += i == kVectors - 1 ? x * tail : x * map[i];
      }
      if constexpr (kWrite) {
        const Vector y = factor * map[i] + shift;
        store(grad + r * positions + at(i), y);
      }
    });
  };
  if constexpr (kDot) {
    summed_rows<L>(count, /*scale=*/1, weight_grad, row);
  } else {
    Vector unused;
    for (int64_t r = 0; r < count; ++r) {
      row(r, unused);
    }
  }
}

/// The same for kRows rows of any length; kAdd adds to the gradient there is.
template <class L, int kRows, bool kDot, bool kWrite, bool kAdd>
CYBORG_INLINE void long_backward(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t positions, const typename L::Scalar* cam_grad,
    typename L::Scalar scale, const typename L::Scalar* pooled_grad,
    typename L::Scalar* grad, typename L::Scalar* weight_grad) {
  using Scalar = typename L::Scalar;
  Sum<L> sums[kRows];
  Scalar shift[kRows] = {};
  if (!kAdd && pooled_grad != nullptr) {
    for (int r = 0; r < kRows; ++r) {
      shift[r] = scale * pooled_grad[r];
    }
  }
  each<L>(positions, [&](int64_t p, auto& map) CYBORG_INLINE_LAMBDA {
    using X = std::decay_t<decltype(map)>;
    load(map, cam_grad + p);
    unrolled<kRows>([&](auto r) CYBORG_INLINE_LAMBDA {
      if constexpr (kDot) {
        X x;
        load(x, rows + r * positions + p);
        prefetch<false>(rows + r * positions + p);
        sums[r].add(x * map);
      }
      if constexpr (kWrite) {
        const Scalar factor = weight[r];
        prefetch<true>(grad + r * positions + p);
        X y = factor * map + shift[r];
        if constexpr (kAdd) {
          X before;
          load(before, grad + r * positions + p);
          y += before;
        }
        store(grad + r * positions + p, y);
      }
    });
  });
  if constexpr (kDot) {
    unrolled<kRows>(
        [&](auto r) CYBORG_INLINE_LAMBDA { weight_grad[r] = sums[r].total(); });
  }
}

template <
    class L, bool kDot, bool kWrite, bool kAdd, int kVectors = L::kRegisters>
CYBORG_INLINE void backward_rows(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t count, int64_t positions, const typename L::Scalar* cam_grad,
    typename L::Scalar scale, const typename L::Scalar* pooled_grad,
    typename L::Scalar* grad, typename L::Scalar* weight_grad) {
  if constexpr (kVectors > 0 && !kAdd) {
    const int64_t vectors = (positions + L::kWidth - 1) / L::kWidth;
    if (vectors == kVectors && positions >= L::kWidth) {
      short_backward<L, kVectors, kDot, kWrite>(
          rows, weight, count, positions, cam_grad, scale, pooled_grad, grad,
          weight_grad);
    } else {
      backward_rows<L, kDot, kWrite, kAdd, kVectors - 1>(
          rows, weight, count, positions, cam_grad, scale, pooled_grad, grad,
          weight_grad);
    }
  } else {
    const auto some = [&](auto number, int64_t r) CYBORG_INLINE_LAMBDA {
      long_backward<L, number, kDot, kWrite, kAdd>(
          kDot ? rows + r * positions : nullptr, weight + r, positions,
          cam_grad, scale, pooled_grad != nullptr ? pooled_grad + r : nullptr,
          kWrite ? grad + r * positions : nullptr,
          kDot ? weight_grad + r : nullptr);
    };
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) {
      some(std::integral_constant<int, 4>(), r);
    }
    for (; r < count; ++r) {
      some(std::integral_constant<int, 1>(), r);
    }
  }
}

}  // namespace cyborg::detail

#endif  // CYBORG_KERNELS
