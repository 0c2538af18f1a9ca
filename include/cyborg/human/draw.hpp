// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/human/detail/shapes.hpp>
#include <cyborg/human/detail/spans.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/threshold.h>
#include <ATen/ops/zeros.h>
#include <torch/arg.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

/// Draws what people mark on pictures as maps: clicks and fixations, strokes,
/// boxes, polygons and masks.
///
/// Coordinates are pixels of the picture, from its top left corner: x to the
/// right, y down. The pixel of row r and column c goes from (c, r) to (c + 1,
/// r + 1); its middle is (c + 0.5, r + 0.5). To whole numbers that name pixels
/// add 0.5. A map of another size shows the same part: all coordinates and
/// widths are scaled, along each axis by itself.
///
/// Shapes may reach beyond the picture; what is outside is not drawn. A map
/// without any shape is zero everywhere, which the loss counts as not
/// annotated. Coordinates that are NaN, infinite or beyond 1e9 are errors.
namespace cyborg::human {

/// What the value is where several shapes lie over each other.
enum class Accumulate {
  kSum,      ///< the sum
  kMaximum,  ///< the largest; of shapes with a sharp edge, their union
};

/// Options of all functions that draw.
struct DrawOptions {
  /// Size {H, W} of the map. Default: that of the picture.
  TORCH_ARG(std::vector<int64_t>, size);
  /// Default: `kSum` for points, `kMaximum` for all other shapes.
  TORCH_ARG(std::optional<Accumulate>, accumulate);
  /// How the map is scaled at the end, as by `functional::normalize`. Default
  /// `Normalizer::kNone`: not at all.
  TORCH_ARG(Normalizer, normalizer) = Normalizer::kNone;

 public:
};

/// A line that somebody drew with a round brush.
struct Stroke {
  torch::Tensor points;  ///< [N, 2]: x, y; one point is a dot
  double width = 1;      ///< of the brush, in pixels of the picture; at least 1
};

namespace detail {

/// The size of the map that the options ask for.
inline std::vector<int64_t> map_size(
    const char* function, at::IntArrayRef picture, const DrawOptions& options) {
  auto size = options.size().empty() ? picture.vec() : options.size();
  check_sizes(function, picture, size);
  return size;
}

/// A map [H, W] as it is returned.
inline torch::Tensor finished(
    const torch::Tensor& map, const DrawOptions& options) {
  const auto scaled =
      options.normalizer() == Normalizer::kNone
          ? map
          : functional::normalize(map.unsqueeze(0), options.normalizer())[0];
  return scaled.to(at::kFloat);
}

/// A Gaussian around each of `centres` [N] along one axis: [N, map].
///
/// A position of the map has the value in its middle or, if sigma is shorter
/// than a position, the mean over the position: else a Gaussian between two
/// middles would be lost.
inline torch::Tensor gaussians(
    const torch::Tensor& centres, double sigma, int64_t picture, int64_t map) {
  const double step = static_cast<double>(picture) / static_cast<double>(map);
  const auto distance =
      (at::arange(map, at::kDouble) + 0.5) * step - centres.unsqueeze(1);
  if (sigma == 0) {  // the position that the point is in
    const auto index =
        centres.div(step).floor().clamp_max(static_cast<double>(map - 1));
    return at::arange(map, at::kDouble).eq(index.unsqueeze(1)).to(at::kDouble);
  }
  // Below it a value adds nothing in float32, and products of such values are
  // denormal numbers, with which processors are slow.
  constexpr double kSmallest = 1e-60;
  if (sigma >= step) {
    return at::threshold(
        distance.div(sigma).square().mul(-0.5).exp(), kSmallest, 0);
  }
  const double unit = sigma * std::sqrt(2.0);
  const auto mean = ((distance + step / 2).div(unit).erf() -
                     (distance - step / 2).div(unit).erf()) *
                    (unit * std::sqrt(std::acos(-1.0)) / (2 * step));
  return at::threshold(mean, kSmallest, 0);
}

/// Draws shapes with a sharp edge. `add(spans, i)` adds the shape i.
template <class Add>
torch::Tensor draw_shapes(
    const char* function, size_t count, at::IntArrayRef picture,
    const DrawOptions& options, const Add& add) {
  const auto size = map_size(function, picture, options);
  if (options.accumulate().value_or(Accumulate::kMaximum) ==
      Accumulate::kMaximum) {
    Spans all(picture, size);
    for (size_t i = 0; i < count; ++i) {
      add(all, i);
    }
    return finished(all.shares(), options);
  }
  auto map = at::zeros(size, at::kFloat);
  for (size_t i = 0; i < count; ++i) {
    Spans one(picture, size);
    add(one, i);
    map += one.shares();
  }
  return finished(map, options);
}

}  // namespace detail

/// A map of points: clicks, or fixations whose weight is their duration.
///
///     map(p) = sum_i w_i exp(-|p - p_i|^2 / (2 sigma^2))
///
/// p is the middle of a position of the map, in pixels of the picture. There is
/// no cut: tails are exact, end at the border and are not renormalised there. If
/// sigma is shorter than a position of the map, the value is the mean over the
/// position; with sigma 0 the value is the sum of the weights of the points in
/// it. A point outside the picture draws nothing, not even its tail, since
/// nobody looked at the picture then.
/// Shapes: points [N, 2] (x, y; the weight is 1) or [N, 3] (x, y, weight); N may
///         be 0. `picture` {H, W}. Returns float32 [H, W] of
///         `DrawOptions::size`.
/// Range: weights in [0, 1e9].
/// Throws: `c10::ValueError` for other shapes, numbers that are not finite or
///         beyond 1e9, and negative weights.
/// Example:
///     auto map = cyborg::human::draw_points(
///         at::tensor({12.5, 40.5, 0.3}).view({1, 3}), {224, 224},
///         cyborg::human::GaussianWidth::full_width_at_half_maximum(25));
inline torch::Tensor draw_points(
    const torch::Tensor& points, at::IntArrayRef picture, GaussianWidth width,
    const DrawOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::human::draw_points";
  const auto size = detail::map_size(kFunction, picture, options);
  const bool weighted =
      points.defined() && points.dim() == 2 && points.size(1) == 3;
  const auto numbers =
      detail::checked_numbers(kFunction, "points", points, weighted ? 3 : 2);
  TORCH_CHECK_VALUE(
      !weighted || numbers.size(0) == 0 ||
          numbers.select(/*dim=*/1, 2).min().item<double>() >= 0,
      kFunction, ": expected weights >= 0, got ",
      numbers.select(/*dim=*/1, 2).min().item<double>());
  const auto place = numbers.narrow(/*dim=*/1, 0, 2);
  const auto limit = at::stack(
      {at::zeros({}, at::kDouble) + picture[1],
       at::zeros({}, at::kDouble) + picture[0]});
  const auto inside = place.ge(0).logical_and(place.le(limit)).all(/*dim=*/1);
  const auto kept = numbers.index_select(
      /*dim=*/0, inside.nonzero().flatten());
  if (kept.size(0) == 0) {
    return at::zeros(size, at::kFloat);
  }
  const auto columns = detail::gaussians(
      kept.select(/*dim=*/1, 0), width.sigma(), picture[1], size[1]);
  auto rows = detail::gaussians(
      kept.select(/*dim=*/1, 1), width.sigma(), picture[0], size[0]);
  if (weighted) {
    rows = rows * kept.select(/*dim=*/1, 2).unsqueeze(1);
  }
  if (options.accumulate().value_or(Accumulate::kSum) == Accumulate::kSum) {
    return detail::finished(at::matmul(rows.t(), columns), options);
  }
  auto map = at::zeros(size, at::kDouble);
  for (int64_t i = 0; i < kept.size(0); ++i) {
    map = at::maximum(map, rows[i].unsqueeze(1) * columns[i]);
  }
  return detail::finished(map, options);
}

/// The maps of several pictures of one size.
///
/// Shapes: one tensor as above for each picture; returns float32 [B, H, W].
/// Throws: as above, and for no picture.
inline torch::Tensor draw_points(
    const std::vector<torch::Tensor>& points, at::IntArrayRef picture,
    GaussianWidth width, const DrawOptions& options = {}) {
  TORCH_CHECK_VALUE(
      !points.empty(),
      "cyborg::human::draw_points: expected the points of at least one "
      "picture, got none");
  std::vector<torch::Tensor> maps;
  for (const auto& each : points) {
    maps.push_back(draw_points(each, picture, width, options));
  }
  return at::stack(maps);
}

/// A map of strokes: 1 where a position is at most half a width from the line,
/// else 0. Ends and corners are round.
///
/// A position of a map that is smaller than the picture has the share of it that
/// is covered, in [0, 1].
/// Shapes: each stroke [N, 2] with N >= 1; `picture` {H, W}. Returns float32
///         [H, W].
/// Throws: `c10::ValueError` for a stroke without points, a width below 1, and
///         numbers that are not finite or beyond 1e9.
/// Example:
///     auto map = cyborg::human::draw_strokes({{line, /*width=*/9}}, {H, W});
inline torch::Tensor draw_strokes(
    const std::vector<Stroke>& strokes, at::IntArrayRef picture,
    const DrawOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::human::draw_strokes";
  return detail::draw_shapes(
      kFunction, strokes.size(), picture, options,
      [&](detail::Spans& spans, size_t i) {
        const auto& stroke = strokes[i];
        TORCH_CHECK_VALUE(
            stroke.width >= 1 && stroke.width <= detail::kLargest, kFunction,
            ": expected a width from 1 to 1e9 pixels, got ", stroke.width);
        const auto points = detail::positions_of(detail::checked_numbers(
            kFunction, "points of a stroke", stroke.points, 2));
        TORCH_CHECK_VALUE(
            !points.empty(), kFunction,
            ": expected a stroke of at least one point, got none");
        for (size_t k = 0; k < points.size(); ++k) {
          if (k > 0 || points.size() == 1) {
            spans.add_line(
                points[k > 0 ? k - 1 : 0], points[k], stroke.width / 2);
          }
        }
      });
}

/// A map of boxes: 1 inside, 0 outside.
///
/// A position is inside if its middle is: x0 <= x < x1 and y0 <= y < y1. If the
/// map is smaller than the picture, the value is the share that is inside. A
/// box of width or height 0 draws nothing.
/// Shapes: boxes [N, 4] (x0, y0, x1, y1); `picture` {H, W}. Returns float32
///         [H, W].
/// Throws: `c10::ValueError` for x1 < x0 or y1 < y0 (so COCO's x, y, width,
///         height is mostly noticed), and numbers that are not finite or beyond
///         1e9.
/// Example:
///     auto map = cyborg::human::draw_boxes(
///         at::tensor({10., 20., 60., 80.}).view({1, 4}), {224, 224});
inline torch::Tensor draw_boxes(
    const torch::Tensor& boxes, at::IntArrayRef picture,
    const DrawOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::human::draw_boxes";
  const auto numbers = detail::checked_numbers(kFunction, "boxes", boxes, 4);
  const auto* value = numbers.data_ptr<double>();
  return detail::draw_shapes(
      kFunction, static_cast<size_t>(numbers.size(0)), picture, options,
      [&](detail::Spans& spans, size_t i) {
        const auto* box = value + 4 * i;
        TORCH_CHECK_VALUE(
            box[0] <= box[2] && box[1] <= box[3], kFunction,
            ": expected boxes x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, got ",
            box[0], ", ", box[1], ", ", box[2], ", ", box[3], " in row ", i);
        spans.add_polygon(
            {{box[0], box[1]},
             {box[2], box[1]},
             {box[2], box[3]},
             {box[0], box[3]}});
      });
}

/// A map of polygons: 1 inside, 0 outside.
///
/// A position is inside if its middle is, by the even-odd rule: where a polygon
/// lies over itself twice, it is outside, as in scikit-image and pycocotools. A
/// middle on an edge at the left or at the top is inside, one on an edge at the
/// right or at the bottom is not, so that polygons that share an edge share no
/// position. Several polygons are drawn over each other, and a polygon inside
/// another one is no hole. If the map is smaller than the picture, the value is
/// the share that is inside.
/// Shapes: each polygon [N, 2] (x, y) with N >= 3, and closed by itself;
///         `picture` {H, W}. Returns float32 [H, W].
/// Throws: `c10::ValueError` for fewer than three corners, and numbers that are
///         not finite or beyond 1e9.
/// Example:
///     auto map = cyborg::human::draw_polygons({outline}, {224, 224});
inline torch::Tensor draw_polygons(
    const std::vector<torch::Tensor>& polygons, at::IntArrayRef picture,
    const DrawOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::human::draw_polygons";
  return detail::draw_shapes(
      kFunction, polygons.size(), picture, options,
      [&](detail::Spans& spans, size_t i) {
        const auto corners = detail::positions_of(detail::checked_numbers(
            kFunction, "corners of a polygon", polygons[i], 2));
        TORCH_CHECK_VALUE(
            corners.size() >= 3, kFunction,
            ": expected a polygon of at least 3 corners, got ", corners.size());
        spans.add_polygon(corners);
      });
}

/// A map of a mask: 1 where it is not 0, else 0.
///
/// If the map is smaller than the mask, the value is the share that is marked.
/// Shapes: mask [h, w] of any type; returns float32 [H, W].
/// Throws: `c10::ValueError` for another shape, and NaN or infinity.
inline torch::Tensor draw_mask(
    const torch::Tensor& mask, const DrawOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::human::draw_mask";
  TORCH_CHECK_VALUE(
      mask.defined() && mask.dim() == 2 && mask.numel() > 0, kFunction,
      ": expected a mask [h, w], got ",
      mask.defined() ? mask.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      at::isfinite(mask).all().item<bool>(), kFunction,
      ": expected finite values, got NaN or infinity");
  const auto size = detail::map_size(kFunction, mask.sizes(), options);
  return detail::finished(
      maps::resize(
          mask.detach().to(at::kCPU).ne(0).to(at::kDouble), size,
          maps::Resize::kArea),
      options);
}

/// The mask of run lengths as COCO counts them: down the first column, then
/// down the next one; the first run is outside, the second one inside.
///
/// Shapes: `picture` {H, W}; returns bool [H, W].
/// Throws: `c10::ValueError` for a negative run, and for runs that do not add up
///         to H W.
/// Example:
///     cyborg::human::mask_of_runs({1, 2, 1}, {2, 2});  // 0 1; 1 0
inline torch::Tensor mask_of_runs(
    const std::vector<int64_t>& runs, at::IntArrayRef picture) {
  constexpr auto* kFunction = "cyborg::human::mask_of_runs";
  detail::check_sizes(kFunction, picture, picture);
  const auto count = picture[0] * picture[1];
  auto columns = at::zeros({picture[1], picture[0]}, at::kBool);
  auto* value = columns.data_ptr<bool>();
  int64_t done = 0;
  bool inside = false;
  for (const auto run : runs) {
    TORCH_CHECK_VALUE(
        run >= 0 && run <= count - done, kFunction,
        ": expected runs >= 0 that add up to ", count, " pixels, got ", run,
        " after ", done, " pixels");
    std::fill(value + done, value + done + run, inside);
    done += run;
    inside = !inside;
  }
  TORCH_CHECK_VALUE(
      done == count, kFunction, ": expected runs that add up to ", count,
      " pixels, got ", done);
  return columns.t().contiguous();
}

}  // namespace cyborg::human
