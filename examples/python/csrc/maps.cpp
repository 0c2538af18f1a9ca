// SPDX-License-Identifier: BSD-3-Clause
// People's maps, and what is true of any map.
#include "common.hpp"

#include <cyborg/human/annotations.hpp>
#include <cyborg/human/controls.hpp>
#include <cyborg/human/draw.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/human/granularity.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/human/published.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <utility>
#include <vector>

namespace torchcyborg {

namespace {

namespace human = cyborg::human;
using cyborg::maps::Resize;
using Sizes = std::vector<int64_t>;
using Tensors = std::vector<Tensor>;
using Others = py::call_guard<py::gil_scoped_release>;

constexpr std::array<Choice<Resize>, 3> kResizes = {
    {{"antialias", Resize::kAntialias},
     {"area", Resize::kArea},
     {"nearest", Resize::kNearest}}};
constexpr std::array<Choice<human::Border>, 2> kBorders = {
    {{"reflect", human::Border::kReflect},
     {"replicate", human::Border::kReplicate}}};
constexpr std::array<Choice<human::Accumulate>, 2> kAccumulate = {
    {{"sum", human::Accumulate::kSum}, {"max", human::Accumulate::kMaximum}}};

/// The options of all functions that draw, by their names in Python.
struct Draw {
  std::optional<Sizes> size;
  std::optional<std::string> accumulate;
  std::string normalizer;

  human::DrawOptions options() const {
    auto made = human::DrawOptions()
                    .size(size.value_or(Sizes()))
                    .normalizer(chosen("normalizer", kNormalizers, normalizer));
    if (accumulate) {
      made.accumulate(chosen("accumulate", kAccumulate, *accumulate));
    }
    return made;
  }
};

/// The annotators' maps; None is somebody who saw none of these pictures.
Tensors annotators(const std::vector<Given>& given) {
  Tensors maps;
  for (const auto& one : given) {
    maps.push_back(tensor_of(one));
  }
  return maps;
}

/// Defines a function that draws: `draw(shapes, picture, options)`.
template <class Shapes, class Function>
void def_draw(
    py::module_& module, const char* name, const char* shapes,
    const Function& function, const char* doc) {
  module.def(
      name,
      [function](
          const Shapes& given, const Sizes& picture, std::optional<Sizes> size,
          std::optional<std::string> accumulate, std::string normalizer) {
        return function(
            given, picture,
            Draw{std::move(size), std::move(accumulate), std::move(normalizer)}
                .options());
      },
      Others(), py::arg(shapes), py::arg("picture"), py::kw_only(),
      py::arg("size") = py::none(), py::arg("accumulate") = py::none(),
      py::arg("normalizer") = "none", doc);
}

void bind_human(py::module_& module) {
  module.def(
      "blur",
      [](const Tensor& maps, double sigma, const std::string& border) {
        return human::blur(maps, sigma, chosen("border", kBorders, border));
      },
      Others(), py::arg("maps"), py::arg("sigma"), py::kw_only(),
      py::arg("border") = "reflect",
      "Blurs maps [*, H, W] with a Gaussian; missing maps stay missing.");
  module.def(
      "missing", [](const Sizes& size) { return human::missing(size); },
      Others(), py::arg("size"),
      "A map of NaN, which says that nobody annotated the picture.");
  module.def(
      "annotated", &human::annotated, Others(), py::arg("maps"),
      "Which of the maps [B, *S] are annotations: bool [B].");
  module.def(
      "mean_of",
      [](const std::vector<Given>& maps) {
        return human::mean_of(annotators(maps));
      },
      Others(), py::arg("maps"),
      "The mean over the annotators of each picture: one tensor an annotator, "
      "all [H, W] or all [B, *S]; None is an annotator who saw none.");
  module.def(
      "union_of",
      [](const std::vector<Given>& maps, double threshold) {
        return human::union_of(annotators(maps), threshold);
      },
      Others(), py::arg("maps"), py::arg("threshold") = 0.0,
      "1 where an annotator marked a value above the threshold, else 0.");
  module.def(
      "agreement_weighted_of",
      [](const std::vector<Given>& maps) {
        return human::agreement_weighted_of(annotators(maps));
      },
      Others(), py::arg("maps"),
      "The mean over annotators, weighted by their agreement with the others.");
  module.def(
      "features_of_interest",
      [](const std::vector<Given>& maps, double threshold) {
        return human::features_of_interest(annotators(maps), threshold);
      },
      Others(), py::arg("maps"), py::arg("threshold") = 0.0,
      "The share of the annotators who marked each position.");
  module.def(
      "area_of_interest",
      [](const std::vector<Given>& maps, double threshold, double share) {
        return human::area_of_interest(annotators(maps), threshold, share);
      },
      Others(), py::arg("maps"), py::arg("threshold") = 0.0,
      py::arg("share") = 0.0,
      "1 where more than a share of the annotators marked, else 0.");
  module.def(
      "box_of_interest",
      [](const std::vector<Given>& maps, double threshold, double share) {
        return human::box_of_interest(annotators(maps), threshold, share);
      },
      Others(), py::arg("maps"), py::arg("threshold") = 0.0,
      py::arg("share") = 0.0,
      "1 in the smallest box around that area, else 0.");
  module.def(
      "clickme_blur", &human::clickme_blur, Others(), py::arg("maps"),
      "The filter of ClickMe's maps, [*, H, W].");

  // Controls: maps that have what maps of people have, but not where they look.
  module.def(
      "shuffled",
      [](const Tensor& maps, at::Generator generator) {
        return human::shuffled(maps, std::move(generator));
      },
      Others(), py::arg("maps"), py::arg("generator"),
      "The maps [B, *S], shuffled among the annotated samples.");
  module.def(
      "shuffled_within_class",
      [](const Tensor& maps, const Tensor& labels, at::Generator generator) {
        return human::shuffled_within_class(maps, labels, std::move(generator));
      },
      Others(), py::arg("maps"), py::arg("labels"), py::arg("generator"),
      "The maps, shuffled among the annotated samples of the same class.");
  module.def(
      "inverted", &human::inverted, Others(), py::arg("maps"),
      "The largest value of each map minus the map.");
  module.def(
      "random_like",
      [](const Tensor& maps, at::Generator generator) {
        return human::random_like(maps, std::move(generator));
      },
      Others(), py::arg("maps"), py::arg("generator"),
      "Random maps for the annotated samples.");
  module.def(
      "uniform",
      [](int64_t count, const Sizes& size) {
        return human::uniform(count, size);
      },
      Others(), py::arg("count"), py::arg("size"),
      "Maps of ones, which say that every position matters equally.");
  module.def(
      "centre_gaussian",
      [](int64_t count, const Sizes& size, double sigma) {
        return human::centre_gaussian(count, size, sigma);
      },
      Others(), py::arg("count"), py::arg("size"), py::arg("sigma"),
      "A Gaussian around the centre of each map.");

  module.def(
      "full_width_at_half_maximum",
      [](double pixels) {
        return human::GaussianWidth::full_width_at_half_maximum(pixels).sigma();
      },
      py::arg("pixels"), "The sigma of a Gaussian of this width.");
  module.def(
      "visual_angle",
      [](double degrees, double distance, double pixels_per_cm) {
        return human::GaussianWidth::visual_angle(
                   degrees, distance, pixels_per_cm)
            .sigma();
      },
      py::arg("degrees"), py::arg("distance"), py::arg("pixels_per_cm"),
      "The sigma in pixels that is this visual angle.");
  module.def(
      "draw_points",
      [](const Tensor& points, const Sizes& picture, double sigma,
         std::optional<Sizes> size, std::optional<std::string> accumulate,
         std::string normalizer) {
        return human::draw_points(
            points, picture, human::GaussianWidth::standard_deviation(sigma),
            Draw{std::move(size), std::move(accumulate), std::move(normalizer)}
                .options());
      },
      Others(), py::arg("points"), py::arg("picture"), py::arg("sigma"),
      py::kw_only(), py::arg("size") = py::none(),
      py::arg("accumulate") = py::none(), py::arg("normalizer") = "none",
      "A map of clicks or fixations [N, 2] (x, y) or [N, 3] (x, y, weight).");
  def_draw<Tensor>(
      module, "draw_boxes", "boxes",
      [](const Tensor& boxes, const Sizes& picture, const auto& options) {
        return human::draw_boxes(boxes, picture, options);
      },
      "A map of boxes [N, 4] (x0, y0, x1, y1): 1 inside, 0 outside.");
  def_draw<Tensors>(
      module, "draw_polygons", "polygons",
      [](const Tensors& polygons, const Sizes& picture, const auto& options) {
        return human::draw_polygons(polygons, picture, options);
      },
      "A map of polygons, each [N, 2] (x, y): 1 inside, 0 outside.");
  def_draw<std::vector<std::pair<Tensor, double>>>(
      module, "draw_strokes", "strokes",
      [](const auto& strokes, const Sizes& picture, const auto& options) {
        std::vector<human::Stroke> list;
        for (const auto& [points, width] : strokes) {
          list.push_back({points, width});
        }
        return human::draw_strokes(list, picture, options);
      },
      "A map of strokes, each (points [N, 2], width): 1 on it, 0 elsewhere.");
  module.def(
      "mask_of_runs",
      [](const Sizes& runs, const Sizes& picture) {
        return human::mask_of_runs(runs, picture);
      },
      Others(), py::arg("runs"), py::arg("picture"),
      "The mask of run lengths as COCO counts them: bool [H, W].");
}

}  // namespace

void bind_maps(py::module_& module) {
  auto maps = module.def_submodule("maps");
  maps.def(
      "normalize",
      [](const Tensor& given, const std::string& normalizer) {
        return cyborg::functional::normalize(
            given, chosen("normalizer", kNormalizers, normalizer));
      },
      Others(), py::arg("maps"), py::arg("normalizer") = "min-max",
      "Normalises every map of [B, *S] by itself; a flat one becomes zeros.");
  maps.def(
      "resize",
      [](const Tensor& given, const Sizes& size, const std::string& mode) {
        return cyborg::maps::resize(
            given, size, chosen("mode", kResizes, mode));
      },
      Others(), py::arg("maps"), py::arg("size"), py::kw_only(),
      py::arg("mode") = "antialias",
      "Resizes maps [*, *S] to a size of one to three numbers.");
  auto people = module.def_submodule("human");
  bind_human(people);
}

}  // namespace torchcyborg
