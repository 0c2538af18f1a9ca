// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/picture_bytes.hpp>
#include <cyborg/data/detail/picture_file.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_format.hpp>
#include <cyborg/data/picture_header.hpp>
#include <cyborg/data/table_types.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

namespace detail {

/// Why the picture in a file cannot be read, as far as its header says; "" if it
/// probably can. `promised`: the format that its name says; `kNone`: any. "" for
/// a file that cannot be opened, of which `file_problem` tells.
inline std::string header_problem(
    const std::filesystem::path& path, PictureFormat promised,
    int64_t max_pixels) {
  std::string first(kFormatBytes, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(first.data(), static_cast<std::streamsize>(first.size()));
  first.resize(
      static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (first.empty()) {
    return "";
  }
  auto problem = promise_problem(first, promised, "\"" + path.string() + "\"");
  if (!problem.empty()) {
    return problem;
  }
  const auto header = read_picture_header(path);
  if (header.height > 0 && header.width > 0) {
    return size_problem(header.height, header.width, max_pixels);
  }
  // The size was not found where it should be. The whole file says why.
  try {
    const auto bytes = io::read_file(
        path, max_file_bytes(ImageOptions().max_pixels(max_pixels)),
        "cyborg::data::check_headers");
    return inspect(bytes, picture_format(bytes)).problem;
  } catch (const std::exception&) {
    return "";  // whoever reads the file says why it cannot be read
  }
}

}  // namespace detail

/// The pictures and maps of a table whose headers say that they cannot be read:
/// of another format than their names say or of one that is not read (a page of
/// HTML, a pointer of Git LFS), cut before their size, larger than `max_pixels`.
/// In the order of the rows. Only headers are read, so that a training can call
/// it before it begins. Of files that are not there `check_files` tells.
///
/// `check_extension`, `max_pixels`: as in `ImageOptions`.
/// Example:
///     for (const auto& note : cyborg::data::check_headers(table))
///       std::cerr << note.path << ": " << note.text << '\n';
inline std::vector<FileNote> check_headers(
    const Table& table, bool check_extension = true,
    int64_t max_pixels = ImageOptions().max_pixels()) {
  return detail::notes_of_rows(
      table, [&](size_t i, std::vector<FileNote>& notes) {
        const auto& row = table.rows[i];
        const auto check = [&](const std::string& path, bool check_name) {
          auto problem = detail::header_problem(
              path, detail::checked_format(path, check_name), max_pixels);
          if (!problem.empty()) {
            notes.push_back({i, path, std::move(problem)});
          }
        };
        check(row.path, check_extension);
        for (const auto& map : row.map_files()) {
          check(map, check_extension);
        }
        for (const auto& annotation : row.annotations) {
          if (!annotation->mask.empty()) {
            check(annotation->mask, /*check_name=*/false);
          }
        }
      });
}

}  // namespace cyborg::data
