// SPDX-License-Identifier: BSD-3-Clause
// What Python wrote, trained here: networks as TorchScript, and weights. Needs
// a Python with torch (CYBORG_TEST_PYTHON, else python3); without one the cases
// are skipped.

#include "catch.hpp"
#include "pictures.hpp"
#include "skip.hpp"
#include "support.hpp"

#include <common/scoring.hpp>
#include <common/weights.hpp>

#include <cyborg/data/image.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace {

using support::contains;
using support::error_of;

std::string python() {
  const char* named = std::getenv("CYBORG_TEST_PYTHON");
  return named != nullptr && *named != '\0' ? named : "python3";
}

/// Runs a command of the shell in `folder`; whether it ended with 0. Its output
/// is in `folder`/output.
bool runs(const pictures::Folder& folder, const std::string& command) {
  const auto line = "cd '" + folder.path().string() + "' && { " + command +
                    "; } > output 2>&1";
  return std::system(line.c_str()) == 0;
}

std::string output(const pictures::Folder& folder) {
  std::ifstream stream(folder / "output");
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Whether Python has a module; skips the case where it does not.
bool has(const pictures::Folder& folder, const std::string& module) {
  if (runs(folder, "'" + python() + "' -c 'import " + module + "'")) {
    return true;
  }
  support::skip(
      python() + " has no " + module +
      "; CYBORG_TEST_PYTHON names another Python");
  return false;
}

std::string script(const std::string& name) {
  return "'" + python() + "' '" CYBORG_SOURCE_DIR "/examples/" + name + "' ";
}

/// 16 pictures of two classes with maps, four of them for validation.
void write_table(const pictures::Folder& folder) {
  std::string csv = "split,class,path,saliency\n";
  torch::manual_seed(5);
  for (int64_t i = 0; i < 16; ++i) {
    const int64_t side = 32, label = i % 2, at = label == 0 ? 2 : 20;
    auto image = 0.3 * torch::rand({3, side, side});
    auto map = torch::zeros({side, side});
    image.narrow(1, at, 8).narrow(2, at, 8).fill_(1);
    map.narrow(0, at, 8).narrow(1, at, 8).fill_(1);
    const auto name = "p" + std::to_string(i) + ".png";
    cyborg::data::write_png(folder / name, image);
    cyborg::data::write_png(folder / ("map-" + name), map);
    csv += std::string(i < 12 ? "train," : "val,") +
           (label == 0 ? "live," : "spoof,") + name + ",map-" + name + "\n";
  }
  folder.write("table.csv", csv);
}

/// Trains what a command exported to net.pt for an epoch, and goes on for
/// another.
void train_exported(const pictures::Folder& folder) {
  const std::string common = " --threads 1 --quiet --out run";
  const bool trained = runs(
      folder, "'" CYBORG_TRAIN
              "'"
              " --data table.csv --model net.pt --size 32 32 --epochs 2 "
              "--stop-after 2 --batch 6" +
                  common + "; [ $? = 75 ]");
  INFO(output(folder));
  REQUIRE(trained);
  const bool went_on = runs(folder, "'" CYBORG_TRAIN "' --resume" + common);
  INFO(output(folder));
  REQUIRE(went_on);
  std::ifstream log(folder / "run/log.jsonl");
  int epochs = 0;
  for (std::string line; std::getline(log, line); ++epochs) {
    const auto record = nlohmann::json::parse(line);
    for (const char* part : {"loss", "classification", "saliency"}) {
      INFO(part);
      REQUIRE(record[part].is_number());
      CHECK(std::isfinite(record[part].get<double>()));
    }
    CHECK(record["annotated"] == 12);
  }
  CHECK(epochs == 2);
  CHECK(std::filesystem::exists(folder / "run/report.html"));
  // With torch's own default for weights_only, which is True since 2.6.
  const bool read = runs(
      folder, "'" + python() +
                  "' -c 'import torch; s = torch.load(\"run/best.pt\"); "
                  "assert all(torch.is_tensor(t) for t in "
                  "s[\"tensors\"][\"model\"].values()) and s[\"texts\"]; "
                  "torch.load(\"run/last.pt\")'");
  INFO(output(folder));
  REQUIRE(read);
  auto best = programs::load_trained(folder / "run/best.pt");
  const torch::NoGradGuard no_grad;
  const auto images = torch::rand({3, 3, 32, 32});
  const auto alone = images.narrow(0, 1, 1);
  best.network.train(false);
  const auto logits = best.network.forward(images);
  CHECK(logits.sizes() == at::IntArrayRef({3, 2}));
  CHECK(torch::isfinite(logits).all().item<bool>());
  CHECK(support::close(
      best.network.forward(alone), logits.narrow(0, 1, 1), 1e-5));
  // In training the other pictures of the batch are part of its statistics.
  best.network.train(true);
  CHECK(!support::close(
      best.network.forward(alone), best.network.forward(images).narrow(0, 1, 1),
      1e-5));
}

}  // namespace

TEST_CASE(
    "A Python network is exported and trained with guidance",
    "[python][slow]") {
  const pictures::Folder folder;
  if (!has(folder, "torch")) {
    return;
  }
  write_table(folder);
  const std::string name =
      GENERATE("residual", "dense", "squeeze", "auxiliary", "unscriptable");
  INFO(name);
  const auto networks = cyborg::io::read_file(CYBORG_TEST_DIR "/networks.py");
  folder.write("networks.py", networks);
  const bool exported = runs(
      folder, script("export_torchscript.py") + "networks:" + name +
                  " net.pt --size 32");
  INFO(output(folder));
  REQUIRE(exported);
  CHECK(
      contains(output(folder), "traced, because it cannot be scripted") ==
      (name == "unscriptable"));
  train_exported(folder);
}

TEST_CASE("Weights that Python wrote fit the native network", "[python]") {
  const pictures::Folder folder;
  if (!has(folder, "torchvision")) {
    return;
  }
  const bool written =
      runs(folder, "'" + python() + "' '" CYBORG_TEST_DIR "/weights.py' .");
  INFO(output(folder));
  REQUIRE(written);
  programs::Settings settings;
  settings.network = programs::Architecture::kResNet18;
  const auto expected =
      programs::read_weights(folder / "logits.pt").front().second;
  const auto fits = [&](const std::string& file) {
    INFO(file);
    programs::Network network(settings, /*classes=*/2, {});
    CHECK(programs::load_weights(network, folder / file) == "");
    network.train(false);
    const torch::NoGradGuard no_grad;
    const auto logits = network.forward(torch::ones({1, 3, 64, 64}));
    CHECK(support::close(logits, expected, 1e-4));
  };
  const auto exported = [&](const std::string& file) {
    const bool done =
        runs(folder, script("export_weights.py") + file + " exported.pt");
    INFO(output(folder));
    REQUIRE(done);
    return "exported.pt";
  };
  for (const char* file :
       {"plain.pt", "legacy.pt", "final_model.pth", "whole.pth"}) {
    programs::Network network(settings, /*classes=*/2, {});
    CHECK(contains(
        error_of([&] { programs::load_weights(network, folder / file); }),
        "In Python: examples/export_weights.py"));
    fits(exported(file));
  }
  // A plain dictionary needs no script, whatever is beside it and before names.
  fits("compiled.pt");
  // Another number of classes: the last layer keeps its fresh values.
  programs::Network network(settings, /*classes=*/3, {});
  const auto note =
      programs::load_weights(network, folder / exported("plain.pt"));
  CHECK(contains(note, "120 of 122 tensors fit"));
  CHECK(contains(note, "fc.weight: expected [3, 512], got [2, 512]"));
}
