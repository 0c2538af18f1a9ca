// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The runs that are finished, in a file: a comparison that was stopped goes on.

#include "decoys.hpp"
#include "rows.hpp"
#include "training.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace methods {

/// Finished runs, one line of JSON each. A run counts for the program that made
/// it alone: another build may train otherwise. Not safe for several threads.
class KeptRuns {
 public:
  /// Reads the runs of the file, if it is there. Runs of another program are
  /// left out, and the file then begins anew. `program` names the executable.
  KeptRuns(std::filesystem::path file, const std::filesystem::path& program);

  /// How many runs the file held.
  size_t size() const { return runs_.size(); }

  /// The run, if it is finished.
  std::optional<Run> find(
      Net net, Decoy decoy, const Row& row, const Recipe& recipe,
      int64_t seed) const;

  /// Writes a finished run.
  void add(
      Net net, Decoy decoy, const Row& row, const Recipe& recipe, int64_t seed,
      const Run& run);

 private:
  std::filesystem::path file_;
  std::string program_;  // its checksum
  std::map<std::string, Run> runs_;
};

}  // namespace methods
