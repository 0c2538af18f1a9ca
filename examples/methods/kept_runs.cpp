// SPDX-License-Identifier: BSD-3-Clause
#include "kept_runs.hpp"

#include "../common/terms.hpp"

#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace methods {

namespace {

using nlohmann::json;

/// What decides a run, beside the program.
std::string key_of(
    Net net, Decoy decoy, const Row& row, const Recipe& recipe, int64_t seed) {
  return fmt::format(
      "{} {} {} {} {} {} {} {} {} {}", static_cast<int>(net),
      static_cast<int>(decoy), static_cast<int>(row.data),
      static_cast<int>(row.guide), row.name,
      row.term ? programs::to_text(*row.term) : "-", recipe.epochs,
      recipe.batch, recipe.learning_rate, seed);
}

std::string line_of(
    const std::string& program, const std::string& key, const Run& run) {
  return json{
             {"program", program},
             {"run", key},
             {"accuracy", run.accuracy},
             {"wrong_reason", run.wrong_reason},
             {"milliseconds", run.milliseconds}}
             .dump() +
         "\n";
}

/// The number of a line; NaN, where no map was left, is written as null.
double number_of(const json& line, const char* name) {
  const auto& value = line.at(name);
  return value.is_null() ? std::nan("") : value.get<double>();
}

}  // namespace

KeptRuns::KeptRuns(
    std::filesystem::path file, const std::filesystem::path& program)
    : file_(std::move(file)),
      program_(fmt::format(
          "{:016x}", cyborg::io::fnv1a(cyborg::io::read_file(program)))) {
  if (!std::filesystem::exists(file_)) {
    return;
  }
  std::istringstream lines(cyborg::io::read_file(file_));
  for (std::string line; std::getline(lines, line);) {
    const auto one = json::parse(line, nullptr, /*allow_exceptions=*/false);
    // The last line may be half written, where the program was killed.
    if (!one.is_object() || one.value("program", "") != program_) {
      continue;
    }
    runs_[one.at("run")] = {
        number_of(one, "accuracy"), number_of(one, "wrong_reason"),
        number_of(one, "milliseconds")};
  }
  std::string kept;
  for (const auto& [key, run] : runs_) {
    kept += line_of(program_, key, run);
  }
  cyborg::io::write_file(file_, kept);
}

std::optional<Run> KeptRuns::find(
    Net net, Decoy decoy, const Row& row, const Recipe& recipe,
    int64_t seed) const {
  const auto found = runs_.find(key_of(net, decoy, row, recipe, seed));
  return found == runs_.end() ? std::nullopt
                              : std::optional<Run>(found->second);
}

void KeptRuns::add(
    Net net, Decoy decoy, const Row& row, const Recipe& recipe, int64_t seed,
    const Run& run) {
  const auto key = key_of(net, decoy, row, recipe, seed);
  runs_[key] = run;
  std::ofstream out(file_, std::ios::app);
  out << line_of(program_, key, run);
  out.flush();
  if (!out) {
    throw std::runtime_error("cannot write " + file_.string());
  }
}

}  // namespace methods
