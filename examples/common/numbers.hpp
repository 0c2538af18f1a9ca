// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Numbers that options accept.

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace programs {

/// Accepts finite numbers above `least`, or from `least`. (The error texts of
/// CLI11's own validators name the largest double as well.)
inline CLI::Validator number_from(
    double least, bool least_too, const char* name) {
  return CLI::Validator(
      [least, least_too, name](const std::string& text) {
        double value = 0;
        const bool is_number = CLI::detail::lexical_cast(text, value);
        return is_number && std::isfinite(value) &&
                       (value > least || (least_too && value == least))
                   ? std::string()
                   : fmt::format("expected {}, got {}", name, text);
      },
      "");
}
inline const CLI::Validator kPositive =
    number_from(0, false, "a number above 0");
inline const CLI::Validator kNotNegative =
    number_from(0, true, "a number from 0");
inline const CLI::Validator kFinite = number_from(
    std::numeric_limits<double>::lowest(), true, "a number that is finite");

/// Accepts whole numbers from `least` to `most`.
inline CLI::Validator whole_number(
    int64_t least, int64_t most = std::numeric_limits<int64_t>::max()) {
  return CLI::Validator(
      [least, most](const std::string& text) {
        int64_t value = 0;
        const bool is_whole =
            text.find_first_not_of("+-0123456789") == std::string::npos &&
            text.size() < 19 &&  // it fits
            CLI::detail::lexical_cast(text, value);
        return is_whole && value >= least && value <= most
                   ? std::string()
                   : fmt::format(
                         "expected a whole number from {}{}, got {}", least,
                         most == std::numeric_limits<int64_t>::max()
                             ? ""
                             : fmt::format(" to {}", most),
                         text);
      },
      "");
}

/// Accepts numbers in [0, 1]. (CLI11's Range accepts NaN.)
inline const CLI::Validator kShare(
    [](const std::string& text) {
      double value = -1;
      return CLI::detail::lexical_cast(text, value) && value >= 0 && value <= 1
                 ? std::string()
                 : "expected a number from 0 to 1, got " + text;
    },
    "");

}  // namespace programs
