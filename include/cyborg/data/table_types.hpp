// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/annotation.hpp>

#include <torch/arg.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <set>
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
  /// Its human maps, one for each annotator; "" if that annotator drew none.
  std::vector<std::string> saliency;
  /// What annotators marked on it, from which its map is drawn, one entry for
  /// each; a row has human maps or these, not both.
  std::vector<AnnotationPtr> annotations;
  std::string wrong;    ///< the mask of what must not be used; "" if none
  std::string attack;   ///< the kind of attack or generator; "" if not known
  std::string group;    ///< any group, for example a sensor; "" if not known
  std::string subject;  ///< the person; "" if not known
  /// Factor of its loss in training, not negative.
  double weight = 1;
  /// The time that people needed to answer, and the share of those who answered
  /// rightly; NaN if not known.
  double reaction_time = std::numeric_limits<double>::quiet_NaN();
  double accuracy = std::numeric_limits<double>::quiet_NaN();
  size_t line = 0;  ///< its line in the CSV, from 1; 0 for folders

  /// The files of its human maps and of its mask, those that it names.
  std::vector<std::string> map_files() const {
    std::vector<std::string> files;
    std::copy_if(
        saliency.begin(), saliency.end(), std::back_inserter(files),
        [](const std::string& map) { return !map.empty(); });
    if (!wrong.empty()) {
      files.push_back(wrong);
    }
    return files;
  }

  /// Whether it names a human map, or has annotations.
  bool has_map() const {
    return !annotations.empty() ||
           std::any_of(
               saliency.begin(), saliency.end(),
               [](const std::string& map) { return !map.empty(); });
  }
};

/// A list of pictures with their splits and classes.
struct Table {
  std::string name;  ///< the file or folder that it was read from
  std::vector<Row> rows;
  std::vector<std::string> classes;  ///< position = label
  /// What a person should know: which rows are used for validation, subjects or
  /// pictures in two splits, columns that are not used. Print them.
  std::vector<std::string> warnings;
  /// What was read of a file of annotations.
  std::vector<std::string> notes;

  /// Whether there are rows of this split.
  bool has(const std::string& split) const {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
      return row.split == split;
    });
  }

  /// The warnings as the end of an error's text, because one of them may
  /// explain it; "" if there are none.
  std::string warnings_text() const {
    constexpr size_t kMost = 5;
    std::string text;
    for (size_t i = 0; i < warnings.size() && i < kMost; ++i) {
      text += (i == 0 ? "; warnings: " : "; ") + warnings[i];
    }
    return warnings.size() > kMost
               ? text + "; and " + std::to_string(warnings.size() - kMost) +
                     " more"
               : text;
  }

  /// The rows of a split. If there are no `val` rows, the `test` rows are used
  /// for validation, as in the published code, and `warnings` says so.
  std::vector<Row> rows_of(const std::string& split) const {
    const auto wanted = split == "val" && !has("val") ? "test" : split;
    std::vector<Row> chosen;
    std::copy_if(
        rows.begin(), rows.end(), std::back_inserter(chosen),
        [&](const Row& row) { return row.split == wanted; });
    return chosen;
  }
};

/// A remark about one file of a table.
struct FileNote {
  size_t row;        ///< the position in `Table::rows`
  std::string path;  ///< the picture, or a map of it
  std::string text;
};

/// The subjects that have rows in several splits, sorted. "" is not a subject.
/// Results on such splits are too good, since the network knows the person.
inline std::vector<std::string> shared_subjects(const Table& table) {
  std::map<std::string, std::set<std::string>> splits_of;
  for (const auto& row : table.rows) {
    splits_of[row.subject].insert(row.split);
  }
  std::vector<std::string> shared;
  for (const auto& entry : splits_of) {
    if (!entry.first.empty() && entry.second.size() > 1) {
      shared.push_back(entry.first);
    }
  }
  return shared;
}

/// Options of `read_table` and `read_folders`.
struct TableOptions {
  /// The positive one of two classes, which has label 1. It must be named,
  /// except for the published pairs (Real/Synthetic, Live/Spoof,
  /// normal/abnormal, in upper or lower case), of which the second class is
  /// positive.
  TORCH_ARG(std::string, positive);
  /// The classes in the order of their labels, for example those with which a
  /// model was trained. Default: two classes as `positive` says; three or more
  /// sorted by name.
  TORCH_ARG(std::vector<std::string>, classes);
  /// Whether labels must mean something. With false, classes whose order nobody
  /// said are sorted by name, and there may be one only: for work that uses no
  /// labels. Default true.
  TORCH_ARG(bool, need_labels) = true;
  /// A folder DIR of human maps for the rows that name no map. The map of a
  /// picture NAME.* is the file NAME.* or NAME_map.* with the extension of a
  /// picture, in any case, in DIR/split/class, DIR/class or DIR. Two such files
  /// in one folder are an error. Pictures without such a file are not
  /// annotated. Default: none.
  TORCH_ARG(std::string, saliency);
  /// A folder of masks of what must not be used, for the rows that name none.
  /// They are found as the maps in `saliency` are. Default: none.
  TORCH_ARG(std::string, wrong);
  /// The names of columns in the header of a CSV, in upper or lower case.
  TORCH_ARG(std::string, path_column) = "path";
  TORCH_ARG(std::string, class_column) = "class";
  TORCH_ARG(std::string, split_column) = "split";

 public:
};

}  // namespace cyborg::data
