// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The loops that read features row by row. A row is one channel of one sample:
// its positions, one after the other. Each loop is a template on its vectors.

#include <cyborg/detail/kernels/vectors.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#if CYBORG_KERNELS

namespace cyborg::detail {

/// The function below, with the lanes 0, 1, ... as a pack of constants.
template <class L, int... kLane>
CYBORG_INLINE void first_lanes(
    typename L::Mask& mask, int64_t count,
    std::integer_sequence<int, kLane...> /*lanes*/) {
  mask = typename L::Mask{kLane...} < static_cast<typename L::Bits>(count);
}
/// Sets the first `count` lanes of the mask, and clears the others.
template <class L>
CYBORG_INLINE void first_lanes(typename L::Mask& mask, int64_t count) {
  first_lanes<L>(mask, count, std::make_integer_sequence<int, L::kWidth>());
}

/// The lanes of a row's last vector that no other vector covers. A row ends in
/// a vector that overlaps the one before, so its first lanes come twice.
template <class L>
CYBORG_INLINE void tail_mask(typename L::Mask& mask, int64_t positions) {
  first_lanes<L>(mask, (L::kWidth - positions % L::kWidth) % L::kWidth);
  mask = ~mask;
}

/// Replaces the lanes of `x` that are set in `mask` by those of `from`.
template <class L>
CYBORG_INLINE void select(
    typename L::Vector& x, const typename L::Mask& mask,
    const typename L::Vector& from) {
  typename L::Mask bits, other;
  __builtin_memcpy(&bits, &x, sizeof(x));
  __builtin_memcpy(&other, &from, sizeof(x));
  bits = (bits & ~mask) | (other & mask);
  __builtin_memcpy(&x, &bits, sizeof(x));
}

/// Sets the lanes of `x` to zero that `mask` does not have, also NaN.
template <class L>
CYBORG_INLINE void apply_mask(
    typename L::Vector& x, const typename L::Mask& mask) {
  typename L::Mask bits;
  __builtin_memcpy(&bits, &x, sizeof(x));
  bits &= mask;
  __builtin_memcpy(&x, &bits, sizeof(x));
}

/// sums[r] = scale times the sum of the vector that `row(r, sum)` fills in. As
/// many rows are added up at once as a vector has lanes.
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

/// Where in a row vector i of kVectors begins; the last one ends with the row.
template <class L, int kVectors>
constexpr int64_t vector_begin(int i, int64_t positions) {
  return i == kVectors - 1 ? positions - L::kWidth : int64_t{i} * L::kWidth;
}

/// cam += sum over rows of weight[r] row[r]; kPool: pooled[r] = scale times the
/// sum of row[r]. For rows of kVectors vectors; the map stays in registers.
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

/// Calls `f(p, x, sum)` as `each` does and returns the total. Four sums take
/// turns, so that no addition has to wait for the one before it.
template <class L, class F>
CYBORG_INLINE typename L::Scalar each_summed(int64_t n, const F& f) {
  constexpr int kSums = 4;
  constexpr int64_t kTurn = kSums * L::kWidth;
  Sum<L> sums[kSums];
  int64_t p = 0;
  for (; p + kTurn <= n; p += kTurn) {
    unrolled<kSums>([&](auto i) CYBORG_INLINE_LAMBDA {
      typename L::Vector x{};
      f(p + i * L::kWidth, x, sums[i]);
    });
  }
  each<L>(n - p, [&](int64_t rest, auto& x) CYBORG_INLINE_LAMBDA {
    f(p + rest, x, sums[0]);
  });
  unrolled<kSums - 1>(
      [&](auto i) CYBORG_INLINE_LAMBDA { sums[0].add(sums[i + 1].vector); });
  return sums[0].total();
}

/// As `short_forward`, for one row of any length; the map is in memory. Several
/// rows at once would read the map less often, but the features more slowly: a
/// processor fetches a single stream ahead best.
template <class L, bool kPool>
CYBORG_INLINE void long_forward(
    const typename L::Scalar* row, typename L::Scalar weight, int64_t positions,
    typename L::Scalar* cam, typename L::Scalar scale,
    typename L::Scalar* pooled) {
  const auto total = each_summed<L>(
      positions, [&](int64_t p, auto& map, Sum<L>& sum) CYBORG_INLINE_LAMBDA {
        std::decay_t<decltype(map)> x;
        load(x, row + p);
        load(map, cam + p);
        map += weight * x;
        store(cam + p, map);
        if constexpr (kPool) {
          sum.add(x);
        }
      });
  if constexpr (kPool) {
    *pooled = scale * total;
  }
}

/// The same for `count` rows of any length, by the loop that fits the length.
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
    for (int64_t r = 0; r < count; ++r) {
      long_forward<L, kPool>(
          rows + r * positions, weight[r], positions, cam, scale, pooled + r);
    }
  }
}

/// kWrite: grad[r] = weight[r] cam_grad + scale pooled_grad[r];
/// kDot: weight_grad[r] = <row[r], cam_grad>. For rows of kVectors vectors.
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
  const auto row = [&](int64_t r, Vector& sum) CYBORG_INLINE_LAMBDA {
    const auto factor = weight[r];
    const auto shift = pooled_grad != nullptr ? scale * pooled_grad[r] : 0;
    sum = Vector{};
    unrolled<kVectors>([&](auto i) CYBORG_INLINE_LAMBDA {
      if constexpr (kDot) {
        Vector x;
        load(x, rows + r * positions + at(i));
        if constexpr (i == kVectors - 1) {
          apply_mask<L>(x, mask);  // not the map: infinity times 0 is NaN
        }
        sum += x * map[i];
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

/// weight_grad[r] = <row[r], cam_grad>, for rows of any length.
template <class L>
CYBORG_INLINE void dot_rows(
    const typename L::Scalar* rows, int64_t count, int64_t positions,
    const typename L::Scalar* cam_grad, typename L::Scalar* weight_grad) {
  for (int64_t r = 0; r < count; ++r) {
    const auto* row = rows + r * positions;
    weight_grad[r] = each_summed<L>(
        positions, [&](int64_t p, auto& map, Sum<L>& sum) CYBORG_INLINE_LAMBDA {
          std::decay_t<decltype(map)> x;
          load(x, row + p);
          load(map, cam_grad + p);
          sum.add(x * map);
        });
  }
}

/// How a gradient is written: not at all, into the caches, past them, or added
/// to what is there.
enum class Write { kNot, kStore, kStream, kAdd };

/// grad[r] = weight[r] cam_grad + scale pooled_grad[r]; with kAdd, grad[r] +=
/// weight[r] cam_grad.
///
/// Rows of at least one vector are written as one array of aligned vectors, so
/// that none crosses a line of the cache. A vector may hold the end of a row
/// and the start of the next; it takes the factors of both. Its part of the map
/// is read past the end: `cam_grad` must be followed by its first kWidth
/// numbers. Shorter rows are written number by number, whatever kHow is.
template <class L, Write kHow>
CYBORG_INLINE void write_rows(
    const typename L::Scalar* weight, int64_t count, int64_t positions,
    const typename L::Scalar* cam_grad, typename L::Scalar scale,
    const typename L::Scalar* pooled_grad, typename L::Scalar* grad) {
  using Scalar = typename L::Scalar;
  using Vector = typename L::Vector;
  const bool shifts = kHow != Write::kAdd && pooled_grad != nullptr;
  const auto factors = [&](int64_t r, Vector& factor, Vector& shift)
                           CYBORG_INLINE_LAMBDA {
                             factor = weight[r] - Vector{};
                             shift = Vector{};
                             if (shifts) {
                               shift = pooled_grad[r] - Vector{};
                               shift *= scale;
                             }
                           };
  Scalar* out = grad;
  const auto one = [&](int64_t r, int64_t p) CYBORG_INLINE_LAMBDA {
    const Scalar y =
        weight[r] * cam_grad[p] + (shifts ? scale * pooled_grad[r] : Scalar(0));
    *out = kHow == Write::kAdd ? *out + y : y;
    ++out;
  };
  const auto vector = [&](const Vector& factor, const Vector& shift, int64_t p)
                          CYBORG_INLINE_LAMBDA {
                            Vector y;
                            load(y, cam_grad + p);
                            y = factor * y + shift;
                            if constexpr (kHow == Write::kAdd) {
                              Vector before;
                              load(before, out);
                              y += before;
                            }
                            if constexpr (kHow == Write::kStream) {
                              stream(out, y);
                            } else {
                              store(out, y);
                            }
                            out += L::kWidth;
                          };
  int64_t p = 0;  // where in a row
  if (positions >= L::kWidth && count > 0) {
    while (reinterpret_cast<uintptr_t>(out) % sizeof(Vector) != 0) {
      one(0, p++);
    }
  }
  for (int64_t r = 0; r < count; ++r) {
    Vector factor, shift;
    factors(r, factor, shift);
    for (; p + L::kWidth <= positions; p += L::kWidth) {
      vector(factor, shift, p);
    }
    const int64_t left = positions - p;
    if (left > 0 && positions >= L::kWidth && r + 1 < count) {
      typename L::Mask mask;
      first_lanes<L>(mask, left);
      Vector mixed, mixed_shift;
      factors(r + 1, mixed, mixed_shift);
      select<L>(mixed, mask, factor);
      select<L>(mixed_shift, mask, shift);
      vector(mixed, mixed_shift, p);
      p += L::kWidth - positions;
    } else {
      for (; p < positions; ++p) {
        one(r, p);
      }
      p = 0;
    }
  }
}

/// kDot: weight_grad[r] = <row[r], cam_grad>. Also writes the gradient as kHow
/// says; then `cam_grad` must be as for `write_rows`.
template <class L, bool kDot, Write kHow, int kVectors = L::kRegisters>
CYBORG_INLINE void backward_rows(
    const typename L::Scalar* rows, const typename L::Scalar* weight,
    int64_t count, int64_t positions, const typename L::Scalar* cam_grad,
    typename L::Scalar scale, const typename L::Scalar* pooled_grad,
    typename L::Scalar* grad, typename L::Scalar* weight_grad) {
  constexpr bool kBeside = kHow == Write::kNot || kHow == Write::kStore;
  if constexpr (kVectors > 0 && (kDot || kHow == Write::kStore)) {
    const int64_t vectors = (positions + L::kWidth - 1) / L::kWidth;
    if (vectors != kVectors || positions < L::kWidth) {
      backward_rows<L, kDot, kHow, kVectors - 1>(
          rows, weight, count, positions, cam_grad, scale, pooled_grad, grad,
          weight_grad);
      return;
    }
    short_backward<L, kVectors, kDot, kHow == Write::kStore>(
        rows, weight, count, positions, cam_grad, scale, pooled_grad, grad,
        weight_grad);
    if constexpr (!kBeside) {
      write_rows<L, kHow>(
          weight, count, positions, cam_grad, scale, pooled_grad, grad);
    }
  } else {
    // Few rows at a time, so that reading and writing overlap. A gradient that
    // goes past the caches is written faster when nothing is read between.
    const int64_t turn =
        kDot && kHow != Write::kNot && kHow != Write::kStream ? 16 : count;
    for (int64_t r = 0; r < count; r += turn) {
      const int64_t some = std::min(turn, count - r);
      if constexpr (kDot) {
        dot_rows<L>(
            rows + r * positions, some, positions, cam_grad, weight_grad + r);
      }
      if constexpr (kHow != Write::kNot) {
        write_rows<L, kHow>(
            weight + r, some, positions, cam_grad, scale,
            pooled_grad != nullptr ? pooled_grad + r : nullptr,
            grad + r * positions);
      }
    }
  }
}

}  // namespace cyborg::detail

#endif  // CYBORG_KERNELS
