// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/detail/standardize.hpp>
#include <cyborg/data/draw_annotation.hpp>
#include <cyborg/data/example.hpp>
#include <cyborg/data/file_check.hpp>
#include <cyborg/data/image.hpp>
#include <cyborg/data/picture_options.hpp>
#include <cyborg/data/read_map.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/human/annotations.hpp>
#include <cyborg/human/gaussian_width.hpp>
#include <cyborg/human/granularity.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/maps/resize.hpp>

#include <torch/arg.h>
#include <torch/data/datasets/base.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::data {

/// What a data set does with a file that cannot be used.
enum class OnError {
  kStop,  ///< throws an `io::FileError`
  kSkip,  ///< leaves the sample out of its batch and lists it in `skipped()`
};

/// Options of `PictureDataset`.
struct PictureDatasetOptions {
  /// Pictures are resized to this size {H, W}, as by `ImageOptions::size`.
  /// Default: they are not resized.
  TORCH_ARG(std::vector<int64_t>, size);
  /// 1: grey, 3: RGB. Default 3.
  TORCH_ARG(int64_t, channels) = 3;
  /// The stored values {low, high} of pictures that become 0 and 1, as in
  /// `ImageOptions`. Maps and masks have no window. Default: none.
  TORCH_ARG(std::vector<double>, window);
  /// Subtracted from the channels of a picture in [0, 1]: one number for each
  /// channel, or one for all. Default: none. ImageNet: {.485, .456, .406}.
  TORCH_ARG(std::vector<double>, mean);
  /// The channels are then divided by it: one number for each channel, or one
  /// for all. Default: none. ImageNet: {.229, .224, .225}.
  TORCH_ARG(std::vector<double>, stddev);
  /// Size {H, W} of the human maps. Default: that of the picture.
  TORCH_ARG(std::vector<int64_t>, map_size);
  /// How maps are resized. Default `maps::Resize::kAntialias`, as published.
  TORCH_ARG(maps::Resize, map_resize) = maps::Resize::kAntialias;
  /// Standard deviation, in pixels of the map's file, of a Gaussian blur of
  /// maps before they are resized; not of maps that are drawn from annotations.
  /// Default 0: no blur.
  TORCH_ARG(double, map_blur) = 0;
  /// How the maps of several annotators become one. Default `Combine::kMean`.
  TORCH_ARG(Combine, combine) = Combine::kMean;
  /// For `Combine::kUnion` and `kBox`: an annotator marked what is above it.
  /// Maps that are drawn from points need one, since Gaussians are above 0
  /// everywhere. Default 0.
  TORCH_ARG(double, threshold) = 0;
  /// The width of points and fixations (`Row::annotations`), in pixels of the
  /// picture's file. Default: none, and rows with points are an error.
  TORCH_ARG(std::optional<human::GaussianWidth>, point_width);
  /// How the values of maps are read. Default `MapValues::kGrey`: a map of
  /// colours is an error.
  TORCH_ARG(MapValues, map_values) = MapValues::kGrey;
  /// Which files are turned as their EXIF orientation says. Default
  /// `Orientation::kIgnore`.
  TORCH_ARG(Orientation, orientation) = Orientation::kIgnore;
  /// What happens to files that cannot be used. Default `OnError::kStop`.
  TORCH_ARG(OnError, on_error) = OnError::kStop;
  /// As in `ImageOptions`.
  TORCH_ARG(int64_t, max_pixels) = ImageOptions().max_pixels();
  /// As in `ImageOptions`.
  TORCH_ARG(bool, check_extension) = true;

 public:
};

/// How a data set reads the files of its pictures.
///
/// Example:
///     auto picture = cyborg::data::read_image(
///         "face.jpg", cyborg::data::image_options(dataset.options()));
inline ImageOptions image_options(const PictureDatasetOptions& options) {
  return ImageOptions()
      .channels(options.channels())
      .size(options.size())
      .window(options.window())
      .max_pixels(options.max_pixels())
      .check_extension(options.check_extension())
      .apply_orientation(options.orientation() != Orientation::kIgnore);
}

namespace detail {

/// One map of the maps of several annotators.
inline torch::Tensor combined(
    const std::vector<torch::Tensor>& maps,
    const PictureDatasetOptions& options) {
  switch (options.combine()) {
    case Combine::kUnion:
      return human::union_of(maps, options.threshold());
    case Combine::kBox:
      return human::box_of_interest(maps, options.threshold());
    case Combine::kAgreement:
      return human::agreement_weighted_of(maps);
    case Combine::kMean:
      break;
  }
  return maps.size() == 1 ? maps[0] : human::mean_of(maps);
}

/// How the files of maps and masks are read.
inline MapOptions map_options(const PictureDatasetOptions& options) {
  return MapOptions()
      .values(options.map_values())
      .max_pixels(options.max_pixels())
      .check_extension(options.check_extension())
      .apply_orientation(options.orientation() == Orientation::kBoth);
}

/// The maps of what the annotators of a row marked.
inline std::vector<torch::Tensor> drawn_maps(
    const Row& row, at::IntArrayRef size,
    const PictureDatasetOptions& options) {
  const auto picture =
      picture_size(row.path, options.orientation() != Orientation::kIgnore);
  if (picture.empty()) {
    throw io::FileError(
        "cyborg::data::read_human_map", row.path,
        "is no PNG, JPEG or BMP picture, so nothing can be drawn on it");
  }
  const auto drawing = DrawAnnotationOptions()
                           .point_width(options.point_width())
                           .max_pixels(options.max_pixels());
  std::vector<torch::Tensor> maps;
  for (const auto& annotation : row.annotations) {
    maps.push_back(draw_annotation(*annotation, picture, size, drawing));
  }
  return maps;
}

}  // namespace detail

/// The human map of a row, of this size {H, W}: the maps of its annotators,
/// first combined, then blurred, then resized; or what they marked, drawn and
/// combined. NaN if the row has neither.
///
/// Of `options`, those are used that say how maps are read and made.
/// Shapes: float32 [H, W]. Range: [0, 1].
/// Throws: `io::FileError` for a map or an annotation that cannot be used, and
///         for a row that has both.
inline torch::Tensor read_human_map(
    const Row& row, at::IntArrayRef size,
    const PictureDatasetOptions& options = {}) {
  const bool any_file = std::any_of(
      row.saliency.begin(), row.saliency.end(),
      [](const auto& path) { return !path.empty(); });
  if (!row.annotations.empty()) {
    if (any_file) {
      throw io::FileError(
          "cyborg::data::read_human_map", row.path,
          "has human maps and annotations: keep one of them");
    }
    return detail::combined(detail::drawn_maps(row, size, options), options);
  }
  if (!any_file) {
    return human::missing(size);
  }
  const auto map_options = detail::map_options(options);
  std::vector<torch::Tensor> maps;
  for (const auto& path : row.saliency) {
    if (!path.empty()) {
      auto map = read_map(path, map_options);
      if (!maps.empty() && map.sizes() != maps[0].sizes()) {
        map = maps::resize(map, maps[0].sizes(), options.map_resize());
      }
      maps.push_back(std::move(map));
    }
  }
  auto map = detail::combined(maps, options);
  if (options.map_blur() > 0) {
    map = human::blur(map, options.map_blur());
  }
  return maps::resize(map, size, options.map_resize());
}

/// A sample that `OnError::kSkip` left out.
struct Skipped {
  size_t index;      ///< its number in the data set
  std::string path;  ///< the picture or the map that cannot be used
  std::string reason;
};

/// Pictures with their labels and human maps, as a data set of `torch::data`.
///
/// The data set keeps the list of rows and no pictures: each `get` reads the
/// picture and its maps from their files. So it needs little memory. Copies
/// share the rows and the list of skipped files (LibTorch makes a copy for each
/// worker thread). Several threads may call all members at the same time.
///
/// A sample is { data [C, H, W] float32, target 0-dim int64, saliency [h, w]
/// float32 in [0, 1], wrong [h, w] float32 in [0, 1] }. If the row names no map,
/// `saliency` is NaN: not annotated. If it names no mask, `wrong` is undefined.
/// Example:
///     auto table = cyborg::data::read_table("faces.csv");
///     cyborg::data::PictureDataset train(
///         table.rows_of("train"),
///         cyborg::data::PictureDatasetOptions().size({224, 224}));
class PictureDataset
    : public torch::data::datasets::Dataset<PictureDataset, GuidedExample> {
 public:
  /// Throws: `c10::ValueError` for invalid options.
  explicit PictureDataset(
      std::vector<Row> rows, PictureDatasetOptions options = {})
      : rows_(std::make_shared<const std::vector<Row>>(std::move(rows))),
        log_(std::make_shared<Log>()),
        options_(std::move(options)) {
    const auto check_size = [](const char* name, const auto& size) {
      TORCH_CHECK_VALUE(
          size.empty() || (size.size() == 2 && size[0] > 0 && size[1] > 0),
          "cyborg::data::PictureDataset: expected ", name, " {H, W}, got ",
          at::IntArrayRef(size));
    };
    check_size("size", options_.size());
    check_size("map_size", options_.map_size());
    TORCH_CHECK_VALUE(
        options_.channels() == 1 || options_.channels() == 3,
        "cyborg::data::PictureDataset: expected 1 or 3 channels, got ",
        options_.channels());
    detail::check_window("cyborg::data::PictureDataset", options_.window());
    detail::check_stddev("cyborg::data::PictureDataset", options_.stddev());
    standard_ = detail::standard(
        "cyborg::data::PictureDataset", options_.channels(), options_.mean(),
        options_.stddev());
  }

  /// One sample.
  ///
  /// Throws: `io::FileError` for a picture or map that cannot be used, also
  /// with `OnError::kSkip`: there is nothing else to return.
  GuidedExample get(size_t index) override {
    const auto& row = this->row(index);
    auto image = read_image(row.path, image_options(options_));
    const auto map_size = !options_.map_size().empty()
                              ? options_.map_size()
                              : image.sizes().slice(1).vec();
    auto map = read_human_map(row, map_size, options_);
    auto wrong = row.wrong.empty()
                     ? torch::Tensor()
                     : maps::resize(
                           read_map(row.wrong, detail::map_options(options_)),
                           map_size, options_.map_resize());
    return {
        detail::standardized(std::move(image), standard_),
        at::scalar_tensor(row.label, at::kLong), std::move(map),
        std::move(wrong),
        row.weight == 1 ? torch::Tensor()
                        : at::scalar_tensor(row.weight, at::kFloat)};
  }

  /// The samples of `indices`, in that order. With `OnError::kSkip` those that
  /// cannot be used are left out, so there may be fewer samples, or none.
  std::vector<GuidedExample> get_batch(at::ArrayRef<size_t> indices) override {
    std::vector<GuidedExample> batch;
    batch.reserve(indices.size());
    for (const auto index : indices) {
      if (options_.on_error() == OnError::kStop) {
        batch.push_back(get(index));
      } else if (!is_skipped(index)) {
        try {
          batch.push_back(get(index));
        } catch (const io::FileError& error) {
          skip(index, error);
        }
      }
    }
    return batch;
  }

  /// The number of rows, also those whose files are skipped.
  detail::SizeHint size() const override { return rows_->size(); }

  const Row& row(size_t index) const {
    TORCH_CHECK_INDEX(
        index < rows_->size(),
        "cyborg::data::PictureDataset: expected an index below ", rows_->size(),
        ", got ", index);
    return (*rows_)[index];
  }

  const PictureDatasetOptions& options() const noexcept { return options_; }

  /// The samples that were left out so far, each once, sorted by index.
  std::vector<Skipped> skipped() const {
    const std::lock_guard<std::mutex> lock(log_->mutex);
    std::vector<Skipped> list;
    for (const auto& entry : log_->skipped) {
      list.push_back(entry.second);
    }
    return list;
  }

 private:
  /// What all copies share: the samples that were left out.
  struct Log {
    std::mutex mutex;
    std::map<size_t, Skipped> skipped;
  };

  bool is_skipped(size_t index) const {
    const std::lock_guard<std::mutex> lock(log_->mutex);
    return log_->skipped.count(index) > 0;
  }

  void skip(size_t index, const io::FileError& error) {
    const std::lock_guard<std::mutex> lock(log_->mutex);
    log_->skipped.emplace(index, Skipped{index, error.path(), error.reason()});
  }

  std::shared_ptr<const std::vector<Row>> rows_;
  std::shared_ptr<Log> log_;
  PictureDatasetOptions options_;
  detail::Standard standard_;
};

}  // namespace cyborg::data
