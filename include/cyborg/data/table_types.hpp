// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/arg.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

/// One picture of a `Table`.
struct Row {
  std::string split;  ///< "train", "val" or "test"
  std::string cls;    ///< name of its class
  int64_t label = 0;  ///< index of its class in `Table::classes`
  std::string path;   ///< the picture; relative to the working directory
  /// Its human maps, one an annotator, "" where that annotator drew none.
  std::vector<std::string> saliency;
  std::string attack;   ///< kind of attack or generator, "" where not said
  std::string group;    ///< any grouping, e.g. a sensor, "" where not said
  std::string subject;  ///< the person, "" where not said
  size_t line = 0;      ///< where it stands in the CSV, 0 for folders
};

/// A list of pictures with their splits and classes.
struct Table {
  std::string name;  ///< the file or folder it was read from
  std::vector<Row> rows;
  std::vector<std::string> classes;  ///< position = label
  /// What a person should know: which rows validate, subjects or pictures in
  /// two splits, columns that were not used. Print them.
  std::vector<std::string> warnings;

  bool has(const std::string& split) const {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
      return row.split == split;
    });
  }

  /// The rows of a split. Without `val` rows the `test` rows validate, as in
  /// the published code; `warnings` says so.
  std::vector<Row> rows_of(const std::string& split) const {
    const auto wanted = split == "val" && !has("val") ? "test" : split;
    std::vector<Row> chosen;
    std::copy_if(
        rows.begin(), rows.end(), std::back_inserter(chosen),
        [&](const Row& row) { return row.split == wanted; });
    return chosen;
  }
};

/// Options of `read_table` and `read_folders`.
struct TableOptions {
  /// Which of two classes is the positive one, label 1. Needed for two classes
  /// other than the published pairs (Real/Synthetic, Live/Spoof,
  /// normal/abnormal, in any case), where the second one is positive.
  TORCH_ARG(std::string, positive);
  /// The classes in the order of their labels, e.g. those a model was trained
  /// with. Default: as `positive` says; three or more classes by name.
  TORCH_ARG(std::vector<std::string>, classes);
  /// A folder of human maps, used for rows that name none: a file called as
  /// the picture (or with .png instead) in DIR/split/class, DIR/class or DIR.
  /// Pictures without one are not annotated. Default: none.
  TORCH_ARG(std::string, saliency);

 public:
};

}  // namespace cyborg::data
