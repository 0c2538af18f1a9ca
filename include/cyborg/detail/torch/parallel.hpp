// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Loops on LibTorch's threads, and how work on features is cut for them.

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

/// Says to the thread sanitizer that what is before `handed_over` in one thread
/// happens before what is after `taken_over` in another. The sanitizer cannot
/// see how LibTorch's threads wait for each other. All calls share one object:
/// an object for each call would have to be passed to the thread in memory, and
/// that memory is what must be handed over first. In other builds it does
/// nothing.
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

/// How many numbers a loop must work on for threads to be worth their cost. The
/// value is that of ATen's operators.
constexpr int64_t kWorthThreads = 1 << 15;

/// Calls `f(begin, end)` for parts of [0, count), on LibTorch's threads.
///
/// Each number of [0, count) is in one part. The threads are those of a
/// TensorIterator, whose code is compiled into LibTorch: `at::parallel_for` is
/// a template that becomes a plain loop in a program without -fopenmp. The
/// iterator works on `count` bytes that nobody reads or writes; the address of
/// a part says where it begins.
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

/// How work on [B, C, P] is cut into slices: by sample, and also by channel
/// where there are fewer samples than threads.
///
/// The slices depend on the number of threads, so a sum over slices does too,
/// by its rounding. Each slice is run once, by one thread.
struct Slices {
  // per_sample: slices a sample; with 1, no sample is shared by threads.
  int64_t batch, channels, per_sample;
  bool threads;  // whether `run` uses other threads too

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
