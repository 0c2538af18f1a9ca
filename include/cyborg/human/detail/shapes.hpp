// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/human/detail/spans.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

// What the functions that draw check about coordinates, and how they read them.
namespace cyborg::human::detail {

/// Coordinates and weights beyond it are mistakes: no picture is so large.
inline constexpr double kLargest = 1e9;

/// Throws unless `picture` and `map` are sizes {H, W}.
inline void check_sizes(
    const char* function, at::IntArrayRef picture, at::IntArrayRef map) {
  for (const auto& size : {picture, map}) {
    TORCH_CHECK_VALUE(
        size.size() == 2 && size[0] > 0 && size[1] > 0 &&
            size[0] <= (int64_t{1} << 20) && size[1] <= (int64_t{1} << 20),
        function, ": expected sizes {H, W} from 1 to 1048576, got ", picture,
        " for the picture and ", map, " for the map");
  }
}

/// The numbers [N, columns] of shapes, in float64 and contiguous on the CPU.
/// `what` names one of them: "points". Throws unless each is finite and at most
/// `kLargest`, with the first row that is not.
inline torch::Tensor checked_numbers(
    const char* function, const char* what, const torch::Tensor& numbers,
    int64_t columns) {
  TORCH_CHECK_VALUE(
      numbers.defined() && numbers.dim() == 2 && numbers.size(1) == columns &&
          !numbers.is_complex(),
      function, ": expected ", what, " [N, ", columns, "], got ",
      numbers.defined() ? numbers.sizes() : at::IntArrayRef());
  auto values = cyborg::detail::resolved_contiguous(
      numbers.detach().to(at::kCPU, at::kDouble));
  const auto* value = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    TORCH_CHECK_VALUE(  // NaN is not below it
        value[i] >= -kLargest && value[i] <= kLargest, function,
        ": expected finite numbers of at most 1e9, got ", value[i], " in row ",
        i / columns, " of the ", what);
  }
  return values;
}

/// The rows of `checked_numbers` [N, 2] as positions.
inline std::vector<Position> positions_of(const torch::Tensor& numbers) {
  std::vector<Position> positions(static_cast<size_t>(numbers.size(0)));
  const auto* value = numbers.data_ptr<double>();
  for (auto& position : positions) {
    position.x = *value++;
    position.y = *value++;
  }
  return positions;
}

}  // namespace cyborg::human::detail
