// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

namespace programs {

/// A field of a CSV file, in quotes where it needs them (RFC 4180).
inline std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    return text;
  }
  std::string out = "\"";
  for (const char c : text) {
    out += c == '"' ? "\"\"" : std::string(1, c);
  }
  return out + "\"";
}

}  // namespace programs
