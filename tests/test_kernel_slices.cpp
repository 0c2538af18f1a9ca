// SPDX-License-Identifier: BSD-3-Clause
//
// How the kernels' work is cut, which instructions it uses, and what is written
// past the caches.
#include <cyborg/loss.hpp>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "catch.hpp"
#include "kernel_guards.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

using cyborg::detail::active_instruction_set;
using cyborg::detail::best_instruction_set;
using cyborg::detail::cache_bytes;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using cyborg::detail::Slices;
using kernel_guards::CacheGuard;
using kernel_guards::kNever;
using kernel_guards::ThreadsGuard;

namespace {}  // namespace

TEST_CASE("A thread uses no more than its instruction set limit", "[kernels]") {
  const auto best = best_instruction_set();
  CHECK(active_instruction_set() == best);
  {
    const InstructionSetGuard outer(InstructionSet::kPortable);
    CHECK(
        active_instruction_set() == std::min(best, InstructionSet::kPortable));
    {
      const InstructionSetGuard inner(InstructionSet::kNone);
      CHECK(active_instruction_set() == InstructionSet::kNone);
      auto elsewhere = InstructionSet::kNone;
      std::thread([&] { elsewhere = active_instruction_set(); }).join();
      CHECK(elsewhere == best);
    }
    CHECK(
        active_instruction_set() == std::min(best, InstructionSet::kPortable));
  }
  CHECK(active_instruction_set() == best);
  CHECK(cache_bytes() >= 1 << 14);
  CHECK(cache_bytes() <= int64_t{1} << 33);
}

TEST_CASE(
    "Gradients that do not fit in the caches are written past them",
    "[kernels]") {
  // Features, their gradient and what is made of it: three times 2 * 3 * 5.
  const auto check = [](auto zero) {
    using T = decltype(zero);
    const int64_t bytes = 2 * 3 * 5 * static_cast<int64_t>(sizeof(T));
    for (const auto& [cache, streams] :
         {std::tuple<int64_t, bool>(0, true),
          {3 * bytes, true},
          {3 * bytes + 3, false},
          {kNever, false}}) {
      CAPTURE(bytes, cache);
      const CacheGuard guard(cache);
      cyborg::detail::HeadPass<T> pass;
      pass.batch = 2;
      pass.channels = 3;
      pass.positions = 5;
      CHECK_FALSE(pass.streams);
      T target = 0;
      pass.write_to(&target);
      CHECK(pass.streams == streams);
      CHECK(pass.features_grad == &target);
    }
  };
  check(0.0F);
  check(0.0);
}

TEST_CASE("Work is cut so that each channel is done once", "[kernels]") {
  const std::vector<std::tuple<int64_t, int64_t, int64_t>> sizes = {
      {0, 4, 4},       {1, 1, 1},     {1, 2048, 49},  {1, 700, 4096},
      {2, 515, 196},   {3, 64, 4096}, {2, 127, 4096}, {2, 130, 4096},
      {37, 128, 49},   {4, 2048, 16}, {5, 40, 100},   {1, 16, 4096},
      {2, 1000, 4096}, {3, 100, 110}};
  for (const int threads : {1, 2, 3, 7}) {
    const ThreadsGuard guard(threads);
    for (const auto& [batch, channels, positions] : sizes) {
      CAPTURE(threads, batch, channels, positions);
      const Slices slices(batch, channels, positions);
      const bool large = batch * channels * positions > 32768;
      CHECK(slices.threads == (threads > 1 && large));
      CHECK(slices.count() == batch * slices.per_sample);
      if (!slices.threads || batch >= threads || channels < 128) {
        CHECK(slices.per_sample == 1);
      } else {
        CHECK(slices.per_sample > 1);
        CHECK(slices.per_sample <= threads);
      }
      std::vector<int> done(static_cast<size_t>(batch * channels));
      std::set<int64_t> numbers;
      std::mutex mutex;
      bool aligned = true;
      slices.run(
          [&](int64_t slice, int64_t sample, int64_t begin, int64_t end) {
            const std::lock_guard<std::mutex> lock(mutex);
            numbers.insert(slice);
            aligned &= begin % 16 == 0 || begin == channels;
            for (int64_t c = begin; c < end; ++c) {
              ++done[static_cast<size_t>(sample * channels + c)];
            }
          });
      CHECK(aligned);
      CHECK(static_cast<int64_t>(numbers.size()) == slices.count());
      CHECK(std::all_of(
          done.begin(), done.end(), [](int times) { return times == 1; }));
    }
  }
}

TEST_CASE("Parallel work covers its range once", "[kernels]") {
  for (const int threads : {1, 2, 3}) {
    const ThreadsGuard guard(threads);
    for (const int64_t count : {0, 1, 2, 3, 10, 1000}) {
      CAPTURE(threads, count);
      std::vector<int> done(static_cast<size_t>(count));
      std::mutex mutex;
      int calls = 0;
      cyborg::detail::parallel(count, [&](int64_t begin, int64_t end) {
        const std::lock_guard<std::mutex> lock(mutex);
        ++calls;
        for (int64_t i = begin; i < end; ++i) {
          ++done[static_cast<size_t>(i)];
        }
      });
      CHECK(calls >= 1);
      CHECK(calls <= std::max<int64_t>(1, std::min<int64_t>(threads, count)));
      CHECK(std::all_of(
          done.begin(), done.end(), [](int times) { return times == 1; }));
    }
  }
}
