// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/attach_annotations.hpp>
#include <cyborg/data/detail/fixation_table.hpp>
#include <cyborg/data/detail/separator.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

namespace detail {

/// The number and the names of the observers, for a note. Adds a warning to
/// `file` where two names differ in upper and lower case alone.
inline std::string describe_observers(
    const std::vector<Fixations>& all, AnnotationFile& file) {
  std::set<std::string> observers;
  std::map<std::string, std::string> spelled;  // by the name in lower case
  for (const auto& one : all) {
    if (!observers.insert(one.observer).second) {
      continue;
    }
    const auto known =
        spelled.emplace(io::lower_case(one.observer), one.observer);
    if (!known.second) {
      file.warnings.push_back(
          file.name + ": the observers \"" + known.first->second + "\" and \"" +
          one.observer + "\" are taken for two people");
    }
  }
  std::string text = std::to_string(observers.size()) + " observers";
  size_t named = 0;
  for (const auto& one : observers) {
    text += named == 0 ? ": " : named < 5 ? ", " : "";
    text += named < 5 ? one : "";
    ++named;
  }
  return text + (named > 5 ? ", ..." : "");
}

}  // namespace detail

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
  using Column = detail::FixationColumn;
  const auto fail = [&](size_t line, const std::string& reason) {
    throw io::FileError(
        kFunction,
        line == 0 ? csv.string() : csv.string() + ":" + std::to_string(line),
        reason);
  };
  const auto text =
      io::read_file(csv, /*max_bytes=*/uint64_t{1} << 32, kFunction);
  const auto separator =
      detail::separator_of(text, [](const std::vector<std::string>& fields) {
        return detail::FixationColumns(fields).problem.empty();
      });
  const auto records = io::parse_csv(text, fail, separator);
  const detail::FixationColumns columns(
      records.empty() ? std::vector<std::string>() : records[0].fields);
  if (!columns.problem.empty()) {
    fail(records.empty() ? 0 : records[0].line, columns.problem);
  }
  const auto all = detail::fixations_of(records, columns, fail);
  if (all.empty()) {
    fail(0, "holds no fixations");
  }
  AnnotationFile file;
  file.name = csv.string();
  if (!columns.unused.empty()) {
    file.warnings.push_back(
        file.name + ": the columns " + columns.unused +
        " are not used; known are image, x, y, duration, observer and time");
  }
  const auto observers = detail::describe_observers(all, file);
  file.notes.push_back(
      file.name + ": " +
      std::to_string(records.size() - (columns.header ? 1 : 0)) + " fixations" +
      (columns.has(Column::kObserver)
           ? " of " + observers
           : ", all of one observer (there is no column observer)") +
      (columns.has(Column::kDuration)
           ? "; their durations are their weights"
           : "; all weigh the same (there is no column duration)"));
  for (const auto& one : all) {
    auto annotation = std::make_shared<Annotation>();
    annotation->annotator = one.observer;
    annotation->source = csv.string() + ":" + std::to_string(one.line);
    annotation->points = at::tensor(one.values, at::kDouble).view({-1, 3});
    file.items.push_back({one.image, std::move(annotation), ""});
  }
  return file;
}

}  // namespace cyborg::data
