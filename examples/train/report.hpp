// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "trainer.hpp"

#include <filesystem>

namespace programs {

/// Writes `folder`/report.html: one file that needs nothing else.
void write_report(const Outcome& outcome, const std::filesystem::path& folder);

}  // namespace programs
