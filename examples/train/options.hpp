// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "../common/settings.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace programs {

/// What is asked of one run of `train`, beside its settings.
struct Request {
  Settings settings;
  std::filesystem::path out = "run";
  bool resume = false;
  bool check = false;
  std::string device = "cpu";
  int64_t threads = 0;  ///< 0: LibTorch's choice
  int64_t workers = 2;
  int64_t ahead = 4;
  int64_t save_every = 0;  ///< optimizer steps; 0: once an epoch
  int64_t stop_after = 0;  ///< optimizer steps; 0: all
  bool quiet = false;
};

/// Reads the command line. Prints help or what is wrong and ends the program
/// (status 0 or 2) where that is all there is to do.
Request read_request(int argc, char** argv);

}  // namespace programs
