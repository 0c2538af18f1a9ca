// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The results of all runs of one network on one decoy.

#include "training.hpp"

#include <cyborg/measure/statistics.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace methods {

/// A number with its 95 % interval over the seeds.
struct Interval {
  double value, low, high;
};

struct RowResult {
  Row row;
  std::vector<double> accuracy;      ///< by seed
  std::vector<double> wrong_reason;  ///< by seed
  cyborg::measure::MeanStd mean;     ///< of the accuracy
  Interval recovered;                ///< share of (clean - ce), paired by seed
  double cost;  ///< processor time of a step, in that of ce
};

/// A row against its control, or another row: the paired difference of
/// accuracies.
struct Comparison {
  std::string row, against;
  cyborg::measure::PairedDifference difference;
};

struct Results {
  Net net;
  Decoy decoy;
  std::vector<int64_t> seeds;
  std::vector<RowResult> rows;
  std::vector<Comparison> controls;
  int64_t epochs = 0;  ///< of each training

  const RowResult& row(const std::string& name) const;
};

/// `runs[s][r]` is the run of seed s and row r. The rows hold ce and clean.
Results summarize(
    Net net, Decoy decoy, const Recipe& recipe, const std::vector<Row>& rows,
    const std::vector<int64_t>& seeds,
    const std::vector<std::vector<Run>>& runs);

/// "convolutional network, moving patch".
std::string title_of(const Results& results);

nlohmann::ordered_json to_json(const Results& results);

/// The table as plain text.
std::string to_text(const Results& results);

}  // namespace methods
