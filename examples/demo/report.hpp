// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "protocol.hpp"

#include <filesystem>

namespace demo {

/// Writes the report: one HTML file that holds its pictures and charts.
void write_report(
    const ExperimentResult& result, const std::filesystem::path& path);

}  // namespace demo
