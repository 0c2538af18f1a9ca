// SPDX-License-Identifier: BSD-3-Clause
// The program `train` on a GPU. Without a GPU these cases are shown as skipped.

#include "catch.hpp"
#include "skip.hpp"
#include "support.hpp"
#include "training.hpp"

#include <torch/cuda.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using training::command_with;
using training::log_of;
using training::run_train;

/// Whether there is no GPU; says so.
bool lacks_gpu() {
  if (torch::cuda::is_available()) {
    return false;
  }
  support::skip("this machine has no GPU");
  return true;
}

/// Trains for two epochs on this device. Every number of the log is finite.
std::vector<json> trained(
    const pictures::Folder& folder, const std::string& table,
    const std::string& device, const training::Words& others) {
  const std::string out = folder / ("on-" + device);
  auto words = command_with(table, out, {"--epochs", "2"});
  words.insert(words.end(), {"--device", device});
  words.insert(words.end(), others.begin(), others.end());
  const auto ended = run_train(folder, words);
  INFO(ended.errors);
  REQUIRE(ended.status == 0);
  const auto records = log_of(out);
  for (const auto& record : records) {
    REQUIRE(std::isfinite(record.at("loss").get<double>()));
  }
  return records;
}

}  // namespace

TEST_CASE("A training on a GPU has the losses of one on a CPU", "[device]") {
  if (lacks_gpu()) {
    return;
  }
  const pictures::Folder folder;
  const auto table = training::write_table(folder);
  for (const training::Words& others :
       {training::Words{}, training::Words{"--term", "sgt"},
        training::Words{
            "--term", "cam-entropy", "--term", "harmonize", "--class-weights",
            "balanced", "--focal", "2"}}) {
    INFO((others.empty() ? "no term" : others[1]));
    const pictures::Folder results;
    const auto here = trained(results, table, "cpu", others);
    const auto there = trained(results, table, "cuda", others);
    REQUIRE(here.size() == there.size());
    // Rounding grows from step to step.
    for (const char* part : {"loss", "classification", "saliency"}) {
      INFO(part);
      CHECK(
          there[0].at(part).get<double>() ==
          Approx(here[0].at(part).get<double>()).epsilon(0.05));
    }
  }
}

TEST_CASE(
    "A training on a GPU in bfloat16 goes on where it was stopped, and its "
    "checkpoint is read on a CPU",
    "[device]") {
  if (lacks_gpu()) {
    return;
  }
  const pictures::Folder folder;
  const auto table = training::write_table(folder);
  const std::string out = folder / "out";
  auto words = command_with(table, out, {"--epochs", "2"});
  words.insert(
      words.end(), {"--device", "cuda", "--bf16", "--stop-after", "7"});
  REQUIRE(run_train(folder, words).status == 75);
  const auto ended = run_train(
      folder, {"--resume", "--out", out, "--quiet", "--device", "cpu"});
  INFO(ended.errors);
  CHECK(ended.status == 0);
  CHECK(log_of(out).size() == 2);
}
