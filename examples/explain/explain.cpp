// SPDX-License-Identifier: BSD-3-Clause
#include "explain.hpp"

#include "names.hpp"
#include "picture_files.hpp"

#include "../common/file_checks.hpp"
#include "../common/pictures.hpp"
#include "../common/progress.hpp"
#include "../common/scoring.hpp"
#include "../common/stored_values.hpp"

#include <cyborg/cam/rise.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/io/csv.hpp>

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <stdexcept>
#include <utility>

namespace explain {

namespace {

namespace data = cyborg::data;
using cyborg::io::csv_field;

/// The label of a class. Throws for a name that no class has.
int64_t label_of(
    const std::string& name, const std::vector<std::string>& classes) {
  const auto at = std::find(classes.begin(), classes.end(), name);
  if (at == classes.end()) {
    std::string known;
    for (const auto& one : classes) {
      known += ", " + one;
    }
    throw std::invalid_argument(
        "--class: expected predicted, label" + known + ", got \"" + name +
        "\"");
  }
  return at - classes.begin();
}

/// The label [B] of the class whose map is made of each picture.
torch::Tensor explained_labels(
    const ExplainOptions& options, const std::vector<std::string>& classes,
    const torch::Tensor& logits, const torch::Tensor& labels) {
  switch (options.map_class) {
    case MapClass::kPredicted:
      return logits.argmax(/*dim=*/1);
    case MapClass::kLabel:
      return labels;
    case MapClass::kNamed:
      return torch::full_like(labels, label_of(options.class_name, classes));
  }
  throw std::logic_error("explain::explained_labels: unknown choice");
}

/// Throws, before anything is written, where a picture has no class to explain.
void check_classes(
    const std::vector<data::Row>& rows, const ExplainOptions& options,
    const std::vector<std::string>& classes) {
  if (options.map_class == MapClass::kNamed) {
    label_of(options.class_name, classes);
  }
  for (const auto& row : rows) {
    if (options.map_class == MapClass::kLabel && row.label < 0) {
      throw cyborg::io::FileError(
          "--class label", row.path,
          "has no class: name it in a CSV, or use --class predicted");
    }
  }
}

/// The hook of the layer that is asked for, or of that of the training.
/// Throws: `std::invalid_argument`, which names the flag, for a layer that the
/// network does not have.
std::unique_ptr<cyborg::CamHook> hook_of(
    programs::Network& network, const programs::Settings& settings,
    const ExplainOptions& options) {
  if (options.layer.empty()) {
    return network.hook(settings.layer, options.method);
  }
  try {
    return network.hook(options.layer, options.method);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    const auto at = text.find(": ");
    throw std::invalid_argument(
        "--layer" + (at == std::string::npos ? ": " + text : text.substr(at)));
  }
}

/// Adds a line to the table that `train` reads, with paths from the root, so
/// that the table may be moved.
void add_to_maps_table(
    const data::Row& row, const std::filesystem::path& map,
    ExplainResult& result) {
  if (result.maps_table.empty()) {
    result.maps_table = "split,class,path,saliency,attack,group,subject\n";
  }
  const auto from_root = [](const std::filesystem::path& path) {
    return csv_field(
        std::filesystem::absolute(path).lexically_normal().string());
  };
  result.maps_table += fmt::format(
      "{},{},{},{},{},{},{}\n", row.split, csv_field(row.cls),
      from_root(row.path), from_root(map), csv_field(row.attack),
      csv_field(row.group), csv_field(row.subject));
}

}  // namespace

programs::Settings settings_of(const std::filesystem::path& checkpoint) {
  if (std::filesystem::is_directory(checkpoint)) {
    throw cyborg::io::FileError(
        "explain", checkpoint,
        "is a folder: name the checkpoint in it, for example " +
            (checkpoint / "best.pt").string());
  }
  return programs::load_trained(checkpoint).settings;
}

ExplainResult explain_pictures(
    const std::vector<data::Row>& rows, const ExplainOptions& options) {
  const auto device = programs::device_named(options.device);
  auto trained = programs::load_trained(options.checkpoint);
  auto& settings = trained.settings;
  auto& network = trained.network;
  check_classes(rows, options, settings.classes);
  if (!options.skip_unreadable) {
    programs::check_files("the pictures", rows, settings);
  } else {
    programs::check_maps_are_others("the pictures", rows);
  }
  settings.skip_unreadable = options.skip_unreadable;
  ExplainResult result;
  result.stored_values = programs::compare_stored_values(
      "explain", "the pictures", rows, settings);
  settings.annotations = options.annotations.value_or(settings.annotations);
  const auto names = unique_names(rows);
  network.to(device);
  network.train(false);
  const auto hook = hook_of(network, settings, options);
  settings.objective.terms.clear();  // no mask of what is wrong is needed
  const auto dataset = programs::dataset_of(rows, settings);
  // Pictures of different sizes cannot be one batch, and may be large.
  const bool own_size = settings.size.empty();
  const auto batch_size = own_size ? 1 : static_cast<size_t>(options.batch);
  data::Prefetcher loader(
      dataset, data::PrefetchOptions()
                   .batch_size(batch_size)
                   .workers(static_cast<size_t>(options.workers))
                   .ahead(own_size ? 1 : data::PrefetchOptions().ahead()));
  const torch::NoGradGuard no_grad;
  programs::Progress progress(
      "explain", static_cast<int64_t>(loader.size()),
      /*quiet=*/loader.size() < 10);
  const bool rise = options.rise_masks > 0;
  const auto maps_of = [&](const torch::Tensor& images,
                           const torch::Tensor& logits,
                           const torch::Tensor& explained) {
    return rise ? cyborg::functional::rise(
                      [&](const torch::Tensor& masked) {
                        return network.forward(masked).softmax(/*dim=*/1);
                      },
                      images, explained,
                      cyborg::RiseOptions()
                          .masks(options.rise_masks)
                          .batch(options.batch)
                          .generator(
                              at::make_generator<at::CPUGeneratorImpl>(0)))
                : hook->cam(logits, explained);
  };
  const auto explain_batch = [&](const data::GuidedExample& batch) {
    const auto images = batch.data.to(device);
    const auto forward = [&] { return network.forward(images); };
    const auto logits = rise ? forward() : hook->forward(forward);
    const auto explained = explained_labels(
        options, settings.classes, logits, batch.target.to(device));
    const auto maps =
        maps_of(images, logits, explained).to(torch::kCPU, torch::kFloat);
    const auto share =
        logits.to(torch::kCPU, torch::kDouble).softmax(/*dim=*/1);
    const auto& seen = hook->observation();
    result.method =
        rise ? fmt::format("maps by RISE, {} masks", options.rise_masks)
             : fmt::format("maps of layer {}: {}", seen.layer, seen.reason);
    std::filesystem::create_directories(options.out);
    std::set<size_t> left_out;
    for (const auto& skipped : dataset.skipped()) {
      left_out.insert(skipped.index);
    }
    size_t index = (loader.position() - 1) * batch_size;
    for (int64_t i = 0; i < maps.size(0); ++i, ++index) {
      while (left_out.count(index) > 0) {
        ++index;
      }
      const auto& row = rows[index];
      const auto label = explained[i].item<int64_t>();
      if (!maps[i].isfinite().all().item<bool>() ||
          !std::isfinite(share[i][label].item<double>())) {
        throw cyborg::io::FileError(
            "explain", options.checkpoint,
            "the network computes NaN or infinity for " + row.path +
                ": its training may have diverged; use an earlier checkpoint");
      }
      Explained one{
          row.path,
          names[index],
          row.cls,
          settings.classes[static_cast<size_t>(label)],
          share[i][label].item<double>(),
          {},
          {}};
      write_picture_files(
          maps[i], batch.saliency[i], options, dataset.options(),
          /*shown=*/result.pictures.size() < kShown, one);
      if (options.maps == MapFile::kGrey && row.label >= 0) {
        add_to_maps_table(
            row, options.out / (names[index] + "_map.png"), result);
      }
      if (is_constant(batch.saliency[i])) {
        result.constant_maps.push_back(row.path);
      }
      result.pictures.push_back(std::move(one));
    }
    progress.add(1);
  };
  try {
    for (const auto& batch : loader) {
      explain_batch(batch);
    }
  } catch (const cyborg::io::FileError& error) {
    throw programs::with_way_out(error, rows);
  }
  for (const auto& skipped : dataset.skipped()) {
    result.skipped.push_back(skipped.path + ": " + skipped.reason);
  }
  return result;
}

std::string to_csv(const ExplainResult& result) {
  std::string out =
      "path,name,class,explained,probability,correlation,similarity,"
      "divergence,iou\n";
  for (const auto& one : result.pictures) {
    out += fmt::format(
        "{},{},{},{},{}", csv_field(one.path), csv_field(one.name),
        csv_field(one.truth), csv_field(one.explained), one.probability);
    const auto agreement = one.agreement.value_or(
        Agreement{std::nan(""), std::nan(""), std::nan(""), std::nan("")});
    for (const double value :
         {agreement.correlation, agreement.similarity, agreement.divergence,
          agreement.iou}) {
      out += std::isnan(value) ? "," : fmt::format(",{}", value);
    }
    out += "\n";
  }
  return out;
}

}  // namespace explain
