// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Pooling and class activation maps in one pass over the features, and their
// gradients in another. This file decides which rows are read in which order,
// on which thread and with which vectors; rows.hpp has the loops.

#include <cyborg/detail/kernels/rows.hpp>
#include <cyborg/detail/kernels/vectors.hpp>
#include <cyborg/detail/torch/parallel.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace cyborg::detail {

/// The arguments of one pass over contiguous features [B, C, P]; all pointers
/// are to memory of the caller.
///
/// Each sample has `maps` maps, made with the first `maps` rows of the weight.
/// Where `index` [B] is given, each sample has one map, made with the row that
/// its entry names. With `maps` 0 a pass computes means only.
template <class T>
struct HeadPass {
  int64_t batch = 0, channels = 0, positions = 0, maps = 1;
  const T* features = nullptr;
  const T* weight = nullptr;       // [K, C]
  const int64_t* index = nullptr;  // [B], for one map a sample
  // Forward writes:
  T* cam = nullptr;     // [B, maps, P], zeros before
  T* pooled = nullptr;  // [B, C], means over positions; may be null
  // Backward reads the first two of these and writes one or both of the last
  // two. Without features it writes no gradient of the weight. That gradient is
  // one share for each sample and must be zeros before.
  const T* cam_grad = nullptr;     // [B, maps, P]
  const T* pooled_grad = nullptr;  // [B, C]; may be null
  T* features_grad = nullptr;      // [B, C, P]; may be null
  T* weight_grad = nullptr;        // [B, maps, C]; may be null
  bool streams = false;            // whether features_grad goes past the caches

  /// What turns a sum over positions into a mean.
  T scale() const { return T(1) / static_cast<T>(positions); }

  /// Sets where the features' gradient is written. It is written to memory
  /// without the caches if three arrays of its size do not fit into these: the
  /// features, their gradient, and what the backward of the layer before writes.
  void write_to(T* gradient) {
    features_grad = gradient;
    streams = batch * channels * positions * static_cast<int64_t>(sizeof(T)) >=
              cache_bytes() / 3;
  }

  /// The row of the weight that makes this map of this sample.
  const T* row(int64_t sample, int64_t map) const {
    return weight + (index != nullptr ? index[sample] : map) * channels;
  }
};

#if CYBORG_KERNELS

/// How many rows stay in the nearest cache (about 4096 numbers), as a multiple
/// of the lanes, since `summed_rows` works on that many rows at once.
template <class L>
constexpr int64_t rows_in_cache(int64_t positions) {
  return std::max<int64_t>(
      L::kWidth,
      4096 / std::max<int64_t>(positions, 1) / L::kWidth * L::kWidth);
}

/// Forward of channels [begin, end) of one sample. Adds their part of the maps
/// to `cam` [maps, P] and writes their means to `pass.pooled`.
template <class L>
CYBORG_INLINE void forward_slice(
    const HeadPass<typename L::Scalar>& pass, int64_t sample, int64_t begin,
    int64_t end, typename L::Scalar* cam) {
  const int64_t positions = pass.positions;
  std::vector<typename L::Scalar> unwanted;
  if (pass.maps == 0) {  // the same loop, so that means are equal to the bit
    unwanted.resize(static_cast<size_t>(positions));
    forward_rows<L, true>(
        pass.features + (sample * pass.channels + begin) * positions,
        pass.weight + begin, end - begin, positions, unwanted.data(),
        pass.scale(), pass.pooled + sample * pass.channels + begin);
    return;
  }
  // Several maps read the same rows, so only as many as the cache holds.
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

/// Backward of channels [begin, end) of one sample. kDot: whether to write the
/// weight's gradient. kHow: how to write that of the features. With several
/// maps the first one writes, the others add.
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
    // Maps of other classes, and of samples that are not guided, add nothing.
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

/// Backward of channels [begin, end) of one sample, by the loop for the
/// gradients that `pass` asks for.
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
    // The last rows first, since forward has left those in the cache.
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

// One function for each instruction set. Everything below them is inlined, so
// that their attributes hold for it.

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

/// The two kernels of a pass: `HeadPass` says what they read and write.
template <class T>
struct HeadKernels {
  /// Adds the maps of channels [begin, end) of `sample` to `cam`, and writes
  /// the means of these channels.
  void (*forward)(
      const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end,
      T* cam);
  /// Writes the gradients of channels [begin, end) of `sample`.
  void (*backward)(
      const HeadPass<T>& pass, int64_t sample, int64_t begin, int64_t end);
};

/// The kernels for the instruction set that this thread uses now.
template <class T>
HeadKernels<T> head_kernels() {
#if CYBORG_AVX
  return {
      select_kernel(&portable_forward<T>, &avx2_forward<T>),
      select_kernel(&portable_backward<T>, &avx2_backward<T>)};
#else
  return {&portable_forward<T>, &portable_backward<T>};
#endif
}

/// Means and maps of all samples. Threads share the samples and, where these
/// are fewer than the threads, also the channels. The parts of a map are then
/// added up in a fixed order, so that equal numbers of threads give equal maps.
template <class T>
void head_forward(const HeadPass<T>& pass) {
  const auto kernel = head_kernels<T>().forward;
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

/// The gradients of all samples, on several threads in the same way.
template <class T>
void head_backward(const HeadPass<T>& pass) {
  const auto kernel = head_kernels<T>().backward;
  const Slices slices(pass.batch, pass.channels, pass.positions);
  // The last samples first. Forward has left their features in the cache, and
  // the next reader of the gradient begins with the first samples.
  slices.run([&](int64_t, int64_t sample, int64_t begin, int64_t end) {
    kernel(pass, pass.batch - 1 - sample, begin, end);
  });
}

#endif  // CYBORG_KERNELS

}  // namespace cyborg::detail
