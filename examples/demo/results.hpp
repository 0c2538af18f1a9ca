// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The results of all runs, and what follows from them.

#include "experiment.hpp"

#include <cyborg/measure/statistics.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace demo {

/// A row of the table: one way to train, with all seeds.
struct RowResult {
  Row row;
  std::vector<int64_t> seeds;
  std::vector<double> seen;  ///< per seed, the generator of the training
  std::vector<double> seen_shifted;
  std::vector<std::vector<double>> unseen;  ///< per seed, then per generator
  std::vector<std::vector<double>> unseen_shifted;
  std::vector<double> unseen_of_seed;    ///< mean over the unseen generators
  cyborg::measure::MeanStd unseen_mean;  ///< mean and spread over the seeds
  Curve curve;                           ///< mean over the seeds
};

/// Two rows compared seed by seed by the primary measure: unseen generators,
/// clean reals.
struct Comparison {
  std::string row;
  std::string against;
  cyborg::measure::PairedDifference difference;  ///< AUC, with 95 % interval
  double error_ratio_median;                     ///< of (1 - AUC)
};

/// A claim that was fixed before the results, and whether it holds.
struct Finding {
  bool holds;
  std::string text;
};

struct Results {
  std::vector<RowResult> rows;
  std::vector<Comparison> paired;

  const RowResult& row(const std::string& name) const;
  const Comparison& comparison(
      const std::string& name, const std::string& against) const;
};

/// `runs[s][r]` is the run of seed s and row r. Its tests begin with the seen
/// generator; the unseen ones follow.
Results summarize(
    const std::vector<Row>& rows, const std::vector<int64_t>& seeds,
    const std::vector<std::vector<Run>>& runs);

/// The claims about the row that was named before the results (`cyborg_kl`) and
/// about the controls.
std::vector<Finding> findings(const Results& results);

/// The content of results.json. A number that does not exist (the standard
/// deviation of one seed) is null.
nlohmann::ordered_json to_json(const Results& results);

/// The results table as plain text.
std::string to_text(const Results& results);

}  // namespace demo
