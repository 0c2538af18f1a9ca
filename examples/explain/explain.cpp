// SPDX-License-Identifier: BSD-3-Clause
#include "explain.hpp"

#include "inputs.hpp"

#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/measure/overlap.hpp>
#include <cyborg/measure/saliency.hpp>

#include <fmt/format.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

namespace explain {

namespace {

namespace data = cyborg::data;
namespace measure = cyborg::measure;
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

/// Compares a network's map, in [0, 1] and resized, with a human map.
Agreement compare(const torch::Tensor& map, const torch::Tensor& human) {
  const auto normal = cyborg::functional::normalize(
      map.unsqueeze(0), cyborg::Normalizer::kMinMax);
  const auto large = at::upsample_bilinear2d(
                         normal.unsqueeze(1), human.sizes(),
                         /*align_corners=*/false)
                         .squeeze(1);
  const auto people = human.unsqueeze(0);
  return {
      measure::map_correlation(large, people).item<double>(),
      measure::map_similarity(large, people).item<double>(),
      measure::map_divergence(large, people).item<double>(),
      measure::map_iou(large, people).item<double>()};
}

/// Pictures [3, H, W] of one height in a row, with white gaps.
torch::Tensor side_by_side(const std::vector<torch::Tensor>& pictures) {
  const auto gap = torch::ones({3, pictures.front().size(1), 4});
  std::vector<torch::Tensor> parts;
  for (const auto& picture : pictures) {
    if (!parts.empty()) {
      parts.push_back(gap);
    }
    parts.push_back(picture.expand({3, picture.size(1), picture.size(2)}));
  }
  return torch::cat(parts, /*dim=*/2);
}

/// Writes the file of a map, if one is asked for.
void write_map(
    const std::filesystem::path& begin, const torch::Tensor& map,
    MapFile kind) {
  if (kind == MapFile::kTensor) {
    const auto bytes = torch::jit::pickle_save(map);
    cyborg::io::write_file(
        begin.string() + "_map.pt", std::string(bytes.begin(), bytes.end()));
  } else if (kind == MapFile::kGrey) {
    data::write_png(
        begin.string() + "_map.png",
        cyborg::functional::normalize(
            map.unsqueeze(0), cyborg::Normalizer::kMinMax)[0]);
  }
}

/// Writes the files of one picture. `human` is NaN where it has no human map.
void write_picture(
    const torch::Tensor& map, const torch::Tensor& human,
    const ExplainOptions& options, bool shown, Explained& one) {
  const auto picture = data::read_image(one.path);  // in its own size
  const auto begin = options.out / one.name;
  const auto overlay = cyborg::report::overlay(picture, map, options.overlay);
  data::write_png(begin.string() + "_overlay.png", overlay);
  write_map(begin, map, options.maps);
  torch::Tensor people;
  if (cyborg::human::annotated(human.unsqueeze(0)).item<bool>()) {
    people = cyborg::report::overlay(picture, human, options.overlay);
    data::write_png(
        begin.string() + "_compare.png",
        side_by_side({picture, people, overlay}));
    one.agreement = compare(map, human);
  }
  if (shown) {
    one.png = {
        data::encode_png(picture),
        people.defined() ? data::encode_png(people) : std::string(),
        data::encode_png(overlay)};
  }
}

}  // namespace

std::vector<std::string> known_classes(
    const std::filesystem::path& checkpoint) {
  return programs::load_trained(checkpoint).settings.classes;
}

ExplainResult explain_pictures(
    const std::vector<data::Row>& rows, const ExplainOptions& options) {
  const auto device = programs::device_named(options.device);
  auto trained = programs::load_trained(options.checkpoint);
  auto& settings = trained.settings;
  auto& network = trained.network;
  check_classes(rows, options, settings.classes);
  settings.skip_unreadable = options.skip_unreadable;
  const auto names = unique_names(rows);
  network.to(device);
  network.train(false);
  const auto hook = network.hook(
      options.layer.empty() ? settings.layer : options.layer, options.method);
  const auto dataset = programs::dataset_of(rows, settings);
  // Pictures of different sizes cannot be one batch.
  const auto batch_size =
      settings.size.empty() ? 1 : static_cast<size_t>(options.batch);
  data::Prefetcher loader(
      dataset, data::PrefetchOptions()
                   .batch_size(batch_size)
                   .workers(static_cast<size_t>(options.workers)));
  const torch::NoGradGuard no_grad;
  ExplainResult result;
  for (auto& batch : loader) {
    const auto images = batch.data.to(device);
    const auto logits = hook->forward([&] { return network.forward(images); });
    const auto explained = explained_labels(
        options, settings.classes, logits, batch.target.to(device));
    const auto maps =
        hook->cam(logits, explained).to(torch::kCPU, torch::kFloat);
    const auto share =
        logits.to(torch::kCPU, torch::kDouble).softmax(/*dim=*/1);
    const auto& seen = hook->observation();
    result.method =
        fmt::format("maps of layer {}: {}", seen.layer, seen.reason);
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
      Explained one{
          row.path,
          names[index],
          row.cls,
          settings.classes[static_cast<size_t>(label)],
          share[i][label].item<double>(),
          {},
          {}};
      write_picture(
          maps[i], batch.saliency[i], options, result.pictures.size() < kShown,
          one);
      result.pictures.push_back(std::move(one));
    }
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
    out += one.agreement ? fmt::format(
                               ",{},{},{},{}\n", one.agreement->correlation,
                               one.agreement->similarity,
                               one.agreement->divergence, one.agreement->iou)
                         : std::string(",,,,\n");
  }
  return out;
}

}  // namespace explain
