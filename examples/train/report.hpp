// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "trainer.hpp"

#include <filesystem>

namespace programs {

/// Writes `folder`/report.html, one file that holds its pictures and charts.
/// The folder holds best.pt already.
void write_report(
    const TrainResult& result, const std::filesystem::path& folder);

}  // namespace programs
