// SPDX-License-Identifier: BSD-3-Clause
#include "results.hpp"

#include <cyborg/io/text.hpp>

#include <c10/util/Exception.h>

#include <cmath>

namespace demo {

using cyborg::io::number;
using cyborg::measure::mean_std;

namespace {

const std::vector<std::string> kBaselines = {"ce", "ce_long", "ce_7x"};
const std::string kNamed = "cyborg_kl";  // before any result

double mean(const std::vector<double>& values) {
  return mean_std(values).mean;
}

Curve mean_curve(const std::vector<const Curve*>& curves) {
  Curve out = *curves.front();
  for (size_t i = 0; i < out.step.size(); ++i) {
    std::vector<double> classification;
    std::vector<double> saliency;
    for (const auto* curve : curves) {
      classification.push_back(curve->classification.at(i));
      saliency.push_back(curve->saliency.at(i));
    }
    out.classification[i] = mean(classification);
    out.saliency[i] = mean(saliency);
  }
  return out;
}

std::string padded(std::string text, size_t width) {
  // Width in characters: a byte that continues a UTF-8 sequence has none.
  size_t length = 0;
  for (const char c : text) {
    length += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }
  text.append(width > length ? width - length : 0, ' ');
  return text;
}

}  // namespace

const RowResult& Results::row(const std::string& name) const {
  for (const auto& one : rows) {
    if (one.row.name == name) {
      return one;
    }
  }
  TORCH_CHECK(false, "demo: no row is called '", name, "'");
}

const Comparison& Results::comparison(
    const std::string& name, const std::string& against) const {
  for (const auto& one : paired) {
    if (one.row == name && one.against == against) {
      return one;
    }
  }
  TORCH_CHECK(
      false, "demo: '", name, "' was not compared with '", against, "'");
}

Results summarize(
    const std::vector<Row>& rows, const std::vector<int64_t>& seeds,
    const std::vector<std::vector<Run>>& runs) {
  Results out;
  for (size_t r = 0; r < rows.size(); ++r) {
    RowResult result;
    result.row = rows[r];
    result.seeds = seeds;
    std::vector<const Curve*> curves;
    for (size_t s = 0; s < seeds.size(); ++s) {
      const auto& run = runs.at(s).at(r);
      curves.push_back(&run.curve);
      result.seen.push_back(run.clean.at(0));
      result.seen_shifted.push_back(run.shifted.at(0));
      result.unseen.emplace_back(run.clean.begin() + 1, run.clean.end());
      result.unseen_shifted.emplace_back(
          run.shifted.begin() + 1, run.shifted.end());
      result.unseen_of_seed.push_back(mean(result.unseen.back()));
    }
    result.unseen_mean = mean_std(result.unseen_of_seed);
    result.curve = mean_curve(curves);
    out.rows.push_back(std::move(result));
  }
  const auto compare = [&](const RowResult& row, const RowResult& against) {
    out.paired.push_back(
        {row.row.name, against.row.name,
         cyborg::measure::paired_difference(
             row.unseen_of_seed, against.unseen_of_seed),
         cyborg::measure::median_error_ratio(
             row.unseen_of_seed, against.unseen_of_seed)});
  };
  for (const auto& row : out.rows) {
    for (const auto& against : kBaselines) {
      if (row.row.name != against) {
        compare(row, out.row(against));
      }
    }
  }
  // The right maps against other maps with the same settings: which part of a
  // gain comes from the content of the maps.
  for (const auto& against : out.rows) {
    if (against.row.maps != Maps::kHuman) {
      compare(out.row(kNamed), against);
    }
  }
  return out;
}

std::vector<Finding> findings(const Results& results) {
  std::vector<Finding> out;
  const double ratio = results.comparison(kNamed, "ce").error_ratio_median;
  out.push_back(
      {ratio <= 0.5,
       kNamed + " makes " + number(ratio, 2) +
           " times the error of ce on unseen generators (median over the "
           "seeds; required beforehand: 0.50 or less)."});
  for (const auto& against : kBaselines) {
    const auto& d = results.comparison(kNamed, against).difference;
    out.push_back(
        {d.low > 0, kNamed + " against " + against + ": AUC difference " +
                        number(d.difference, 4) + ", 95 % interval " +
                        number(d.low, 4) + " to " + number(d.high, 4) +
                        " (required beforehand: above 0)."});
  }
  const auto& ce = results.row("ce").unseen_of_seed;
  for (const auto& row : results.rows) {
    if (row.row.name.rfind("control_", 0) != 0) {
      continue;
    }
    std::vector<double> gain;  // how much less the control errs than ce
    for (size_t s = 0; s < ce.size(); ++s) {
      gain.push_back(row.unseen_of_seed[s] - ce[s]);
    }
    const auto [difference, spread] = mean_std(gain);
    const double error = spread / std::sqrt(static_cast<double>(gain.size()));
    out.push_back(
        {!(difference > error),
         row.row.name + " errs " + number(std::abs(difference), 4) +
             (difference > 0 ? " less" : " more") +
             " than ce on average, standard error of the paired difference " +
             number(error, 4) +
             " (required beforehand: not less by more than one standard "
             "error)."});
  }
  return out;
}

nlohmann::ordered_json to_json(const Results& results) {
  nlohmann::ordered_json json;
  json["rows"] = nlohmann::ordered_json::array();
  for (const auto& r : results.rows) {
    json["rows"].push_back(
        {{"name", r.row.name},
         {"train_images", r.row.train_images},
         {"steps", r.row.steps},
         {"alpha", r.row.alpha},
         {"seeds", r.seeds},
         {"auc_seen", r.seen},
         {"auc_seen_shifted", r.seen_shifted},
         {"auc_unseen", r.unseen},
         {"auc_unseen_shifted", r.unseen_shifted},
         {"unseen_mean", r.unseen_mean.mean},
         {"unseen_std", r.unseen_mean.std}});
  }
  json["paired"] = nlohmann::ordered_json::array();
  for (const auto& c : results.paired) {
    json["paired"].push_back(
        {{"row", c.row},
         {"against", c.against},
         {"difference", c.difference.difference},
         {"low", c.difference.low},
         {"high", c.difference.high},
         {"error_ratio_median", c.error_ratio_median}});
  }
  return json;
}

std::string to_text(const Results& results) {
  std::string out =
      padded("row", 21) + padded("pictures", 10) + padded("steps", 7) +
      padded("alpha", 7) + padded("seen", 7) + padded("shifted", 9) +
      padded("unseen", 15) + padded("shifted", 9) + "error / ce\n";
  for (const auto& r : results.rows) {
    std::vector<double> shifted;
    for (const auto& of_seed : r.unseen_shifted) {
      shifted.push_back(mean(of_seed));
    }
    out += padded(r.row.name, 21) +
           padded(std::to_string(r.row.train_images), 10) +
           padded(std::to_string(r.row.steps), 7) +
           padded(number(r.row.alpha, 2), 7) +
           padded(number(mean(r.seen), 3), 7) +
           padded(number(mean(r.seen_shifted), 3), 9) +
           padded(
               number(r.unseen_mean.mean, 4) + " ± " +
                   number(r.unseen_mean.std, 4),
               17) +
           padded(number(mean(shifted), 3), 9) +
           (r.row.name == "ce"
                ? "1"
                : number(
                      results.comparison(r.row.name, "ce").error_ratio_median,
                      2)) +
           "\n";
  }
  return out;
}

}  // namespace demo
