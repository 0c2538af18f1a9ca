// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/human/draw.hpp>

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cyborg::data {

/// Run lengths of a mask (`human::mask_of_runs`), which need little memory.
struct RunLengths {
  std::vector<int64_t> size;  ///< {H, W}
  std::vector<int64_t> runs;
};

/// What one annotator marked on one picture. It is kept as it was given, and
/// drawn when the picture is read (`draw_annotation`).
///
/// Coordinates are those of `human::draw_points`: pixels from the top left
/// corner of the upright picture or, if `size` says so, of another size of it.
/// What an annotator did not use is empty or undefined.
struct Annotation {
  std::string annotator;  ///< "" if not known
  /// Where it was read from, for errors: "fixations.csv:12".
  std::string source;
  /// The size {H, W} that the coordinates belong to; empty: the picture's.
  std::vector<int64_t> size;
  torch::Tensor points;                 ///< [N, 3]: x, y, weight
  std::vector<human::Stroke> strokes;   ///< of a brush
  torch::Tensor boxes;                  ///< [N, 4]: x0, y0, x1, y1
  std::vector<torch::Tensor> polygons;  ///< each [N, 2]: x, y
  std::vector<RunLengths> runs;         ///< masks
  /// The bytes of a PNG whose pixels are marked where they are not transparent.
  std::string alpha_png;
  /// A file of a mask (PNG or BMP) whose pixels are marked where they are not
  /// black.
  std::string mask;
};

/// An annotation that many rows and copies of a table share.
using AnnotationPtr = std::shared_ptr<const Annotation>;

}  // namespace cyborg::data
