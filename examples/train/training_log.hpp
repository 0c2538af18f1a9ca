// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a training tells people while it runs: lines on the terminal, log.jsonl,
// and files for TensorBoard.

#include "checkpoint.hpp"

#include <cyborg/report/event_file.hpp>

#include <torch/types.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace programs {

/// Of several processes, only the first writes and prints; the others keep the
/// records. An epoch's record is a JSON object.
class TrainingLog {
 public:
  /// Writes nothing yet.
  TrainingLog(std::filesystem::path folder, bool is_first, bool quiet);

  bool quiet() const { return quiet_; }
  const std::vector<nlohmann::json>& records() const { return records_; }

  /// Reads the log of a training that is resumed, and removes the records that
  /// are younger than its checkpoint: those epochs follow again.
  void resume(const TrainingState& state);

  /// Creates the folder, and in it the file for TensorBoard.
  void open();

  /// Adds the record of an epoch to log.jsonl.
  void add(const nlohmann::json& record);

  /// Gives the numbers of a record to TensorBoard.
  void plot(const nlohmann::json& record, int64_t epoch);

  /// Gives a map over its picture to TensorBoard. Shapes: picture [C, H, W] of
  /// any range, map [h, w].
  void show_map(
      const std::string& name, const torch::Tensor& picture,
      const torch::Tensor& map, int64_t epoch);

  /// Prints a line for a record; `best` says that no epoch was better.
  void print_epoch(const nlohmann::json& record, bool best) const;

  /// Prints a line, unless the training is quiet.
  void print(const std::string& line) const;

  /// Prints a warning to the standard error.
  void warn(const std::string& line) const;

 private:
  void write() const;

  std::filesystem::path folder_;
  bool is_first_;
  bool quiet_;
  std::vector<nlohmann::json> records_;
  std::unique_ptr<cyborg::report::EventWriter> events_;  // of the first process
};

}  // namespace programs
