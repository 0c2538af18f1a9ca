// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "../common/settings.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace programs {

/// The command line of `train`: the settings of the training, and how this run
/// of the program carries it out.
struct TrainOptions {
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

/// Reads the command line. For `--help` it prints the help and ends the program
/// with status 0; for a wrong command line it prints the error and ends the
/// program with status 2.
TrainOptions read_options(int argc, char** argv);

}  // namespace programs
