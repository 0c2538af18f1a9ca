// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A claim is about a ratio: our time divided by that of a baseline. Both run in
// turns in one process.

#include <cyborg/measure/statistics.hpp>

#include <benchmark/benchmark.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace claims {

/// One measurement of both sides, in seconds, and what the claim is about.
struct Pair {
  double ours, baseline;
  double ratio;
};

/// Measures a pair, ours first or the baseline first.
using Sampler = std::function<Pair(bool ours_first)>;

/// How many pairs are measured, with --quick and without.
struct Pairs {
  int quick = 31, full = 101;
};
constexpr Pairs kSlow{31, 31};      // a pair takes more than half a second
constexpr Pairs kVerySlow{11, 31};  // or more than three

struct Result;

/// The claim that `ours` takes at most `target` of the time of `baseline`.
/// Without a target the row is only reported.
struct Claim {
  std::string name, ours, baseline;
  /// Prepares the measurement. Before anything is timed, it checks that both
  /// sides compute the same, and throws if they do not.
  std::function<Sampler()> make = {};
  std::optional<double> target = {};
  Pairs pairs = {};
  /// Pairs that run before the first one is measured, to fill caches and the
  /// allocator.
  int warm_up = 3;
  /// Whether the upper end of the median's interval must meet the target, and
  /// not only the median.
  bool by_interval = false;
  /// More entries of the row.
  std::function<nlohmann::json(const Result&)> more = {};
};

inline double median(const std::vector<double>& values) {
  return cyborg::measure::quantile(values, 0.5);
}

/// An interval that contains the median with a probability of 95 %, for any
/// distribution. Its ends are order statistics, the innermost ones for which
/// the binomial tail outside of each is below 2.5 %. With fewer than six values
/// it is their range, whose probability is lower (94 % with five).
struct Interval {
  double low, high;
};
inline Interval median_interval(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  size_t rank = 0;
  double tail = 0;
  double binomial = std::pow(0.5, count);  // of `rank` successes
  while (tail + binomial <= 0.025) {
    tail += binomial;
    binomial *=
        (count - static_cast<double>(rank)) / (static_cast<double>(rank) + 1);
    ++rank;
  }
  const size_t outer = rank == 0 ? 0 : rank - 1;
  return {values[outer], values[values.size() - 1 - outer]};
}

/// The measured pairs of a claim.
struct Result {
  const Claim* claim;
  std::vector<double> ours = {}, baseline = {}, ratio = {};

  void add(const Pair& pair) {
    ours.push_back(pair.ours);
    baseline.push_back(pair.baseline);
    ratio.push_back(pair.ratio);
  }

  nlohmann::json json() const {
    const auto [low, high] = median_interval(ratio);
    nlohmann::json row = {
        {"name", claim->name},
        {"ours", claim->ours},
        {"baseline", claim->baseline},
        {"ours_ms", 1e3 * median(ours)},
        {"baseline_ms", 1e3 * median(baseline)},
        {"pairs", ratio.size()},
        {"ratio_median", median(ratio)},
        {"ratio_min", *std::min_element(ratio.begin(), ratio.end())},
        {"ratio_max", *std::max_element(ratio.begin(), ratio.end())},
        {"interval_low", low},
        {"interval_high", high}};
    if (claim->target) {
      const double judged = claim->by_interval ? high : median(ratio);
      row["target"] = *claim->target;
      row["judged"] = claim->by_interval ? "interval_high" : "ratio_median";
      row["holds"] = judged <= *claim->target;
    }
    if (claim->more) {
      row.update(claim->more(*this));
    }
    return row;
  }
};

inline double seconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The times of two pieces of work, in this order or the other.
inline Pair time_pair(
    const std::function<void()>& ours, const std::function<void()>& baseline,
    bool ours_first) {
  double a = 0, b = 0;
  if (ours_first) {
    a = seconds(ours);
    b = seconds(baseline);
  } else {
    b = seconds(baseline);
    a = seconds(ours);
  }
  return {a, b, a / b};
}

inline Sampler alternate(
    std::function<void()> ours, std::function<void()> baseline) {
  return [ours = std::move(ours), baseline = std::move(baseline)](
             bool ours_first) { return time_pair(ours, baseline, ours_first); };
}

/// Measures the claims that --benchmark_filter selects, and returns their rows.
/// For Google Benchmark each claim is a benchmark whose time is ours.
inline nlohmann::json run(const std::vector<Claim>& all, bool quick) {
  std::vector<Result> results;
  for (const Claim& claim : all) {
    results.push_back({&claim});
  }
  auto rows = nlohmann::json::array();
  for (Result& result : results) {
    const Claim& claim = *result.claim;
    benchmark::RegisterBenchmark(
        claim.name.c_str(),
        [&result, &rows](benchmark::State& state) {
          const Sampler sample = result.claim->make();
          for (int i = 0; i < result.claim->warm_up; ++i) {
            sample(i % 2 == 0);
          }
          bool ours_first = false;
          for (auto _ : state) {
            // Each side goes first in every other pair, so that a drift of the
            // machine's speed cancels.
            ours_first = !ours_first;
            const Pair pair = sample(ours_first);
            result.add(pair);
            state.SetIterationTime(pair.ours);
          }
          const auto row = result.json();
          state.counters["ratio"] = row["ratio_median"].get<double>();
          rows.push_back(row);
        })
        ->UseManualTime()
        ->Iterations(quick ? claim.pairs.quick : claim.pairs.full)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  return rows;
}

}  // namespace claims
