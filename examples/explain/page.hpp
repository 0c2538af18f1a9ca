// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a person reads of the result: agreement, warnings, the page.

#include "explain.hpp"

#include <string>
#include <utility>
#include <vector>

namespace explain {

/// The name of each measure of agreement and its "mean ± std" over the pictures
/// that have a human map. Empty where no picture has one.
std::vector<std::pair<std::string, std::string>> agreement_text(
    const ExplainResult& result);

/// What a person should know: pictures that were left out, maps that say
/// nothing.
std::vector<std::string> warnings_of(const ExplainResult& result);

/// Writes report.html: agreement with human maps, and the first pictures. It
/// holds thumbnails, so its size does not depend on that of the pictures.
/// Throws: `cyborg::io::FileError`.
void write_page(const ExplainResult& result, const ExplainOptions& options);

}  // namespace explain
