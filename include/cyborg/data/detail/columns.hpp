// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/marks_text.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <vector>

// What the columns of a CSV of pictures are, as its first line says.
namespace cyborg::data::detail {

/// Whether a column of this name, in lower case, holds numbers.
inline bool is_number_column(const std::string& name) {
  return name == "weight" || name == "reaction_time" || name == "accuracy";
}

/// Sets a number of a row from the cell of a column that `is_number_column`
/// names. An empty cell sets nothing. `fail(reason)` has to throw.
template <class Fail>
void set_number(
    Row& row, const std::string& column, const std::string& cell,
    const Fail& fail) {
  if (cell.empty()) {
    return;
  }
  double value = 0;
  const bool number = read_coordinate(cell, value);
  const bool weight = column == "weight", accuracy = column == "accuracy";
  if (!number || value < 0 || (accuracy && value > 1) ||
      (!weight && !accuracy && value == 0)) {
    fail(
        "column \"" + column + "\": expected a number " +
        (weight     ? "from 0"
         : accuracy ? "from 0 to 1"
                    : "above 0") +
        ", got \"" + cell + "\"");
  }
  (weight ? row.weight : accuracy ? row.accuracy : row.reaction_time) = value;
}

/// What each column of a table is, from the fields of its first line.
struct Columns {
  bool header = false;  ///< the line names the columns; else it is a row
  /// "split", "class", "path", "saliency", "wrong", "attack", "group",
  /// "subject", "weight", "reaction_time", "accuracy" or one of `kMarkColumns`,
  /// or "" for a column that is not used.
  std::vector<std::string> roles;
  std::vector<std::string> names;   ///< in lower case; of a header only
  std::vector<std::string> unused;  ///< the names of such columns
  std::string problem;              ///< why this is no table; "" if it is one

  Columns(const std::vector<std::string>& first, const TableOptions& options) {
    struct Needed {
      const char* role;
      std::string name;  ///< in the header, in lower case
      const char* option;
    };
    const std::array<Needed, 3> needed = {
        {{"split", io::lower_case(options.split_column()),
          "split_column; "
          "--split-column"},
         {"class", io::lower_case(options.class_column()),
          "class_column; "
          "--class-column"},
         {"path", io::lower_case(options.path_column()),
          "path_column; "
          "--path-column"}}};
    bool named_by_user = false;
    for (const auto& each : needed) {
      named_by_user = named_by_user || each.name != each.role;
    }
    for (const auto& field : first) {
      names.push_back(io::lower_case(field));
      roles.push_back(role_of(names.back(), needed));
    }
    const auto count = [&](const char* role) {
      return std::count(roles.begin(), roles.end(), role);
    };
    bool any = named_by_user;
    for (const auto& each : needed) {
      any = any || count(each.role) > 0;
    }
    if (!any && (!split_named(first[0]).empty() || is_ignored(first[0]))) {
      roles = {"split", "class", "path", "saliency"};
      return;
    }
    for (const auto& each : needed) {
      if (any && count(each.role) == 0) {
        problem = "the column \"" + each.name +
                  "\" is missing; the header is " + list_of(first) + " (" +
                  each.option + " in the programs says what it is called)";
        return;
      }
    }
    if (!any) {
      problem =
          "expected a header with split, class and path, or a row that begins "
          "with train, val or test, got \"" +
          first[0] + "\"" +
          (first[0].find_first_of(";\t|") == std::string::npos
               ? ""
               : "; commas separate the fields");
      return;
    }
    header = true;
    for (size_t i = 0; i < roles.size(); ++i) {
      if (roles[i].empty()) {
        unused.push_back(names[i]);
      } else if (
          !mark_column(names[i]).empty()
              ? std::count(names.begin(), names.end(), names[i]) > 1
              : roles[i] != "saliency" && count(roles[i].c_str()) > 1) {
        problem = "two columns are named \"" + names[i] + "\"";
        return;
      }
    }
  }

 private:
  template <class Needed>
  static std::string role_of(const std::string& name, const Needed& needed) {
    for (const auto& each : needed) {
      if (name == each.name) {
        return each.role;
      }
    }
    if (name.compare(0, 8, "saliency") == 0) {
      return "saliency";
    }
    return name == "attack" || name == "group" || name == "subject" ||
                   name == "wrong" || is_number_column(name)
               ? name
               : mark_column(name);
  }

  static std::string list_of(const std::vector<std::string>& fields) {
    std::string list;
    for (const auto& field : fields) {
      list += (list.empty() ? "\"" : ", \"") + field + "\"";
    }
    return list;
  }
};

}  // namespace cyborg::data::detail
