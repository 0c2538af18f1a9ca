// SPDX-License-Identifier: BSD-3-Clause
#include "unknown_option.hpp"

#include "setting_names.hpp"

#include <cyborg/io/text.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace programs {

namespace {

using Words = std::vector<std::string>;

/// How many letters must be added, left out or changed to make `b` of `a`.
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    auto diagonal = row[0]++;
    for (size_t k = 0; k < b.size(); ++k) {
      const auto changed = diagonal + (a[i] == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({row[k] + 1, row[k + 1] + 1, changed});
    }
  }
  return row.back();
}

/// How far a word is from a flag; 100 where they have nothing in common.
/// "--batch-size" and "--num-workers" are near "--batch" and "--workers".
size_t far_from(const std::string& word, const std::string& flag) {
  const auto begins = [](const std::string& text, const std::string& start) {
    return text.compare(0, start.size(), start) == 0;
  };
  const auto tail = "-" + flag.substr(2);
  if (begins(word, flag + "-") || (word.size() > 4 && begins(flag, word)) ||
      (word.size() > tail.size() &&
       word.compare(word.size() - tail.size(), tail.size(), tail) == 0)) {
    return 2;
  }
  const auto letters = distance(word, flag);
  return letters <= 1 + (flag.size() - 2) / 6 ? letters : 100;
}

/// The programs that have an option, which keeps no setting.
Words programs_with(const std::string& flag) {
  for (const auto& option : options_elsewhere()) {
    if (flag == option.flag) {
      return option.programs;
    }
  }
  return {};
}

}  // namespace

const std::vector<OptionElsewhere>& options_elsewhere() {
  static const std::vector<OptionElsewhere> kAll{
      {"--resume", {"train"}},
      {"--check", {"train"}},
      {"--stop-after", {"train"}},
      {"--save-every", {"train"}},
      {"--ahead", {"train"}},
      {"--export", {"train"}},
      {"--quiet", {"train"}},
      {"--recipe", {"train"}},
      {"--list-terms", {"train"}},
      {"--out", {"train", "explain"}},
      {"--split", {"evaluate", "explain"}},
      {"--threshold-from", {"evaluate"}},
      {"--score", {"evaluate"}},
      {"--scores", {"evaluate"}},
      {"--fpr", {"evaluate"}},
      {"--csv", {"evaluate"}},
      {"--json", {"evaluate"}},
      {"--html", {"evaluate"}},
      {"--test-flip", {"evaluate"}},
      {"--class", {"explain"}},
      {"--method", {"explain"}},
      {"--rise", {"explain"}},
      {"--colormap", {"explain"}},
      {"--opacity", {"explain"}},
      {"--overlay-size", {"explain"}},
      {"--maps", {"explain"}}};
  return kAll;
}

std::string unknown_option_text(
    const std::string& program, const std::set<std::string>& own,
    const std::string& flag) {
  if (program == "explain" && flag == "--data") {
    return "--data: pictures and tables are named without an option, after the "
           "checkpoint";
  }
  if (program != "train" && !setting_of(flag).empty()) {
    return flag + ": is a setting of the training, which " + program +
           " takes from the checkpoint: leave it out";
  }
  if (const auto others = programs_with(flag); !others.empty()) {
    return fmt::format(
        "{}: is an option of {}, not of {}", flag, fmt::join(others, " and "),
        program);
  }
  // A dash alone, or long ones, as word processors make them.
  const auto begin = flag.find_first_not_of("-\xE2\x80\x93\x94");
  auto plain = cyborg::io::lower_case(
      "--" + (begin == std::string::npos ? "" : flag.substr(begin)));
  std::replace(plain.begin(), plain.end(), '_', '-');
  std::string nearest;
  size_t least = 100;
  const auto try_one = [&](const std::string& name, const std::string& means) {
    const auto far = far_from(plain, name);
    if (far < least) {
      least = far;
      nearest = means;
    }
  };
  for (const auto& name : own) {
    try_one(name, name);
  }
  for (const auto* name : {"--learning-rate", "--stddev", "--bfloat16"}) {
    if (own.count(flag_of_setting(name)) > 0) {
      try_one(name, flag_of_setting(name));
    }
  }
  for (const auto& option : options_elsewhere()) {
    if (own.count(option.flag) == 0) {
      try_one(
          option.flag,
          fmt::format(
              "{} of {}", option.flag, fmt::join(option.programs, " and ")));
    }
  }
  return flag + ": no such option" +
         (nearest.empty() ? "" : "; did you mean " + nearest + "?");
}

}  // namespace programs
