// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/table_headers.hpp>
#include <cyborg/data/table_types.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <unistd.h>
#endif

// What can be known of the files of a table without decoding them: thousands a
// second. A training calls it before its first epoch.
namespace cyborg::data {

namespace detail {

/// Why a file cannot be read; "" if it probably can. It is not opened.
inline std::string file_problem(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return fs::is_symlink(path, error) ? "is a link to a file that is missing"
                                       : "no such file";
  }
  if (error) {
    return error.message();
  }
  if (fs::is_directory(status)) {
    return "is a directory, expected a file";
  }
  if (!fs::is_regular_file(status)) {
    return "is not a regular file";
  }
  if (fs::file_size(path, error) == 0) {
    return "is empty (0 bytes)";
  }
#if !defined(_WIN32)
  if (::access(path.c_str(), R_OK) != 0) {
    return "cannot be opened: " + std::generic_category().message(errno);
  }
#endif
  return "";
}

/// Whether a map has the proportions of its picture, up to one pixel of the
/// map. Both are {H, W}.
inline bool same_aspect(
    const std::vector<int64_t>& map, const std::vector<int64_t>& picture) {
  // Not in whole numbers: a damaged header may say 2^32 pixels a side.
  const auto product = [](int64_t a, int64_t b) {
    return static_cast<double>(a) * static_cast<double>(b);
  };
  return std::abs(product(map[1], picture[0]) - product(map[0], picture[1])) <=
         static_cast<double>(std::max(picture[0], picture[1]));
}

/// "is 640 x 480, the picture is 320 x 240", width first as people say it.
inline std::string sizes_text(
    const std::vector<int64_t>& map, const std::vector<int64_t>& picture) {
  const auto text = [](const std::vector<int64_t>& size) {
    return std::to_string(size[1]) + " x " + std::to_string(size[0]);
  };
  return "is " + text(map) + ", the picture is " + text(picture);
}

/// What of an annotation does not lie on its picture, of size {H, W}: points, and
/// shapes with no part inside; boxes and polygons that reach over the border by
/// more than a pixel. "" if all does. Masks have no outside.
inline std::string outside_text(
    const Annotation& annotation, const std::vector<int64_t>& picture) {
  const auto& size = annotation.size.empty() ? picture : annotation.size;
  const auto width = static_cast<double>(size[1]);
  const auto height = static_cast<double>(size[0]);
  int64_t all = 0;
  int64_t outside = 0;
  int64_t cut = 0;
  double furthest = 0;  // how far a shape reaches over the border
  // A shape [N, 2]; `margin` is what a line adds around its points.
  const auto add = [&](const torch::Tensor& corners, double margin, bool area) {
    const auto low = corners.amin(/*dim=*/0);
    const auto high = corners.amax(/*dim=*/0);
    const double left = low[0].item<double>(), top = low[1].item<double>();
    const double right = high[0].item<double>();
    const double bottom = high[1].item<double>();
    ++all;
    if (right < -margin || bottom < -margin || left > width + margin ||
        top > height + margin) {
      ++outside;
      return;
    }
    const double over = std::max({-left, -top, right - width, bottom - height});
    if (area && over > 1) {
      ++cut;
      furthest = std::max(furthest, over);
    }
  };
  if (annotation.points.defined()) {
    for (int64_t i = 0; i < annotation.points.size(0); ++i) {
      add(annotation.points.narrow(0, i, 1).narrow(1, 0, 2), 0, false);
    }
  }
  if (annotation.boxes.defined()) {
    for (int64_t i = 0; i < annotation.boxes.size(0); ++i) {
      add(annotation.boxes[i].view({2, 2}), 0, true);
    }
  }
  for (const auto& polygon : annotation.polygons) {
    add(polygon, 0, true);
  }
  for (const auto& stroke : annotation.strokes) {
    add(stroke.points, stroke.width / 2, false);
  }
  const auto is =
      ", which is " + std::to_string(size[1]) + " x " + std::to_string(size[0]);
  std::string text;
  if (outside > 0) {
    text = std::to_string(outside) + " of " + std::to_string(all) +
           " marks are outside of the picture" + is;
  }
  if (cut > 0) {
    text +=
        (text.empty() ? "" : "; ") + std::to_string(cut) + " of " +
        std::to_string(all) + " marks reach over the border of the picture" +
        (outside > 0 ? "" : is) + ", by up to " +
        std::to_string(static_cast<int64_t>(std::ceil(furthest))) + " pixels";
    if (annotation.boxes.defined()) {
      text +=
          " (are corners and width and height confused? The column boxes wants "
          "x0 y0 x1 y1, COCO's bbox x y width height)";
    }
  }
  return text;
}

/// The size {H, W} that an annotation says it was made on; empty if it says
/// none.
inline std::vector<int64_t> annotated_size(
    const Annotation& annotation, const TableHeaders& headers = {}) {
  if (!annotation.size.empty()) {
    return annotation.size;
  }
  if (!annotation.runs.empty()) {
    return annotation.runs.front().size;
  }
  if (annotation.alpha_png.empty() && annotation.mask.empty()) {
    return {};
  }
  return (annotation.alpha_png.empty() ? headers.of(annotation.mask)
                                       : picture_header(annotation.alpha_png))
      .size();
}

}  // namespace detail

/// The pictures and maps of a table that are not there: missing, folders,
/// empty, or not to be read by this user. In the order of the rows. No file is
/// opened, so that a training can call it before it begins.
///
/// Example:
///     for (const auto& note : cyborg::data::check_files(table))
///       std::cerr << note.path << ": " << note.text << '\n';
inline std::vector<FileNote> check_files(const Table& table) {
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        const auto check = [&](const std::string& path) {
          auto problem = detail::file_problem(path);
          if (!problem.empty()) {
            notes.push_back({i, path, std::move(problem)});
          }
        };
        check(row.path);
        for (const auto& map : row.map_files()) {
          check(map);
        }
        for (const auto& annotation : row.annotations) {
          if (!annotation->mask.empty()) {
            check(annotation->mask);
          }
        }
      });
}

/// The pictures and maps that are stored turned, as EXIF's orientation says, in
/// the order of the rows. Only headers are read: those that `headers` lacks.
inline std::vector<FileNote> check_orientation(
    const Table& table, const TableHeaders& headers = {}) {
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        const auto check = [&](const std::string& path) {
          const auto orientation = headers.of(path).orientation;
          if (orientation > 1) {
            notes.push_back(
                {i, path,
                 "has EXIF orientation " + std::to_string(orientation)});
          }
        };
        check(row.path);
        for (const auto& map : row.map_files()) {
          check(map);
        }
      });
}

/// The maps whose proportions are not those of their pictures, by more than one
/// pixel: they may belong to another picture, or to a crop. In the order of the
/// rows. Only headers are read, those that `headers` lacks; files without one are
/// left out.
///
/// `turned_pictures`, `turned_maps`: whether EXIF's orientation is applied to
/// them.
inline std::vector<FileNote> check_proportions(
    const Table& table, bool turned_pictures = false, bool turned_maps = false,
    const TableHeaders& headers = {}) {
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        std::vector<int64_t> picture;
        for (const auto& path : row.map_files()) {
          if (picture.empty()) {
            picture = headers.of(row.path).size(turned_pictures);
          }
          const auto map = headers.of(path).size(turned_maps);
          if (!map.empty() && !picture.empty() &&
              !detail::same_aspect(map, picture)) {
            notes.push_back({i, path, detail::sizes_text(map, picture)});
          }
        }
        for (const auto& annotation : row.annotations) {
          const auto map = detail::annotated_size(*annotation, headers);
          if (map.empty()) {
            continue;
          }
          if (picture.empty()) {
            picture = headers.of(row.path).size(turned_pictures);
          }
          if (!picture.empty() && !detail::same_aspect(map, picture)) {
            notes.push_back(
                {i, annotation->source, detail::sizes_text(map, picture)});
          }
        }
      });
}

/// The annotations of which something lies outside of the picture: points, shapes
/// with no part inside, and boxes and polygons that reach over the border by more
/// than a pixel. What is outside is not drawn; it may belong to another picture,
/// or to another size of it. In the order of the rows. Only headers are read,
/// those that `headers` lacks.
///
/// `turned`: whether EXIF's orientation is applied to the pictures.
inline std::vector<FileNote> check_outside(
    const Table& table, bool turned = false, const TableHeaders& headers = {}) {
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        std::vector<int64_t> picture;
        for (const auto& annotation : row.annotations) {
          if (picture.empty()) {
            picture = headers.of(row.path).size(turned);
          }
          auto text = picture.empty()
                          ? std::string()
                          : detail::outside_text(*annotation, picture);
          if (!text.empty()) {
            notes.push_back({i, annotation->source, std::move(text)});
          }
        }
      });
}

}  // namespace cyborg::data
