// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <common/parallel.hpp>
#include <common/progress.hpp>
#include <common/random.hpp>
#include <demo/protocol.hpp>
#include <demo/report.hpp>
#include <demo/results.hpp>
#include <demo/synthesize.hpp>
#include <models/detector.hpp>

#include <cyborg/cam/hook.hpp>
#include <cyborg/io/file.hpp>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

using demo::Run;
using demo::Sizes;
using support::close;
using support::contains;
using support::error_of;

namespace {

const std::vector<std::string> kRows = {
    "ce",
    "ce_long",
    "ce_7x",
    "cyborg_l1",
    "cyborg_l2",
    "cyborg_kl",
    "cyborg_segmentation",
    "control_shuffled",
    "control_inverted",
    "control_random"};

// The whole protocol in seconds: what matters is the form of what comes out.
Sizes tiny() {
  Sizes sizes;
  sizes.annotated = 20;
  sizes.more = 20;
  sizes.test = 20;
  sizes.steps = 10;
  sizes.long_steps = 12;
  sizes.batch = 8;
  return sizes;
}

demo::ExperimentResult outcome(
    const std::vector<int64_t>& seeds, int64_t threads) {
  const auto digits = demo::read_digits(CYBORG_SOURCE_DIR "/examples/data");
  const pictures::Folder folder;
  return demo::run_protocol(
      digits, folder.path(), seeds, tiny(), {}, threads, /*quiet=*/true);
}

// A run that scored `seen` on the seen generator and these on two unseen ones.
Run made_up(double seen, std::vector<double> unseen) {
  Run run;
  run.clean = {seen};
  run.clean.insert(run.clean.end(), unseen.begin(), unseen.end());
  run.shifted = {seen - 0.25};
  for (const double value : unseen) {
    run.shifted.push_back(value - 0.25);
  }
  run.curve.step = {10};
  run.curve.classification = {seen};
  run.curve.saliency = {1};
  return run;
}

demo::Results made_up_results() {
  std::vector<demo::Row> rows;
  for (const auto& row : demo::protocol_rows(Sizes())) {
    for (const auto* name :
         {"ce", "ce_long", "ce_7x", "cyborg_kl", "control_random"}) {
      if (row.name == name) {
        rows.push_back(row);
      }
    }
  }
  return demo::summarize(
      rows, {4, 5},
      {{made_up(1, {.5, .75}), made_up(1, {.5, .5}), made_up(1, {.75, .75}),
        made_up(1, {.875, .875}), made_up(1, {.75, .75})},
       {made_up(.75, {.75, .75}), made_up(1, {.75, .5}),
        made_up(1, {.875, .625}), made_up(1, {1, .875}),
        made_up(1, {.75, .75})}});
}

}  // namespace

TEST_CASE("The protocol has the rows that were named beforehand", "[demo]") {
  const Sizes sizes;
  const auto rows = demo::protocol_rows(sizes);
  REQUIRE(rows.size() == kRows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].name == kRows[i]);
  }
  CHECK(rows[2].train_images == 7 * rows[0].train_images);
  CHECK(rows[1].steps == rows[2].steps);
  CHECK(rows[1].train_images == rows[0].train_images);
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK((rows[i].alpha == 1) == (rows[i].distance == demo::Distance::kNone));
    if (i >= 6) {  // segmentation and the controls: KL's settings, other maps
      CHECK(rows[i].distance == demo::Distance::kKL);
      CHECK(rows[i].alpha == rows[5].alpha);
      CHECK(rows[i].steps == rows[5].steps);
      CHECK(rows[i].maps != rows[5].maps);
    }
  }
  CHECK(sizes.annotated + sizes.more + sizes.test <= 1797);
  for (const auto seed : demo::development_seeds()) {
    for (const auto other : demo::result_seeds(/*quick=*/false)) {
      CHECK(seed != other);
    }
  }
}

TEST_CASE("Weights come from the seed, not from the global state", "[demo]") {
  const auto weights = [](uint64_t seed, uint64_t global) {
    torch::manual_seed(global);
    models::Detector net;
    auto random = programs::random_generator(seed, 1);
    net->initialize(random);
    std::vector<torch::Tensor> all;
    for (const auto& parameter : net->parameters()) {
      all.push_back(parameter.detach().flatten());
    }
    return torch::cat(all);
  };
  CHECK(torch::equal(weights(1, 10), weights(1, 11)));
  CHECK_FALSE(torch::equal(weights(1, 10), weights(2, 10)));
  // LibTorch's bound: 1 / sqrt(inputs), 3 x 3 of one picture.
  models::Detector net;
  auto random = programs::random_generator(1, 1);
  net->initialize(random);
  const auto first = net->parameters().front().abs().max().item<double>();
  CHECK(first <= 1.0 / 3);
  CHECK(first > 0.3);
}

TEST_CASE("The hook finds the demo's features by itself", "[demo]") {
  models::Detector net;
  net->eval();
  cyborg::CamHook hook(*net);
  const auto x = torch::rand({2, 1, 32, 32});
  const auto logits = hook.forward([&] { return net->forward(x); });
  const auto& seen = hook.observation();
  CHECK(seen.exact);
  CHECK(close(seen.features, net->features->forward(x), 1e-6));
  CHECK(torch::equal(seen.weight, net->head->weight));
}

TEST_CASE("Jobs run once each, and an error in one comes back", "[demo]") {
  std::vector<std::atomic<int>> runs(50);
  programs::parallel(50, 4, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
  for (const auto& count : runs) {
    CHECK(count == 1);
  }
  CHECK(error_of([] {
          programs::parallel(9, 2, [](int64_t i) {
            if (i == 3) {
              throw std::runtime_error("three");
            }
          });
        }) == "three");
  programs::parallel(0, 2, [](int64_t) { throw std::runtime_error("none"); });
}

TEST_CASE("Times are written as people say them", "[demo]") {
  CHECK(programs::duration(0.4) == "0 s");
  CHECK(programs::duration(59.4) == "59 s");
  CHECK(programs::duration(59.6) == "1 min 00 s");
  CHECK(programs::duration(185) == "3 min 05 s");
  CHECK(programs::duration(-1) == "0 s");
}

TEST_CASE("Results are summarised over seeds and generators", "[demo]") {
  const auto results = made_up_results();
  const auto& ce = results.row("ce");
  CHECK(ce.seen == std::vector<double>({1, .75}));
  CHECK(ce.seen_shifted == std::vector<double>({.75, .5}));
  CHECK(ce.unseen_of_seed == std::vector<double>({.625, .75}));
  CHECK(ce.unseen_mean.mean == 0.6875);
  CHECK(ce.unseen_mean.std == Approx(0.125 / std::sqrt(2.0)));
  CHECK(ce.curve.classification == std::vector<double>({.875}));
  const auto& kl = results.comparison("cyborg_kl", "ce");
  CHECK(kl.difference.difference == (.25 + .1875) / 2);
  // Two seeds: the interval reaches from one difference to the other.
  CHECK(kl.difference.low == .1875);
  CHECK(kl.difference.high == .25);
  // .125 / .375 and .0625 / .25.
  CHECK(kl.error_ratio_median == Approx((1.0 / 3 + 1.0 / 4) / 2));
  // Each row against three baselines, and the named one against the control.
  CHECK(results.paired.size() == 3 * 5 - 3 + 1);
  const auto& maps = results.comparison("cyborg_kl", "control_random");
  CHECK(maps.difference.difference == (.125 + .1875) / 2);
  CHECK(error_of([&] { results.row("x"); }) == "demo: no row is called 'x'");
  CHECK(error_of([&] {
          results.comparison("ce", "ce");
        }) == "demo: 'ce' was not compared with 'ce'");
}

TEST_CASE("The verdict follows the numbers, either way", "[demo]") {
  auto results = made_up_results();
  auto findings = demo::findings(results);
  REQUIRE(findings.size() == 5);
  CHECK(findings[0].holds);
  CHECK(contains(findings[0].text, "0.29 times the error"));
  CHECK(findings[1].holds);
  CHECK(findings[2].holds);
  CHECK(findings[3].holds);
  // control_random: .75 and .75 against .625 and .75: a gain of .0625, as
  // large as its standard error, not larger.
  CHECK(findings[4].holds);
  CHECK(contains(findings[4].text, "errs 0.0625 less than ce"));
  for (auto& row : results.rows) {
    if (row.row.name == "control_random") {
      row.unseen_of_seed = {.75, .875};
    }
  }
  for (auto& pair : results.paired) {
    pair.error_ratio_median = 0.6;
    pair.difference.low = 0;
  }
  for (const auto& finding : demo::findings(results)) {
    CHECK_FALSE(finding.holds);
  }
}

TEST_CASE("A small run gives results of the published form", "[demo]") {
  const auto done = outcome({0, 1}, 2);
  const auto json = demo::to_json(done.results);
  CHECK(json.size() == 2);
  REQUIRE(json["rows"].size() == kRows.size());
  for (size_t r = 0; r < kRows.size(); ++r) {
    const auto& row = json["rows"][r];
    CHECK(row["name"] == kRows[r]);
    CHECK(row.size() == 11);
    CHECK(row["train_images"] == (r == 2 ? 40 : 20));
    CHECK(row["steps"] == (r == 1 || r == 2 ? 12 : 10));
    CHECK(row["alpha"].is_number());
    CHECK(row["seeds"] == std::vector<int>({0, 1}));
    for (const auto* cell : {"auc_seen", "auc_seen_shifted"}) {
      REQUIRE(row[cell].size() == 2);
      for (const double auc : row[cell]) {
        CHECK((auc >= 0 && auc <= 1));
      }
    }
    for (const auto* cell : {"auc_unseen", "auc_unseen_shifted"}) {
      REQUIRE(row[cell].size() == 2);
      for (const auto& of_seed : row[cell]) {
        REQUIRE(of_seed.size() == 6);
        for (const double auc : of_seed) {
          CHECK((auc >= 0 && auc <= 1));
        }
      }
    }
    double sum = 0;
    for (const auto& of_seed : row["auc_unseen"]) {
      for (const double auc : of_seed) {
        sum += auc / 12;
      }
    }
    CHECK(row["unseen_mean"].get<double>() == Approx(sum));
    CHECK(row["unseen_std"].is_number());
  }
  CHECK(json["paired"].size() == 3 * kRows.size() - 3 + 4);
  for (const auto& pair : json["paired"]) {
    CHECK(pair.size() == 6);
    for (const auto* key :
         {"row", "against", "difference", "low", "high",
          "error_ratio_median"}) {
      CHECK(pair.contains(key));
    }
  }

  const pictures::Folder folder;
  const auto file = folder / "report.html";
  demo::write_report(done, file);
  const auto html = cyborg::io::read_file(file);
  for (const auto& name : kRows) {
    CHECK(contains(html, ">" + name + "<"));
  }
  // As text or as an attribute; the pictures' base64 may spell anything.
  for (const std::string unknown : {"nan", "n/a", "inf"}) {
    CHECK_FALSE(contains(html, ">" + unknown));
    CHECK_FALSE(contains(html, "'" + unknown));
    CHECK_FALSE(contains(html, " " + unknown + " "));
  }
  CHECK(contains(html, "<svg"));
  CHECK(contains(html, "synthetic, rows (unseen): cyborg_kl"));
}

TEST_CASE("The numbers do not depend on the number of threads", "[demo]") {
  const auto one = demo::to_json(outcome({3}, 1).results);
  const auto two = demo::to_json(outcome({3}, 3).results);
  CHECK(one.dump() == two.dump());
  // One seed has no spread: null, not a number that JSON does not have.
  CHECK(contains(one.dump(), "\"unseen_std\":null"));
}
