// SPDX-License-Identifier: BSD-3-Clause
#include "fingerprint.hpp"

#include <cyborg/io/checksum.hpp>

#include <fmt/format.h>

#include <filesystem>

namespace programs {

namespace {

namespace fs = std::filesystem;

/// `path` as seen from `folder`, where it lies below it.
std::string below(const fs::path& folder, const std::string& path) {
  const auto inside = fs::path(path).lexically_normal().lexically_relative(
      folder.lexically_normal());
  return path.empty() || folder.empty() || inside.empty() ||
                 *inside.begin() == ".."
             ? path
             : inside.generic_string();
}

/// Folders may be "": then paths are taken as they are.
std::string checksum(
    const cyborg::data::Table& table, const fs::path& pictures,
    const fs::path& maps) {
  auto hash = cyborg::io::kFnv1aBasis;
  const auto add = [&](const std::string& text) {
    hash = cyborg::io::fnv1a(text + '\0', hash);
  };
  for (const auto& row : table.rows) {
    add(row.split);
    add(row.cls);
    add(below(pictures, row.path));
    for (const auto& map : row.map_files()) {
      const auto inside = below(maps, map);
      add(inside != map ? inside : below(pictures, map));
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

std::string fingerprint(
    const cyborg::data::Table& table, const Settings& settings) {
  const fs::path data = settings.data;
  return checksum(
      table, fs::is_directory(data) ? data : data.parent_path(),
      settings.saliency);
}

bool is_table_of(
    const std::string& checksum_of_old, const cyborg::data::Table& table,
    const Settings& settings) {
  return checksum_of_old == fingerprint(table, settings) ||
         checksum_of_old == checksum(table, {}, {});
}

}  // namespace programs
