// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/detail/torch/parallel.hpp>
#include <cyborg/io/checksum.hpp>
#include <cyborg/io/file.hpp>

#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
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
  struct Count {
    std::string split;
    std::string cls;
    int64_t pictures = 0;   ///< rows, also unreadable ones
    int64_t annotated = 0;  ///< rows with a readable map that is not constant
    int64_t without = 0;    ///< rows that name no map
  };
  /// A remark about one file.
  using Note = FileNote;

  /// Sorted by split (train, val, test), then by label. Classes without
  /// pictures are left out.
  std::vector<Count> counts;
  /// Pictures and maps that cannot be used, with the reason.
  std::vector<Note> unreadable;
  /// Maps that have the same value everywhere, so that they guide nothing.
  std::vector<Note> constant;
  /// Maps with the proportions of the picture but of another size. They are
  /// resized when they are used.
  std::vector<Note> other_size;
  /// Maps with other proportions than the picture, by more than one pixel. They
  /// may belong to another picture, or to a crop.
  std::vector<Note> other_aspect;
  /// Groups of rows whose picture files are equal, if the rows are not all in
  /// one split and one class.
  std::vector<std::vector<size_t>> duplicates;
  /// Subjects in more than one split, sorted.
  std::vector<std::string> shared_subjects;

  /// Whether every file can be used, no picture is in two splits or classes,
  /// and no subject is in two splits.
  bool ok() const {
    return unreadable.empty() && duplicates.empty() && shared_subjects.empty();
  }
};

namespace detail {

/// What is kept of a row after its files were read.
struct CheckedRow {
  bool read = false;       ///< the picture can be used
  bool annotated = false;  ///< a map can be used and is not constant
  /// Size and hash of the picture's file.
  std::pair<size_t, uint64_t> content{};
  PictureCheck found;  ///< the notes of this row
};

/// Reads and decodes a file once, and calls `use(image, bytes)`. If the file
/// cannot be used, adds a note to `unreadable` instead.
template <class Use>
void check_file(
    const std::string& path, size_t row, const ImageOptions& options,
    std::vector<PictureCheck::Note>& unreadable, const Use& use) {
  constexpr auto* kFunction = "cyborg::data::check_pictures";
  try {
    const auto bytes = io::read_file(path, max_file_bytes(options), kFunction);
    const auto image = decode_picture(
        bytes,
        promised_format(std::filesystem::path(path).extension().string()),
        options, [&](const std::string& reason) {
          throw io::FileError(kFunction, path, reason);
        });
    use(image, bytes);
  } catch (const io::FileError& error) {
    unreadable.push_back({row, path, error.reason()});
  }
}

/// Reads the picture and the maps of one row.
inline CheckedRow check_row(
    const Row& row, size_t index, const ImageOptions& options) {
  CheckedRow checked;
  auto& found = checked.found;
  torch::Tensor picture;
  check_file(
      row.path, index, options, found.unreadable,
      [&](const torch::Tensor& image, std::string_view bytes) {
        picture = image;
        checked.read = true;
        checked.content = {bytes.size(), io::fnv1a(bytes)};
      });
  for (const auto& path : row.saliency) {
    if (path.empty()) {
      continue;
    }
    check_file(
        path, index, ImageOptions(options).channels(1), found.unreadable,
        [&](const torch::Tensor& map, std::string_view /*bytes*/) {
          if (map.max().item<float>() > map.min().item<float>()) {
            checked.annotated = true;
          } else {
            found.constant.push_back({index, path, "is the same everywhere"});
          }
          if (picture.defined() &&
              map.sizes().slice(1) != picture.sizes().slice(1)) {
            const auto of_map = map.sizes().slice(1).vec();
            const auto of_picture = picture.sizes().slice(1).vec();
            (same_aspect(of_map, of_picture) ? found.other_size
                                             : found.other_aspect)
                .push_back({index, path, sizes_text(of_map, of_picture)});
          }
        });
  }
  return checked;
}

/// The counts of `PictureCheck::counts`.
inline std::vector<PictureCheck::Count> count_classes(
    const Table& table, const std::vector<CheckedRow>& rows) {
  std::vector<PictureCheck::Count> counts;
  for (const auto* split : {"train", "val", "test"}) {
    for (const auto& cls : table.classes) {
      PictureCheck::Count count;
      count.split = split;
      count.cls = cls;
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto& row = table.rows[i];
        if (row.split == split && row.cls == cls) {
          ++count.pictures;
          count.annotated += rows[i].annotated ? 1 : 0;
          count.without += std::all_of(
                               row.saliency.begin(), row.saliency.end(),
                               [](const auto& path) { return path.empty(); })
                               ? 1
                               : 0;
        }
      }
      if (count.pictures > 0) {
        counts.push_back(std::move(count));
      }
    }
  }
  return counts;
}

/// The groups of `PictureCheck::duplicates`. Files are equal if their sizes and
/// their hashes are.
inline std::vector<std::vector<size_t>> find_duplicates(
    const Table& table, const std::vector<CheckedRow>& rows) {
  std::map<std::pair<size_t, uint64_t>, std::vector<size_t>> rows_of;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].read) {
      rows_of[rows[i].content].push_back(i);
    }
  }
  std::vector<std::vector<size_t>> duplicates;
  for (const auto& entry : rows_of) {
    const auto& same = entry.second;
    const auto& first = table.rows[same[0]];
    if (std::any_of(same.begin(), same.end(), [&](size_t i) {
          return table.rows[i].split != first.split ||
                 table.rows[i].cls != first.cls;
        })) {
      duplicates.push_back(same);
    }
  }
  std::sort(duplicates.begin(), duplicates.end());
  return duplicates;
}

/// The subjects of `PictureCheck::shared_subjects`. "" is not a subject.
inline std::vector<std::string> find_shared_subjects(const Table& table) {
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

}  // namespace detail

/// Reads every picture and map of a table once, on LibTorch's threads, and
/// reports what a person should know before training.
///
/// Of `options`, only `max_pixels` and `check_extension` are used. Each thread
/// holds one picture and one map at a time.
/// Throws: nothing for files that cannot be used: the result lists them.
/// Example:
///     const auto found = cyborg::data::check_pictures(table);
///     for (const auto& note : found.unreadable)
///       std::cerr << note.path << ": " << note.text << '\n';
inline PictureCheck check_pictures(
    const Table& table, const ImageOptions& options = {}) {
  const auto as_stored = ImageOptions(options).channels(0).size({});
  std::vector<detail::CheckedRow> rows(table.rows.size());
  cyborg::detail::parallel(
      static_cast<int64_t>(rows.size()), [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end);
             ++i) {
          rows[i] = detail::check_row(table.rows[i], i, as_stored);
        }
      });
  PictureCheck all;
  for (const auto& row : rows) {
    for (const auto list :
         {&PictureCheck::unreadable, &PictureCheck::constant,
          &PictureCheck::other_size, &PictureCheck::other_aspect}) {
      const auto& notes = row.found.*list;
      (all.*list).insert((all.*list).end(), notes.begin(), notes.end());
    }
  }
  all.counts = detail::count_classes(table, rows);
  all.duplicates = detail::find_duplicates(table, rows);
  all.shared_subjects = detail::find_shared_subjects(table);
  return all;
}

}  // namespace cyborg::data
