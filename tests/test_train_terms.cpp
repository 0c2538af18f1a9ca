// SPDX-License-Identifier: BSD-3-Clause
// The program `train` with terms, masks of what is wrong, class weights, the
// focal loss and sample weights.

#include "catch.hpp"
#include "support.hpp"
#include "training.hpp"

#include <common/terms.hpp>
#include <train/objective.hpp>

#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using support::contains;
using support::error_of;
using training::command_with;
using training::log_of;
using training::run_train;

/// Adds `--term` with each of the terms.
void add_terms(training::Words& words, const std::vector<std::string>& terms) {
  for (const auto& term : terms) {
    words.insert(words.end(), {"--term", term});
  }
}

/// The table of `training::write_table` with more columns: a mask for every
/// second picture, a weight, reaction times.
std::string write_rich_table(const pictures::Folder& folder) {
  const auto plain = training::write_table(folder);
  cyborg::data::write_png(
      folder / "wrong.png", torch::eye(24).gt(0).to(torch::kFloat));
  std::istringstream lines(cyborg::io::read_file(plain));
  std::string csv, line;
  std::getline(lines, line);
  csv = line + ",wrong,weight,reaction_time,accuracy\n";
  for (int64_t i = 0; std::getline(lines, line); ++i) {
    csv += line + (i % 2 == 0 ? ",wrong.png," : ",,") +
           (i % 3 == 0 ? "2" : "") + "," + std::to_string(1 + i % 8) + "," +
           (i % 4 == 0 ? "0.5" : "") + "\n";
  }
  return folder.write("rich.csv", csv);
}

}  // namespace

TEST_CASE("The loss of a training is the sum of its parts", "[train_terms]") {
  const pictures::Folder folder;
  const auto table = write_rich_table(folder);
  const std::string out = folder / "out";
  auto words = command_with(
      table, out,
      {"--epochs", "1", "--batch", "48", "--sample-weights", "column"});
  add_terms(
      words, {"right-reasons:strength=3", "cam-entropy:strength=0.25",
              "perturbed:steps=2"});
  const auto ended = run_train(folder, words);
  INFO(ended.errors);
  REQUIRE(ended.status == 0);
  const auto record = log_of(out).at(0);
  const auto number = [&](const char* name) {
    return record.at(name).get<double>();
  };
  // 48 pictures in one batch. 30 have maps; every second one has a mask.
  CHECK(number("annotated") == 30);
  const double saliency_share = 0.7 * 30 / 48;
  CHECK(
      number("loss") ==
      Approx(
          (1 - saliency_share) * number("classification") +
          saliency_share * number("saliency") +
          3 * number("right-reasons") * 24 / 48 + 0.25 * number("cam-entropy") +
          number("perturbed") * 24 / 48)
          .epsilon(1e-5));
  CHECK(number("cam-entropy") > 0.9);  // an untrained network has no focus
  CHECK(contains(cyborg::io::read_file(out + "/report.html"), "right-reasons"));
}

TEST_CASE("A batch can set alpha", "[train_terms]") {
  const pictures::Folder folder;
  const auto table = write_rich_table(folder);
  const std::string out = folder / "out";
  const auto first = [&](const std::string& loss) {
    auto words = command_with(table, out, {"--epochs", "1", "--batch", "48"});
    words.insert(words.end(), {"--balance", "task-share"});
    const auto at = std::find(words.begin(), words.end(), "--alpha");
    words.erase(at, at + 2);
    const auto which = std::find(words.begin(), words.end(), "--loss");
    if (which != words.end()) {
      *(which + 1) = loss;
    } else {
      words.insert(words.end(), {"--loss", loss});
    }
    return run_train(folder, words);
  };
  const auto ended = first("cyborg-l2");
  INFO(ended.errors);
  REQUIRE(ended.status == 0);
  const auto record = log_of(out).at(0);
  const double task = record.at("classification");
  const double saliency = record.at("saliency");
  // 30 of the 48 pictures of the one batch have maps.
  const double share = saliency / (task + saliency) * 30 / 48;
  CHECK(
      record.at("loss").get<double>() ==
      Approx((1 - share) * task + share * saliency).epsilon(1e-5));
  CHECK(contains(
      cyborg::io::read_file(out + "/report.html"), "alpha by task-share"));

  const auto alone = first("ce");
  CHECK(alone.status == 2);
  CHECK(contains(
      alone.errors,
      "--balance: task-share: balances --loss ce with nothing: choose a cyborg "
      "loss"));
  const auto refused = [&](const training::Words& others) {
    auto more = command_with(table, out, others);
    more.insert(more.end(), {"--balance", "task-share"});
    return run_train(folder, more).errors;
  };
  CHECK(contains(
      refused({}), "sets alpha itself, for each batch: leave --alpha out"));
  CHECK(contains(refused({"--term", "cam-entropy"}), "leave --term out"));
}

TEST_CASE(
    "A training with random masks goes on where it was stopped",
    "[train_terms]") {
  const pictures::Folder folder;
  const auto table = write_rich_table(folder);
  const std::string whole = folder / "whole", parts = folder / "parts";
  const auto train = [&](const std::string& out,
                         const training::Words& others) {
    auto words = command_with(
        table, out,
        {"--epochs", "2", "--focal", "2", "--class-weights", "balanced",
         "--label-smoothing", "0.1", "--sample-weights", "reaction-time"});
    add_terms(words, {"sgt", "outside:ramp=1,from=0.5"});
    words.insert(words.end(), others.begin(), others.end());
    return run_train(folder, words).status;
  };
  REQUIRE(train(whole, {}) == 0);
  CHECK(train(parts, {"--stop-after", "7"}) == 75);
  const std::vector<std::string> resume{"--resume",  "--out", parts,
                                        "--threads", "1",     "--quiet"};
  auto other = resume;
  other.insert(other.end(), {"--term", "sgt:strength=2"});
  const auto refused = run_train(folder, other);
  CHECK(refused.status == 2);
  CHECK(contains(
      refused.errors,
      "was trained with --term sgt:strength=1 "
      "outside:strength=1,from=0.5,ramp=1, got --term sgt:strength=2"));
  REQUIRE(run_train(folder, resume).status == 0);
  CHECK(
      programs_test::same_checkpoints(whole + "/last.pt", parts + "/last.pt"));
  CHECK(log_of(whole) == log_of(parts));
}

TEST_CASE("Errors of terms name what is known", "[train_terms]") {
  const auto error = [](const std::string& text) {
    return error_of([&] { programs::parse_term(text); });
  };
  CHECK(contains(error("rrr"), "expected one of l1, l2, kl, cosine"));
  CHECK(contains(error("rrr"), "sgt, got rrr"));
  CHECK(
      error("right-reasons:lambda=3") ==
      "the term right-reasons has no option lambda; it has strength, from, "
      "ramp, score, power");
  CHECK(error("right-reasons:power=x") == "expected a number for power, got x");
  CHECK(
      error("right-reasons:power=1.5") ==
      "expected a whole number for power, got 1.5");
  CHECK(error("l2:strength=-1") == "expected strength >= 0, got -1");
  CHECK(
      error("l2:strength") == "expected option=value behind l2:, got strength");
  CHECK(
      error("l2:class=all") ==
      "expected label, predicted or difference for class, got all");
  CHECK(
      error("right-reasons:score=ce") ==
      "expected log-probabilities, loss or logit, got ce");
  // What the terms themselves refuse.
  CHECK(
      error("right-reasons:power=3") ==
      "the term right-reasons: expected power 1 or 2, got 3");
  CHECK(
      error("harmonize:levels=0") ==
      "the term harmonize: expected levels >= 1, got 0");
  CHECK(
      error("perturbed:steps=0") ==
      "the term perturbed: expected steps >= 1 and epsilon > 0, got 0 and 1");
  CHECK(
      error("sgt:fraction=1") ==
      "the term sgt: expected fraction in (0, 1), got 1");
  CHECK(
      error("res-g:slack=-1") ==
      "the term res-g: expected threshold in (0, 1) and slack >= 0, got 0.5 "
      "and -1");
}

TEST_CASE("A term is the same after it became text", "[train_terms]") {
  for (const auto& kind : programs::term_kinds()) {
    INFO(kind.name);
    const auto term = programs::parse_term(kind.name);
    CHECK(term.strength == kind.strength);
    const auto again = programs::parse_term(programs::to_text(term));
    CHECK(json(again) == json(term));
  }
  const auto term = programs::parse_term(
      "right-reasons:strength=10,from=2,ramp=4,power=1,score=loss");
  CHECK(
      programs::to_text(term) ==
      "right-reasons:strength=10,from=2,ramp=4,score=loss,power=1");
  CHECK(programs::strength_at(term, 1.9) == 0);
  CHECK(programs::strength_at(term, 3) == 2.5);
  CHECK(programs::strength_at(term, 60) == 10);
}

TEST_CASE("Class weights are those that are named", "[train_terms]") {
  programs::Settings settings;
  settings.classes = {"live", "spoof", "mask"};
  std::vector<cyborg::data::Row> rows(8);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].label = i < 4 ? 0 : i < 6 ? 1 : 2;
  }
  const auto weights = [&](std::vector<std::string> words) {
    settings.objective.class_weights = std::move(words);
    return programs::class_weights(settings, rows);
  };
  CHECK(!weights({}).defined());
  CHECK(support::close(
      weights({"balanced"}), torch::tensor({8. / 12, 8. / 6, 8. / 6}), 1e-6));
  CHECK(
      support::close(weights({"spoof=3"}), torch::tensor({1., 3., 1.}), 1e-6));
  CHECK(
      error_of([&] { weights({"fake=3"}); }) ==
      "--class-weights: expected balanced, or NAME=FACTOR with a class (live, "
      "spoof, mask) and a number from 0, got fake=3");
  CHECK(contains(error_of([&] { weights({"spoof=-1"}); }), "got spoof=-1"));
  CHECK(contains(error_of([&] { weights({"spoof"}); }), "got spoof"));
  CHECK(contains(
      error_of([&] { weights({"live=0", "spoof=0", "mask=0"}); }),
      "a class with a weight above 0"));
}

TEST_CASE("Masks that nobody drew are said at the start", "[train_terms]") {
  const pictures::Folder folder;
  const auto table = training::write_table(folder);
  const auto ended = run_train(
      folder,
      command_with(
          table, folder / "out", {"--epochs", "1", "--term", "right-reasons"}));
  CHECK(ended.status == 0);
  CHECK(contains(
      ended.errors,
      "no picture of split train has a mask of what is wrong (--wrong, or a "
      "column wrong): the term right-reasons does nothing"));
  CHECK(log_of(folder / "out").at(0).at("right-reasons_count") == 0);
  folder.write("masks/none.txt", "");
  cyborg::data::write_png(folder / "masks/p0.png", torch::eye(24));
  const auto later = run_train(
      folder, command_with(
                  table, folder / "later",
                  {"--epochs", "1", "--term", "cam-entropy:from=9", "--wrong",
                   folder / "masks"}));
  CHECK(later.status == 0);
  CHECK(contains(
      later.errors,
      "the term cam-entropy does not begin before epoch 9 of 1: it does "
      "nothing"));
  CHECK(contains(
      later.errors,
      "--wrong is not used: no --term reads masks of what is wrong"));
  const auto none = run_train(
      folder, command_with(
                  table, folder / "none",
                  {"--epochs", "1", "--sample-weights", "accuracy"}));
  CHECK(none.status == 2);
  CHECK(contains(
      none.errors,
      "--sample-weights accuracy: expected numbers in the column accuracy of "
      "split train, got 0"));
}
