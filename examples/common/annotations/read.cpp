// SPDX-License-Identifier: BSD-3-Clause
#include "read.hpp"

#include "readers.hpp"

#include <cyborg/data/fixations.hpp>
#include <cyborg/io/csv.hpp>
#include <cyborg/io/file.hpp>
#include <cyborg/io/text.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>

namespace programs {

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;
using cyborg::human::GaussianWidth;
using cyborg::io::FileError;

/// The first bytes of a file, enough for the first line of a CSV.
std::string beginning_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(4096, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(stream.gcount()));
  if (bytes.empty()) {  // says why
    return cyborg::io::read_file(path, uint64_t{1} << 34, "--annotations");
  }
  return bytes;
}

/// Whether the first line of a CSV names the columns of CVRL's tool.
bool is_cvrl_csv(const std::string& text) {
  const auto line =
      cyborg::io::lower_case(text.substr(0, text.find_first_of("\r\n")));
  struct NoCsv {};
  try {
    const auto names = cyborg::io::parse_csv(
        line, [](size_t, const std::string&) { throw NoCsv(); });
    return !names.empty() && std::count(
                                 names[0].fields.begin(), names[0].fields.end(),
                                 "annotation") > 0;
  } catch (const NoCsv&) {
    return false;
  }
}

data::AnnotationFile read_json(const fs::path& path, const std::string& name) {
  const JsonFile file(path);
  const auto& content = file.content();
  const auto no_names = [&](const char* what) {
    if (!name.empty()) {
      throw FileError(
          "--annotation-name", path,
          fmt::format(
              "is {}, which has no categories or configurations: "
              "leave the option out",
              what));
    }
  };
  if (content.is_object() && content.contains("images") &&
      content.contains("annotations")) {
    return read_coco(file, name);
  }
  const auto* list = content.is_object() && content.contains("results")
                         ? &content.at("results")
                         : &content;
  if (list->is_array() && !list->empty() && list->front().is_object()) {
    const auto& first = list->front();
    if (first.contains("irisImageLink")) {
      return read_viser(file, name);
    }
    if (first.contains("annotation") || first.contains("fields")) {
      no_names("a file of CVRL's annotation tool");
      return read_cvrl(file);
    }
  }
  file.fail(
      "",
      "is JSON of an unknown kind: expected COCO (an object with images and "
      "annotations), VISER (a list of objects with irisImageLink) or CVRL's "
      "annotation tool (a list of objects with image and annotation)");
}

/// Throws where nearly all coordinates are in [0, 1]: shares of the picture,
/// where pixels are expected, would all be in its first pixel. A few marks may
/// lie there, so of a few there is only a warning.
void refuse_shares(data::Table& table) {
  constexpr int64_t kMany = 20;
  constexpr double kNearlyAll = 0.9;  // gazes may leave the picture a little
  const data::Annotation* any = nullptr;
  int64_t all = 0;
  int64_t small = 0;
  const auto add = [&](const data::Annotation& one,
                       const torch::Tensor& places) {
    if (places.defined() && places.numel() > 0) {
      any = &one;
      all += places.numel();
      small += places.ge(0).logical_and(places.le(1)).sum().item<int64_t>();
    }
  };
  for (const auto& row : table.rows) {
    for (const auto& one : row.annotations) {
      add(*one, one->boxes);
      add(*one, one->points.defined() ? one->points.narrow(1, 0, 2)
                                      : torch::Tensor());
      for (const auto& polygon : one->polygons) {
        add(*one, polygon);
      }
    }
  }
  if (any == nullptr ||
      static_cast<double>(small) < kNearlyAll * static_cast<double>(all)) {
    return;
  }
  const auto text = fmt::format(
      "{} of {} coordinates are in [0, 1]: pixels are expected, not shares of "
      "the picture; multiply x by its width and y by its height",
      small, all);
  if (all >= kMany) {
    throw FileError("--annotations", any->source, text);
  }
  if (small == all) {
    table.warnings.push_back(any->source + ": " + text);
  }
}

}  // namespace

data::AnnotationFile read_annotations(
    const fs::path& path, const std::string& name) {
  const auto text = beginning_of(path);
  const auto begin = text.find_first_not_of("\xEF\xBB\xBF \t\r\n");
  if (begin != std::string::npos &&
      (text[begin] == '{' || text[begin] == '[')) {
    return read_json(path, name);
  }
  if (!name.empty()) {
    throw FileError(
        "--annotation-name", path,
        "is no JSON, so it has no categories or configurations: leave the "
        "option out");
  }
  return is_cvrl_csv(text) ? read_cvrl_csv(path) : data::read_fixations(path);
}

void attach_annotations(
    data::Table& table, const AnnotationSettings& settings) {
  if (!settings.file.empty() && fs::is_directory(settings.file)) {
    if (!settings.name.empty()) {
      throw FileError(
          "--annotation-name", settings.file,
          "is a folder of annotators, which has no categories or "
          "configurations: leave the option out, and name a folder with the "
          "annotators that are wanted");
    }
    data::find_maps_of_annotators(table, settings.file);
  } else if (!settings.file.empty()) {
    data::attach_annotations(
        table, read_annotations(settings.file, settings.name));
  }
  refuse_shares(table);
}

std::optional<GaussianWidth> point_width(const AnnotationSettings& settings) {
  if (settings.width == 0) {
    return std::nullopt;
  }
  switch (settings.unit) {
    case WidthUnit::kSigma:
      return GaussianWidth::standard_deviation(settings.width);
    case WidthUnit::kDegrees:
      return GaussianWidth::visual_angle(
          settings.width, settings.screen.at(0), settings.screen.at(1));
    case WidthUnit::kFullWidth:
      break;
  }
  return GaussianWidth::full_width_at_half_maximum(settings.width);
}

void check_annotation_settings(const AnnotationSettings& settings) {
  const bool degrees = settings.unit == WidthUnit::kDegrees;
  if (degrees != !settings.screen.empty()) {
    throw std::invalid_argument(
        degrees ? "--annotation-unit degrees: expected --screen, the distance "
                  "from eye to screen in cm and the picture's pixels in one cm "
                  "of the screen"
                : "--screen: expected --annotation-unit degrees, since no "
                  "other unit needs the screen");
  }
  if (!settings.name.empty() && settings.file.empty()) {
    throw std::invalid_argument(
        "--annotation-name: expected --annotations, the file that has it");
  }
  try {
    point_width(settings);
  } catch (const c10::ValueError& error) {
    throw std::invalid_argument(
        std::string("--annotation-width: ") + error.what_without_backtrace());
  }
}

void check_point_width(
    const std::vector<data::Row>& rows, const AnnotationSettings& settings) {
  if (settings.width > 0) {
    return;
  }
  for (const auto& row : rows) {
    for (const auto& one : row.annotations) {
      if (one->points.defined()) {
        throw std::invalid_argument(fmt::format(
            "--annotation-width: {} has points or fixations, and nobody said "
            "how wide the Gaussian of each is; give the width in pixels of the "
            "picture, for example --annotation-width 25 (docs/annotations.md "
            "helps to choose)",
            one->source));
      }
    }
  }
}

void set_annotation_options(
    const AnnotationSettings& settings, data::PictureDatasetOptions& options) {
  options.combine(settings.combine)
      .threshold(settings.threshold)
      .point_width(point_width(settings));
}

}  // namespace programs
