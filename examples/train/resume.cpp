// SPDX-License-Identifier: BSD-3-Clause
#include "resume.hpp"

#include "fingerprint.hpp"

#include "../common/pictures.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

namespace programs {

namespace {

using cyborg::io::FileError;
using nlohmann::json;

/// The settings that a command line may give a training that is resumed.
const std::set<std::string> kMayDiffer{
    "data", "saliency", "annotations/file", "objective/wrong", "epochs"};

/// A value of a setting, as it was given on the command line. `between` stands
/// between several ones.
std::string shown(const json& value, const char* between) {
  if (value.is_object() && value.contains("kind")) {
    return to_text(value.get<TermSetting>());
  }
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (value.is_number_float()) {
    return fmt::format("{}", value.get<double>());
  }
  if (!value.is_array()) {
    return value.dump();
  }
  std::string all;
  for (const auto& part : value) {
    all += (all.empty() ? "" : between) + shown(part, between);
  }
  return all;
}

/// `with` and "--lr 0.1", or `without` and the flag of a setting that was not
/// given.
std::string shown_option(
    const std::string& flag, const json& value, const char* with,
    const char* without) {
  auto text = shown(value, flag == "--window" ? "," : " ");
  if (text.empty() && flag == "--size") {
    text = "0 0";
  }
  return text.empty() ? without + flag : with + flag + " " + text;
}

/// The settings of the checkpoint with those of the command line that may
/// differ.
Settings resumed_settings(
    const TrainOptions& options, const SavedTraining& saved,
    const std::filesystem::path& path, const TrainingLog& log) {
  auto given = options.settings;
  complete(given);
  const json now = given;
  json settings = saved.settings;
  for (const auto& [flag, key] : options.given) {
    const json::json_pointer member("/" + key);
    if (now.at(member) == settings.at(member)) {
      continue;
    }
    if (kMayDiffer.count(key) == 0) {
      throw FileError(
          "--resume", path,
          fmt::format(
              "was trained {}, got {}: a training keeps its settings. Leave "
              "the option out, or begin a new training with another --out",
              shown_option(flag, settings.at(member), "with ", "without "),
              shown_option(flag, now.at(member), "", "no ")));
    }
    if (key == "epochs") {
      const auto begun = saved.state.epoch + (saved.state.batch > 0 ? 1 : 0);
      if (given.epochs < begun) {
        throw FileError(
            "--resume", path,
            fmt::format(
                "is in epoch {}: expected --epochs {} or more, got {}", begun,
                begun, given.epochs));
      }
      if (given.schedule == cyborg::train::Decay::kCosine) {
        log.warn(
            "--epochs is another one than before, so the learning rate falls "
            "along another cosine from here on");
      }
    }
    settings[member] = now.at(member);
  }
  return settings.get<Settings>();
}

/// A word of a command line, for a shell.
std::string quoted(const std::string& word) {
  const auto plain = word.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-+=:,./@%") == std::string::npos;
  if (plain && !word.empty()) {
    return word;
  }
  std::string out = "'";
  for (const char c : word) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

}  // namespace

Training resume_training(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log) {
  const auto path = options.out / "last.pt";
  if (!std::filesystem::exists(path)) {
    throw FileError(
        "--resume", path,
        "no such file: expected --out to be the folder of a training");
  }
  auto saved = read_training(path);
  if (saved.state.ranks != processes.size()) {
    throw FileError(
        "--resume", path,
        fmt::format(
            "was trained by {} processes: expected as many, got {}",
            saved.state.ranks, processes.size()));
  }
  Training training;
  training.settings = resumed_settings(options, saved, path, log);
  training.state = saved.state;
  training.table = read_pictures(training.settings);
  if (!is_table_of(saved.table, training.table, training.settings)) {
    throw FileError(
        "--resume", training.settings.data,
        "is not the table that this training began with (rows, classes, "
        "splits, maps): restore that table, or begin a new training with "
        "another --out");
  }
  check_settings(training.settings, training.table, processes);
  check_all_files(
      training.settings, training.table, processes, log, /*is_new=*/false);
  training.script = saved.script;
  training.network = std::make_unique<Network>(
      training.settings, training.script, saved.model);
  training.optimizer = std::move(saved.optimizer);
  training.average = std::move(saved.average);
  // A copy, since set_state reads it as aligned numbers.
  training.random = saved.random[processes.rank()].clone();
  return training;
}

std::string resume_command(const TrainOptions& options, int64_t processes) {
  std::string command;
  if (processes > 1) {
    command = fmt::format(
        std::getenv("TORCHELASTIC_RUN_ID") != nullptr
            ? "torchrun --no-python --nproc-per-node {} "
            : "./dev ranks {} ",
        processes);
  }
  command += quoted(options.program) + " --resume --out " +
             quoted(options.out.string());
  for (const auto& word : options.run_words) {
    command += " " + quoted(word);
  }
  return command;
}

}  // namespace programs
