// SPDX-License-Identifier: BSD-3-Clause
#include "report.hpp"

#include "wording.hpp"

#include <cyborg/io/csv.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace evaluate {

namespace {

using cyborg::io::csv_field;

constexpr size_t kRunsSideBySide = 4;  // more do not fit a terminal

/// Text at the right of a column of so many characters; "±" is one character.
std::string cell(const std::string& text, size_t width) {
  return fmt::format("{:>{}}", text, width);
}

/// A number with all digits; empty for NaN.
std::string csv_number(double value) {
  return std::isnan(value) ? "" : fmt::format("{}", value);
}

}  // namespace

std::string to_text(const std::vector<RunResult>& runs) {
  std::string out;
  for (const auto& run : runs) {
    out += run.name + ": " + describe(run) + "\n";
    for (const auto& note : run.notes) {
      out += "  note: " + note + "\n";
    }
  }
  const auto rows = summarize(runs);
  const bool each = runs.size() <= kRunsSideBySide;
  size_t first = 7;
  for (const auto& row : rows) {
    first = std::max(first, row.name.size());
  }
  out += fmt::format("\n{:<{}}", "measure", first);
  size_t width = 8;
  for (const auto& run : runs) {
    width = std::max(width, short_name(run.name).size());
  }
  for (const auto& run : runs) {
    out += each ? "  " + cell(short_name(run.name), width) : "";
  }
  out += runs.size() > 1 ? "  " + cell("mean ± std", 15) + "\n" : "\n";
  for (const auto& row : rows) {
    out += fmt::format("{:<{}}", row.name, first);
    for (const double value : row.values) {
      out += each ? "  " + cell(number_text(value), width) : "";
    }
    out += runs.size() > 1 ? "  " + cell(mean_text(row), 15) + "\n" : "\n";
  }
  return out;
}

std::string to_csv(const std::vector<RunResult>& runs) {
  const auto rows = summarize(runs);
  std::string out = "run,threshold";
  for (const auto& row : rows) {
    out += "," + csv_field(row.name);
  }
  out += "\n";
  for (size_t r = 0; r < runs.size(); ++r) {
    out += csv_field(runs[r].name) + "," + csv_number(runs[r].threshold);
    for (const auto& row : rows) {
      out += "," + csv_number(row.values[r]);
    }
    out += "\n";
  }
  if (runs.size() > 1) {
    std::string mean = "mean,";
    std::string spread = "std,";
    for (const auto& row : rows) {
      mean += "," + csv_number(row.mean_std.mean);
      spread += "," + csv_number(row.mean_std.std);
    }
    out += mean + "\n" + spread + "\n";
  }
  return out;
}

std::string to_json(
    const std::vector<RunResult>& runs, const EvaluateOptions& options) {
  nlohmann::ordered_json out;
  out["split"] = options.split;
  out["score"] = programs::name_of(options.score);
  out["runs"] = nlohmann::ordered_json::array();
  for (const auto& run : runs) {
    nlohmann::ordered_json one;
    one["run"] = run.name;
    one["classes"] = run.classes;
    one["samples"] = run.samples;
    if (two_classes(run)) {
      one["positive"] = run.classes[static_cast<size_t>(run.positive)];
      one["threshold"] = run.threshold;
      one["threshold_from"] = run.threshold_origin;
    }
    for (const auto& [name, value] : run.measures) {
      one["measures"][name] = value;
    }
    one["confusion"] = run.confusion;
    one["notes"] = run.notes;
    out["runs"].push_back(std::move(one));
  }
  for (const auto& row : summarize(runs)) {
    out["summary"][row.name] = {
        {"mean", row.mean_std.mean}, {"std", row.mean_std.std}};
  }
  // Names of files and classes need not be UTF-8, and JSON is. Numbers that are
  // not finite become null.
  return out.dump(
             2, ' ', /*ensure_ascii=*/false,
             nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace evaluate
