// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define CYBORG_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CYBORG_TSAN 1
#endif
#endif
#ifdef CYBORG_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace cyborg::detail {

/// Tells the thread sanitizer, which cannot see how LibTorch's threads wait for
/// each other, that what came before `handed_over` in one thread comes before
/// what follows `taken_over` in another. One place for all calls: which one, a
/// thread could learn only from memory that it has not yet taken over.
struct TsanHappensBefore {
  void handed_over() {
#ifdef CYBORG_TSAN
    __tsan_release(this);
#endif
  }
  void taken_over() {
#ifdef CYBORG_TSAN
    __tsan_acquire(this);
#endif
  }
};
inline TsanHappensBefore parallel_begun, parallel_done;

/// Numbers to work on from which threads are worth it, as in ATen's operators.
constexpr int64_t kWorthThreads = 1 << 15;

/// Calls `f(begin, end)` for parts of [0, count), on LibTorch's threads.
///
/// `at::parallel_for` is a template that a user without -fopenmp compiles to
/// a plain loop; TensorIterator's is compiled into LibTorch.
template <class F>
void parallel(int64_t count, const F& f) {
  if (count <= 1 || at::get_num_threads() == 1 || at::in_parallel_region()) {
    f(0, count);
    return;
  }
  const torch::Tensor tasks =
      at::empty({count}, at::TensorOptions().dtype(at::kByte));
  const auto* base = static_cast<const char*>(tasks.data_ptr());
  at::TensorBase output = tasks;
  auto iterator = at::TensorIterator::nullary_op(output);
  // One dimension of bytes: each call has one row.
  const auto row = [&](char** data, const int64_t* /*strides*/, int64_t n,
                       int64_t /*rows*/) {
    parallel_begun.taken_over();
    const int64_t begin = data[0] - base;
    f(begin, begin + n);
    parallel_done.handed_over();
  };
  parallel_begun.handed_over();
  iterator.for_each(row, /*grain_size=*/1);
  parallel_done.taken_over();
}

/// How work on [B, C, P] is cut: by sample, and by channel as well where
/// there are fewer samples than threads.
struct Slices {
  int64_t batch, channels, per_sample;
  bool threads;

  Slices(int64_t batch_, int64_t channels_, int64_t positions)
      : batch(batch_), channels(channels_), per_sample(1) {
    const int64_t all = at::in_parallel_region() ? 1 : at::get_num_threads();
    threads = all > 1 && batch * channels * positions > kWorthThreads;
    if (threads && batch > 0 && batch < all) {
      per_sample = std::clamp<int64_t>(
          (all + batch - 1) / batch, 1, std::max<int64_t>(1, channels / 64));
    }
  }

  int64_t count() const { return batch * per_sample; }

  /// Calls `f(slice, sample, first channel, end of channels)`.
  template <class F>
  void run(const F& f) const {
    // Multiples of 16, so that vectors stay whole.
    const int64_t step = (channels / per_sample + 15) / 16 * 16;
    const auto some = [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t part = i % per_sample;
        const int64_t begin = std::min(part * step, channels);
        const int64_t end = part + 1 == per_sample
                                ? channels
                                : std::min(begin + step, channels);
        f(i, i / per_sample, begin, end);
      }
    };
    if (threads) {
      parallel(count(), some);
    } else {
      some(0, count());
    }
  }
};

}  // namespace cyborg::detail
