// SPDX-License-Identifier: BSD-3-Clause
#include "setting_names.hpp"

#include "annotations/options.hpp"
#include "settings.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace programs {

namespace {

/// Options whose names are not those of the members, as options.
constexpr std::array<std::pair<const char*, const char*>, 4> kOthers{
    {{"--lr", "--learning-rate"},
     {"--std", "--stddev"},
     {"--bf16", "--bfloat16"},
     {"--term", "--terms"}}};

}  // namespace

std::string setting_of(const std::string& flag) {
  static const nlohmann::json all = Settings();
  const auto annotation = annotation_setting(flag);
  if (!annotation.empty()) {
    return "annotations/" + annotation;
  }
  if (flag.compare(0, 2, "--") != 0) {
    return "";
  }
  auto name = flag;
  for (const auto& [option, member] : kOthers) {
    name = flag == option ? member : name;
  }
  name.erase(0, 2);
  std::replace(name.begin(), name.end(), '-', '_');
  if (name == "objective" || name == "annotations" || name == "classes" ||
      name == "stored") {
    return "";  // members that no option sets as a whole
  }
  if (name == "allow_bits_by_class") {
    return "stored/" + name;
  }
  if (all.at("objective").contains(name)) {
    return "objective/" + name;
  }
  return all.contains(name) ? name : "";
}

std::string flag_of_setting(const std::string& flag) {
  for (const auto& [option, member] : kOthers) {
    if (flag == member) {
      return option;
    }
  }
  return flag;
}

}  // namespace programs
