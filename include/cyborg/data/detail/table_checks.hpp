// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/map_lookup.hpp>
#include <cyborg/data/splits.hpp>
#include <cyborg/data/table_types.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

// The last steps of reading a table, from a CSV or from folders: labels for the
// classes, human maps, and warnings.
namespace cyborg::data::detail {

/// The classes in the order of their labels. `found` are the classes of the
/// rows. The order is never guessed: of two classes that are not a published
/// pair, the user has to name the positive one. `fail(reason)` throws.
template <class Fail>
std::vector<std::string> order_classes(
    const std::set<std::string>& found, const TableOptions& options,
    const Fail& fail) {
  if (!options.classes().empty()) {
    return options.classes();
  }
  // From the lower-case name to the name in the table. "real" and "Real" are
  // probably a mistake, so two spellings of one name are an error.
  std::map<std::string, std::string> spellings;
  for (const auto& name : found) {
    const auto at = spellings.emplace(io::lower_case(name), name);
    if (!at.second) {
      fail(
          "classes \"" + at.first->second + "\" and \"" + name +
          "\" differ only in case");
    }
  }
  std::vector<std::string> names(found.begin(), found.end());
  if (!options.positive().empty()) {
    if (names.size() != 2 || found.count(options.positive()) == 0) {
      std::string list;
      for (const auto& name : names) {
        list += (list.empty() ? "\"" : ", \"") + name + "\"";
      }
      fail(
          "expected two classes, one of them the positive \"" +
          options.positive() + "\", got " + list);
    }
    const auto& negative = names[names[0] == options.positive() ? 1 : 0];
    return {negative, options.positive()};
  }
  // The pairs of classes in published tables; the second class is positive.
  static const std::array<std::array<const char*, 2>, 3> kPublished{
      {{"Real", "Synthetic"}, {"Live", "Spoof"}, {"normal", "abnormal"}}};
  for (const auto& pair : kPublished) {
    std::vector<std::string> ordered;
    size_t present = 0;
    for (const auto* name : pair) {
      const auto at = spellings.find(io::lower_case(name));
      present += at != spellings.end() ? 1 : 0;
      ordered.push_back(at != spellings.end() ? at->second : name);
    }
    if (present > 0 && present == names.size()) {
      return ordered;  // a table may hold one class of a published pair only
    }
  }
  if (!options.need_labels()) {
    return names;
  }
  if (names.size() == 1) {
    fail(
        "expected two or more classes, got only \"" + names[0] +
        "\"; or name all classes (classes in TableOptions)");
  }
  if (names.size() == 2) {
    fail(
        "expected to know which of \"" + names[0] + "\" and \"" + names[1] +
        "\" is the positive class; name it (TableOptions::positive; "
        "--positive in the programs)");
  }
  return names;
}

/// Completes a table whose rows were read: classes, labels, maps and warnings.
/// `fail(line, reason)` throws; line 0 means the whole file.
template <class Fail>
void finish_table(
    Table& table, const TableOptions& options, const char* function,
    const Fail& fail) {
  if (table.rows.empty()) {
    fail(0, "holds no rows" + table.warnings_text());
  }
  // The labels come from all splits, so that a class has the same label in
  // each.
  std::set<std::string> found;
  for (const auto& row : table.rows) {
    found.insert(row.cls);
  }
  table.classes = order_classes(found, options, [&](const std::string& reason) {
    fail(0, reason + table.warnings_text());
  });
  const auto& classes = table.classes;
  for (auto& row : table.rows) {
    const auto at = std::find(classes.begin(), classes.end(), row.cls);
    if (at == classes.end()) {
      fail(row.line, "unknown class \"" + row.cls + "\"");
    }
    row.label = at - classes.begin();
  }
  find_maps(table, options, function);
  // Without train rows the table is only measured, and needs no validation.
  if (table.has("train") && !table.has("val")) {
    table.warnings.push_back(
        table.has("test")
            ? table.name +
                  ": no val rows: the test rows are used for "
                  "validation, as in the published code"
            : table.name + ": neither val nor test rows: no validation");
  }
  // If a subject or a picture is in two splits, the scores are too good.
  // The warning gives the first one by name, to look for.
  const auto warn_shared = [&](const char* what, auto field) {
    std::unordered_map<std::string, std::string> split_of;
    std::set<std::string> shared;
    for (const auto& row : table.rows) {
      const std::string& value = row.*field;
      if (!value.empty() &&
          split_of.emplace(value, row.split).first->second != row.split) {
        shared.insert(value);
      }
    }
    if (!shared.empty()) {
      table.warnings.push_back(
          table.name + ": " + std::to_string(shared.size()) + " " + what +
          (shared.size() == 1 ? " is" : "s are") +
          " in more than one split, e.g. \"" + *shared.begin() + "\"");
    }
  };
  warn_shared("subject", &Row::subject);
  warn_shared("picture", &Row::path);
}

}  // namespace cyborg::data::detail
