// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/detail/decode.hpp>
#include <cyborg/data/detail/map_findings.hpp>
#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_findings.hpp>
#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/picture_look.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/data/read_map.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/data/window.hpp>
#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

// The files of one row of a table, each read once, and what is wrong with them.
namespace cyborg::data::detail {

/// What is kept of a row after its files were read.
struct CheckedRow {
  bool read = false;       ///< the picture can be used
  bool annotated = false;  ///< it has a map that is not constant
  bool blank = false;      ///< the picture is the same everywhere
  bool dark = false;       ///< the picture is in `PictureCheck::dark`
  double below = 0;        ///< `PictureLook::below`
  double above = 0;        ///< `PictureLook::above`
  PictureHeader header;    ///< of the picture, if it was read
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
          look(pixels);
          picture_size_ = {pixels.height(), pixels.width()};
          checked_.read = true;
          checked_.header = picture_header(bytes);
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
  /// Looks at what the window leaves of the picture, and notes one that shows
  /// nothing. `misfits_of` is for one that the window does not fit.
  void look(const Pixels& pixels) {
    const auto& window = options_.window();
    if (reaches_above(window, pixels.largest)) {
      return;
    }
    const auto colours = pixels.colours()[0].flatten(/*start_dim=*/1);
    const bool same = colours.amax(/*dim=*/1).equal(colours.amin(/*dim=*/1));
    PictureLook seen;  // without a window the values need no more work
    seen.blank = same;
    seen.mean = same ? colours.max().item<double>() / pixels.largest : 1;
    if (!window.empty()) {
      seen = look_at(pixels, window);
    }
    checked_.blank = seen.blank;
    checked_.below = seen.below;
    checked_.above = seen.above;
    if (seen.blank) {
      const auto in_window =
          window.empty() || same ? "" : " in the window " + window_text(window);
      note(
          checked_.found.blank, row_.path,
          pixels.height() * pixels.width() == 1 ? "is 1 x 1 pixels"
          : seen.mean == 0 ? "is black everywhere" + in_window
          : !in_window.empty() && seen.mean == 1
              ? "is white everywhere" + in_window
              : "is the same everywhere" + in_window);
    } else if (seen.below + seen.above > .5) {
      const auto percent = [](double share) {
        return std::to_string(std::lround(100 * share)) + " %";
      };
      note(
          checked_.found.cut, row_.path,
          percent(seen.below) + " of its values are below the window " +
              window_text(window) + ", and " + percent(seen.above) +
              " above it");
    }
  }

  /// Notes a picture of 16 bits whose values are in the lowest 12, as they are
  /// stored and in the window. `check_map` is for maps.
  void check_dark(const Pixels& pixels) {
    const auto& window = options_.window();
    const auto high = window.empty() ? 65535 : static_cast<int64_t>(window[1]);
    const auto values = pixels.colours();
    const auto largest = values.max().item<double>();
    // A thousandth of the values may be higher.
    const auto higher = values.numel() / 1000;
    if (largest == 0 || high < 4096 ||
        values.gt(4095).sum().item<int64_t>() > higher) {
      return;
    }
    const auto value = static_cast<int64_t>(
        higher == 0
            ? largest
            : std::get<0>(values.flatten().kthvalue(values.numel() - higher))
                  .item<double>());
    if (value * 16 <= high) {
      checked_.dark = true;
      note(
          checked_.found.dark, row_.path,
          "has 16 bits, and no value above " + std::to_string(value) +
              " of 65535" +
              (static_cast<double>(value) < largest
                   ? ", but for 0.1 % of the values"
                   : ""));
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
      if (pixels.deep() && path == row_.path) {
        check_dark(pixels);
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

}  // namespace cyborg::data::detail
