// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/class_signs.hpp>
#include <cyborg/data/table_types.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cyborg::data {

/// What `check_pictures` found in a table. A row is its position in
/// `Table::rows`. All lists are in the order of the rows.
struct PictureCheck {
  /// The pictures of one class in one split.
  struct Count {
    std::string split;
    std::string cls;
    int64_t pictures = 0;   ///< rows, also unreadable ones
    int64_t annotated = 0;  ///< rows with a readable map that is not constant
    int64_t without = 0;    ///< rows that name no map
    int64_t blank = 0;      ///< pictures that are the same everywhere
    /// Shares of the values that the window cuts to black and to white, averaged
    /// over the pictures; 0 without a window.
    double below = 0;
    double above = 0;
  };
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
  /// Masks of what is wrong with small values only, so that they do nearly
  /// nothing: below 1/16 of the largest value that their files can hold.
  std::vector<Note> dark_masks;
  /// Pictures that do not fit the window, as `check_bits` says.
  std::vector<Note> misfits;
  /// Bits that tell a class, as `class_signs` says: "8 bits", "16 bits" or, of a
  /// picture that is in `dark`, "dark in 16 bits".
  std::vector<ClassSign> bits_signs;
  /// Groups of rows whose picture files are equal, if the rows are not all in
  /// one split and one class.
  std::vector<std::vector<size_t>> duplicates;
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
  /// Pictures of which the window cuts more than half of the values, and not all.
  std::vector<Note> cut;
  /// Pictures of 16 bits whose values use the lowest 12 at most, unless a window
  /// makes them brighter. 0.1 % of the values may be higher: a letter that is
  /// burnt in does not make a picture bright.
  std::vector<Note> dark;
  /// Human maps with small values only, as `dark_masks`. Where a loss does not
  /// stretch them, they guide nearly nothing.
  std::vector<Note> dark_maps;
  /// Human maps that are bright along their whole border and dark inside. Bright
  /// means salient, so they may be inverted.
  std::vector<Note> inverted;
  /// Where some pictures have 8 bits and some have 16: those of the rarer kind.
  std::vector<Note> several_bits;
  /// Formats, numbers of colours and sizes that tell a class (`header_signs`).
  std::vector<ClassSign> header_signs;
  /// Maps with transparent parts, which are used as if they were opaque.
  std::vector<Note> transparent;
  /// Rows whose picture is also in an earlier row, of the same split and class.
  std::vector<Note> repeated;

  /// Whether there are no faults.
  bool ok() const {
    return unreadable.empty() && constant.empty() && unclear.empty() &&
           turned_marks.empty() && dark_masks.empty() && misfits.empty() &&
           bits_signs.empty() && duplicates.empty() && shared_subjects.empty();
  }
};

}  // namespace cyborg::data
