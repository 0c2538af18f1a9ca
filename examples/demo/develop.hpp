// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// How the settings were chosen, to be run again: difficulty on `ce` alone, and
// alpha per distance on a generator that no result comes from. Both with the
// development seeds; the seeds of the results are not touched.

#include <torch/types.h>

#include <cstdint>
#include <filesystem>

namespace demo {

/// Prints the table that the difficulty was read from: `ce` alone.
void develop_difficulty(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads);

/// Prints the table that alpha was read from, for each distance.
void develop_alpha(
    const torch::Tensor& digits, const std::filesystem::path& folder,
    int64_t threads);

}  // namespace demo
