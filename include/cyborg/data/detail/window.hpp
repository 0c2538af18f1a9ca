// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include <cmath>
#include <string>
#include <vector>

// Windows: the stored values low and high that become 0 and 1.
namespace cyborg::data::detail {

/// Whether these are two stored values, low and high. NaN is not in any order.
/// Stored values are whole numbers, so a window between two of them would make
/// each pixel black or white.
inline bool is_window(const std::vector<double>& window) {
  return window.size() == 2 && window[0] >= 0 && window[0] < window[1] &&
         window[1] <= 65535 && std::ceil(window[0]) <= std::floor(window[1]);
}

/// Throws `c10::ValueError`, which begins with `function`, for a window that is
/// none. An empty one is valid: no window.
inline void check_window(
    const char* function, const std::vector<double>& window) {
  TORCH_CHECK_VALUE(
      window.empty() || is_window(window), function,
      ": expected a window {low, high} of stored values, with 0 <= low < high "
      "<= 65535 and a whole number from low to high, got ",
      at::ArrayRef<double>(window));
}

/// "0 to 4095".
inline std::string window_text(const std::vector<double>& window) {
  return c10::str(window[0], " to ", window[1]);
}

/// Why a window cannot be used for pictures with this largest value, 255 or
/// 65535; "" if it can.
inline std::string window_problem(
    double largest, const std::vector<double>& window) {
  if (window.empty() || window[1] <= largest) {
    return "";
  }
  return c10::str(
      "has ", largest > 255 ? "16" : "8", " bits, so no value above ", largest,
      ", and the window is ", window_text(window),
      " (window; --window in the programs): the picture would be too dark. "
      "Save it with 16 bits and values like those of the others");
}

}  // namespace cyborg::data::detail
