// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/report/overlay.hpp>

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::report {

namespace detail {

/// The rows that have a human map, or all rows if none does.
inline std::vector<data::Row> rows_to_show(const data::Table& table) {
  std::vector<data::Row> chosen;
  for (const auto& row : table.rows) {
    if (row.has_map()) {
      chosen.push_back(row);
    }
  }
  return chosen.empty() ? table.rows : chosen;
}

}  // namespace detail

/// Pictures of a table, each with its human map over it, in one image. One look
/// shows whether maps and pictures belong together.
///
/// The pictures are taken at equal distances from the rows that have a map
/// or annotations (from all rows if none does), in their order.
/// `data::PictureDataset` reads them: each is resized to a square, and the maps
/// of several annotators are averaged. A picture that is not annotated (its map
/// is missing or constant) has its own colours. The tile of a file that cannot
/// be used is grey.
///
/// Of `options`, those are used that say how files are read: `max_pixels`,
/// `check_extension`, `window`, `map_values`, `map_blur`, `combine`,
/// `threshold`, `point_width` and `orientation`.
/// Shapes: `rows` x `columns` tiles of `tile` pixels with 2 white pixels
///         between them: [3, rows (tile + 2) - 2, columns (tile + 2) - 2]. If
///         there are fewer pictures than tiles, only the rows that are needed.
/// Range: [0, 1].
/// Throws: `c10::ValueError` for an empty table or a number below 1.
/// Example:
///     cyborg::data::write_png(
///         "maps.png", cyborg::report::contact_sheet(table));
inline torch::Tensor contact_sheet(
    const data::Table& table, int64_t rows = 4, int64_t columns = 6,
    int64_t tile = 128, data::PictureDatasetOptions options = {}) {
  TORCH_CHECK_VALUE(
      rows > 0 && columns > 0 && tile > 0,
      "cyborg::report::contact_sheet: expected rows, columns and tile > 0, "
      "got ",
      rows, ", ", columns, " and ", tile);
  TORCH_CHECK_VALUE(
      !table.rows.empty(),
      "cyborg::report::contact_sheet: expected a table with rows, got none");
  data::PictureDataset set(
      detail::rows_to_show(table),
      options.size({tile, tile}).map_size({}).channels(3).mean({}).stddev({}));
  const auto pictures = static_cast<int64_t>(*set.size());
  const auto shown = std::min(pictures, rows * columns);
  const auto step = tile + 2;
  auto sheet = at::ones(
      {3, (shown + columns - 1) / columns * step - 2, columns * step - 2},
      at::kFloat);
  for (int64_t i = 0; i < shown; ++i) {
    auto place = sheet.narrow(/*dim=*/1, i / columns * step, tile)
                     .narrow(/*dim=*/2, i % columns * step, tile);
    try {
      const auto sample = set.get(static_cast<size_t>(i * pictures / shown));
      const bool annotated =
          human::annotated(sample.saliency.unsqueeze(0)).item<bool>();
      place.copy_(
          annotated ? overlay(sample.data, sample.saliency) : sample.data);
    } catch (const io::FileError&) {
      place.fill_(0.5);
    }
  }
  return sheet;
}

}  // namespace cyborg::report
