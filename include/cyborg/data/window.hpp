// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>
#include <c10/util/StringUtil.h>

#include <cmath>
#include <string>
#include <vector>

namespace cyborg::data {

/// Whether these are a window: two stored values, low and high, that become 0
/// and 1 (`ImageOptions::window`).
///
/// Range: 0 <= low < high <= 65535, with a whole number from low to high. Stored
///        values are whole numbers, so a window between two of them would make
///        each pixel black or white.
/// Example:
///     cyborg::data::is_window({0, 4095});     // true
///     cyborg::data::is_window({-1000, 400});  // false
inline bool is_window(const std::vector<double>& window) {
  return window.size() == 2 && window[0] >= 0 && window[0] < window[1] &&
         window[1] <= 65535 && std::ceil(window[0]) <= std::floor(window[1]);
}

/// A window for a message: "0 to 4095".
inline std::string window_text(const std::vector<double>& window) {
  return c10::str(window[0], " to ", window[1]);
}

namespace detail {

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

/// Whether a window reaches above `largest`, the largest value that a picture of
/// these bits can have, 255 or 65535. Then the picture would be too dark.
inline bool reaches_above(const std::vector<double>& window, double largest) {
  return !window.empty() && window[1] > largest;
}

/// Why the window `reaches_above` a picture of 8 bits. `advice` says what to do.
inline std::string window_problem(
    const std::vector<double>& window, const char* advice) {
  return c10::str(
      "has 8 bits, so no value above 255, and the window is ",
      window_text(window),
      " (window; --window in the programs): the picture would be too dark. ",
      advice);
}

}  // namespace detail

}  // namespace cyborg::data
