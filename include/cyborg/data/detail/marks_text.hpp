// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/annotation.hpp>

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <locale>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

// What people marked, as text in the cells of a table.
namespace cyborg::data::detail {

/// Reads a number with a decimal point, in every locale. Whether the text is
/// one, and it is finite and at most 1e9.
inline bool read_coordinate(const std::string& text, double& value) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  stream >> value;
  return !stream.fail() && stream.eof() && std::abs(value) <= 1e9;
}

/// The numbers of a cell "1 2 3 4; 5 6 7 8" as [N, M] float64. Each item has
/// from `least` to `most` numbers, all as many. `shape` shows what is expected,
/// for example "x0 y0 x1 y1". `fail(reason)` has to throw.
template <class Fail>
torch::Tensor read_items(
    const std::string& cell, size_t least, size_t most, const char* shape,
    const Fail& fail) {
  std::vector<double> values;
  size_t columns = 0;
  std::istringstream items(cell);
  for (std::string item; std::getline(items, item, ';');) {
    std::istringstream words(item);
    std::vector<double> numbers;
    for (std::string word; words >> word;) {
      double value = 0;
      if (!read_coordinate(word, value)) {
        fail(
            "expected numbers of at most 1e9 (" + std::string(shape) +
            "), got \"" + word + "\"");
      }
      numbers.push_back(value);
    }
    if (numbers.empty() && items.eof()) {
      continue;  // a semicolon at the end
    }
    if (numbers.size() < least || numbers.size() > most ||
        (columns != 0 && numbers.size() != columns)) {
      fail(
          "expected " + std::string(shape) +
          " with semicolons between them, got \"" + item + "\"");
    }
    columns = numbers.size();
    values.insert(values.end(), numbers.begin(), numbers.end());
  }
  if (values.empty()) {
    fail("expected " + std::string(shape) + ", got \"" + cell + "\"");
  }
  return at::tensor(values, at::kDouble)
      .view({-1, static_cast<int64_t>(columns)});
}

/// The kinds of columns that hold marks: one for each annotator, whose name
/// follows after a digit, '_' or '-'.
inline constexpr std::array<const char*, 4> kMarkColumns{
    {"boxes", "points", "fixations", "mask"}};

/// Which of `kMarkColumns` a column is, by its name in lower case; "" if it is
/// none: "boxes_anna" is "boxes", "boxesize" is none.
inline std::string mark_column(const std::string& name) {
  for (const std::string kind : kMarkColumns) {
    if (name.compare(0, kind.size(), kind) == 0 &&
        (name.size() == kind.size() ||
         std::string("0123456789_-").find(name[kind.size()]) !=
             std::string::npos)) {
      return kind;
    }
  }
  return "";
}

/// The marks on one picture, from the cells of its row.
class Marks {
 public:
  /// Adds the cell of a column (`name` in lower case) that is one of
  /// `kMarkColumns`. An empty cell adds nothing. `fail(reason)` has to throw.
  template <class Fail>
  void add(const std::string& name, const std::string& cell, const Fail& fail) {
    if (cell.empty()) {
      return;
    }
    const auto kind = mark_column(name);
    auto& one = by_annotator_[annotator_of(name.substr(kind.size()))];
    if (kind == "boxes") {
      one.boxes = read_items(cell, 4, 4, "x0 y0 x1 y1", fail);
      const auto turned = one.boxes.narrow(1, 2, 2) < one.boxes.narrow(1, 0, 2);
      if (turned.any().template item<bool>()) {
        fail(
            "expected boxes x0 y0 x1 y1 with x0 <= x1 and y0 <= y1, got \"" +
            cell + "\"");
      }
    } else if (kind == "mask") {
      one.mask = cell;
    } else {
      const bool fixations = kind == "fixations";
      torch::Tensor points = read_items(
          cell, 2, fixations ? 3 : 2, fixations ? "x y duration" : "x y", fail);
      if (points.size(1) == 2) {
        points =
            at::cat({points, at::ones({points.size(0), 1}, at::kDouble)}, 1);
      }
      if (points.select(1, 2).lt(0).any().template item<bool>()) {
        fail("expected durations >= 0, got \"" + cell + "\"");
      }
      if (one.points.defined()) {
        fail("one annotator has points and fixations: keep one of them");
      }
      one.points = std::move(points);
    }
  }

  const std::map<std::string, Annotation>& all() const { return by_annotator_; }

  /// What was added, each annotator's, in the order of their names.
  std::vector<AnnotationPtr> finish(const std::string& source) {
    std::vector<AnnotationPtr> list;
    for (auto& [annotator, one] : by_annotator_) {
      one.annotator = annotator;
      one.source = source;
      list.push_back(std::make_shared<const Annotation>(std::move(one)));
    }
    return list;
  }

 private:
  /// "_anna" and "-anna" are "anna", "2" is "2".
  static std::string annotator_of(const std::string& ending) {
    return !ending.empty() && (ending[0] == '_' || ending[0] == '-')
               ? ending.substr(1)
               : ending;
  }

  std::map<std::string, Annotation> by_annotator_;
};

}  // namespace cyborg::data::detail
