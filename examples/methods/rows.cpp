// SPDX-License-Identifier: BSD-3-Clause
#include "rows.hpp"

#include <fmt/format.h>

namespace methods {

namespace {

/// The terms of each network, in the order of the table: for the perceptron,
/// which has no map, those of the pictures.
constexpr const char* kConvolutional[] = {
    "l1",        "l2",        "kl",    "cosine",      "pearson",
    "dice",      "bce",       "ssim",  "energy",      "outside",
    "gradia",    "haics",     "res-g", "cam-entropy", "right-reasons",
    "harmonize", "perturbed", "sgt"};
constexpr const char* kPerceptron[] = {
    "right-reasons", "harmonize", "perturbed", "sgt"};

programs::TermSetting term(const std::string& name, double strength) {
  auto made = programs::parse_term(name);
  made.strength = strength;
  return made;
}

Row control(const Row& row, Guide guide, const char* name) {
  auto made = row;
  made.name = row.name + " " + name;
  made.of = row.name;
  made.guide = guide;
  return made;
}

/// The controls of a row, where the truth can be told from them.
void add_controls(std::vector<Row>& rows, const Row& row, Decoy decoy) {
  if (row.name == "l2") {
    rows.push_back(control(row, Guide::kShuffled, "shuffled"));
    rows.push_back(control(row, Guide::kInverted, "inverted"));
    rows.push_back(control(row, Guide::kRandom, "random"));
    rows.push_back(control(row, Guide::kCentre, "centre"));
  } else if (
      row.name == "perturbed" || row.name == "right-reasons" ||
      row.name == "outside") {
    // In the corners all pictures have the same mask, so none is wrong for
    // another picture.
    rows.push_back(
        decoy == Decoy::kMoving ? control(row, Guide::kShuffled, "shuffled")
                                : control(row, Guide::kInverted, "inverted"));
  }
}

}  // namespace

std::vector<Row> rows_of(Net net, Decoy decoy) {
  std::vector<Row> rows = {
      {"ce", "", Data::kDecoy},
      {"clean", "", Data::kClean},
      {"counter-examples", "", Data::kCounterExamples}};
  const auto add = [&](const char* name) {
    Row row{name, "", Data::kDecoy, Guide::kTrue};
    row.term = programs::parse_term(name);  // with its first strength
    rows.push_back(row);
    add_controls(rows, row, decoy);
  };
  if (net == Net::kConvolutional) {
    for (const auto* name : kConvolutional) {
      add(name);
    }
    return rows;
  }
  for (const auto* name : kPerceptron) {
    add(name);
  }
  for (const double strength : {0.001, 0.01, 0.1, 10.0}) {
    Row row{
        fmt::format("right-reasons {}", strength), "", Data::kDecoy,
        Guide::kTrue};
    row.term = term("right-reasons", strength);
    rows.push_back(row);
  }
  return rows;
}

std::vector<double> strengths_tried(const std::string& term) {
  return term == "cam-entropy" ? std::vector<double>{0.01, 0.1, 0.3}
                               : std::vector<double>{0.1, 1, 10};
}

Recipe recipe_of(Net net, Decoy decoy, bool quick) {
  if (net == Net::kPerceptron) {
    return {64, 256, 1e-3};
  }
  return {decoy == Decoy::kMoving && !quick ? 50 : 25, 64, 2e-3};
}

}  // namespace methods
