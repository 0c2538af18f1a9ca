// SPDX-License-Identifier: BSD-3-Clause
#include "scores.hpp"

#include "samples.hpp"

#include "../common/splits.hpp"

#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <utility>

namespace evaluate {

namespace {

using Columns = std::map<std::string, size_t>;

/// Throws an error of a line of the file; line 0 is the whole file.
struct Fail {
  std::string file;

  [[noreturn]] void operator()(size_t line, const std::string& reason) const {
    throw cyborg::io::FileError(
        "evaluate", line == 0 ? file : file + ":" + std::to_string(line),
        reason);
  }
};

bool is_number(const std::string& text, double* value) {
  char* end = nullptr;
  *value = std::strtod(text.c_str(), &end);
  return !text.empty() && end == text.c_str() + text.size() &&
         std::isfinite(*value);
}

/// The columns that are there, for an error. Names beyond the first dozen are
/// left out.
std::string found_columns(const cyborg::io::CsvRecord& header) {
  constexpr size_t kListed = 12;
  std::vector<std::string> names = header.fields;
  names.resize(std::min(names.size(), kListed));
  return quoted_list(names) + (header.fields.size() > kListed ? ", ..." : "");
}

/// Throws where something else than commas separates the columns.
void check_separator(const cyborg::io::CsvRecord& header, const Fail& fail) {
  if (header.fields.size() > 1) {
    return;
  }
  for (const auto& [separator, name] :
       {std::pair(';', "semicolons"), std::pair('\t', "tabs"),
        std::pair('|', "bars")}) {
    if (header.fields[0].find(separator) != std::string::npos) {
      fail(
          header.line, std::string("the columns are separated by ") + name +
                           ": separate them by commas, and write numbers with "
                           "a decimal point");
    }
  }
}

Columns named_columns(const cyborg::io::CsvRecord& header, const Fail& fail) {
  check_separator(header, fail);
  Columns columns;
  for (size_t c = 0; c < header.fields.size(); ++c) {
    if (!columns.emplace(cyborg::io::lower_case(header.fields[c]), c).second) {
      fail(
          header.line, "two columns are named \"" + header.fields[c] +
                           "\": leave one of them out");
    }
  }
  std::vector<std::string> missing;
  for (const auto* name : {"path", "split", "class", "label"}) {
    if (columns.count(name) == 0) {
      missing.emplace_back(name);
    }
  }
  if (!missing.empty()) {
    fail(
        header.line,
        (missing.size() == 1 ? "no column " : "no columns ") +
            quoted_list(missing) + ", found " + found_columns(header) +
            ": the first line must name path, split, class, label, and "
            "score or logit_0, logit_1, ...");
  }
  if (columns.count("score") == 0 && columns.count("logit_0") == 0) {
    fail(
        header.line,
        "neither a column \"score\" nor \"logit_0\", \"logit_1\", ..., found " +
            found_columns(header) + ": write one of them");
  }
  return columns;
}

/// The columns logit_0, logit_1, ..., up to the first that is missing.
std::vector<size_t> logit_columns(const Columns& columns) {
  std::vector<size_t> places;
  for (auto at = columns.find("logit_0"); at != columns.end();
       at = columns.find("logit_" + std::to_string(places.size()))) {
    places.push_back(at->second);
  }
  return places;
}

std::vector<std::string> unused_columns(const Columns& columns, size_t logits) {
  std::vector<std::string> unused;
  for (const auto& [name, place] : columns) {
    bool used = false;
    for (const auto* known :
         {"path", "split", "class", "label", "score", "attack", "group",
          "subject", "test_flip"}) {
      used = used || name == known;
    }
    for (size_t k = 0; k < logits; ++k) {
      used = used || name == "logit_" + std::to_string(k);
    }
    if (!used) {
      unused.push_back(name);
    }
  }
  return unused;
}

/// Reads the numbers of a row.
void read_numbers(
    const cyborg::io::CsvRecord& record, const Columns& columns,
    const std::vector<size_t>& logits, const Fail& fail, ScoreRow* row) {
  double value = 0;
  const auto& label = record.fields[columns.at("label")];
  if (!is_number(label, &value) || value < 0 || value > 9999 ||
      value != std::floor(value)) {
    fail(
        record.line, "the label is \"" + label +
                         "\": write the number of the class, 0, 1, ...");
  }
  row->label = static_cast<int64_t>(value);
  const auto score = columns.find("score");
  if (score != columns.end()) {
    const auto& text = record.fields[score->second];
    if (!is_number(text, &row->score) || row->score < 0 || row->score > 1) {
      fail(
          record.line,
          "the score is \"" + text +
              "\": write the probability of label 1, in [0, 1], or logits in "
              "columns logit_0, logit_1, ... instead");
    }
  }
  for (size_t k = 0; k < logits.size(); ++k) {
    const auto& text = record.fields[logits[k]];
    if (!is_number(text, &value)) {
      fail(
          record.line, "logit_" + std::to_string(k) + " is \"" + text +
                           "\": write a finite number");
    }
    row->logits.push_back(value);
  }
}

/// Notes the name of a label. Throws where another row has another name for it.
void name_class(
    std::map<int64_t, std::string>* names, int64_t label,
    const std::string& name, size_t line, const Fail& fail) {
  if (name.empty()) {
    fail(line, "the class is empty: write its name");
  }
  const auto known = names->emplace(label, name);
  if (!known.second && known.first->second != name) {
    fail(
        line, "label " + std::to_string(label) + " is class \"" + name +
                  "\" here and \"" + known.first->second +
                  "\" above: give each class its own label");
  }
  for (const auto& [other, other_name] : *names) {
    if (other != label && other_name == name) {
      fail(
          line, "class \"" + name + "\" has label " + std::to_string(label) +
                    " here and " + std::to_string(other) +
                    " above: give each class one label");
    }
  }
}

/// How many classes there are. Throws for a label without a logit of its own.
size_t class_count(
    const ScoresTable& table, size_t logits, const std::vector<size_t>& lines,
    const Fail& fail) {
  size_t count = std::max<size_t>(2, logits);
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const auto label = static_cast<size_t>(table.rows[i].label);
    if (label >= 2 && logits < 2) {
      fail(
          lines[i], "label " + std::to_string(label) +
                        " with one score: more than two classes need the "
                        "columns logit_0, logit_1, ..., one a class");
    }
    if (label >= count) {
      fail(
          lines[i], "label " + std::to_string(label) + " has no column logit_" +
                        std::to_string(label) + ": write one logit a class");
    }
  }
  return count;
}

}  // namespace

ScoresTable read_scores(const std::filesystem::path& file) {
  return parse_scores(
      cyborg::io::read_file(file, uint64_t{1} << 31, "evaluate"),
      file.string());
}

ScoresTable parse_scores(const std::string& text, const std::string& name) {
  const Fail fail{name};
  const auto records = cyborg::io::parse_csv(text, fail);
  if (records.size() < 2) {
    fail(
        0, records.empty() ? "holds no rows: write a line that names the "
                             "columns and one a sample"
                           : "holds no rows below its first line: write one a "
                             "sample");
  }
  const auto columns = named_columns(records[0], fail);
  const auto logits = logit_columns(columns);
  ScoresTable table;
  table.name = name;
  for (const auto& unused : unused_columns(columns, logits.size())) {
    table.notes.push_back("column \"" + unused + "\" is not used");
  }
  if (columns.count("test_flip") > 0) {
    table.notes.emplace_back(
        "scores are from the mean logits of each picture and its mirror image "
        "(--test-flip)");
  }
  std::map<int64_t, std::string> names;
  std::vector<size_t> lines;
  for (size_t r = 1; r < records.size(); ++r) {
    const auto& record = records[r];
    if (record.fields.size() != columns.size()) {
      fail(
          record.line, "expected " + std::to_string(columns.size()) +
                           " fields, got " +
                           std::to_string(record.fields.size()) +
                           ": quote a field that holds a comma");
    }
    const auto field = [&](const char* column) {
      const auto at = columns.find(column);
      return at == columns.end() ? std::string() : record.fields[at->second];
    };
    ScoreRow row;
    row.path = field("path");
    row.split = field("split");
    row.attack = field("attack");
    row.group = field("group");
    row.subject = field("subject");
    read_numbers(record, columns, logits, fail, &row);
    name_class(&names, row.label, field("class"), record.line, fail);
    table.rows.push_back(std::move(row));
    lines.push_back(record.line);
  }
  const auto count = class_count(table, logits.size(), lines, fail);
  for (size_t k = 0; k < count; ++k) {
    const auto known = names.find(static_cast<int64_t>(k));
    table.classes.push_back(
        known == names.end() ? "class " + std::to_string(k) : known->second);
  }
  return table;
}

}  // namespace evaluate
