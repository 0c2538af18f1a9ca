// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The files of one explained picture.

#include "explain.hpp"

#include <cyborg/data/dataset.hpp>

#include <torch/types.h>

namespace explain {

/// Writes the files of one picture, as `explain_pictures` says, and sets, where
/// there is a human map, `agreement` of `one` and, if it is `shown` in the
/// report, `png`. Its `path` and `name` are set already. The picture is read
/// again, in its own size, and shrunk before anything is drawn.
///
/// Shapes: map [h, w], human [H, W]; NaN where there is no human map.
/// Throws: `cyborg::io::FileError`.
void write_picture_files(
    const torch::Tensor& map, const torch::Tensor& human,
    const ExplainOptions& options,
    const cyborg::data::PictureDatasetOptions& reading, bool shown,
    Explained& one);

/// Whether a human map has the same value everywhere.
bool is_constant(const torch::Tensor& human);

}  // namespace explain
