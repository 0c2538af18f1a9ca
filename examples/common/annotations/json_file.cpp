// SPDX-License-Identifier: BSD-3-Clause
#include "json_file.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

namespace programs {

using nlohmann::json;

JsonFile::JsonFile(std::filesystem::path path) : path_(std::move(path)) {
  const auto text = cyborg::io::read_file(
      path_, /*max_bytes=*/uint64_t{1} << 32, "programs::JsonFile");
  // The keys of the objects that are open.
  std::vector<std::set<std::string>> keys;
  const auto once = [&](int /*depth*/, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto key = value.get<std::string>();
      if (!keys.back().insert(key).second) {
        throw cyborg::io::FileError(
            "programs::JsonFile", path_,
            "an object has the key \"" + key + "\" twice");
      }
    }
    return true;
  };
  try {
    content_ = json::parse(text, once);
  } catch (const json::exception& error) {
    std::string reason = error.what();
    const auto from = reason.find("parse error");
    throw cyborg::io::FileError(
        "programs::JsonFile", path_,
        "is not JSON: " +
            (from == std::string::npos ? reason : reason.substr(from)));
  }
}

void JsonFile::fail(const std::string& key, const std::string& reason) const {
  throw cyborg::io::FileError(
      "read_annotations", path_, (key.empty() ? "" : key + ": ") + reason);
}

const json& JsonFile::member(
    const json& object, const std::string& at, const std::string& key) const {
  if (!object.is_object()) {
    fail(at, "expected an object, got " + std::string(object.type_name()));
  }
  const auto found = object.find(key);
  if (found == object.end()) {
    fail(at, "the key \"" + key + "\" is missing");
  }
  return *found;
}

std::string JsonFile::text(
    const json& object, const std::string& at, const std::string& key) const {
  const auto& value = member(object, at, key);
  if (value.is_number_integer()) {
    return value.dump();
  }
  if (!value.is_string() || value.get<std::string>().empty()) {
    fail(at + "." + key, "expected a text, got " + value.dump().substr(0, 40));
  }
  return value.get<std::string>();
}

std::vector<double> JsonFile::numbers(
    const json& list, const std::string& at) const {
  if (!list.is_array()) {
    fail(
        at, "expected a list of numbers, got " + std::string(list.type_name()));
  }
  std::vector<double> values;
  values.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const double value =
        list[i].is_number() ? list[i].get<double>() : std::nan("");
    if (!(std::abs(value) <= 1e9)) {
      fail(
          at_index(at, i), "expected a number of at most 1e9, got " +
                               list[i].dump().substr(0, 40));
    }
    values.push_back(value);
  }
  return values;
}

int64_t JsonFile::whole(const json& value, const std::string& at) const {
  if (!value.is_number_unsigned()) {
    fail(
        at, "expected a whole number of at least 0, got " +
                value.dump().substr(0, 40));
  }
  const auto number = value.get<uint64_t>();
  if (number > (uint64_t{1} << 40)) {
    fail(at, "is too large: " + value.dump());
  }
  return static_cast<int64_t>(number);
}

std::vector<int64_t> JsonFile::size(
    const json& object, const std::string& at) const {
  if (object.contains("height") != object.contains("width")) {
    fail(at, "expected height and width, got one of them");
  }
  if (!object.contains("height")) {
    return {};
  }
  std::vector<int64_t> size;
  for (const auto* key : {"height", "width"}) {
    size.push_back(whole(object.at(key), at + "." + key));
    if (size.back() < 1 || size.back() > (int64_t{1} << 20)) {
      fail(
          at + "." + key,
          "expected 1 to 1048576 pixels, got " + std::to_string(size.back()));
    }
  }
  return size;
}

std::string at_index(const std::string& list, size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

}  // namespace programs
