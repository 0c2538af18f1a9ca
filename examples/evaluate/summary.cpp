// SPDX-License-Identifier: BSD-3-Clause
#include "measures.hpp"

#include <algorithm>
#include <cstddef>

namespace evaluate {

std::vector<Summary> summarize(const std::vector<RunResult>& runs) {
  const double none = std::numeric_limits<double>::quiet_NaN();
  std::vector<Summary> out;
  for (size_t r = 0; r < runs.size(); ++r) {
    for (const auto& found : runs[r].measures) {
      auto at = std::find_if(out.begin(), out.end(), [&](const Summary& one) {
        return one.name == found.name;
      });
      if (at == out.end()) {
        out.push_back({found.name, std::vector<double>(runs.size(), none), {}});
        at = out.end() - 1;
      }
      at->values[r] = found.value;
    }
  }
  for (auto& one : out) {
    one.mean_std = cyborg::measure::mean_std(one.values);
  }
  return out;
}

}  // namespace evaluate
