// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/marks_text.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// What the lines of a table of fixations or clicks say.
namespace cyborg::data::detail {

/// A column of a table of fixations. The first three are necessary.
enum class FixationColumn : size_t {
  kImage,
  kX,
  kY,
  kDuration,
  kObserver,
  kTime
};

/// Which column of a table of fixations is which, from the fields of its first
/// line.
class FixationColumns {
 public:
  explicit FixationColumns(const std::vector<std::string>& first)
      : header(!is_fixation(first)), count(first.size()) {
    place_.fill(kNone);
    if (!header && count > 3) {
      problem =
          "expected a first line that names the columns, image,x,y[,duration,"
          "observer,time]: with more than three columns nobody knows what they "
          "are";
      return;
    }
    for (size_t c = 0; c < count; ++c) {
      size_t column = c;  // without names the order says it
      if (header) {
        const auto name = io::lower_case(first[c]);
        column = static_cast<size_t>(
            std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
      }
      if (column == kNames.size()) {
        unused += (unused.empty() ? "" : ", ") + first[c];
        continue;
      }
      if (place_[column] != kNone && problem.empty()) {
        problem =
            "two columns are named \"" + std::string(kNames[column]) + "\"";
      }
      place_[column] = c;
    }
    for (size_t column = 0; column < 3 && problem.empty(); ++column) {
      if (place_[column] == kNone) {
        problem =
            "expected the columns image,x,y[,duration,observer,time], got "
            "no \"" +
            std::string(kNames[column]) + "\"";
      }
    }
  }

  /// The name of a column, as the first line has it, in lower case.
  static const char* name_of(FixationColumn column) {
    return kNames[static_cast<size_t>(column)];
  }

  /// Whether the table has this column.
  bool has(FixationColumn column) const {
    return place_[static_cast<size_t>(column)] != kNone;
  }

  /// The field of `column` in a record. The table must have this column.
  const std::string& field(
      const io::CsvRecord& record, FixationColumn column) const {
    return record.fields[place_[static_cast<size_t>(column)]];
  }

  bool header;          ///< the first line names the columns; else it is a row
  size_t count;         ///< how many columns there are
  std::string unused;   ///< the names of columns that are not known, as a list
  std::string problem;  ///< why this is no such table; "" if it is one

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  static constexpr std::array<const char*, 6> kNames{
      {"image", "x", "y", "duration", "observer", "time"}};

  /// Whether the fields are those of a fixation: then they name no columns.
  static bool is_fixation(const std::vector<std::string>& fields) {
    double number = 0;
    return fields.size() >= 3 && read_coordinate(fields[1], number) &&
           read_coordinate(fields[2], number);
  }

  std::array<size_t, 6> place_{};  // in a record, or kNone
};

/// What one observer fixated in one picture.
struct Fixations {
  std::string image;
  std::string observer;        ///< "" without a column of observers
  size_t line = 0;             ///< of the first one
  std::vector<double> values;  ///< x, y and weight of each
};

/// `name` without blanks at its ends, which quotes may have kept.
inline std::string without_blanks(const std::string& name) {
  const auto from = name.find_first_not_of(" \t");
  return from == std::string::npos
             ? std::string()
             : name.substr(from, name.find_last_not_of(" \t") - from + 1);
}

/// The fixations of a table: one entry for each picture and observer, in the
/// order of their first lines. `fail(line, reason)` has to throw.
template <class Fail>
std::vector<Fixations> fixations_of(
    const std::vector<io::CsvRecord>& records, const FixationColumns& columns,
    const Fail& fail) {
  using Column = FixationColumn;
  std::vector<Fixations> all;
  std::map<std::pair<std::string, std::string>, size_t> index;
  std::map<std::tuple<std::string, std::string, double>, size_t> times;
  for (size_t r = columns.header ? 1 : 0; r < records.size(); ++r) {
    const auto& record = records[r];
    if (record.fields.size() != columns.count) {
      fail(
          record.line, "expected " + std::to_string(columns.count) +
                           " fields, got " +
                           std::to_string(record.fields.size()));
    }
    const auto number = [&](Column column) {
      double value = 0;
      const auto& field = columns.field(record, column);
      if (!read_coordinate(field, value)) {
        fail(
            record.line,
            "expected " + std::string(FixationColumns::name_of(column)) +
                " to be a number of at most 1e9, got \"" + field + "\"");
      }
      return value;
    };
    const auto& image = columns.field(record, Column::kImage);
    if (image.empty()) {
      fail(record.line, "the image is empty");
    }
    const double weight =
        columns.has(Column::kDuration) ? number(Column::kDuration) : 1;
    if (weight < 0) {
      fail(
          record.line, "expected a duration >= 0, got \"" +
                           columns.field(record, Column::kDuration) + "\"");
    }
    const auto observer =
        columns.has(Column::kObserver)
            ? without_blanks(columns.field(record, Column::kObserver))
            : std::string();
    if (columns.has(Column::kTime)) {
      const auto known = times.emplace(
          std::make_tuple(image, observer, number(Column::kTime)), record.line);
      if (!known.second) {
        fail(
            record.line, "the same observer, image and time are in line " +
                             std::to_string(known.first->second) +
                             " already: is the table in the file twice?");
      }
    }
    const auto known =
        index.emplace(std::make_pair(image, observer), all.size());
    if (known.second) {
      all.push_back({image, observer, record.line, {}});
    }
    auto& values = all[known.first->second].values;
    values.insert(
        values.end(), {number(Column::kX), number(Column::kY), weight});
  }
  return all;
}

}  // namespace cyborg::data::detail
