// SPDX-License-Identifier: BSD-3-Clause
// Data and command lines for tests of the program `train`.
#pragma once

#include "pictures.hpp"
#include "programs.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/io/file.hpp>

#include <torch/types.h>
#include <torch/utils.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <sstream>
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

using Words = std::vector<std::string>;

/// The records in the log of a training, one for each epoch.
inline std::vector<nlohmann::json> log_of(const std::string& out) {
  std::vector<nlohmann::json> records;
  std::istringstream lines(cyborg::io::read_file(out + "/log.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    records.push_back(nlohmann::json::parse(line));
  }
  return records;
}

#ifdef CYBORG_TRAIN
/// A command line with options that replace those of `training::command` or
/// come after them.
inline Words command_with(
    const std::string& table, const std::string& out, const Words& others) {
  auto words = command(table, out);
  for (size_t i = 0; i < others.size(); ++i) {
    const auto at = std::find(words.begin(), words.end(), others[i]);
    const bool has_value =
        i + 1 < others.size() && others[i + 1].compare(0, 2, "--") != 0;
    if (at != words.end() && has_value) {
      *(at + 1) = others[++i];
    } else {
      words.push_back(others[i]);
      if (has_value) {
        words.push_back(others[++i]);
      }
    }
  }
  return words;
}

struct Ended {
  int status;
  std::string errors;
};

/// Runs `train` to its end.
inline Ended run_train(const pictures::Folder& folder, const Words& words) {
  const std::string errors = folder / "errors";
  std::filesystem::remove(errors);
  const int status = programs_test::end_of(
      programs_test::start(CYBORG_TRAIN, words, {}, errors));
  const bool any =
      std::filesystem::exists(errors) && std::filesystem::file_size(errors) > 0;
  return {status, any ? cyborg::io::read_file(errors) : ""};
}

#endif

}  // namespace training
