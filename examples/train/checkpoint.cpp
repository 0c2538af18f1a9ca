// SPDX-License-Identifier: BSD-3-Clause
#include "checkpoint.hpp"

#include "objective.hpp"

#include <cyborg/io/file.hpp>

#include <exception>

namespace programs {

using nlohmann::json;

void TrainingState::add(const std::string& name, double sum, double count) {
  if (name == kSaliencyPart) {
    saliency += sum;
    annotated += static_cast<int64_t>(count);
  } else {
    auto& term = terms[name];
    term.first += sum;
    term.second += count;
  }
}

json TrainingState::record() const {
  const auto count = static_cast<double>(pictures);
  json record{
      {"epoch", epoch},
      {"step", step},
      {"loss", total / count},
      {"classification", classification / count},
      {"saliency", annotated == 0
                       ? json()
                       : json(saliency / static_cast<double>(annotated))},
      {"annotated", annotated},
      {"pictures", pictures}};
  for (const auto& [name, sums] : terms) {
    record[name] = sums.second == 0 ? json() : json(sums.first / sums.second);
    record[name + "_count"] = sums.second;
  }
  return record;
}

void TrainingState::next_epoch() {
  ++epoch;
  batch = 0;
  total = classification = saliency = 0;
  annotated = pictures = 0;
  for (auto& term : terms) {
    term.second = {0, 0};
  }
}

void write_training(
    const std::filesystem::path& path, const SavedTraining& training) {
  cyborg::train::Checkpoint checkpoint;
  checkpoint.texts["settings"] = json(training.settings).dump();
  checkpoint.texts["place"] = json(training.state).dump();
  checkpoint.texts["table"] = training.table;
  checkpoint.tensors["model"] = training.model;
  if (training.script.defined()) {
    checkpoint.tensors["script"] = {{"module", training.script}};
  }
  if (training.random.defined()) {
    checkpoint.tensors["optimizer"] = training.optimizer;
    if (!training.average.empty()) {
      checkpoint.tensors["average"] = training.average;
    }
    checkpoint.tensors["random"] = {{"cpu", training.random}};
  }
  cyborg::train::save_checkpoint(path, checkpoint);
}

SavedTraining read_training(const std::filesystem::path& path) {
  const auto checkpoint = cyborg::train::load_checkpoint(path);
  if (checkpoint.tensors.count("optimizer") == 0) {
    throw cyborg::io::FileError(
        "--resume", path,
        "holds weights alone, as best.pt does; a training can be resumed from "
        "the last.pt that `train` wrote");
  }
  SavedTraining training;
  try {
    const auto text = [&](const char* name) {
      return checkpoint.texts.at(name);
    };
    const auto group = [&](const char* name) {
      return checkpoint.tensors.at(name);
    };
    training.settings = json::parse(text("settings")).get<Settings>();
    training.state = json::parse(text("place")).get<TrainingState>();
    training.table = text("table");
    training.model = group("model");
    training.optimizer = group("optimizer");
    training.random = group("random").at(0).second;
    if (checkpoint.tensors.count("average") != 0) {
      training.average = group("average");
    }
    if (checkpoint.tensors.count("script") != 0) {
      training.script = group("script").at(0).second;
    }
  } catch (const std::exception& error) {
    throw cyborg::io::FileError(
        "--resume", path,
        std::string("is no checkpoint of this version of `train`: ") +
            error.what());
  }
  return training;
}

}  // namespace programs
