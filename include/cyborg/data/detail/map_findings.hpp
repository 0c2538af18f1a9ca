// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

// What is strange about the values of a map [H, W] in [0, 1].
namespace cyborg::data::detail {

/// What a map is that has the same value everywhere.
inline std::string constant_text(const torch::Tensor& map) {
  const double value = map.flatten()[0].item<double>();
  return value == 0   ? "is black everywhere"
         : value == 1 ? "is white everywhere"
                      : "is the same everywhere";
}

/// Whether a map has small values only, below 1/16 of `largest`, the value that
/// its file stores for 1: "has no value above 3 of 255"; "" if not, and for a
/// map without any value above 0.
inline std::string dark_text(const torch::Tensor& map, double largest) {
  const auto stored =
      static_cast<int64_t>(std::round(map.max().item<double>() * largest));
  const auto most = static_cast<int64_t>(largest);
  if (stored == 0 || stored * 16 > most) {
    return "";
  }
  return "has no value above " + std::to_string(stored) + " of " +
         std::to_string(most) +
         (stored == 1 ? ": were values from 0 to 1 saved without being "
                        "multiplied by " +
                            std::to_string(most) + "?"
                      : "");
}

/// Whether all pixels of the border of a map are in the upper quarter of its
/// values. So is a map whose background is bright: black on white. Maps of
/// fewer than 3 x 3 pixels have no inside.
inline bool looks_inverted(const torch::Tensor& map) {
  const auto last_row = map.size(0) - 1;
  const auto last_column = map.size(1) - 1;
  if (last_row < 2 || last_column < 2) {
    return false;
  }
  const double low = map.min().item<double>();
  const double high = map.max().item<double>();
  const double border = std::min(
      {map[0].min().item<double>(), map[last_row].min().item<double>(),
       map.select(1, 0).min().item<double>(),
       map.select(1, last_column).min().item<double>()});
  return high > low && border >= low + 0.75 * (high - low);
}

}  // namespace cyborg::data::detail
