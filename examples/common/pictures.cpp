// SPDX-License-Identifier: BSD-3-Clause
#include "pictures.hpp"

#include "annotations/read.hpp"
#include "folds.hpp"
#include "map_folders.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

namespace programs {

namespace data = cyborg::data;

data::Table read_pictures(const Settings& settings) {
  auto options = data::TableOptions()
                     .positive(settings.positive)
                     .classes(settings.classes)
                     .saliency(settings.saliency)
                     .wrong(settings.objective.wrong)
                     .path_column(settings.path_column)
                     .class_column(settings.class_column)
                     .split_column(settings.split_column);
  check_map_folder("--saliency", settings.saliency);
  check_map_folder("--wrong", settings.objective.wrong);
  const std::filesystem::path path = settings.data;
  const auto read = [&] {
    return std::filesystem::is_directory(path)
               ? data::read_folders(path, options)
               : data::read_table(path, options);
  };
  auto table = read();
  attach_annotations(table, settings.annotations);
  check_maps_found("--saliency", settings.saliency, table);
  check_maps_found("--wrong", settings.objective.wrong, table);
  if (settings.folds > 0) {
    split_by_subject(table, settings.folds, settings.fold);
  }
  if (settings.classes.empty()) {
    std::set<std::string> trained;
    for (const auto& row : table.rows) {
      if (row.split == "train") {
        trained.insert(row.cls);
      }
    }
    for (const auto& row : table.rows) {
      if (trained.count(row.cls) == 0) {
        throw cyborg::io::FileError(
            "--data",
            row.line == 0 ? row.path
                          : fmt::format("{}:{}", table.name, row.line),
            fmt::format(
                "class \"{}\" is in split {} but not in split train{}", row.cls,
                row.split, table.warnings_text()));
      }
    }
    if (trained.size() < 2) {
      throw cyborg::io::FileError(
          "--data", table.name,
          "expected two classes or more in split train, got " +
              std::to_string(trained.size()) + table.warnings_text());
    }
  }
  return table;
}

bool reads_maps(const Settings& settings) {
  return settings.alpha < 1 ||
         std::any_of(
             settings.objective.terms.begin(), settings.objective.terms.end(),
             [](const TermSetting& term) {
               const auto reads = term_kind(term.kind).reads;
               return reads == TermReads::kMaps || reads == TermReads::kEither;
             });
}

bool reads_wrong(const Settings& settings) {
  return std::any_of(
      settings.objective.terms.begin(), settings.objective.terms.end(),
      [](const TermSetting& term) {
        const auto reads = term_kind(term.kind).reads;
        return reads == TermReads::kWrong || reads == TermReads::kEither;
      });
}

std::vector<data::Row> as_read(
    std::vector<data::Row> rows, const Settings& settings) {
  const bool maps = reads_maps(settings), wrong = reads_wrong(settings);
  for (auto& row : rows) {
    if (!maps) {
      row.saliency.clear();
      row.annotations.clear();
    }
    if (!wrong) {
      row.wrong.clear();
    }
  }
  return rows;
}

bool has_map(const data::Row& row) {
  return row.has_map();
}

std::vector<data::Row> without_maps(std::vector<data::Row> rows) {
  for (auto& row : rows) {
    row.saliency.clear();
    row.annotations.clear();
    row.wrong.clear();
  }
  return rows;
}

data::PictureDatasetOptions dataset_options(const Settings& settings) {
  auto options = data::PictureDatasetOptions();
  set_annotation_options(settings.annotations, options);
  return options.size(settings.size)
      .channels(settings.channels)
      .window(settings.window)
      .mean(settings.mean)
      .stddev(settings.stddev)
      .map_blur(settings.map_blur)
      .map_values(settings.map_values)
      .orientation(settings.exif_orientation)
      .max_pixels(settings.max_pixels)
      .check_extension(!settings.any_extension)
      .on_error(
          settings.skip_unreadable ? data::OnError::kSkip
                                   : data::OnError::kStop);
}

data::PictureDataset dataset_of(
    std::vector<data::Row> rows, const Settings& settings) {
  if (!reads_wrong(settings)) {
    for (auto& row : rows) {
      row.wrong.clear();
    }
  }
  return data::PictureDataset(std::move(rows), dataset_options(settings));
}

torch::Tensor first_picture(
    const std::vector<data::Row>& rows, const Settings& settings) {
  auto pictures = dataset_of(without_maps(rows), settings);
  for (size_t i = 0; settings.skip_unreadable && i < rows.size(); ++i) {
    try {
      return pictures.get(i).data;
    } catch (const cyborg::io::FileError&) {
      continue;
    }
  }
  return pictures.get(0).data;
}

TrainingSet training_set(
    std::vector<data::Row> rows, const Settings& settings) {
  // Augmentation changes the colours of pictures in [0, 1], and then applies
  // mean and standard deviation itself.
  auto plain = settings;
  plain.mean.clear();
  plain.stddev.clear();
  return TrainingSet(
      dataset_of(std::move(rows), plain),
      data::AugmentOptions()
          .horizontal_flip(settings.flip)
          .vertical_flip(settings.vertical_flip)
          .min_area(settings.min_area)
          .rotation(settings.rotation)
          .scale(settings.scale)
          .brightness(settings.brightness)
          .contrast(settings.contrast)
          .saturation(settings.saturation)
          .mean(settings.mean)
          .stddev(settings.stddev)
          .seed(settings.seed));
}

}  // namespace programs
