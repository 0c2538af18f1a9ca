// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace cyborg::data::detail {

/// What is subtracted from the channels of a picture, and by what these are
/// then divided. Each is [C, 1, 1] or [1, 1, 1], or undefined: that step is
/// left out.
struct Standard {
  torch::Tensor mean, stddev;
};

/// Throws a `c10::ValueError` of the function or class `name`, unless all
/// numbers are above 0.
inline void check_stddev(const char* name, const std::vector<double>& stddev) {
  for (const double value : stddev) {
    TORCH_CHECK_VALUE(value > 0, name, ": expected stddev > 0, got ", value);
  }
}

/// The `Standard` of options that have one number for each channel, one for all
/// channels, or none. Throws a `c10::ValueError` of `name` for other counts.
inline Standard standard(
    const char* name, int64_t channels, const std::vector<double>& mean,
    const std::vector<double>& stddev, at::ScalarType type = at::kFloat) {
  const auto per_channel = [&](const char* what,
                               const std::vector<double>& values) {
    const auto count = static_cast<int64_t>(values.size());
    TORCH_CHECK_VALUE(
        count <= 1 || count == channels, name, ": expected ",
        channels == 1 ? "1 number in " : "1 or 3 numbers in ", what, ", got ",
        count);
    return count == 0
               ? torch::Tensor()
               : at::tensor(values, at::kDouble).to(type).view({count, 1, 1});
  };
  return {per_channel("mean", mean), per_channel("stddev", stddev)};
}

/// (image - mean) / stddev, out of place: the tensor of the caller is not
/// changed.
inline torch::Tensor standardized(torch::Tensor image, const Standard& by) {
  if (by.mean.defined()) {
    image = image - by.mean;
  }
  if (by.stddev.defined()) {
    image = image / by.stddev;
  }
  return image;
}

}  // namespace cyborg::data::detail
