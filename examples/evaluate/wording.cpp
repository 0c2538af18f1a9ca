// SPDX-License-Identifier: BSD-3-Clause
#include "wording.hpp"

#include <cyborg/io/text.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstddef>

namespace evaluate {

using cyborg::io::number;

bool two_classes(const RunResult& run) {
  return run.classes.size() == 2;
}

std::string describe(const RunResult& run) {
  std::string counts;
  for (size_t k = 0; k < run.classes.size(); ++k) {
    counts += (counts.empty() ? "" : ", ") + std::to_string(run.samples[k]) +
              " " + run.classes[k];
  }
  if (!two_classes(run)) {
    return counts + "; the highest logit is the prediction";
  }
  return fmt::format(
      "{}; \"{}\" is predicted at score >= {} ({})", counts,
      run.classes[static_cast<size_t>(run.positive)], number(run.threshold, 4),
      run.threshold_origin);
}

std::string short_name(const std::string& name) {
  const auto slash = name.find_last_of("/\\");
  return slash == std::string::npos ? name : name.substr(slash + 1);
}

std::string number_text(double value) {
  return std::isnan(value) ? "–" : number(value, 4);
}

std::string mean_text(const Summary& row) {
  return std::isnan(row.mean_std.mean)
             ? "–"
             : number_text(row.mean_std.mean) + " ± " +
                   number_text(row.mean_std.std);
}

}  // namespace evaluate
