// SPDX-License-Identifier: BSD-3-Clause
#include "fingerprint.hpp"

#include <cyborg/io/checksum.hpp>

#include <fmt/format.h>
#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

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

/// The bytes of numbers.
std::string bytes_of(const torch::Tensor& numbers) {
  if (!numbers.defined()) {
    return "";
  }
  const auto values = numbers.contiguous();
  return fmt::format("{}:", values.numel()) +
         std::string(
             static_cast<const char*>(values.data_ptr()), values.nbytes());
}

/// What one annotator marked, as text. Not where it was read.
std::string content_of(
    const cyborg::data::Annotation& one, const fs::path& pictures) {
  auto text = one.annotator + '\0';
  const auto add = [&](const std::vector<int64_t>& numbers) {
    for (const auto number : numbers) {
      text += fmt::format("{},", number);
    }
    text += '\0';
  };
  add(one.size);
  text += bytes_of(one.points) + '\0' + bytes_of(one.boxes) + '\0';
  for (const auto& stroke : one.strokes) {
    text += fmt::format("{} ", stroke.width) + bytes_of(stroke.points) + '\0';
  }
  for (const auto& polygon : one.polygons) {
    text += bytes_of(polygon) + '\0';
  }
  for (const auto& mask : one.runs) {
    add(mask.size);
    add(mask.runs);
  }
  return text + one.alpha_png + '\0' + below(pictures, one.mask);
}

/// Folders may be "": then paths are taken as they are.
std::string checksum(
    const cyborg::data::Table& table, const fs::path& pictures,
    const fs::path& maps, const fs::path& annotations) {
  auto hash = cyborg::io::kFnv1aBasis;
  const auto add = [&](const std::string& text) {
    hash = cyborg::io::fnv1a(text + '\0', hash);
  };
  for (const auto& row : table.rows) {
    add(row.split);
    add(row.cls);
    add(below(pictures, row.path));
    for (const auto& map : row.map_files()) {
      auto inside = below(maps, map);
      inside = inside != map ? inside : below(annotations, map);
      add(inside != map ? inside : below(pictures, map));
    }
    for (const auto& one : row.annotations) {
      add(content_of(*one, pictures));
    }
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace

std::string fingerprint(
    const cyborg::data::Table& table, const Settings& settings) {
  const auto folder_of = [](const fs::path& path) {
    return fs::is_directory(path) ? path : path.parent_path();
  };
  return checksum(
      table, folder_of(settings.data), settings.saliency,
      folder_of(settings.annotations.file));
}

bool is_table_of(
    const std::string& checksum_of_old, const cyborg::data::Table& table,
    const Settings& settings) {
  return checksum_of_old == fingerprint(table, settings) ||
         checksum_of_old == checksum(table, {}, {}, {});
}

}  // namespace programs
