// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The options of the command line that say what people marked.

#include "../settings.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace programs {

/// Adds the options to a group of a program's options. `settings` holds the
/// defaults, and lives as long as `app`.
void add_annotation_options(CLI::App& app, AnnotationSettings& settings);

/// The member of `AnnotationSettings` that an option of the group sets, "" for
/// another option: "--screen" sets "screen".
std::string annotation_setting(const std::string& flag);

/// `base` with what the command line gave, which is in `given`.
AnnotationSettings with_given(
    const CLI::App& app, const AnnotationSettings& given,
    const AnnotationSettings& base);

}  // namespace programs
