// SPDX-License-Identifier: BSD-3-Clause
#include "explain.hpp"

#include "inputs.hpp"

#include "../common/csv.hpp"
#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/human/maps.hpp>
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
using programs::csv_field;

/// The class whose map is made of each sample: a label [B].
torch::Tensor explained_classes(
    const Question& question, const std::vector<std::string>& classes,
    const torch::Tensor& logits, const torch::Tensor& labels) {
  if (question.which == "predicted") {
    return logits.argmax(/*dim=*/1);
  }
  if (question.which == "label") {
    return labels;
  }
  const auto at = std::find(classes.begin(), classes.end(), question.which);
  return torch::full_like(labels, at - classes.begin());
}

void check_question(
    const std::vector<data::Row>& rows, const Question& question,
    const std::vector<std::string>& classes) {
  const auto& which = question.which;
  if (which == "label") {
    for (const auto& row : rows) {
      if (row.label < 0) {
        throw cyborg::io::FileError(
            "--class label", row.path,
            "has no class: name it in a CSV, or ask for --class predicted");
      }
    }
  } else if (
      which != "predicted" &&
      std::find(classes.begin(), classes.end(), which) == classes.end()) {
    std::string known;
    for (const auto& name : classes) {
      known += ", " + name;
    }
    throw std::invalid_argument(
        "--class: expected predicted, label" + known + ", got \"" + which +
        "\"");
  }
}

/// `map` as large as the human one and in [0, 1], compared with it.
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

/// Pictures [3, H, W] of one height, white between them.
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

/// The files of one picture, of which people drew `human` or (NaN) did not.
void write_picture(
    const torch::Tensor& map, const torch::Tensor& human,
    const Question& question, bool shown, Explained& one) {
  const auto picture = data::read_image(one.path);  // as large as it is
  const auto begin = question.out / one.name;
  const auto overlay = cyborg::report::overlay(picture, map, question.overlay);
  data::write_png(begin.string() + "_overlay.png", overlay);
  write_map(begin, map, question.maps);
  torch::Tensor people;
  if (cyborg::human::annotated(human.unsqueeze(0)).item<bool>()) {
    people = cyborg::report::overlay(picture, human, question.overlay);
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

Result explain_pictures(
    const std::vector<data::Row>& rows, const Question& question) {
  const auto device = programs::device_named(question.device);
  auto trained = programs::load_trained(question.checkpoint);
  auto& settings = trained.settings;
  auto& network = trained.network;
  check_question(rows, question, settings.classes);
  settings.skip_unreadable = question.skip_unreadable;
  const auto names = names_of(rows);
  network.to(device);
  network.train(false);
  const auto hook = network.hook(
      question.layer.empty() ? settings.layer : question.layer,
      question.method);
  const auto dataset = programs::dataset_of(rows, settings);
  // Pictures that keep their own sizes do not fit into one batch.
  const auto batch_size =
      settings.size.empty() ? 1 : static_cast<size_t>(question.batch);
  data::Prefetcher loader(
      dataset, data::PrefetchOptions()
                   .batch_size(batch_size)
                   .workers(static_cast<size_t>(question.workers)));
  const torch::NoGradGuard no_grad;
  Result result;
  for (auto& batch : loader) {
    const auto images = batch.data.to(device);
    const auto logits = hook->forward([&] { return network.forward(images); });
    const auto which = explained_classes(
        question, settings.classes, logits, batch.target.to(device));
    const auto maps = hook->cam(logits, which).to(torch::kCPU, torch::kFloat);
    const auto share =
        logits.to(torch::kCPU, torch::kDouble).softmax(/*dim=*/1);
    const auto& seen = hook->observation();
    result.method =
        fmt::format("maps of layer {}: {}", seen.layer, seen.reason);
    std::filesystem::create_directories(question.out);
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
      const auto label = which[i].item<int64_t>();
      Explained one{
          row.path,
          names[index],
          row.cls,
          settings.classes[static_cast<size_t>(label)],
          share[i][label].item<double>(),
          {},
          {}};
      write_picture(
          maps[i], batch.saliency[i], question, result.pictures.size() < kShown,
          one);
      result.pictures.push_back(std::move(one));
    }
  }
  for (const auto& skipped : dataset.skipped()) {
    result.skipped.push_back(skipped.path + ": " + skipped.reason);
  }
  return result;
}

std::string to_csv(const Result& result) {
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
