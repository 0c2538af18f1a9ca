// SPDX-License-Identifier: BSD-3-Clause
#include "training_log.hpp"

#include "../common/errors.hpp"

#include <cyborg/io/file.hpp>
#include <cyborg/report/overlay.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <utility>

namespace programs {

using nlohmann::json;

namespace {

/// The records as a table: epoch first, then all other names in alphabetical
/// order. What a record lacks, and null, is an empty field.
std::string csv_of(const std::vector<json>& records) {
  std::set<std::string> names;
  for (const auto& record : records) {
    for (const auto& item : record.items()) {
      names.insert(item.key());
    }
  }
  names.erase("epoch");
  std::string out = "epoch";
  for (const auto& name : names) {
    out += "," + name;
  }
  out += "\n";
  for (const auto& record : records) {
    out += record.at("epoch").dump();
    for (const auto& name : names) {
      const auto value = record.find(name);
      out += ",";
      out += value == record.end() || value->is_null() ? "" : value->dump();
    }
    out += "\n";
  }
  return out;
}

}  // namespace

TrainingLog::TrainingLog(
    std::filesystem::path folder, bool is_first, bool quiet)
    : folder_(std::move(folder)),
      is_first_(is_first),
      quiet_(quiet || !is_first) {}

void TrainingLog::resume(const TrainingState& state) {
  std::ifstream stream(folder_ / "log.jsonl");
  for (std::string line; std::getline(stream, line);) {
    const auto record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object() && record.value("step", int64_t{0}) <= state.step &&
        record.value("epoch", int64_t{0}) < state.epoch) {
      records_.push_back(record);
    }
  }
  write();
}

void TrainingLog::open() {
  if (is_first_) {
    std::filesystem::create_directories(folder_);
    events_ = std::make_unique<cyborg::report::EventWriter>(folder_);
  }
}

void TrainingLog::add(const json& record) {
  records_.push_back(record);
  write();
}

void TrainingLog::write() const {
  std::string all;
  for (const auto& record : records_) {
    all += record.dump() + "\n";
  }
  if (is_first_) {
    cyborg::io::write_file(folder_ / "log.jsonl", all);
    cyborg::io::write_file(folder_ / "log.csv", csv_of(records_));
  }
}

void TrainingLog::plot(const json& record, int64_t epoch) {
  if (!events_) {
    return;
  }
  for (const auto& item : record.items()) {
    if (item.value().is_number() && item.key() != "epoch") {
      const bool validation = item.key().compare(0, 4, "val_") == 0;
      events_->scalar(
          (validation ? "validation/" + item.key().substr(4)
                      : "training/" + item.key()),
          item.value().get<double>(), epoch);
    }
  }
}

void TrainingLog::show_map(
    const std::string& name, const torch::Tensor& picture,
    const torch::Tensor& map, int64_t epoch) {
  if (!events_) {
    return;
  }
  const auto from_zero = picture - picture.min();
  events_->image(
      name,
      cyborg::report::overlay(from_zero / from_zero.max().clamp_min(1e-6), map),
      epoch);
}

void TrainingLog::print_epoch(const json& record, bool best) const {
  auto line = fmt::format(
      "epoch {}: loss {:.4f}", record["epoch"].get<int64_t>() + 1,
      record["loss"].get<double>());
  for (const auto* name : {"val_loss", "val_accuracy", "val_auc"}) {
    if (record.contains(name)) {
      line += fmt::format(", {} {:.4f}", name, record[name].get<double>());
    }
  }
  print(line + (best ? " (best so far)" : ""));
}

void TrainingLog::print(const std::string& line) const {
  if (!quiet_) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
}

void TrainingLog::warn(const std::string& line) const {
  if (is_first_) {
    fmt::print(stderr, "warning: {}\n", with_flags(line, "train"));
  }
}

}  // namespace programs
