// SPDX-License-Identifier: BSD-3-Clause
#include "picture_files.hpp"

#include "../common/report/thumbnail.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/measure/overlap.hpp>
#include <cyborg/measure/saliency.hpp>

#include <torch/csrc/jit/serialization/pickle.h>

#include <filesystem>
#include <string>
#include <vector>

namespace explain {

namespace {

namespace data = cyborg::data;
namespace measure = cyborg::measure;
namespace report = programs::report;

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

}  // namespace

void write_picture_files(
    const torch::Tensor& map, const torch::Tensor& human,
    const ExplainOptions& options, const data::PictureDatasetOptions& reading,
    bool shown, Explained& one) {
  const auto picture = report::shrunk(
      data::read_image(
          one.path, data::image_options(reading).channels(3).size({})),
      options.overlay_size);
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
        report::thumbnail(picture),
        people.defined() ? report::thumbnail(people) : std::string(),
        report::thumbnail(overlay)};
  }
}

bool is_constant(const torch::Tensor& human) {
  return human.isfinite().all().item<bool>() &&
         human.amax().eq(human.amin()).item<bool>();
}

}  // namespace explain
