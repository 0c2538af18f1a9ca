// SPDX-License-Identifier: BSD-3-Clause
#include "sample_check.hpp"

#include "file_checks.hpp"
#include "pictures.hpp"

#include <cyborg/data/header_check.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace programs {

namespace {

namespace data = cyborg::data;

/// Some training pictures of each class, evenly over the rows: those with maps or
/// masks, if there are any.
data::Table sample_of(const data::Table& table) {
  data::Table sample;
  sample.name = table.name;
  sample.classes = table.classes;
  const auto classes = std::max<size_t>(table.classes.size(), 1);
  const auto most = std::clamp<size_t>(64 / classes, 2, 8);
  const auto train = table.rows_of("train");
  for (const auto& cls : table.classes) {
    std::vector<data::Row> with, all;
    for (const auto& row : train) {
      if (row.cls == cls) {
        all.push_back(row);
        if (row.has_map() || !row.wrong.empty()) {
          with.push_back(row);
        }
      }
    }
    const auto& from = with.empty() ? all : with;
    const auto count = std::min(most, from.size());
    for (size_t i = 0; i < count; ++i) {
      sample.rows.push_back(from[i * from.size() / count]);
    }
  }
  return sample;
}

/// A warning where the window cuts a class much more than another; "" else.
std::string cut_by_class(
    const data::PictureCheck& found, const Settings& settings) {
  if (settings.window.empty() || found.counts.size() < 2) {
    return "";
  }
  const auto cut = [](const auto& count) { return count.below + count.above; };
  const auto [least, most] = std::minmax_element(
      found.counts.begin(), found.counts.end(),
      [&](const auto& a, const auto& b) { return cut(a) < cut(b); });
  if (cut(*most) - cut(*least) <= .5) {
    return "";
  }
  return fmt::format(
      "the window {} cuts {:.0f} % of the values of class \"{}\" and {:.0f} % "
      "of "
      "class \"{}\": a network can learn that in place of what the pictures "
      "show",
      data::window_text(settings.window), 100 * cut(*most), most->cls,
      100 * cut(*least), least->cls);
}

}  // namespace

std::vector<std::string> check_sample(
    const data::Table& table, const data::TableHeaders& headers, bool allowed,
    const Settings& settings) {
  const auto sample = sample_of(table);
  const auto found = data::check_pictures(sample, dataset_options(settings));
  std::vector<std::string> warnings;
  const auto add = [&](const std::vector<data::FileNote>& notes,
                       const char* what) {
    if (!notes.empty()) {
      warnings.push_back(fmt::format(
          "of {} training pictures that were looked at, {} {} "
          "(--check looks at all):{}",
          sample.rows.size(), notes.size(), what,
          list_of_notes(notes, sample.rows)));
    }
  };
  // Bits that the headers show were told before.
  if (!found.bits_signs.empty() && data::bits_signs(table, headers).empty()) {
    std::string text =
        "the range of the values tells the class, so a network can learn it in "
        "place of what the pictures show. Among the pictures that were looked "
        "at:";
    for (const auto& sign : found.bits_signs) {
      text += "\n  " + data::to_string(sign);
    }
    text +=
        "\nSave all with the same black and white (docs/train.md, \"Other "
        "formats\")";
    if (!allowed) {
      throw cyborg::io::FileError(
          "--data", table.name,
          text + ", or say --allow-bits-by-class if they are the same already");
    }
    warnings.push_back(text);
  }
  if (settings.window.empty()) {  // else `check_stored_values` tells it
    add(found.blank, "show nothing");
  } else if (auto text = cut_by_class(found, settings); !text.empty()) {
    warnings.push_back(std::move(text));
  }
  add(found.dark_masks, "have a mask of what is wrong with small values only");
  add(found.dark_maps, "have a human map with small values only");
  add(found.inverted,
      "have a human map that looks inverted: bright is salient");
  return warnings;
}

}  // namespace programs
