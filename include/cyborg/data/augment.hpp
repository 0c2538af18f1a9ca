// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/detail/standardize.hpp>
#include <cyborg/data/example.hpp>
#include <cyborg/maps/resize.hpp>

#include <torch/arg.h>
#include <torch/data/datasets/base.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Options of `Augment`. By default only the horizontal flip is on.
struct AugmentOptions {
  /// Probability of exchanging left and right, in [0, 1].
  TORCH_ARG(double, horizontal_flip) = 0.5;
  /// Probability of exchanging top and bottom, in [0, 1].
  TORCH_ARG(double, vertical_flip) = 0;
  /// Smallest part of the picture's area that a crop keeps, in (0, 1]. The crop
  /// is enlarged to the size of the picture. 1: no crop.
  TORCH_ARG(double, min_area) = 1;
  /// Largest aspect ratio of a crop (width / height, or height / width),
  /// relative to that of the picture; at least 1.
  TORCH_ARG(double, aspect) = 4.0 / 3;
  /// Largest rotation in degrees, in both directions, in [0, 180].
  TORCH_ARG(double, rotation) = 0;
  /// Largest factor by which the picture is enlarged or shrunk; at least 1.
  TORCH_ARG(double, scale) = 1;
  /// Largest change of brightness, in [0, 1]: all values are multiplied by a
  /// factor in [1 - brightness, 1 + brightness].
  TORCH_ARG(double, brightness) = 0;
  /// Largest change of contrast, in [0, 1]: so is the difference of all values
  /// from the mean grey of the picture.
  TORCH_ARG(double, contrast) = 0;
  /// Largest change of saturation, in [0, 1]: so is the difference of each
  /// colour from its grey.
  TORCH_ARG(double, saturation) = 0;
  /// As in `PictureDatasetOptions`; subtracted after everything else.
  TORCH_ARG(std::vector<double>, mean);
  /// As in `PictureDatasetOptions`; the last step is to divide by it.
  TORCH_ARG(std::vector<double>, stddev);
  /// The seed of all random choices. The global generator is not used.
  TORCH_ARG(uint64_t, seed) = 0;

 public:
};

namespace detail {

/// The difference between two consecutive states of SplitMix64.
inline constexpr uint64_t kWeyl = 0x9E3779B97F4A7C15ULL;

/// The output function of SplitMix64: states that differ by little give numbers
/// that have nothing in common.
/// Source: Steele, Lea and Flood, OOPSLA 2014.
inline uint64_t mix(uint64_t bits) {
  bits = (bits ^ bits >> 30U) * 0xBF58476D1CE4E5B9ULL;
  bits = (bits ^ bits >> 27U) * 0x94D049BB133111EBULL;
  return bits ^ bits >> 31U;
}

/// One random-looking number from two numbers.
inline uint64_t mix(uint64_t first, uint64_t second) {
  return mix(mix(first + kWeyl) ^ second);
}

/// Planes [..., H, W] transformed by `theta` [1, 2, 3], which maps each output
/// position to an input position; both go from -1 to 1. Where the input
/// position is outside, the result is `fill`.
inline torch::Tensor warp(
    const torch::Tensor& planes, const torch::Tensor& theta,
    const torch::Tensor& fill) {
  const auto height = planes.size(-2);
  const auto width = planes.size(-1);
  const auto grid = at::affine_grid_generator(
      theta.to(planes.scalar_type()), {1, 1, height, width},
      /*align_corners=*/false);
  const auto inside = at::grid_sampler_2d(
      planes.reshape({1, -1, height, width}), grid,
      /*interpolation_mode=*/0 /* bilinear */, /*padding_mode=*/1 /* border */,
      /*align_corners=*/false);
  const auto outside = grid.abs().amax(/*dim=*/-1).gt(1 + 1e-6);  // rounding
  return at::where(outside, fill, inside[0]).view(planes.sizes());
}

}  // namespace detail

/// Moves a picture, its human map and its mask of what is wrong together, and
/// changes the colours of the picture.
///
/// The steps, in this order:
/// 1. flips, which are exact;
/// 2. crop, rotation and scale, as one affine transform that is sampled once
///    (bilinear). Positions outside of the picture get its mean colour, and 0
///    in map and mask;
/// 3. brightness, contrast and saturation;
/// 4. (x - mean) / stddev. This comes last, because colours change in [0, 1].
///    So the data set itself must have no mean and no stddev.
///
/// Picture and map may have different sizes: positions are relative, and angles
/// are those in pixels of the picture.
///
/// The result depends on the example, on `seed` and on `draw`, and on nothing
/// else, such as threads. Each choice has its own random number: turning one
/// option on does not change the choices of the others.
///
/// Shapes: data [C, H, W], floating point; saliency, wrong [..., h, w] or
///         undefined.
///         The result has the same shapes.
/// Range: data in [0, 1], where it stays until step 4. A map of NaN (not
///        annotated) stays NaN.
/// Throws: `c10::ValueError` for invalid options, and for other shapes.
/// Example:
///     const cyborg::data::Augment augment(
///         cyborg::data::AugmentOptions().min_area(.5).rotation(10));
///     auto example = augment(set.get(i), /*draw=*/epoch * count + i);
class Augment {
 public:
  explicit Augment(AugmentOptions options = {}) : options_(std::move(options)) {
    check("horizontal_flip", options_.horizontal_flip(), 0, 1);
    check("vertical_flip", options_.vertical_flip(), 0, 1);
    check("min_area", options_.min_area(), 1e-6, 1);
    check("aspect", options_.aspect(), 1, 1e6);
    check("rotation", options_.rotation(), 0, 180);
    check("scale", options_.scale(), 1, 1e6);
    check("brightness", options_.brightness(), 0, 1);
    check("contrast", options_.contrast(), 0, 1);
    check("saturation", options_.saturation(), 0, 1);
    detail::check_stddev("cyborg::data::Augment", options_.stddev());
  }

  /// The augmented example. Each number `draw` stands for other choices.
  GuidedExample operator()(GuidedExample example, uint64_t draw) const {
    auto& image = example.data;
    auto& map = example.saliency;
    TORCH_CHECK_VALUE(
        image.defined() && image.dim() == 3 && image.is_floating_point() &&
            image.numel() > 0,
        "cyborg::data::Augment: expected a picture [C, H, W] of floating "
        "point, got ",
        image.defined() ? image.sizes() : at::IntArrayRef());
    TORCH_CHECK_VALUE(
        !map.defined() || (map.dim() >= 2 && map.numel() > 0),
        "cyborg::data::Augment: expected a human map [h, w], got ",
        map.defined() ? map.sizes() : at::IntArrayRef());
    auto& wrong = example.wrong;
    TORCH_CHECK_VALUE(
        !wrong.defined() || (wrong.dim() >= 2 && wrong.numel() > 0),
        "cyborg::data::Augment: expected a mask [h, w], got ",
        wrong.defined() ? wrong.sizes() : at::IntArrayRef());
    const auto state = detail::mix(options_.seed(), draw);
    move(image, {&map, &wrong}, state);
    colour(image, state);
    image = detail::standardized(
        image, detail::standard(
                   "cyborg::data::Augment", image.size(0), options_.mean(),
                   options_.stddev(), image.scalar_type()));
    return example;
  }

  const AugmentOptions& options() const noexcept { return options_; }

 private:
  /// The number of each choice. It never changes, so that a picture that was
  /// augmented once can be made again by any later version.
  enum Choice : uint64_t {
    kFlipX = 1,
    kFlipY,
    kArea,
    kAspect,
    kCentreX,
    kCentreY,
    kRotation,
    kScale,
    kBrightness,
    kContrast,
    kSaturation,
  };

  static void check(const char* name, double value, double low, double high) {
    TORCH_CHECK_VALUE(
        value >= low && value <= high, "cyborg::data::Augment: expected ", name,
        " in [", low, ", ", high, "], got ", value);
  }

  /// The number of a choice: uniformly distributed in [low, high).
  static double uniform(
      uint64_t state, Choice choice, double low, double high) {
    const auto bits = detail::mix(state + choice * detail::kWeyl) >> 11U;
    return low + (high - low) * static_cast<double>(bits) * 0x1p-53;
  }

  /// Steps 1 and 2, for a picture and what belongs to its positions.
  void move(
      torch::Tensor& image, const std::array<torch::Tensor*, 2>& maps,
      uint64_t state) const {
    std::vector<int64_t> flipped;
    if (uniform(state, kFlipX, 0, 1) < options_.horizontal_flip()) {
      flipped.push_back(-1);
    }
    if (uniform(state, kFlipY, 0, 1) < options_.vertical_flip()) {
      flipped.push_back(-2);
    }
    if (!flipped.empty()) {
      image = at::flip(image, flipped);
      for (auto* map : maps) {
        *map = map->defined() ? at::flip(*map, flipped) : *map;
      }
    }
    if (options_.min_area() == 1 && options_.rotation() == 0 &&
        options_.scale() == 1) {
      return;
    }
    const auto shape = static_cast<double>(image.size(-1)) /
                       static_cast<double>(image.size(-2));
    const auto theta = affine(state, shape);
    // Two means, each over whole rows: so the sum has the same order for any
    // number of threads.
    image = detail::warp(
        image, theta,
        image.mean(/*dim=*/-1, /*keepdim=*/true)
            .mean(/*dim=*/-2, /*keepdim=*/true));
    for (auto* map : maps) {
      if (map->defined()) {
        const auto input = maps::detail::as_float_map(*map);
        *map = maps::detail::keep_missing(
            detail::warp(input, theta, at::zeros({}, input.options())), input,
            /*lead=*/0);
      }
    }
  }

  /// The transform of step 2, from output to input positions in [-1, 1]:
  ///
  ///     input = centre + S^-1 R S diag(w, h) output / scale
  ///
  /// Here R is the rotation, w and h are the size of the crop as parts of the
  /// picture, and S = diag(W, H) = diag(shape, 1) H changes to pixels, so that
  /// the picture is rotated and not sheared. `shape` is W / H.
  torch::Tensor affine(uint64_t state, double shape) const {
    const double area = uniform(state, kArea, options_.min_area(), 1);
    // No side of the crop is longer than the picture's.
    const double widest = std::log(std::min(options_.aspect(), 1 / area));
    const double aspect = std::exp(uniform(state, kAspect, -widest, widest));
    const double w = std::sqrt(area * aspect);
    const double h = std::sqrt(area / aspect);
    const double x = uniform(state, kCentreX, w - 1, 1 - w);
    const double y = uniform(state, kCentreY, h - 1, 1 - h);
    const double angle =
        uniform(state, kRotation, -options_.rotation(), options_.rotation()) *
        std::acos(-1.0) / 180;
    const double largest = std::log(options_.scale());
    const double scale = std::exp(uniform(state, kScale, -largest, largest));
    const double cosine = std::cos(angle) / scale;
    const double sine = std::sin(angle) / scale;
    return at::tensor(
               {cosine * w, -sine * h / shape, x, sine * w * shape, cosine * h,
                y},
               at::kDouble)
        .view({1, 2, 3});
  }

  /// Step 3.
  void colour(torch::Tensor& image, uint64_t state) const {
    if (options_.brightness() == 0 && options_.contrast() == 0 &&
        options_.saturation() == 0) {
      return;
    }
    const auto factor = [&](Choice choice, double part) {
      return uniform(state, choice, 1 - part, 1 + part);
    };
    const auto grey_of = [](const torch::Tensor& picture) {
      return picture.size(0) == 3
                 ? picture[0] * 0.299 + picture[1] * 0.587 + picture[2] * 0.114
                 : picture.mean(/*dim=*/0);
    };
    image = image * factor(kBrightness, options_.brightness());
    // Two means, for the same reason as in `move`.
    const auto level = grey_of(image).mean(/*dim=*/-1).mean(/*dim=*/-1);
    image = at::lerp(
        level.expand_as(image), image, factor(kContrast, options_.contrast()));
    image = at::lerp(
        grey_of(image).expand_as(image), image,
        factor(kSaturation, options_.saturation()));
    image = image.clamp(0, 1);
  }

  AugmentOptions options_;
};

/// A data set of single `GuidedExample`s in which each sample is augmented in
/// another way in each epoch.
///
/// How a sample is augmented depends on seed, epoch and index alone. The order,
/// the batches and the number of threads do not matter. Copies share the epoch
/// (`Prefetcher` keeps a copy, and LibTorch makes one for each worker thread):
/// set it on your own copy, before the loop over the epoch begins.
/// Throws: `c10::ValueError` as `Augment`, and for a `PictureDataset` with mean
/// or stddev; set these in `AugmentOptions`, which uses them last.
/// Example:
///     cyborg::data::Augmented set(
///         cyborg::data::PictureDataset(table.rows_of("train")),
///         cyborg::data::AugmentOptions().min_area(.5).mean({.5}));
///     cyborg::data::Prefetcher loader(set);
///     for (uint64_t epoch = 0; epoch < 50; ++epoch) {
///       set.epoch(epoch);
///       for (auto& batch : loader) step(batch);
///     }
template <class DatasetType>
class Augmented : public torch::data::datasets::BatchDataset<
                      Augmented<DatasetType>, std::vector<GuidedExample>> {
  static_assert(
      std::is_same<
          typename DatasetType::BatchType, std::vector<GuidedExample>>::value,
      "cyborg::data::Augmented: expected a data set of single GuidedExamples, "
      "not stacked");

 public:
  explicit Augmented(DatasetType dataset, AugmentOptions options = {})
      : dataset_(std::move(dataset)), augment_(std::move(options)) {
    if constexpr (std::is_same<DatasetType, PictureDataset>::value) {
      TORCH_CHECK_VALUE(
          dataset_.options().mean().empty() &&
              dataset_.options().stddev().empty(),
          "cyborg::data::Augmented: expected pictures in [0, 1], got a "
          "PictureDataset with mean or stddev; give them to AugmentOptions");
    }
  }

  /// One augmented sample, if the data set has `get`.
  GuidedExample get(size_t index) {
    return augmented(dataset_.get(index), index);
  }

  /// The augmented samples of `indices`, without those that the data set skips.
  std::vector<GuidedExample> get_batch(at::ArrayRef<size_t> indices) override {
    std::vector<GuidedExample> batch;
    batch.reserve(indices.size());
    for (const auto index : indices) {  // one by one, as some may be skipped
      for (auto& example : dataset_.get_batch(index)) {
        batch.push_back(augmented(std::move(example), index));
      }
    }
    return batch;
  }

  detail::SizeHint size() const override { return dataset_.size(); }

  /// The epoch for which samples are augmented; 0 at the beginning.
  uint64_t epoch() const noexcept { return *epoch_; }

  /// Sets the epoch of this data set and of all its copies.
  void epoch(uint64_t number) noexcept { *epoch_ = number; }

  const DatasetType& dataset() const noexcept { return dataset_; }

 private:
  GuidedExample augmented(GuidedExample example, size_t index) const {
    return augment_(std::move(example), detail::mix(*epoch_, index));
  }

  DatasetType dataset_;
  Augment augment_;
  std::shared_ptr<std::atomic<uint64_t>> epoch_ =
      std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace cyborg::data
