// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/annotation.hpp>
#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/human/draw.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/maximum.h>
#include <torch/arg.h>
#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cyborg::data {

/// Options of `draw_annotation`.
struct DrawAnnotationOptions {
  /// The width of points and fixations, which have none of their own. Default:
  /// none, and an annotation with points is an error.
  TORCH_ARG(std::optional<human::GaussianWidth>, point_width);
  /// As in `ImageOptions`, for masks in files.
  TORCH_ARG(int64_t, max_pixels) = ImageOptions().max_pixels();

 public:
};

namespace detail {

/// The mask [h, w] bool of an encoded picture: where its alpha channel is not 0
/// or, with `alpha` false, where it is not black. `fail(reason)` throws.
template <class Fail>
torch::Tensor decode_mask(
    std::string_view bytes, bool alpha, int64_t max_pixels, const Fail& fail) {
  if (picture_format(bytes) == PictureFormat::kJpeg) {
    fail(
        "is a JPEG, whose pixels beside the mask are not quite black: save it "
        "as PNG, or name it as a human map (column saliency)");
  }
  const auto pixels =
      decode_pixels(bytes, PictureFormat::kNone, max_pixels, fail);
  if (alpha && !pixels.has_alpha) {
    fail("has no alpha channel, in which the strokes are expected");
  }
  const auto values =
      alpha ? pixels.values[0].narrow(0, pixels.values.size(1) - 1, 1)
            : pixels.colours()[0];
  return values.ne(0).any(/*dim=*/0);
}

/// The masks of an annotation that are stored as pictures, [h, w] bool each.
inline std::vector<torch::Tensor> decoded_masks(
    const Annotation& annotation, int64_t max_pixels, const char* function) {
  std::vector<torch::Tensor> masks;
  if (!annotation.alpha_png.empty()) {
    masks.push_back(decode_mask(
        annotation.alpha_png, /*alpha=*/true, max_pixels,
        [&](const std::string& reason) {
          throw io::FileError(function, annotation.source, reason);
        }));
  }
  if (!annotation.mask.empty()) {
    const auto bytes = io::read_file(
        annotation.mask, max_file_bytes(ImageOptions().max_pixels(max_pixels)),
        function);
    masks.push_back(decode_mask(
        bytes, /*alpha=*/false, max_pixels, [&](const std::string& reason) {
          throw io::FileError(function, annotation.mask, reason);
        }));
  }
  return masks;
}

}  // namespace detail

/// The map of what one annotator marked on a picture of size `picture` {H, W}.
///
/// Points are drawn as a sum of Gaussians over its maximum, so that each
/// annotator counts the same, however long the picture was shown; everything
/// else as shapes of value 1. Where several kinds lie over each other, the
/// largest value counts.
/// Shapes: returns float32 [H, W] of `size`.
/// Range: [0, 1]; zero everywhere if nothing lies on the picture.
/// Throws: `io::FileError` of `Annotation::source` or of the file of a mask for
///         what cannot be drawn, and for points without a width.
/// Example:
///     cyborg::data::Annotation boxes;
///     boxes.boxes = at::tensor({10., 20., 60., 80.}).view({1, 4});
///     auto map = cyborg::data::draw_annotation(boxes, {480, 640}, {224, 224});
inline torch::Tensor draw_annotation(
    const Annotation& annotation, at::IntArrayRef picture, at::IntArrayRef size,
    const DrawAnnotationOptions& options = {}) {
  constexpr auto* kFunction = "cyborg::data::draw_annotation";
  const std::vector<int64_t> canvas =
      annotation.size.empty() ? picture.vec() : annotation.size;
  torch::Tensor map;
  const auto add = [&](const torch::Tensor& layer) {
    map = map.defined() ? at::maximum(map, layer) : layer;
  };
  try {
    const auto drawing = human::DrawOptions().size(size.vec());
    if (annotation.points.defined()) {
      if (!options.point_width()) {
        throw io::FileError(
            kFunction, annotation.source,
            "has points, whose width nobody said (point_width; "
            "--annotation-width in the programs)");
      }
      auto sum = human::draw_points(
          annotation.points, canvas, *options.point_width(), drawing);
      const auto largest = sum.max();
      add(sum.div_(largest.masked_fill(largest.eq(0), 1)));
    }
    if (!annotation.strokes.empty()) {
      add(human::draw_strokes(annotation.strokes, canvas, drawing));
    }
    if (annotation.boxes.defined()) {
      add(human::draw_boxes(annotation.boxes, canvas, drawing));
    }
    if (!annotation.polygons.empty()) {
      add(human::draw_polygons(annotation.polygons, canvas, drawing));
    }
    for (const auto& mask : annotation.runs) {
      add(human::draw_mask(human::mask_of_runs(mask.runs, mask.size), drawing));
    }
    for (const auto& mask :
         detail::decoded_masks(annotation, options.max_pixels(), kFunction)) {
      add(human::draw_mask(mask, drawing));
    }
  } catch (const c10::ValueError& error) {
    throw io::FileError(
        kFunction, annotation.source, error.what_without_backtrace());
  }
  return map.defined() ? map : at::zeros(size, at::kFloat);
}

}  // namespace cyborg::data
