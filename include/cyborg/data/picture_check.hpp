// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/detail/class_counts.hpp>
#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/detail/map_findings.hpp>
#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/data/read_map.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/detail/torch/parallel.hpp>
#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cyborg::data {

/// What `check_pictures` found in a table. A row is its position in
/// `Table::rows`. All lists are in the order of the rows.
struct PictureCheck {
  /// The pictures of one class in one split.
  using Count = ClassCount;
  /// A remark about one file.
  using Note = FileNote;

  /// Sorted by split (train, val, test), then by label. Classes without
  /// pictures are left out.
  std::vector<Count> counts;

  // Faults: with one of them, `ok()` is false.

  /// Pictures and maps that cannot be used, with the reason.
  std::vector<Note> unreadable;
  /// Maps that have the same value everywhere, so that they guide nothing.
  std::vector<Note> constant;
  /// Maps whose values are not clear: of colours, or in the alpha channel.
  std::vector<Note> unclear;
  /// Pictures with marks and an EXIF orientation that is ignored: tools show
  /// the upright picture, so that the marks are probably those of that one.
  std::vector<Note> turned_marks;
  /// Groups of rows whose picture files are equal, if the rows are not all in
  /// one split and one class.
  std::vector<std::vector<size_t>> duplicates;
  /// Masks of what is wrong with small values only, so that they do nearly
  /// nothing: below 1/16 of the largest value that their files can hold.
  std::vector<Note> dark_masks;
  /// Subjects in more than one split, sorted.
  std::vector<std::string> shared_subjects;

  // Warnings.

  /// Maps with other proportions than the picture, by more than one pixel. They
  /// may belong to another picture, or to a crop.
  std::vector<Note> other_aspect;
  /// Maps with the proportions of the picture but of another size. They are
  /// resized when they are used.
  std::vector<Note> other_size;
  /// Annotations of which something lies outside of the picture.
  std::vector<Note> outside;
  /// Files with an EXIF orientation that is not applied to them.
  std::vector<Note> turned;
  /// Pictures that are the same everywhere, for example black, as they are
  /// stored or in the window.
  std::vector<Note> blank;
  /// 16-bit files whose values use the lowest 12 bits at most, but pictures that
  /// a window makes brighter.
  std::vector<Note> dark;
  /// Human maps with small values only, as `dark_masks`. Where a loss does not
  /// stretch them, they guide nearly nothing.
  std::vector<Note> dark_maps;
  /// Human maps that are bright along their whole border and dark inside. Bright
  /// means salient, so they may be inverted.
  std::vector<Note> inverted;
  /// Maps with transparent parts, which are used as if they were opaque.
  std::vector<Note> transparent;
  /// Rows whose picture is also in an earlier row, of the same split and class.
  std::vector<Note> repeated;

  /// Whether there are no faults.
  bool ok() const {
    return unreadable.empty() && constant.empty() && unclear.empty() &&
           turned_marks.empty() && duplicates.empty() && dark_masks.empty() &&
           shared_subjects.empty();
  }
};

namespace detail {

/// What is kept of a row after its files were read.
struct CheckedRow {
  bool read = false;       ///< the picture can be used
  bool annotated = false;  ///< it has a map that is not constant
  /// Size and hash of the picture's file.
  std::pair<size_t, uint64_t> content{};
  PictureCheck found;  ///< the notes of this row
};

/// Reads the files of one row.
class RowCheck {
 public:
  static constexpr auto* kFunction = "cyborg::data::check_pictures";

  RowCheck(const Row& row, size_t index, const PictureDatasetOptions& options)
      : row_(row), index_(index), options_(options) {}

  CheckedRow run() && {
    read(
        row_.path, options_.orientation() != Orientation::kIgnore,
        [&](const Pixels& pixels, std::string_view bytes) {
          check_blank(pixels);  // first, as it may throw
          picture_size_ = {pixels.height(), pixels.width()};
          checked_.read = true;
          checked_.content = {bytes.size(), io::fnv1a(bytes)};
        });
    for (const auto& path : row_.map_files()) {
      read(
          path, options_.orientation() == Orientation::kBoth,
          [&](const Pixels& pixels, std::string_view /*bytes*/) {
            check_map(path, pixels);
          });
    }
    for (const auto& annotation : row_.annotations) {
      if (!picture_size_.empty()) {
        check_annotation(*annotation);
      }
    }
    return std::move(checked_);
  }

 private:
  /// Notes a picture that shows nothing. Throws `io::FileError` for one that
  /// the window does not fit.
  void check_blank(const Pixels& pixels) {
    const auto same_everywhere = [](const Pixels& each) {
      const auto colours = each.colours()[0].flatten(/*start_dim=*/1);
      return colours.amax(/*dim=*/1).equal(colours.amin(/*dim=*/1));
    };
    Pixels shown = pixels;
    std::string in_window;
    if (const auto& window = options_.window(); !window.empty()) {
      shown = windowed(pixels, window, [&](const std::string& reason) {
        throw io::FileError(kFunction, row_.path, reason);
      });
      in_window = same_everywhere(pixels)
                      ? ""
                      : " in the window " + window_text(window);
    }
    if (same_everywhere(shown)) {
      const auto values = shown.colours();
      note(
          checked_.found.blank, row_.path,
          pixels.height() * pixels.width() == 1 ? "is 1 x 1 pixels"
          : values.max().item<double>() == 0 ? "is black everywhere" + in_window
          : !in_window.empty() && values.min().item<double>() == 1
              ? "is white everywhere" + in_window
              : "is the same everywhere" + in_window);
    }
  }

  void check_annotation(const Annotation& annotation) {
    auto& found = checked_.found;
    constexpr int64_t kLargest = 224;  // fast, and loses no mark
    try {
      const auto map = draw_annotation(
          annotation, picture_size_,
          {std::min(kLargest, picture_size_[0]),
           std::min(kLargest, picture_size_[1])},
          DrawAnnotationOptions()
              .point_width(options_.point_width())
              .max_pixels(options_.max_pixels()));
      if (is_constant(map)) {
        note(
            found.constant, annotation.source,
            map.max().item<double>() == 0 ? "marks nothing of the picture"
                                          : "marks all of the picture");
      } else {
        checked_.annotated = true;
      }
    } catch (const io::FileError& error) {
      note(found.unreadable, error.path(), error.reason());
      return;
    }
    auto outside = outside_text(annotation, picture_size_);
    if (!outside.empty()) {
      note(found.outside, annotation.source, std::move(outside));
    }
    const auto size = annotated_size(annotation);
    if (!size.empty() && size != picture_size_) {
      note(
          same_aspect(size, picture_size_) ? found.other_size
                                           : found.other_aspect,
          annotation.source, sizes_text(size, picture_size_));
    }
  }

  void note(
      std::vector<PictureCheck::Note>& list, const std::string& path,
      std::string text) const {
    list.push_back({index_, path, std::move(text)});
  }

  /// Reads and decodes a file once, notes what may be wrong with any file, and
  /// calls `use(pixels, bytes)`.
  template <class Use>
  void read(const std::string& path, bool apply_orientation, const Use& use) {
    auto& found = checked_.found;
    try {
      const auto bytes = io::read_file(
          path,
          max_file_bytes(ImageOptions().max_pixels(options_.max_pixels())),
          kFunction);
      Pixels pixels = decode_pixels(
          bytes, checked_format(path, options_.check_extension()),
          options_.max_pixels(), [&](const std::string& reason) {
            throw io::FileError(kFunction, path, reason);
          });
      const auto orientation = picture_header(bytes).orientation;
      if (orientation != 1 && apply_orientation) {
        pixels.values = detail::turned(pixels.values, orientation);
      } else if (orientation != 1) {
        note(
            path == row_.path && !row_.annotations.empty() ? found.turned_marks
                                                           : found.turned,
            path,
            "has the EXIF orientation " + std::to_string(orientation) +
                ", which is ignored");
      }
      if (pixels.deep() && path == row_.path) {  // maps: check_map
        const auto& window = options_.window();  // maps have none
        const auto high = path == row_.path && !window.empty()
                              ? static_cast<int64_t>(window[1])
                              : 65535;
        const auto largest =
            static_cast<int64_t>(pixels.colours().max().item<double>());
        if (largest > 0 && largest < 4096 && high >= 4096 &&
            largest * 16 <= high) {
          note(
              found.dark, path,
              "has 16 bits, and no value above " + std::to_string(largest) +
                  " of 65535");
        }
      }
      use(pixels, bytes);
    } catch (const io::FileError& error) {
      note(found.unreadable, path, error.reason());
    }
  }

  void check_map(const std::string& path, const Pixels& pixels) {
    auto& found = checked_.found;
    auto problem = map_problem(pixels, options_.map_values());
    if (!problem.empty()) {
      note(found.unclear, path, std::move(problem));
      return;
    }
    const auto map = map_values(pixels, options_.map_values());
    // A mask that is the same everywhere says that nothing is wrong, or all.
    const bool is_mask = path == row_.wrong;
    if (is_mask || !is_constant(map)) {
      checked_.annotated |= !is_mask;
      auto dark = dark_text(map, pixels.largest);
      if (!dark.empty()) {
        note(
            is_mask ? found.dark_masks : found.dark_maps, path,
            std::move(dark));
      }
      if (!is_mask && looks_inverted(map)) {
        note(
            found.inverted, path,
            "is bright along its whole border and dark inside");
      }
    } else {
      note(found.constant, path, constant_text(map));
    }
    if (options_.map_values() != MapValues::kAlpha && varies_in_alpha(pixels)) {
      note(
          found.transparent, path,
          "has transparent parts, which are read as if they were opaque");
    }
    const std::vector<int64_t> size{pixels.height(), pixels.width()};
    if (!picture_size_.empty() && size != picture_size_) {
      note(
          same_aspect(size, picture_size_) ? found.other_size
                                           : found.other_aspect,
          path, sizes_text(size, picture_size_));
    }
  }

  const Row& row_;
  size_t index_;
  const PictureDatasetOptions& options_;
  std::vector<int64_t> picture_size_;  ///< {H, W}; empty: unreadable
  CheckedRow checked_;
};

/// Fills `PictureCheck::duplicates` and `repeated`. Files are equal if their
/// sizes and their hashes are.
inline void find_duplicates(
    const Table& table, const std::vector<CheckedRow>& rows,
    PictureCheck& found) {
  std::map<std::pair<size_t, uint64_t>, std::vector<size_t>> rows_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].read) {
      rows_of[rows[i].content].push_back(i);
    }
  }
  for (const auto& entry : rows_of) {
    const auto& same = entry.second;
    const auto& first = table.rows[same[0]];
    if (std::any_of(same.begin(), same.end(), [&](size_t i) {
          return table.rows[i].split != first.split ||
                 table.rows[i].cls != first.cls;
        })) {
      found.duplicates.push_back(same);
      continue;
    }
    for (size_t k = 1; k < same.size(); ++k) {
      const auto& row = table.rows[same[k]];
      found.repeated.push_back(
          {same[k], row.path,
           row.path != first.path ? "is the same picture as " + first.path
           : first.line > 0
               ? "is in line " + std::to_string(first.line) + " already"
               : "is in the table already"});
    }
  }
  std::sort(found.duplicates.begin(), found.duplicates.end());
  std::sort(
      found.repeated.begin(), found.repeated.end(),
      [](const auto& a, const auto& b) { return a.row < b.row; });
}

}  // namespace detail

/// Reads every picture and map of a table once, on LibTorch's threads, and
/// reports what a person should know before training.
///
/// Of `options`, those are used that say how files are read: `max_pixels`,
/// `check_extension`, `window`, `map_values`, `point_width` and `orientation`.
/// Each thread holds one file at a time.
/// Throws: `c10::ValueError` for an invalid window; nothing for files that cannot
///         be used: the result lists them.
/// Example:
///     const auto found = cyborg::data::check_pictures(table);
///     for (const auto& note : found.unreadable)
///       std::cerr << note.path << ": " << note.text << '\n';
inline PictureCheck check_pictures(
    const Table& table, const PictureDatasetOptions& options = {}) {
  detail::check_window(detail::RowCheck::kFunction, options.window());
  std::vector<detail::CheckedRow> rows(table.rows.size());
  cyborg::detail::parallel(
      static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end);
             ++i) {
          rows[i] = detail::RowCheck(table.rows[i], i, options).run();
        }
      });
  PictureCheck all;
  for (const auto& row : rows) {
    for (const auto list :
         {&PictureCheck::unreadable, &PictureCheck::constant,
          &PictureCheck::unclear, &PictureCheck::turned_marks,
          &PictureCheck::other_aspect, &PictureCheck::other_size,
          &PictureCheck::outside, &PictureCheck::turned, &PictureCheck::blank,
          &PictureCheck::dark, &PictureCheck::dark_masks,
          &PictureCheck::dark_maps, &PictureCheck::inverted,
          &PictureCheck::transparent}) {
      const auto& notes = row.found.*list;
      (all.*list).insert((all.*list).end(), notes.begin(), notes.end());
    }
  }
  all.counts =
      detail::count_classes(table, [&](size_t i) { return rows[i].annotated; });
  detail::find_duplicates(table, rows, all);
  all.shared_subjects = data::shared_subjects(table);
  return all;
}

}  // namespace cyborg::data
