// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A claim is a ratio: ours against a baseline, timed in turns in one process.

#include <benchmark/benchmark.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace claims {

/// What is claimed: `ours` takes at most `target` of the time of `baseline`.
struct Claim {
  std::string name, ours_name, baseline_name;
  std::function<void()> ours, baseline;
  double target;
};

/// Ratios pair by pair, and what they come to.
struct Result {
  const Claim* claim;
  std::vector<double> ratios;

  double median() const {
    auto sorted = ratios;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    return sorted.size() % 2 ? sorted[half]
                             : (sorted[half - 1] + sorted[half]) / 2;
  }
  double low() const {
    return *std::min_element(ratios.begin(), ratios.end());
  }
  double high() const {
    return *std::max_element(ratios.begin(), ratios.end());
  }
  bool holds() const {
    return median() <= claim->target;
  }
};

inline double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                       start)
      .count();
}

/// Times all claims, `pairs` pairs each, prints the table and writes it to
/// `summary` as JSON.
inline int run(const std::vector<Claim>& all, int pairs,
               const std::string& summary) {
  std::vector<Result> results;
  for (const Claim& claim : all) {
    results.push_back({&claim, {}});
  }
  for (auto& result : results) {
    benchmark::RegisterBenchmark(
        result.claim->name.c_str(),
        [&result](benchmark::State& state) {
          for (int i = 0; i < 3; ++i) {  // warm caches and allocator
            result.claim->ours();
            result.claim->baseline();
          }
          result.ratios.clear();
          bool ours_first = false;
          for (auto _ : state) {
            // Taking turns in who goes first cancels a drift of the clock.
            ours_first = !ours_first;
            double a = 0, b = 0;
            if (ours_first) {
              a = seconds(result.claim->ours);
              b = seconds(result.claim->baseline);
            } else {
              b = seconds(result.claim->baseline);
              a = seconds(result.claim->ours);
            }
            result.ratios.push_back(a / b);
            state.SetIterationTime(a);
          }
        })
        ->UseManualTime()
        ->Iterations(pairs)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();

  auto json = nlohmann::json::array();
  std::printf("\n%-36s %-22s %-22s %7s %7s %7s %7s  %s\n", "claim", "ours",
              "baseline", "median", "min", "max", "target", "holds");
  for (const auto& result : results) {
    if (result.ratios.empty()) {
      continue;  // left out by --benchmark_filter
    }
    const Claim& claim = *result.claim;
    std::printf("%-36s %-22s %-22s %7.3f %7.3f %7.3f %7.3f  %s\n",
                claim.name.c_str(), claim.ours_name.c_str(),
                claim.baseline_name.c_str(), result.median(), result.low(),
                result.high(), claim.target, result.holds() ? "yes" : "NO");
    json.push_back({{"name", claim.name},
                    {"ratio_median", result.median()},
                    {"ratio_min", result.low()},
                    {"ratio_max", result.high()},
                    {"target", claim.target},
                    {"holds", result.holds()}});
  }
  std::ofstream file(summary);
  file << json.dump(2) << "\n";
  if (!file.flush()) {
    throw std::runtime_error("cannot write " + summary);
  }
  std::printf("\nwritten to %s\n", summary.c_str());
  return 0;
}

}  // namespace claims
