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

/// Options of `Augment`. All but the horizontal flip is off by default.
struct AugmentOptions {
  /// How often left and right change places, in [0, 1].
  TORCH_ARG(double, horizontal_flip) = 0.5;
  /// How often top and bottom change places, in [0, 1].
  TORCH_ARG(double, vertical_flip) = 0;
  /// Share of the picture's area that a crop keeps at least, in (0, 1]; the
  /// crop is enlarged to the picture's size. 1: not cropped.
  TORCH_ARG(double, min_area) = 1;
  /// How many times as wide or as high as the picture's proportions a crop is
  /// at most, from 1.
  TORCH_ARG(double, aspect) = 4.0 / 3;
  /// Degrees that the picture is turned at most, either way, in [0, 180].
  TORCH_ARG(double, rotation) = 0;
  /// How many times the picture is enlarged or shrunk at most, from 1.
  TORCH_ARG(double, scale) = 1;
  /// Part, in [0, 1], by which the picture becomes darker or brighter at most,
  TORCH_ARG(double, brightness) = 0;
  /// its distance from its mean grey smaller or larger,
  TORCH_ARG(double, contrast) = 0;
  /// and its colours' distance from their grey.
  TORCH_ARG(double, saturation) = 0;
  /// As in `PictureDatasetOptions`, taken off after everything else.
  TORCH_ARG(std::vector<double>, mean);
  /// As in `PictureDatasetOptions`, what remains is divided by.
  TORCH_ARG(std::vector<double>, stddev);
  /// Where all choices come from; the global generator is not touched.
  TORCH_ARG(uint64_t, seed) = 0;

 public:
};

namespace detail {

/// SplitMix64's step between neighbours, and its finaliser (Steele, Lea and
/// Flood, OOPSLA 2014): neighbouring numbers become unrelated ones.
inline constexpr uint64_t kWeyl = 0x9E3779B97F4A7C15ULL;

inline uint64_t mix(uint64_t bits) {
  bits = (bits ^ bits >> 30U) * 0xBF58476D1CE4E5B9ULL;
  bits = (bits ^ bits >> 27U) * 0x94D049BB133111EBULL;
  return bits ^ bits >> 31U;
}

/// One number for two.
inline uint64_t mix(uint64_t first, uint64_t second) {
  return mix(mix(first + kWeyl) ^ second);
}

/// [..., H, W] seen through `theta` [1, 2, 3], which leads from relative output
/// to relative input positions; `fill` where that is outside.
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

/// Moves a picture and its human map together, and changes the colours of the
/// picture alone.
///
/// In this order: flips, exact to the bit; then crop, rotation and scale as one
/// affine map, sampled once (bilinear); colour; and last (x - mean) / stddev,
/// so that colours change in [0, 1] whatever the network wants: a data set
/// below leaves its own mean and stddev empty. Where the picture does not
/// reach, it has its mean colour, and the map 0. Picture and map may differ in
/// size: positions are relative, angles those of the picture's pixels.
///
/// A pure function of example, `seed` and `draw`, whatever the threads. Each
/// choice has a number of its own: turning one on changes no other.
///
/// Shapes: data [C, H, W], floating point; saliency [..., h, w] or undefined;
///         the result has the same.
/// Range: data in [0, 1], where it stays before mean and stddev. A map of NaN
///        stays NaN: not annotated.
/// Throws: `c10::ValueError` for options or shapes that make no sense.
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
    const auto state = detail::mix(options_.seed(), draw);
    move(image, map, state);
    colour(image, state);
    image = detail::standardized(
        image, detail::standard(
                   "cyborg::data::Augment", image.size(0), options_.mean(),
                   options_.stddev(), image.scalar_type()));
    return example;
  }

  const AugmentOptions& options() const noexcept { return options_; }

 private:
  /// The number of each choice.
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

  /// Evenly distributed in [low, high).
  static double uniform(
      uint64_t state, Choice choice, double low, double high) {
    const auto bits = detail::mix(state + choice * detail::kWeyl) >> 11U;
    return low + (high - low) * static_cast<double>(bits) * 0x1p-53;
  }

  void move(torch::Tensor& image, torch::Tensor& map, uint64_t state) const {
    std::vector<int64_t> flipped;
    if (uniform(state, kFlipX, 0, 1) < options_.horizontal_flip()) {
      flipped.push_back(-1);
    }
    if (uniform(state, kFlipY, 0, 1) < options_.vertical_flip()) {
      flipped.push_back(-2);
    }
    if (!flipped.empty()) {
      image = at::flip(image, flipped);
      map = map.defined() ? at::flip(map, flipped) : map;
    }
    if (options_.min_area() == 1 && options_.rotation() == 0 &&
        options_.scale() == 1) {
      return;
    }
    const auto shape = static_cast<double>(image.size(-1)) /
                       static_cast<double>(image.size(-2));
    const auto theta = affine(state, shape);
    // Two means, each of whole rows: the same for any number of threads.
    image = detail::warp(
        image, theta,
        image.mean(/*dim=*/-1, /*keepdim=*/true)
            .mean(/*dim=*/-2, /*keepdim=*/true));
    if (map.defined()) {
      const auto input = maps::detail::as_float_map(map);
      map = maps::detail::keep_missing(
          detail::warp(input, theta, at::zeros({}, input.options())), input,
          /*lead=*/0);
    }
  }

  /// centre + S^-1 R S diag(w, h) / scale, with R the rotation, w and h the
  /// crop's relative size, and S = diag(W, H) = diag(shape, 1) H.
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
    // Two means, as above.
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

/// Any data set of single `GuidedExample`s, each augmented anew in each epoch.
///
/// What happens to a sample is a matter of seed, epoch and index alone: the
/// same whatever the order, the batches and the number of threads. Copies
/// (`Prefetcher` keeps one, LibTorch makes one a worker thread) share the
/// epoch: set it on the one you hold, before the loop over the epoch begins.
/// Throws: `c10::ValueError` as `Augment`, and for a `PictureDataset` that
/// takes off a mean or divides already: `AugmentOptions` does it in the end.
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

  /// One sample, augmented; of a data set that has `get`.
  GuidedExample get(size_t index) {
    return augmented(dataset_.get(index), index);
  }

  /// The samples of `indices`, without those that the data set skips.
  std::vector<GuidedExample> get_batch(at::ArrayRef<size_t> indices) override {
    std::vector<GuidedExample> batch;
    batch.reserve(indices.size());
    for (const auto index : indices) {  // one by one: some may be skipped
      for (auto& example : dataset_.get_batch(index)) {
        batch.push_back(augmented(std::move(example), index));
      }
    }
    return batch;
  }

  detail::SizeHint size() const override { return dataset_.size(); }

  /// The epoch that samples are drawn for, at first 0.
  uint64_t epoch() const noexcept { return *epoch_; }

  /// Sets the epoch, of all copies.
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
