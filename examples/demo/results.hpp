// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// From runs to what may be said about them.

#include "experiment.hpp"

#include <cyborg/measure/statistics.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace demo {

/// A row of the table: one way to train, over all seeds.
struct RowResult {
  Row row;
  std::vector<int64_t> seeds;
  std::vector<double> seen;  ///< per seed, the generator trained on
  std::vector<double> seen_shifted;
  std::vector<std::vector<double>> unseen;  ///< per seed, then per generator
  std::vector<std::vector<double>> unseen_shifted;
  std::vector<double> unseen_of_seed;    ///< mean over the unseen generators
  cyborg::measure::MeanStd unseen_mean;  ///< mean and spread over the seeds
  Curve curve;                           ///< mean over the seeds
};

/// Two rows compared seed by seed, on the primary cell: unseen, clean.
struct Comparison {
  std::string row;
  std::string against;
  cyborg::measure::PairedDifference difference;  ///< AUC, with 95 % interval
  double error_ratio_median;                     ///< of (1 - AUC)
};

/// One sentence of the verdict.
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

/// `runs[s][r]`: the run of seed s and row r, tested on the seen generator
/// first and the unseen ones after it.
Results summarize(
    const std::vector<Row>& rows, const std::vector<int64_t>& seeds,
    const std::vector<std::vector<Run>>& runs);

/// What was asked beforehand, of the row named beforehand (`cyborg_kl`), and
/// of the controls, and whether it holds.
std::vector<Finding> findings(const Results& results);

/// The content of results.json. A number that does not exist (the spread of a
/// single seed) is null.
nlohmann::ordered_json to_json(const Results& results);

/// The results table as plain text.
std::string to_text(const Results& results);

}  // namespace demo
