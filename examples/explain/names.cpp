// SPDX-License-Identifier: BSD-3-Clause
#include "names.hpp"

#include <cstddef>
#include <filesystem>
#include <map>
#include <set>

namespace explain {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;

/// The longest beginning of at most so many bytes that is not cut inside a
/// character of UTF-8.
std::string cut(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) {
    return text;
  }
  while (bytes > 0 &&
         (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) {
    --bytes;
  }
  return text.substr(0, bytes);
}

}  // namespace

std::vector<std::string> unique_names(const std::vector<data::Row>& rows) {
  std::vector<fs::path> rest;
  std::vector<std::string> names;
  for (const auto& row : rows) {
    rest.push_back(fs::path(row.path).lexically_normal().parent_path());
    names.push_back(fs::path(row.path).stem().string());
  }
  for (bool longer = true; longer;) {
    longer = false;
    std::map<std::string, int> count;
    for (const auto& name : names) {
      ++count[name];
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const auto folder = rest[i].filename().string();
      if (count[names[i]] > 1 && !folder.empty() && folder != "..") {
        names[i] = folder + "_" + names[i];
        rest[i] = rest[i].parent_path();
        longer = true;
      }
    }
  }
  // A name has at most 255 bytes on most systems, and the files of a picture
  // have longer names than the picture.
  constexpr size_t kLongest = 200;
  for (auto& name : names) {
    name = cut(name, kLongest);
  }
  // Equal names in one folder: a picture that is named twice, a.png and a.jpg,
  // or long names with the same beginning.
  std::set<std::string> taken(names.begin(), names.end());
  std::set<std::string> used;
  for (auto& name : names) {
    const auto first = name;
    for (int i = 2; !used.insert(name).second; ++i) {
      do {
        name = first + "_" + std::to_string(i);
      } while (taken.count(name) > 0 && ++i > 0);
    }
  }
  return names;
}

}  // namespace explain
