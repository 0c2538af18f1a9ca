// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/attach_annotations.hpp>
#include <cyborg/data/detail/marks_text.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Reads a table of fixations or clicks from a CSV file with the columns
/// `image,x,y[,duration,observer,time]`.
///
/// The first line names the columns, in any order and in upper or lower case;
/// for other columns there is a warning, since one of them may be a duration
/// under another name. Only a file of `image,x,y` may lack the names.
/// `image` is the name of the picture, also with the folders that it is in. `x`
/// and `y` are pixels of the picture from its top left corner. `duration`, in
/// any unit, is the weight of the fixation (1 without that column). Each
/// `observer` is an annotator; blanks around the name do not count, and there is
/// a warning where two names differ in upper and lower case alone. `time` tells
/// two fixations of one place apart: the same observer, picture and time twice is
/// an error. `AnnotationFile::notes` says what was read: how many fixations, of
/// whom, and whether durations weigh them.
/// Throws: `io::FileError` with file and line, for what is not a number, is
///         beyond 1e9 or, for a duration, is negative.
/// Example:
///     cyborg::data::attach_annotations(
///         table, cyborg::data::read_fixations("fixations.csv"));
inline AnnotationFile read_fixations(const std::filesystem::path& csv) {
  constexpr auto* kFunction = "cyborg::data::read_fixations";
  const auto fail = [&](size_t line, const std::string& reason) {
    throw io::FileError(
        kFunction,
        line == 0 ? csv.string() : csv.string() + ":" + std::to_string(line),
        reason);
  };
  const auto text =
      io::read_file(csv, /*max_bytes=*/uint64_t{1} << 32, kFunction);
  const auto first_line = text.substr(0, text.find_first_of("\r\n"));
  const char separator = first_line.find(',') != std::string::npos   ? ','
                         : first_line.find(';') != std::string::npos ? ';'
                                                                     : '\t';
  const auto records = io::parse_csv(text, fail, separator);
  constexpr size_t kNone = static_cast<size_t>(-1);
  std::array<const char*, 6> names{
      {"image", "x", "y", "duration", "observer", "time"}};
  std::array<size_t, 6> place{};
  place.fill(kNone);
  const auto first =
      records.empty() ? std::vector<std::string>() : records[0].fields;
  double number = 0;
  const bool header = first.size() < 3 ||
                      !detail::read_coordinate(first[1], number) ||
                      !detail::read_coordinate(first[2], number);
  if (!header && first.size() > 3) {
    fail(
        records[0].line,
        "expected a first line that names the columns, image,x,y[,duration,"
        "observer,time]: with more than three columns nobody knows what they "
        "are");
  }
  std::string unused;
  for (size_t c = 0; c < first.size(); ++c) {
    const auto named = [&](const char* name) {
      return io::lower_case(first[c]) == name;
    };
    if (header && std::none_of(names.begin(), names.end(), named)) {
      unused += (unused.empty() ? "" : ", ") + first[c];
    }
    for (size_t i = 0; i < names.size(); ++i) {
      if (header ? io::lower_case(first[c]) == names[i] : c == i) {
        if (place[i] != kNone) {
          fail(
              records[0].line,
              "two columns are named \"" + std::string(names[i]) + "\"");
        }
        place[i] = c;
      }
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    if (place[i] == kNone) {
      fail(
          records.empty() ? 0 : records[0].line,
          "expected the columns image,x,y[,duration,observer,time], got no \"" +
              std::string(names[i]) + "\"");
    }
  }
  const auto trimmed = [](const std::string& name) {
    const auto from = name.find_first_not_of(" \t");
    return from == std::string::npos
               ? std::string()
               : name.substr(from, name.find_last_not_of(" \t") - from + 1);
  };
  struct Fixations {
    size_t line;
    std::vector<double> values;
  };
  std::map<std::pair<std::string, std::string>, Fixations> all;
  std::vector<std::pair<std::string, std::string>> order;
  std::map<std::tuple<std::string, std::string, double>, size_t> times;
  for (size_t r = header ? 1 : 0; r < records.size(); ++r) {
    const auto& fields = records[r].fields;
    const auto line = records[r].line;
    if (fields.size() != first.size()) {
      fail(
          line, "expected " + std::to_string(first.size()) + " fields, got " +
                    std::to_string(fields.size()));
    }
    const auto read = [&](size_t i) {
      double value = 0;
      if (!detail::read_coordinate(fields[place[i]], value)) {
        fail(
            line, "expected " + std::string(names[i]) +
                      " to be a number of at most 1e9, got \"" +
                      fields[place[i]] + "\"");
      }
      return value;
    };
    const auto& image = fields[place[0]];
    if (image.empty()) {
      fail(line, "the image is empty");
    }
    const double weight = place[3] == kNone ? 1 : read(3);
    if (weight < 0) {
      fail(line, "expected a duration >= 0, got \"" + fields[place[3]] + "\"");
    }
    const auto key = std::make_pair(
        image, place[4] == kNone ? std::string() : trimmed(fields[place[4]]));
    if (place[5] != kNone) {
      const auto known =
          times.emplace(std::make_tuple(key.first, key.second, read(5)), line);
      if (!known.second) {
        fail(
            line, "the same observer, image and time are in line " +
                      std::to_string(known.first->second) +
                      " already: is the table in the file twice?");
      }
    }
    const auto added = all.emplace(key, Fixations{line, {}});
    if (added.second) {
      order.push_back(key);
    }
    auto& values = added.first->second.values;
    values.insert(values.end(), {read(1), read(2), weight});
  }
  if (order.empty()) {
    fail(0, "holds no fixations");
  }
  AnnotationFile file;
  file.name = csv.string();
  if (!unused.empty()) {
    file.warnings.push_back(
        file.name + ": the columns " + unused +
        " are not used; known are image, x, y, duration, observer and time");
  }
  std::set<std::string> observers;
  std::map<std::string, std::string> spelled;  // by the name in lower case
  for (const auto& key : order) {
    if (!observers.insert(key.second).second) {
      continue;
    }
    const auto known = spelled.emplace(io::lower_case(key.second), key.second);
    if (!known.second) {
      file.warnings.push_back(
          file.name + ": the observers \"" + known.first->second + "\" and \"" +
          key.second + "\" are taken for two people");
    }
  }
  std::string people;
  if (place[4] != kNone) {
    people = " of " + std::to_string(observers.size()) + " observers";
    size_t named = 0;
    for (const auto& one : observers) {
      people += named == 0 ? ": " : named < 5 ? ", " : "";
      people += named < 5 ? one : "";
      ++named;
    }
    people += named > 5 ? ", ..." : "";
  } else {
    people = ", all of one observer (there is no column observer)";
  }
  file.notes.push_back(
      file.name + ": " + std::to_string(records.size() - (header ? 1 : 0)) +
      " fixations" + people +
      (place[3] == kNone ? "; all weigh the same (there is no column duration)"
                         : "; their durations are their weights"));
  for (const auto& key : order) {
    const auto& fixations = all.at(key);
    auto annotation = std::make_shared<Annotation>();
    annotation->annotator = key.second;
    annotation->source = csv.string() + ":" + std::to_string(fixations.line);
    annotation->points =
        at::tensor(fixations.values, at::kDouble).view({-1, 3});
    file.items.push_back({key.first, std::move(annotation), ""});
  }
  return file;
}

}  // namespace cyborg::data
