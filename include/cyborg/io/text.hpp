// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// Numbers, texts and bytes as HTML, SVG and CSV need them.

namespace cyborg::io {

/// The text with ASCII letters in lower case, in every locale.
inline std::string lower_case(std::string text) {
  for (auto& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

/// A number with `digits` decimals and a decimal point, in every locale.
///
/// Range: NaN is "n/a", infinities are "inf" and "-inf", -0.0 is "0.0";
///        digits in [0, 17].
/// Throws: `c10::ValueError` for digits outside of that range.
/// Example:
///     cyborg::io::number(0.98765, 3)   // "0.988"
inline std::string number(double value, int digits) {
  TORCH_CHECK_VALUE(
      digits >= 0 && digits <= 17,
      "cyborg::io::number: expected 0 to 17 digits, got ", digits);
  if (std::isnan(value)) {
    return "n/a";
  }
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  char buffer[400];  // the largest double has 309 digits before the point
  const auto result = std::to_chars(
      buffer, buffer + sizeof(buffer), value, std::chars_format::fixed, digits);
  std::string text(buffer, result.ptr);
  if (text[0] == '-' && text.find_first_not_of("-0.") == std::string::npos) {
    text.erase(0, 1);
  }
  return text;
}

/// Text that can be put into an element or a quoted attribute of HTML and SVG:
/// & < > " ' become entities. Bytes that XML forbids (control characters other
/// than tab and line ends) are left out.
///
/// Example:
///     cyborg::io::escape("a < b")   // "a &lt; b"
inline std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\t' || c == '\n' ||
            c == '\r') {
          out += c;
        }
    }
  }
  return out;
}

/// Bytes as base64 (RFC 4648 §4, padded, one line), for pictures inside a page.
///
/// Example:
///     cyborg::io::base64("Man")   // "TWFu"
inline std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      const uint32_t byte =
          i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0;
      group = (group << 8U) | byte;
    }
    for (size_t k = 0; k < 4; ++k) {
      const bool padding = i + k > bytes.size();
      out += padding ? '=' : kDigits[(group >> (18 - 6 * k)) & 63U];
    }
  }
  return out;
}

}  // namespace cyborg::io
