// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "protocol.hpp"

#include <filesystem>

namespace demo {

/// Writes the report: one HTML file that needs nothing else.
void write_report(const Outcome& outcome, const std::filesystem::path& path);

}  // namespace demo
