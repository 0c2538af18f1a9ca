// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The handwritten digits of examples/data.

#include <torch/types.h>

#include <filesystem>

namespace programs {

/// The 1,797 digits of digits.png, [1797, 1, 8, 8] in [0, 1].
torch::Tensor read_digits(const std::filesystem::path& folder);

/// Which digit each of them is, [1797] int64, from digits_labels.txt.
torch::Tensor read_digit_labels(const std::filesystem::path& folder);

}  // namespace programs
