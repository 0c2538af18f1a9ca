// SPDX-License-Identifier: BSD-3-Clause
#include "check.hpp"

#include "../common/pictures.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/report/contact_sheet.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace programs {

namespace {

using cyborg::data::PictureCheck;

constexpr size_t kShown = 10;  // notes of a kind; the others are counted

void print_notes(
    const char* title, const std::vector<PictureCheck::Note>& notes) {
  if (notes.empty()) {
    return;
  }
  fmt::print("\n{}: {}\n", title, notes.size());
  for (size_t i = 0; i < std::min(kShown, notes.size()); ++i) {
    fmt::print("  {}: {}\n", notes[i].path, notes[i].text);
  }
  if (notes.size() > kShown) {
    fmt::print("  and {} more\n", notes.size() - kShown);
  }
}

}  // namespace

bool check_data(const TrainOptions& options) {
  const auto table = read_pictures(options.settings);
  for (const auto& warning : table.warnings) {
    fmt::print("warning: {}\n", warning);
  }
  const auto found = cyborg::data::check_pictures(table);
  fmt::print(
      "{:<6} {:<16} {:>9} {:>9} {:>9}\n", "split", "class", "pictures",
      "with map", "without");
  for (const auto& count : found.counts) {
    fmt::print(
        "{:<6} {:<16} {:>9} {:>9} {:>9}\n", count.split, count.cls,
        count.pictures, count.annotated, count.without);
  }
  print_notes("cannot be read", found.unreadable);
  print_notes(
      "maps that have the same value everywhere and so do not guide",
      found.constant);
  print_notes(
      "maps of other proportions than their picture", found.other_aspect);
  print_notes(
      "maps of another size than their picture (resized)", found.other_size);
  if (!found.duplicates.empty()) {
    fmt::print(
        "\nthe same picture in several splits or classes: {}\n",
        found.duplicates.size());
    for (size_t i = 0; i < std::min(kShown, found.duplicates.size()); ++i) {
      std::string line = " ";
      for (const size_t row : found.duplicates[i]) {
        line += fmt::format(
            " {} ({}, {})", table.rows[row].path, table.rows[row].split,
            table.rows[row].cls);
      }
      fmt::print("{}\n", line);
    }
  }
  if (!found.shared_subjects.empty()) {
    fmt::print(
        "\nsubjects in several splits: {}, e.g. {}\n",
        found.shared_subjects.size(), found.shared_subjects.front());
  }
  std::filesystem::create_directories(options.out);
  const auto sheet = options.out / "maps.png";
  cyborg::data::write_png(sheet, cyborg::report::contact_sheet(table));
  fmt::print("\nsome pictures with their maps: {}\n", sheet.string());
  return found.unreadable.empty();
}

}  // namespace programs
