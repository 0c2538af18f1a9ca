// SPDX-License-Identifier: BSD-3-Clause
#include "check.hpp"

#include "../common/annotations/read.hpp"
#include "../common/errors.hpp"
#include "../common/pictures.hpp"
#include "../common/stored_values.hpp"

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_check.hpp>
#include <cyborg/data/same_files.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/report/contact_sheet.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace programs {

namespace {

namespace data = cyborg::data;
using data::PictureCheck;

constexpr size_t kShown = 10;  // findings of a kind; check.csv holds all

/// What was found of one kind.
struct Findings {
  const char* kind;   ///< in check.csv
  const char* title;  ///< on the screen
  bool fault;         ///< or else a warning
  std::vector<PictureCheck::Note> notes;
};

/// The subjects that are in several splits, each at the first of its rows.
std::vector<PictureCheck::Note> subject_notes(
    const data::Table& table, const PictureCheck& found) {
  std::vector<PictureCheck::Note> notes;
  for (const auto& subject : found.shared_subjects) {
    std::set<std::string> splits;
    size_t first = table.rows.size();
    for (size_t i = 0; i < table.rows.size(); ++i) {
      if (table.rows[i].subject == subject) {
        first = std::min(first, i);
        splits.insert(table.rows[i].split);
      }
    }
    notes.push_back(
        {first, table.rows[first].path,
         fmt::format(
             "subject {} is in {}", subject, fmt::join(splits, " and "))});
  }
  return notes;
}

std::vector<PictureCheck::Note> duplicate_notes(
    const data::Table& table, const PictureCheck& found) {
  std::vector<PictureCheck::Note> notes;
  for (const auto& group : found.duplicates) {
    std::string text = "is the same picture as";
    for (size_t i = 1; i < group.size(); ++i) {
      const auto& row = table.rows[group[i]];
      text += fmt::format(
          "{} {} ({}, {})", i > 1 ? "," : "", row.path, row.split, row.cls);
    }
    const auto& first = table.rows[group[0]];
    notes.push_back(
        {group[0], first.path,
         fmt::format("({}, {}) {}", first.split, first.cls, text)});
  }
  return notes;
}

/// Signs of a class, each at the first of its rows.
std::vector<PictureCheck::Note> sign_notes(
    const data::Table& table, const std::vector<data::ClassSign>& signs) {
  std::vector<PictureCheck::Note> notes;
  for (const auto& sign : signs) {
    notes.push_back(
        {sign.row, table.rows[sign.row].path, data::to_string(sign)});
  }
  return notes;
}

/// The pictures for which a window is wrong: those that it does not fit, and
/// where it leaves nothing of all that are looked at, these.
std::vector<PictureCheck::Note> window_notes(
    const data::Table& table, const PictureCheck& found,
    const Settings& settings) {
  auto notes = found.misfits;
  if (!settings.window.empty()) {
    const auto seen = look_at_pictures(table.rows, settings);
    if (seen.all_blank()) {
      notes.insert(notes.end(), seen.blank.begin(), seen.blank.end());
    }
  }
  return notes;
}

std::vector<Findings> findings_of(
    const data::Table& table, const PictureCheck& found,
    const Settings& settings) {
  return {
      {"unreadable", "files that cannot be read", true, found.unreadable},
      {"constant map",
       "maps that have the same value everywhere and so do not guide", true,
       found.constant},
      {"unclear map", "maps of colours, or in an alpha channel", true,
       found.unclear},
      {"same file", "files that are named for two things", true,
       data::check_maps_are_others(table)},
      {"dark mask",
       "masks of what is wrong with small values only, so that they do nearly "
       "nothing",
       true, found.dark_masks},
      {"orientation of marks",
       "pictures with marks and an EXIF orientation that is ignored, although "
       "tools show them upright (--exif-orientation picture)",
       true, found.turned_marks},
      {"window", "pictures that do not fit --window", true,
       window_notes(table, found, settings)},
      {"bits by class", "numbers of bits that tell the class", true,
       sign_notes(table, found.bits_signs)},
      {"duplicate", "the same picture in several splits or classes", true,
       duplicate_notes(table, found)},
      {"subject", "subjects in several splits", true,
       subject_notes(table, found)},
      {"other proportions", "maps of other proportions than their picture",
       false, found.other_aspect},
      {"outside", "annotations that are partly outside of their picture", false,
       found.outside},
      {"orientation",
       "files with an EXIF orientation that is ignored (--exif-orientation)",
       false, found.turned},
      {"blank", "pictures that show nothing", false, found.blank},
      {"cut", "pictures of which --window cuts more than half of the values",
       false, found.cut},
      {"several bits", "pictures of another number of bits than most", false,
       found.several_bits},
      {"files by class", "formats, colours or sizes that tell the class", false,
       sign_notes(table, found.header_signs)},
      {"repeated", "the same picture twice in a split and class", false,
       found.repeated},
      {"dark",
       "files of 16 bits that hold 12 bits or fewer (if all pictures do: "
       "--window 0,4095)",
       false, found.dark},
      {"dark map",
       "human maps with small values only (if a loss does not stretch them, "
       "they guide nearly nothing)",
       false, found.dark_maps},
      {"inverted map", "human maps that look inverted (bright means salient)",
       false, found.inverted},
      {"shared map", "files that are the human map of several pictures", false,
       data::check_shared_maps(table)},
      {"transparent map", "maps with transparent parts", false,
       found.transparent},
      {"other size", "maps of another size than their picture (resized)", false,
       found.other_size}};
}

void print_counts(
    const PictureCheck& found, const std::vector<double>& window) {
  const bool cut = !window.empty();
  fmt::print(
      "{:<6} {:<16} {:>9} {:>9} {:>9}{}\n", "split", "class", "pictures",
      "with map", "without", cut ? "     below     above     blank" : "");
  for (const auto& count : found.counts) {
    fmt::print(
        "{:<6} {:<16} {:>9} {:>9} {:>9}", count.split, count.cls,
        count.pictures, count.annotated, count.without);
    if (cut) {
      fmt::print(
          " {:>7.1f} % {:>7.1f} % {:>9}", 100 * count.below, 100 * count.above,
          count.blank);
    }
    fmt::print("\n");
  }
  if (cut) {
    fmt::print(
        "below and above: values that the window {} cuts; blank: pictures that "
        "show nothing\n",
        data::window_text(window));
  }
}

void print_findings(const Findings& findings) {
  const auto& notes = findings.notes;
  if (notes.empty()) {
    return;
  }
  fmt::print(
      "\n{}: {}: {}\n", findings.fault ? "fault" : "warning", findings.title,
      notes.size());
  for (size_t i = 0; i < std::min(kShown, notes.size()); ++i) {
    fmt::print("  {}: {}\n", notes[i].path, with_flags(notes[i].text, "train"));
  }
  if (notes.size() > kShown) {
    fmt::print("  and {} more in check.csv\n", notes.size() - kShown);
  }
}

/// All that was found: kind, path, line in the CSV of the pictures, text.
std::string csv_of(const data::Table& table, const std::vector<Findings>& all) {
  std::string csv = "kind,path,line,text\n";
  const auto add = [&](const std::string& kind, const std::string& path,
                       size_t line, const std::string& text) {
    csv += fmt::format(
        "{},{},{},{}\n", kind, cyborg::io::csv_field(path),
        line > 0 ? std::to_string(line) : "",
        cyborg::io::csv_field(with_flags(text, "train")));
  };
  for (const auto& findings : all) {
    for (const auto& note : findings.notes) {
      add(findings.kind, note.path, table.rows[note.row].line, note.text);
    }
  }
  for (const auto& warning : table.warnings) {
    add("table", table.name, 0, warning);
  }
  return csv;
}

}  // namespace

bool check_data(const TrainOptions& options) {
  const auto table = read_pictures(options.settings);
  check_point_width(table.rows, options.settings.annotations);
  const auto reading = dataset_options(options.settings);
  for (const auto& note : table.notes) {
    fmt::print("{}\n", note);
  }
  for (const auto& warning : table.warnings) {
    fmt::print("warning: {}\n", with_flags(warning, "train"));
  }
  const auto found = data::check_pictures(table, reading);
  const auto all = findings_of(table, found, options.settings);
  print_counts(found, options.settings.window);
  std::string faults;
  for (const auto& findings : all) {
    print_findings(findings);
    if (findings.fault && !findings.notes.empty()) {
      faults += fmt::format(
          "{}{}: {}", faults.empty() ? "" : "; ", findings.title,
          findings.notes.size());
    }
  }
  std::filesystem::create_directories(options.out);
  const auto csv = options.out / "check.csv";
  const auto sheet = options.out / "maps.png";
  cyborg::io::write_file(csv, csv_of(table, all));
  data::write_png(
      sheet, cyborg::report::contact_sheet(
                 table, /*rows=*/4, /*columns=*/6, /*tile=*/128, reading));
  fmt::print("\nall that was found: {}\n", csv.string());
  fmt::print("some pictures with their maps: {}\n", sheet.string());
  fmt::print(
      "{}\n", faults.empty() ? "verdict: ok" : "verdict: not ok: " + faults);
  return faults.empty();
}

}  // namespace programs
