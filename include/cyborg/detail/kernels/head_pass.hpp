// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Pooling and class activation maps in one pass over the features, and their
// gradients in another: which rows, on which thread, with which vectors.

#include <cyborg/detail/kernels/rows.hpp>
#include <cyborg/detail/kernels/vectors.hpp>
#include <cyborg/detail/torch/parallel.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace cyborg::detail {

/// One pass over contiguous features [B, C, P]. Each sample has `maps` maps,
/// made with the first `maps` rows of the weights or, where `index` [B] is
/// given, one map made with the row that it names. Without maps there are
/// means alone.
template <class T>
struct HeadPass {
  int64_t batch = 0, channels = 0, positions = 0, maps = 1;
  const T* features = nullptr;
  const T* weight = nullptr;       // [K, C]
  const int64_t* index = nullptr;  // [B], for one map a sample
  // Forward writes:
  T* cam = nullptr;     // [B, maps, P], zeros before
  T* pooled = nullptr;  // [B, C], means over positions; may be null
  // Backward reads the gradients of those, and writes one or both of the
  // others; without features the weight's is left alone.
  const T* cam_grad = nullptr;
  const T* pooled_grad = nullptr;  // may be null
  T* features_grad = nullptr;      // [B, C, P]; may be null
  T* weight_grad = nullptr;        // [B, maps, C], a sample's share, zeros
  bool streams = false;            // whether features_grad goes past the caches

  T scale() const { return T(1) / static_cast<T>(positions); }

  /// Sets where the features' gradient goes: past the caches, where these do
  /// not hold the features, it, and what the next layer's backward makes of it.
  void write_to(T* gradient) {
    features_grad = gradient;
    streams = batch * channels * positions * static_cast<int64_t>(sizeof(T)) >=
              cache_bytes() / 3;
  }

  const T* row(int64_t sample, int64_t map) const {
    return weight + (index != nullptr ? index[sample] : map) * channels;
  }
};

#if CYBORG_KERNELS

/// Rows that stay in the nearest cache, whole vectors of them.
template <class L>
constexpr int64_t rows_in_cache(int64_t positions) {
  return std::max<int64_t>(
      L::kWidth,
      4096 / std::max<int64_t>(positions, 1) / L::kWidth * L::kWidth);
}

/// Channels [begin, end) of one sample; the maps are added to `cam`.
template <class L>
CYBORG_INLINE void forward_slice(
    const HeadPass<typename L::Scalar>& pass, int64_t sample, int64_t begin,
    int64_t end, typename L::Scalar* cam) {
  const int64_t positions = pass.positions;
  std::vector<typename L::Scalar> unwanted;
  if (pass.maps == 0) {  // means by the same sums as beside a map
    unwanted.resize(static_cast<size_t>(positions));
    forward_rows<L, true>(
        pass.features + (sample * pass.channels + begin) * positions,
        pass.weight + begin, end - begin, positions, unwanted.data(),
        pass.scale(), pass.pooled + sample * pass.channels + begin);
    return;
  }
  // Several maps read the same rows: few enough to stay in the cache.
  const int64_t rows =
      pass.maps == 1 ? end - begin : rows_in_cache<L>(positions);
  for (int64_t c = begin; c < end; c += rows) {
    const int64_t count = std::min(rows, end - c);
    const auto* values =
        pass.features + (sample * pass.channels + c) * positions;
    for (int64_t m = 0; m < pass.maps; ++m) {
      const auto* weight = pass.row(sample, m) + c;
      if (m == 0 && pass.pooled != nullptr) {
        forward_rows<L, true>(
            values, weight, count, positions, cam, pass.scale(),
            pass.pooled + sample * pass.channels + c);
      } else {
        forward_rows<L, false>(
            values, weight, count, positions, cam + m * positions, pass.scale(),
            nullptr);
      }
    }
  }
}

/// Channels [begin, end) of one sample.
template <class L, bool kDot, Write kHow>
CYBORG_INLINE void backward_channels(
    const HeadPass<typename L::Scalar>& pass, int64_t sample, int64_t begin,
    int64_t end) {
  using Scalar = typename L::Scalar;
  constexpr bool kWrite = kHow != Write::kNot;
  const int64_t positions = pass.positions, count = end - begin;
  const int64_t first = sample * pass.channels + begin;
  const auto* rows = kDot ? pass.features + first * positions : nullptr;
  auto* grad = kWrite ? pass.features_grad + first * positions : nullptr;
  const auto* shift =
      pass.pooled_grad != nullptr ? pass.pooled_grad + first : nullptr;
  std::vector<Scalar> map(static_cast<size_t>(positions + L::kWidth));
  bool written = false;
  for (int64_t m = 0; m < pass.maps; ++m) {
    const int64_t number = sample * pass.maps + m;
    const auto* cam_grad = pass.cam_grad + number * positions;
    const auto* weight = pass.row(sample, m) + begin;
    auto* share =
        kDot ? pass.weight_grad + number * pass.channels + begin : nullptr;
    // Classes that nobody asked for, and samples that are not guided.
    if (std::all_of(cam_grad, cam_grad + positions, [](Scalar value) {
          return value == 0;
        })) {
      continue;
    }
    std::copy_n(cam_grad, positions, map.data());
    std::copy_n(
        cam_grad, std::min<int64_t>(L::kWidth, positions),
        map.data() + positions);
    if (kWrite && written) {
      backward_rows<L, kDot, kWrite ? Write::kAdd : Write::kNot>(
          rows, weight, count, positions, map.data(), pass.scale(), shift, grad,
          share);
    } else {
      backward_rows<L, kDot, kHow>(
          rows, weight, count, positions, map.data(), pass.scale(), shift, grad,
          share);
    }
    written = true;
  }
  if (kHow == Write::kStream) {
    streamed();
  }
  if (kWrite && !written) {
    for (int64_t r = 0; r < count; ++r) {
      std::fill_n(
          grad + r * positions, positions,
          shift != nullptr ? pass.scale() * shift[r] : 0);
    }
  }
}

template <class L>
CYBORG_INLINE void backward_slice(
    const HeadPass<typename L::Scalar>& pass, int64_t sample, int64_t begin,
    int64_t end) {
  if (pass.features == nullptr) {
    if (pass.streams) {
      backward_channels<L, false, Write::kStream>(pass, sample, begin, end);
    } else {
      backward_channels<L, false, Write::kStore>(pass, sample, begin, end);
    }
  } else if (pass.features_grad == nullptr) {
    // Last rows first: forward left those in the cache.
    const int64_t rows = 4 * rows_in_cache<L>(pass.positions);
    for (int64_t last = end; last > begin;) {
      const int64_t first = begin + (last - begin - 1) / rows * rows;
      backward_channels<L, true, Write::kNot>(pass, sample, first, last);
      last = first;
    }
  } else if (pass.streams) {
    backward_channels<L, true, Write::kStream>(pass, sample, begin, end);
  } else {
    backward_channels<L, true, Write::kStore>(pass, sample, begin, end);
  }
}

template <class T>
void portable_forward(
    const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end,
    T* cam) {
  forward_slice<Lanes<T, 16>>(pass, sample, begin, end, cam);
}
template <class T>
void portable_backward(
    const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end) {
  backward_slice<Lanes<T, 16>>(pass, sample, begin, end);
}

#if CYBORG_AVX
template <class T>
CYBORG_TARGET_AVX2 void avx2_forward(
    const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end,
    T* cam) {
  forward_slice<Lanes<T, 32>>(pass, sample, begin, end, cam);
}
template <class T>
CYBORG_TARGET_AVX2 void avx2_backward(
    const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end) {
  backward_slice<Lanes<T, 32>>(pass, sample, begin, end);
}
#endif

template <class T>
auto forward_kernel(InstructionSet kernels) {
#if CYBORG_AVX
  if (kernels == InstructionSet::kAvx2) {
    return &avx2_forward<T>;
  }
#endif
  (void)kernels;
  return &portable_forward<T>;
}

template <class T>
auto backward_kernel(InstructionSet kernels) {
#if CYBORG_AVX
  if (kernels == InstructionSet::kAvx2) {
    return &avx2_backward<T>;
  }
#endif
  (void)kernels;
  return &portable_backward<T>;
}

/// Pooling and maps, threads over samples and, where those are too few, over
/// channels as well, whose maps are then added up in a fixed order.
template <class T>
void head_forward(const HeadPass<T>& pass) {
  const auto kernel = forward_kernel<T>(active_instruction_set());
  const Slices slices(pass.batch, pass.channels, pass.positions);
  const int64_t size = pass.maps * pass.positions;
  std::vector<T> parts;
  if (slices.per_sample > 1) {
    parts.assign(static_cast<size_t>(slices.count() * size), T(0));
  }
  slices.run([&](int64_t slice, int64_t sample, int64_t begin, int64_t end) {
    kernel(
        pass, sample, begin, end,
        parts.empty() ? pass.cam + sample * size : parts.data() + slice * size);
  });
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    pass.cam[at / size / slices.per_sample * size + at % size] += parts[i];
  }
}

template <class T>
void head_backward(const HeadPass<T>& pass) {
  const auto kernel = backward_kernel<T>(active_instruction_set());
  const Slices slices(pass.batch, pass.channels, pass.positions);
  // Last samples first: forward left those in the cache, and what reads the
  // gradient begins with the first.
  slices.run([&](int64_t, int64_t sample, int64_t begin, int64_t end) {
    kernel(pass, pass.batch - 1 - sample, begin, end);
  });
}

#endif  // CYBORG_KERNELS

}  // namespace cyborg::detail
