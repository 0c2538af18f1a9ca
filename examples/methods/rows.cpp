// SPDX-License-Identifier: BSD-3-Clause
#include "rows.hpp"

#include <stdexcept>

namespace methods {

namespace {

/// A term with the strength that development chose.
struct Chosen {
  const char* term;
  double strength;
};

// One list for both decoys: the strengths were chosen on the moving one, whose
// controls differ from the truth.
constexpr Chosen kConvolutional[] = {
    {"l1", 1},
    {"l2", 1},
    {"kl", 1},
    {"cosine", 1},
    {"pearson", 1},
    {"dice", 1},
    {"bce", 1},
    {"ssim", 1},
    {"energy", 1},
    {"outside", 1},
    {"gradia", 1},
    {"haics", 1},
    {"res-g", 1},
    {"cam-entropy", 0.1},
    {"right-reasons", 1},
    {"harmonize", 1},
    {"perturbed", 1},
    {"sgt", 1}};
constexpr Chosen kPerceptron[] = {
    {"right-reasons", 1},
    {"harmonize", 1},
    {"perturbed", 1},
    {"sgt", 1}};

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
  const auto add = [&](const Chosen& chosen) {
    Row row{chosen.term, "", Data::kDecoy, Guide::kTrue};
    row.term = term(chosen.term, chosen.strength);
    rows.push_back(row);
    add_controls(rows, row, decoy);
  };
  if (net == Net::kConvolutional) {
    for (const auto& chosen : kConvolutional) {
      add(chosen);
    }
    return rows;
  }
  for (const auto& chosen : kPerceptron) {
    add(chosen);
  }
  for (const double strength : {0.001, 0.01, 0.1, 10.0}) {
    Row row{
        "right-reasons " + programs::to_text(term("l1", strength))
                               .substr(std::string("l1:strength=").size()),
        "", Data::kDecoy, Guide::kTrue};
    row.term = term("right-reasons", strength);
    rows.push_back(row);
  }
  return rows;
}

std::vector<double> strengths_tried(const std::string& term) {
  return term == "cam-entropy" ? std::vector<double>{0.01, 0.1, 0.3}
                               : std::vector<double>{0.1, 1, 10};
}

Recipe recipe_of(Net net) {
  return net == Net::kConvolutional ? Recipe{25, 64, 2e-3}
                                    : Recipe{64, 256, 1e-3};
}

}  // namespace methods
