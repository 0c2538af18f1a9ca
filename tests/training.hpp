// SPDX-License-Identifier: BSD-3-Clause
// Data and command lines for tests of the program `train`.
#pragma once

#include "pictures.hpp"

#include <cyborg/data/image.hpp>

#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <string>
#include <vector>

namespace training {

/// 48 + 12 grey pictures of different sizes, with a bright square whose place
/// depends on the class. Three of five have maps.
inline std::string write_table(const pictures::Folder& folder) {
  std::string csv = "split,class,path,saliency\n";
  torch::manual_seed(5);
  for (int64_t i = 0; i < 60; ++i) {
    const int64_t side = 24 + 4 * (i % 4), label = i % 2;
    auto image = 0.3 * torch::rand({side, side});
    auto map = torch::zeros({side, side});
    const int64_t at = label == 0 ? 2 : side / 2;
    for (auto* each : {&image, &map}) {
      each->narrow(0, at, 6).narrow(1, at, 6).fill_(1);
    }
    const auto name = "p" + std::to_string(i) + ".png";
    cyborg::data::write_png(folder / name, image);
    const bool annotated = i % 5 < 3;
    if (annotated) {
      cyborg::data::write_png(folder / ("map-" + name), map);
    }
    csv += std::string(i < 48 ? "train," : "val,") +
           (label == 0 ? "live," : "spoof,") + name + "," +
           (annotated ? "map-" + name : "") + "\n";
  }
  return folder.write("table.csv", csv);
}

/// A command line: 6 epochs of 6 steps.
inline std::vector<std::string> command(
    const std::string& table, const std::string& out) {
  return {"--data",       table,        "--size",      "32",       "32",
          "--channels",   "1",          "--mean",      "0.5",      "--std",
          "0.25",         "--network",  "demo",        "--loss",   "cyborg-kl",
          "--alpha",      "0.3",        "--optimizer", "adam",     "--lr",
          "0.002",        "--schedule", "none",        "--epochs", "6",
          "--batch",      "8",          "--threads",   "1",        "--quiet",
          "--save-every", "2",          "--out",       out};
}

}  // namespace training
