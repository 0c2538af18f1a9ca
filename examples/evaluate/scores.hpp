// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Files of scores.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

namespace evaluate {

/// One sample.
struct ScoreRow {
  std::string path;
  std::string split;
  std::string attack;   ///< type of attack; empty: unknown
  std::string group;    ///< empty: unknown
  std::string subject;  ///< empty: unknown
  int64_t label = 0;
  /// The score of label 1, in [0, 1]; NaN where only logits are known.
  double score = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> logits;  ///< one for each class, one in all, or none
};

/// The scores of one run of one model.
struct ScoresTable {
  std::string name;  ///< of the run: its file
  std::vector<ScoreRow> rows;
  std::vector<std::string> classes;  ///< name of each label, two or more
  std::vector<std::string> notes;    ///< warnings
};

/// Reads the scores of a run from a CSV file.
///
/// The first line names the columns, in any order and case: `path`, `split`,
/// `class` and `label` (0, 1, ...), then `score` (of label 1, in [0, 1]), or
/// `logit_0`, `logit_1`, ..., or both; optional are `attack`, `group`, `subject`
/// and `test_flip` (mirror images were scored, too). Other columns are named in
/// `notes`.
///
/// Throws: `cyborg::io::FileError`, which names file and line.
ScoresTable read_scores(const std::filesystem::path& file);

/// The same from a text; `name` is used as the name of the file.
ScoresTable parse_scores(const std::string& text, const std::string& name);

}  // namespace evaluate
