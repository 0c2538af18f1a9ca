// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How the settings of the demo were chosen, so that it can be repeated: the
// difficulty with `ce` only, and alpha for each distance with a generator from
// which no result comes. Both use the development seeds, never those of the
// results.

#include <torch/types.h>

#include <cstdint>
#include <filesystem>

namespace demo {

/// Prints the table from which the difficulty was chosen: `ce` only.
void develop_difficulty(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads);

/// Prints the table from which alpha was chosen, for each distance.
void develop_alpha(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads);

}  // namespace demo
