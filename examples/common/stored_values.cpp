// SPDX-License-Identifier: BSD-3-Clause
#include "stored_values.hpp"

#include "file_checks.hpp"
#include "pictures.hpp"

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/header_check.hpp>
#include <cyborg/data/picture_look.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace programs {

namespace {

namespace data = cyborg::data;
using cyborg::io::FileError;

constexpr size_t kLookedAt = 8;

/// "12.5 %". What is not 0 does not become "0.0 %".
std::string percent(double share) {
  return share > 0 && share < .0005 ? "less than 0.1 %"
                                    : fmt::format("{:.1f} %", 100 * share);
}

/// "2.0 % of the values below the window 0 to 4095, and 10.0 % above it".
std::string cut_text(double below, double above, const Settings& settings) {
  return fmt::format(
      "{} of the values below the window {}, and {} above it", percent(below),
      data::window_text(settings.window), percent(above));
}

/// Of each number of bits how many pictures have it, of which splits and
/// classes, and the first one.
std::string bits_of_classes(
    const data::Table& table, const data::TableHeaders& headers) {
  struct Of {
    int64_t pictures = 0;
    std::string first;
    std::map<std::string, int64_t> groups;
  };
  std::map<int64_t, Of> all;
  for (const auto& row : table.rows) {
    const auto header = headers.of(row.path);
    if (header.found()) {
      auto& of = all[header.bits];
      of.first = of.pictures == 0 ? row.path : of.first;
      ++of.pictures;
      ++of.groups[row.split + " " + row.cls];
    }
  }
  constexpr size_t kListed = 10;
  std::string text;
  for (const auto& [bits, of] : all) {
    std::string groups;
    size_t listed = 0;
    for (const auto& [group, count] : of.groups) {
      if (++listed <= kListed) {
        groups +=
            fmt::format("{}{} {}", groups.empty() ? "" : ", ", group, count);
      }
    }
    if (listed > kListed) {
      groups += fmt::format(" and {} more", listed - kListed);
    }
    text += fmt::format(
        "\n  {} bits: {} pictures ({}), for example {}", bits, of.pictures,
        groups, of.first);
  }
  return text;
}

/// A line for each sign.
std::string list_of_signs(const std::vector<data::ClassSign>& signs) {
  std::string text;
  for (const auto& sign : signs) {
    text += "\n  " + data::to_string(sign);
  }
  return text;
}

/// Warns of pictures, among those that were looked at, that show nothing in the
/// window. `which`: "" or " of split train".
/// Throws where that is all of them.
void add_blank(
    const std::string& begin, const std::string& name, const std::string& which,
    const LookedAt& seen, const std::vector<data::Row>& rows,
    std::vector<std::string>& warnings) {
  if (seen.blank.empty()) {
    return;
  }
  const auto list = list_of_notes(seen.blank, rows);
  if (seen.all_blank()) {
    throw FileError(
        begin, name,
        fmt::format(
            "all {} pictures{} that were looked at show nothing:{}",
            seen.pictures, which, list));
  }
  warnings.push_back(fmt::format(
      "{} of {} pictures{} that were looked at show nothing:{}",
      seen.blank.size(), seen.pictures, which, list));
}

/// Throws where the window leaves less than a twentieth of the values, and left
/// more than half of those of the training.
void throw_cut(
    const std::string& begin, const std::string& name, const LookedAt& seen,
    const Settings& settings) {
  const auto& trained = settings.stored;
  if (seen.pictures > 0 && trained.pictures > 0 &&
      seen.below + seen.above > .95 && trained.below + trained.above < .5) {
    throw FileError(
        begin, name,
        fmt::format(
            "the pictures have other units than those of the training: they "
            "have {}; those of the training had {} and {}",
            cut_text(seen.below, seen.above, settings), percent(trained.below),
            percent(trained.above)));
  }
}

/// Throws for pictures that do not fit the window.
void throw_misfits(
    const std::string& begin, const std::string& name,
    const std::vector<data::FileNote>& notes,
    const std::vector<data::Row>& rows, const Settings& settings) {
  if (!notes.empty()) {
    throw FileError(
        begin, name,
        fmt::format(
            "{} of {} pictures do not fit the window {}:{}", notes.size(),
            rows.size(), data::window_text(settings.window),
            list_of_notes(notes, rows)));
  }
}

/// Whether pictures of 8 bits are left out, because the window cannot be used
/// for them.
bool leaves_8_bits_out(const Settings& settings) {
  return settings.skip_unreadable && !settings.window.empty() &&
         settings.window.back() > 255;
}

/// The bits of the pictures, sorted.
std::vector<int64_t> bits_of(
    const std::vector<data::Row>& rows, const data::TableHeaders& headers) {
  std::set<int64_t> bits;
  for (const auto& row : rows) {
    const auto header = headers.of(row.path);
    if (header.found()) {
      bits.insert(header.bits);
    }
  }
  return {bits.begin(), bits.end()};
}

/// The pictures whose bits no picture of the training has, as far as a checkpoint
/// says.
std::vector<data::FileNote> other_bits(
    const std::vector<data::Row>& rows, const data::TableHeaders& headers,
    const Settings& settings) {
  auto known = settings.stored.bits;
  if (known.empty() && !settings.window.empty() &&
      settings.window.back() > 255) {
    known = {16};  // others cannot have been trained with
  }
  std::vector<data::FileNote> notes;
  for (size_t i = 0; !known.empty() && i < rows.size(); ++i) {
    const auto header = headers.of(rows[i].path);
    if (header.found() &&
        std::find(known.begin(), known.end(), header.bits) == known.end()) {
      notes.push_back(
          {i, rows[i].path,
           fmt::format(
               "has {} bits, and the pictures of the training have {}: save it "
               "with as many bits and with values like those",
               header.bits, fmt::join(known, " or "))});
    }
  }
  return notes;
}

/// A warning where what the window cuts of the pictures, or how bright they are,
/// is very different from the training; "" else.
std::string difference_text(
    const std::string& which, const LookedAt& seen, const Settings& settings) {
  constexpr double kShare = .25;
  constexpr double kTimes = 4;
  const auto& trained = settings.stored;
  if (seen.pictures == 0 || trained.pictures == 0) {
    return "";
  }
  const auto begin = fmt::format(
      "the pictures{} may have other units than those of the training: ",
      which);
  if (std::abs(seen.below - trained.below) > kShare ||
      std::abs(seen.above - trained.above) > kShare) {
    return begin + fmt::format(
                       "they have {}; those of the training had {} and {}",
                       cut_text(seen.below, seen.above, settings),
                       percent(trained.below), percent(trained.above));
  }
  const auto [low, high] = std::minmax(seen.mean, trained.mean);
  return high <= kTimes * low
             ? ""
             : begin +
                   fmt::format(
                       "from 0 (black) to 1 (white) their mean is {:.3f}, and "
                       "that of the training was {:.3f}",
                       seen.mean, trained.mean);
}

/// Whether values may have other units: in a window, and in files of 16 bits.
bool has_units(const Settings& settings, const std::vector<int64_t>& bits) {
  return !settings.window.empty() ||
         std::find(bits.begin(), bits.end(), 16) != bits.end();
}

/// The warnings of bits, formats, colours and sizes.
/// Throws where the bits tell the class, unless `allowed`.
std::vector<std::string> check_kinds(
    const data::Table& table, const data::TableHeaders& headers, bool allowed) {
  constexpr auto* kWayOut =
      "\nSave all with the same number of bits and the same black and white "
      "(docs/train.md, \"Other formats\")";
  std::vector<std::string> warnings;
  if (bits_of(table.rows, headers).size() > 1) {
    const auto signs = data::bits_signs(table, headers);
    const auto kinds = bits_of_classes(table, headers);
    if (signs.empty()) {
      warnings.push_back(
          "the pictures have several numbers of bits. White is 255 in 8 bits "
          "and 65535 in 16, so pictures of 12 bits in files of 16 are nearly "
          "black beside those of 8:" +
          kinds + kWayOut);
    } else {
      const auto text =
          "the number of bits tells the class, so a network can learn it in "
          "place of what the pictures show:" +
          list_of_signs(signs) + kinds + kWayOut;
      if (!allowed) {
        throw FileError(
            "--data", table.name,
            text +
                ", or say --allow-bits-by-class if black and white are the "
                "same already");
      }
      warnings.push_back(text);
    }
  }
  const auto signs = data::header_signs(table, headers);
  if (!signs.empty()) {
    warnings.push_back(
        "a property of the files tells the class, and a network can learn the "
        "traces that it leaves in the pictures:" +
        list_of_signs(signs));
  }
  return warnings;
}

}  // namespace

LookedAt look_at_pictures(
    const std::vector<data::Row>& rows, const Settings& settings) {
  const auto options = data::image_options(dataset_options(settings));
  const auto count = std::min(kLookedAt, rows.size());
  LookedAt seen;
  for (size_t i = 0; i < count; ++i) {
    const auto index = i * rows.size() / count;
    const auto& path = rows[index].path;
    try {
      const auto look = data::look_at_picture(path, options);
      ++seen.pictures;
      seen.below += look.below;
      seen.above += look.above;
      seen.mean += look.mean;
      if (look.blank) {
        seen.blank.push_back(
            {index, path,
             fmt::format(
                 "shows nothing{}: its values are {:.0f} to {:.0f}",
                 settings.window.empty()
                     ? ""
                     : " in the window " + data::window_text(settings.window),
                 look.least, look.largest)});
      }
    } catch (const FileError&) {  // other checks are for these
      continue;
    }
  }
  if (seen.pictures > 0) {
    for (auto* sum : {&seen.below, &seen.above, &seen.mean}) {
      *sum /= static_cast<double>(seen.pictures);
    }
  }
  return seen;
}

StoredValuesReport check_stored_values(
    const data::Table& table, const data::TableHeaders& headers, bool is_new,
    Settings& settings) {
  if (!leaves_8_bits_out(settings)) {
    throw_misfits(
        "--data", table.name, data::check_bits(table, settings.window, headers),
        table.rows, settings);
  }
  StoredValuesReport report;
  report.warnings = check_kinds(
      table, headers, !is_new || settings.stored.allow_bits_by_class);
  auto& stored = settings.stored;
  const bool known = !stored.bits.empty();
  if (!known) {
    stored.bits = bits_of(table.rows_of("train"), headers);
  }
  for (const auto* split : {"train", "val", "test"}) {
    const auto which = std::string(" of split ") + split;
    const bool is_train = which == " of split train";
    const bool units = has_units(settings, stored.bits);
    if (!table.has(split) || (!units && !is_train)) {
      continue;
    }
    const auto rows = table.rows_of(split);
    const auto seen = look_at_pictures(rows, settings);
    if (!known && is_train) {
      stored.pictures = seen.pictures;
      stored.below = seen.below;
      stored.above = seen.above;
      stored.mean = seen.mean;
    }
    if (!settings.window.empty()) {
      add_blank("--data", table.name, which, seen, rows, report.warnings);
      const auto text = fmt::format(
          "{} pictures{} that were looked at have {}", seen.pictures, which,
          cut_text(seen.below, seen.above, settings));
      if (seen.below + seen.above > .5) {
        report.warnings.push_back(text + ": more than half is cut");
      } else if (is_train) {
        report.note = text;
      }
    }
    if (auto text = difference_text(which, seen, settings);
        !is_train && !text.empty()) {
      report.warnings.push_back(std::move(text));
    }
  }
  return report;
}

std::vector<std::string> compare_stored_values(
    const std::string& program, const std::string& name,
    const std::vector<data::Row>& rows, const Settings& settings) {
  data::Table table;
  table.rows = without_maps(rows);
  const data::TableHeaders headers(table);
  std::vector<std::string> warnings;
  auto notes = other_bits(table.rows, headers, settings);
  if (settings.window.empty()) {
    if (!notes.empty()) {
      warnings.push_back(fmt::format(
          "{} of {} pictures have another number of bits than those of the "
          "training, for example {}. White is 255 in 8 bits and 65535 in 16, "
          "so they are darker or brighter if the same values are stored",
          notes.size(), rows.size(), notes.front().path));
    }
  } else if (!leaves_8_bits_out(settings)) {
    if (notes.empty()) {  // as of a checkpoint that lacks the training's bits
      notes = data::check_bits(table, settings.window, headers);
    }
    throw_misfits(program, name, notes, rows, settings);
  }
  const auto seen = look_at_pictures(rows, settings);
  if (!settings.window.empty()) {
    add_blank(program, name, "", seen, rows, warnings);
    throw_cut(program, name, seen, settings);
  } else if (!seen.blank.empty()) {
    warnings.push_back(fmt::format(
        "{} of {} pictures that were looked at show nothing:{}",
        seen.blank.size(), seen.pictures, list_of_notes(seen.blank, rows)));
  }
  if (!has_units(settings, bits_of(table.rows, headers)) &&
      !has_units(settings, settings.stored.bits)) {
    return warnings;
  }
  if (auto text = difference_text("", seen, settings); !text.empty()) {
    warnings.push_back(std::move(text));
  }
  return warnings;
}

}  // namespace programs
