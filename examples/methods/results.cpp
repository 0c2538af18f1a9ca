// SPDX-License-Identifier: BSD-3-Clause
#include "results.hpp"

#include <cyborg/io/text.hpp>

#include <fmt/format.h>

#include <random>
#include <stdexcept>
#include <utility>

namespace methods {

namespace {

double mean(const std::vector<double>& values) {
  return cyborg::measure::mean_std(values).mean;
}

/// mean(row - ce) / mean(clean - ce), with the percentile bootstrap over the
/// seeds: numerator and denominator have the same seeds in each resample.
Interval recovered_share(
    const std::vector<double>& row, const std::vector<double>& ce,
    const std::vector<double>& clean) {
  const auto share = [&](const std::vector<size_t>& chosen) {
    double gained = 0, gap = 0;
    for (const auto s : chosen) {
      gained += row[s] - ce[s];
      gap += clean[s] - ce[s];
    }
    return gained / gap;
  };
  std::vector<size_t> chosen(row.size());
  for (size_t s = 0; s < row.size(); ++s) {
    chosen[s] = s;
  }
  const double value = share(chosen);
  std::mt19937_64 random(0);
  std::vector<double> shares(10000);
  for (auto& one : shares) {
    for (auto& s : chosen) {
      s = static_cast<size_t>(random() % row.size());
    }
    one = share(chosen);
  }
  return {
      value, cyborg::measure::quantile(shares, 0.025),
      cyborg::measure::quantile(shares, 0.975)};
}

std::string name_of(Decoy decoy) {
  return decoy == Decoy::kMoving ? "moving" : "corners";
}

std::string name_of(Net net) {
  return net == Net::kPerceptron ? "perceptron" : "convolutional";
}

}  // namespace

const RowResult& Results::row(const std::string& name) const {
  for (const auto& one : rows) {
    if (one.row.name == name) {
      return one;
    }
  }
  throw std::logic_error("methods: no row is called " + name);
}

Results summarize(
    Net net, Decoy decoy, const Recipe& recipe, const std::vector<Row>& rows,
    const std::vector<int64_t>& seeds,
    const std::vector<std::vector<Run>>& runs) {
  Results out{net, decoy, seeds, {}, {}, recipe.epochs};
  std::vector<double> step;  // milliseconds, by row
  for (size_t r = 0; r < rows.size(); ++r) {
    RowResult result{rows[r], {}, {}, {}, {}, 0};
    std::vector<double> times;
    for (size_t s = 0; s < seeds.size(); ++s) {
      result.accuracy.push_back(runs.at(s).at(r).accuracy);
      result.wrong_reason.push_back(runs[s][r].wrong_reason);
      times.push_back(runs[s][r].milliseconds);
    }
    result.mean = cyborg::measure::mean_std(result.accuracy);
    step.push_back(mean(times));
    out.rows.push_back(std::move(result));
  }
  const auto& ce = out.row("ce").accuracy;
  const auto& clean = out.row("clean").accuracy;
  for (size_t r = 0; r < rows.size(); ++r) {
    auto& result = out.rows[r];
    result.cost = step[r] / step[0];
    result.recovered = recovered_share(result.accuracy, ce, clean);
  }
  for (const auto& result : out.rows) {
    if (!result.row.of.empty()) {
      out.controls.push_back(
          {result.row.of, result.row.name,
           cyborg::measure::paired_difference(
               out.row(result.row.of).accuracy, result.accuracy)});
    }
  }
  return out;
}

std::string title_of(const Results& results) {
  return std::string(
             results.net == Net::kPerceptron ? "Perceptron"
                                             : "Convolutional network") +
         (results.decoy == Decoy::kMoving ? ", the patch moves"
                                          : ", the patch is in a corner");
}

// The library writes numbers that are not finite as null.
nlohmann::ordered_json to_json(const Results& results) {
  nlohmann::ordered_json json;
  json["network"] = name_of(results.net);
  json["decoy"] = name_of(results.decoy);
  json["epochs"] = results.epochs;
  json["seeds"] = results.seeds;
  for (const auto& one : results.rows) {
    nlohmann::ordered_json row;
    row["name"] = one.row.name;
    row["term"] = one.row.term ? programs::to_text(*one.row.term) : "";
    row["accuracy"] = one.accuracy;
    row["accuracy_mean"] = one.mean.mean;
    row["accuracy_std"] = one.mean.std;
    row["recovered"] = one.recovered.value;
    row["recovered_low"] = one.recovered.low;
    row["recovered_high"] = one.recovered.high;
    row["wrong_reason"] = one.wrong_reason;
    row["step_cost"] = one.cost;
    json["rows"].push_back(row);
  }
  for (const auto& one : results.controls) {
    json["controls"].push_back(
        {{"row", one.row},
         {"against", one.against},
         {"difference", one.difference.difference},
         {"low", one.difference.low},
         {"high", one.difference.high}});
  }
  return json;
}

std::string to_text(const Results& results) {
  auto text = fmt::format(
      "{}, {} epochs, {} seeds\n{:<26} {:>14} {:>22} {:>12} {:>6}\n",
      title_of(results), results.epochs, results.seeds.size(), "row",
      "accuracy", "share of (clean - ce)", "wrong reason", "cost");
  for (const auto& one : results.rows) {
    text += fmt::format(
        "{:<26} {:.3f} +- {:.3f} {:>5.2f} [{:>5.2f}, {:>5.2f}]    {:>9.2f} "
        "{:>7.2f}\n",
        one.row.name, one.mean.mean, one.mean.std, one.recovered.value,
        one.recovered.low, one.recovered.high, mean(one.wrong_reason),
        one.cost);
  }
  for (const auto& one : results.controls) {
    text += fmt::format(
        "{} - {}: {:.3f} [{:.3f}, {:.3f}]\n", one.row, one.against,
        one.difference.difference, one.difference.low, one.difference.high);
  }
  return text;
}

}  // namespace methods
