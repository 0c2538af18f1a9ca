// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "../common/settings.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace programs {

/// Whether a training is resumed.
enum class Resume { kNo, kYes, kAuto };
template <>
struct Choices<Resume> {
  static constexpr Choice<Resume> kAll[] = {
      {Resume::kNo, "no", ""},
      {Resume::kYes, "yes", ""},
      {Resume::kAuto, "auto", "if there is one; otherwise it begins"}};
};

/// The command line of `train`: the settings of the training, and how this run
/// of the program carries it out.
struct TrainOptions {
  Settings settings;
  std::filesystem::path out = "run";
  Resume resume = Resume::kNo;
  bool check = false;
  std::string device = "cpu";
  int64_t threads = 0;  ///< 0: LibTorch's choice
  int64_t workers = 2;
  int64_t ahead = 4;
  int64_t save_every = 0;           ///< optimizer steps; 0: once an epoch
  int64_t stop_after = 0;           ///< optimizer steps; 0: all
  std::filesystem::path export_to;  ///< a TorchScript file; empty: none
  bool quiet = false;
  /// The settings that the command line gave: option and member of `Settings`,
  /// such as {"--lr", "learning_rate"} or {"--screen", "annotations/screen"}.
  std::vector<std::pair<std::string, std::string>> given;
  // How to start this run again:
  std::string program = "train";
  std::vector<std::string> run_words;  ///< options other than `given`, "--out"
};

/// Reads the command line. For `--help` it prints the help and ends the program
/// with status 0; for a wrong command line it prints the error and ends the
/// program with status 2.
TrainOptions read_options(int argc, char** argv);

}  // namespace programs
