// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How `evaluate` and `explain` run a network; no number depends on it.

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>

namespace programs {

inline void add_running_options(
    CLI::App& app, std::string& device, int64_t& threads, int64_t& workers,
    int64_t& batch) {
  const auto from = [](int64_t least) {
    return CLI::Range(least, int64_t{1} << 20);
  };
  app.add_option("--device", device, "cpu, cuda, cuda:1, ...")
      ->capture_default_str();
  app.add_option(
         "--threads", threads, "of LibTorch; 0: as many as there are cores")
      ->check(from(0))
      ->capture_default_str();
  app.add_option("--workers", workers, "threads that decode pictures ahead")
      ->check(from(0))
      ->capture_default_str();
  app.add_option("--batch", batch, "pictures in a batch")
      ->check(from(1))
      ->capture_default_str();
}

}  // namespace programs
