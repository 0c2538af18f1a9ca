// SPDX-License-Identifier: BSD-3-Clause
#include "scoring.hpp"

#include "pictures.hpp"

#include <cyborg/data/prefetch.hpp>
#include <cyborg/io/csv.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <set>
#include <utility>

namespace programs {

using cyborg::io::csv_field;

namespace {

void check_finite(const ScoredPictures& scored) {
  const auto bad = torch::isfinite(scored.logits).all(/*dim=*/1).logical_not();
  const auto count = bad.sum().item<int64_t>();
  if (count == 0) {
    return;
  }
  const auto first = bad.nonzero()[0][0].item<int64_t>();
  throw NotFiniteError(fmt::format(
      "the network computes NaN or infinity for {} ({} of {} pictures): its "
      "training may have diverged; use an earlier checkpoint",
      scored.rows[static_cast<size_t>(first)].path, count, scored.rows.size()));
}

}  // namespace

ScoredPictures score_pictures(
    Network& network, std::vector<cyborg::data::Row> rows,
    const Settings& settings, const ScoringOptions& options) {
  const torch::NoGradGuard no_grad;
  network.train(false);
  const auto dataset = dataset_of(without_maps(rows), settings);
  cyborg::data::Prefetcher loader(
      dataset, cyborg::data::PrefetchOptions()
                   .batch_size(options.batch)
                   .workers(options.workers));
  std::vector<torch::Tensor> logits, labels;
  ScoredPictures out;
  size_t read = 0;  // rows of the batches so far, with those left out
  for (auto& batch : loader) {
    const auto images = batch.data.to(options.device);
    auto output = network.forward(images);
    if (options.test_flip) {
      const auto mirrored = network.forward(images.flip({-1}));
      output = (output + mirrored) / 2;
    }
    logits.push_back(output.to(torch::kCPU, torch::kFloat));
    labels.push_back(batch.target);
    read = std::min(rows.size(), loader.position() * options.batch);
    if (options.go_on && !options.go_on(static_cast<int64_t>(read))) {
      out.stopped = read < rows.size();
      break;
    }
  }
  rows.resize(out.stopped ? read : rows.size());
  out.test_flip = options.test_flip;
  std::set<size_t> left_out;
  for (const auto& skipped : dataset.skipped()) {
    left_out.insert(skipped.index);
    out.skipped.push_back(skipped.path + ": " + skipped.reason);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (left_out.count(i) == 0) {
      out.rows.push_back(std::move(rows[i]));
    }
  }
  const auto classes = static_cast<int64_t>(settings.classes.size());
  out.logits = logits.empty() ? torch::empty({0, classes}) : torch::cat(logits);
  out.labels =
      labels.empty() ? torch::empty({0}, torch::kLong) : torch::cat(labels);
  check_finite(out);
  return out;
}

TrainedNetwork load_trained(const std::filesystem::path& checkpoint) {
  auto read = cyborg::train::load_checkpoint(checkpoint);
  const auto fail = [&](const std::string& reason) {
    throw cyborg::io::FileError(
        "checkpoint", checkpoint,
        reason + ": expected a best.pt or last.pt that `train` wrote");
  };
  if (read.texts.count("settings") == 0 || read.tensors.count("model") == 0) {
    fail("holds no settings or no model");
  }
  Settings settings;
  try {
    settings = nlohmann::json::parse(read.texts["settings"]).get<Settings>();
  } catch (const std::exception& error) {
    fail(std::string("its settings cannot be read: ") + error.what());
  }
  const auto script = read.tensors.find("script");
  return {
      settings,
      Network(
          settings,
          script == read.tensors.end() ? torch::Tensor()
                                       : script->second.front().second,
          read.tensors["model"])};
}

torch::Tensor margin(const torch::Tensor& logits) {
  return logits.select(/*dim=*/1, 1) - logits.select(/*dim=*/1, 0);
}

std::string scores_csv(const std::vector<ScoredPictures>& parts) {
  std::string out = "path,split,class,label,score";
  const int64_t classes = parts.front().logits.size(1);
  for (int64_t k = 0; k < classes; ++k) {
    out += fmt::format(",logit_{}", k);
  }
  const bool test_flip = parts.front().test_flip;
  out += std::string(",attack,group,subject") +
         (test_flip ? ",test_flip\n" : "\n");
  for (const auto& part : parts) {
    const auto share = part.logits.to(torch::kDouble).softmax(/*dim=*/1);
    for (size_t i = 0; i < part.rows.size(); ++i) {
      const auto& row = part.rows[i];
      const auto at = static_cast<int64_t>(i);
      out += fmt::format(
          "{},{},{},{},{}", csv_field(row.path), row.split, csv_field(row.cls),
          row.label, share[at][classes == 2 ? 1 : row.label].item<double>());
      for (int64_t k = 0; k < classes; ++k) {
        out += fmt::format(",{}", part.logits[at][k].item<float>());
      }
      out += fmt::format(
          ",{},{},{}{}\n", csv_field(row.attack), csv_field(row.group),
          csv_field(row.subject), test_flip ? ",1" : "");
    }
  }
  return out;
}

}  // namespace programs
