// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The page of the results.

#include "results.hpp"

#include <filesystem>
#include <vector>

namespace methods {

/// Writes the page: pictures, a chart and a table for each network and decoy.
/// `shown[i]` are pictures of `all[i]`. `development`: the runs try strengths and
/// epochs, and are no results.
void write_report(
    const std::vector<Results>& all, const std::vector<Repetition>& shown,
    bool development, const std::filesystem::path& path);

}  // namespace methods
