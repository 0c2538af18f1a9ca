// SPDX-License-Identifier: BSD-3-Clause
// Text in base64, as annotation tools write pictures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pictures {

inline std::string base64(const std::string& bytes) {
  const std::string digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8U |
             (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k])
                                   : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63U];
    }
  }
  return text;
}

/// A PNG as canvases of browsers give it.
inline std::string data_url(const std::string& png) {
  return "data:image/png;base64," + base64(png);
}

}  // namespace pictures
