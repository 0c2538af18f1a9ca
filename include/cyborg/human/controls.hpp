// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/human/maps.hpp>

#include <ATen/ops/_unique.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

/// Control maps, which should *not* help. Gains in accuracy were also seen with
/// random and inverted maps (arXiv:2004.05704), so an experiment shows that
/// human maps help only if it has controls.
///
/// All functions take the maps [B, *S] of a whole set or of a batch. A sample
/// that is not annotated (its map is missing or constant) keeps its map, so
/// that a control guides the same samples as the maps that it replaces. Random
/// numbers come from a CPU generator that the caller gives, so they are the
/// same on every device; the global generator is not touched.
/// Example:
///     auto generator = at::make_generator<at::CPUGeneratorImpl>(/*seed=*/7);
///     auto control =
///         cyborg::human::shuffled_within_class(maps, labels, generator);
namespace cyborg::human {

namespace detail {

/// Throws unless `maps` is [B, *S] of floating point.
inline void check_float_maps(const torch::Tensor& maps, const char* function) {
  cyborg::detail::check_maps(function, maps);
  TORCH_CHECK_VALUE(
      maps.is_floating_point(), function,
      ": expected maps of floating point, got ", maps.scalar_type());
}

/// Throws unless `generator` is one of the CPU.
inline void check_generator(
    const at::Generator& generator, const char* function) {
  TORCH_CHECK_VALUE(
      generator.defined() && generator.device().is_cpu(), function,
      ": expected a CPU generator");
}

/// The samples of `control` where those of `maps` are annotated, and the
/// samples of `maps` where not.
inline torch::Tensor where_annotated(
    const torch::Tensor& control, const torch::Tensor& maps) {
  auto mask = annotated(maps);
  while (mask.dim() < maps.dim()) {
    mask = mask.unsqueeze(-1);
  }
  return at::where(mask, control.to(maps.options()), maps);
}

}  // namespace detail

/// For each sample, the index of the sample whose map it gets. Use it when the
/// maps do not all fit in memory.
///
/// The annotated samples are put in random order. Each gets the map of the next
/// one, and the last gets the map of the first. So none keeps its own map where
/// there are two or more. Samples that are not annotated keep theirs. With
/// `labels`, this is done within each class.
/// Shapes: annotated bool [B], labels integer [B] or undefined; returns int64
/// [B] on the CPU.
/// Throws: `c10::ValueError` for other shapes or types or another generator.
inline torch::Tensor shuffled_indices(
    const torch::Tensor& annotated, at::Generator generator,
    const torch::Tensor& labels = {}) {
  constexpr auto* kFunction = "cyborg::human::shuffled_indices";
  detail::check_generator(generator, kFunction);
  TORCH_CHECK_VALUE(
      annotated.defined() && annotated.dim() == 1 &&
          annotated.scalar_type() == at::kBool,
      kFunction, ": expected annotated bool [B], got ",
      annotated.defined() ? annotated.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      !labels.defined() ||
          (labels.sizes() == annotated.sizes() &&
           at::isIntegralType(labels.scalar_type(), /*includeBool=*/true)),
      kFunction, ": expected integer labels ", annotated.sizes(), ", got ",
      labels.defined() ? labels.sizes() : at::IntArrayRef());
  const auto mask = annotated.to(at::kCPU);
  const auto group = labels.defined() ? labels.to(at::kCPU, at::kLong)
                                      : at::zeros(mask.sizes(), at::kLong);
  auto indices = at::arange(mask.size(0), at::kLong);
  const auto classes = std::get<0>(at::_unique(group, /*sorted=*/true));
  for (int64_t c = 0; c < classes.size(0); ++c) {
    const auto members =
        mask.logical_and(group.eq(classes[c])).nonzero().flatten();
    const auto order = members.index_select(
        /*dim=*/0, at::randperm(members.size(0), generator, at::kLong));
    indices.index_copy_(/*dim=*/0, order, order.roll(/*shifts=*/-1));
  }
  return indices;
}

/// The maps, shuffled among all annotated samples.
///
/// Shapes: maps [B, *S]; returns the same. No sample keeps its own map where
/// two or more are annotated (see `shuffled_indices`).
/// Throws: `c10::ValueError`.
inline torch::Tensor shuffled(
    const torch::Tensor& maps, at::Generator generator) {
  detail::check_float_maps(maps, "cyborg::human::shuffled");
  const auto indices = shuffled_indices(annotated(maps), std::move(generator));
  return maps.index_select(/*dim=*/0, indices.to(maps.device()));
}

/// The maps, shuffled among the annotated samples of the same class. What is
/// left is where people look at pictures of this class in general.
///
/// Shapes: maps [B, *S], labels [B] integer; returns as maps.
/// Throws: `c10::ValueError`.
inline torch::Tensor shuffled_within_class(
    const torch::Tensor& maps, const torch::Tensor& labels,
    at::Generator generator) {
  detail::check_float_maps(maps, "cyborg::human::shuffled_within_class");
  TORCH_CHECK_VALUE(
      labels.defined() && labels.dim() == 1 && labels.size(0) == maps.size(0),
      "cyborg::human::shuffled_within_class: expected labels [", maps.size(0),
      "], got ", labels.defined() ? labels.sizes() : at::IntArrayRef());
  const auto indices =
      shuffled_indices(annotated(maps), std::move(generator), labels);
  return maps.index_select(/*dim=*/0, indices.to(maps.device()));
}

/// The inverted maps: 0 where people looked most, and the largest value where
/// they looked least.
///
///     inverted_b = max m_b - m_b
///
/// For maps in [0, 1] that reach 1 this is 1 - m.
///
/// Shapes: maps [B, *S]; returns the same. Throws: `c10::ValueError`.
inline torch::Tensor inverted(const torch::Tensor& maps) {
  detail::check_float_maps(maps, "cyborg::human::inverted");
  std::vector<int64_t> space;
  for (int64_t d = 1; d < maps.dim(); ++d) {
    space.push_back(d);
  }
  return detail::where_annotated(
      maps.amax(space, /*keepdim=*/true) - maps, maps);
}

/// Independent uniform numbers in [0, 1) at every position.
///
/// Shapes: maps [B, *S]; returns the same. Throws: `c10::ValueError`.
inline torch::Tensor random_like(
    const torch::Tensor& maps, at::Generator generator) {
  detail::check_float_maps(maps, "cyborg::human::random_like");
  detail::check_generator(generator, "cyborg::human::random_like");
  return detail::where_annotated(
      at::rand(maps.sizes(), std::move(generator), at::kFloat), maps);
}

/// Maps of ones, which say that every position matters equally.
///
/// The loss does not use a constant map unless its `human_normalizer` is
/// `Normalizer::kNone`. This control needs that setting. For the KL distance it
/// must also be divided by the number of positions.
/// Shapes: returns [count, *size].
inline torch::Tensor uniform(
    int64_t count, at::IntArrayRef size,
    const at::TensorOptions& options = at::kFloat) {
  auto shape = size.vec();
  shape.insert(shape.begin(), count);
  return at::ones(shape, options);
}

/// A Gaussian around the centre, since people look at the middle of any
/// picture.
///
///     m = exp(-d^2 / (2 sigma^2))
///
/// Shapes: returns [count, *size], every map the same; d is the distance, in
/// pixels, to the centre ((size - 1) / 2 in every dimension).
/// Range: (0, 1]; `sigma` in pixels.
/// Throws: `c10::ValueError` for a sigma that is not positive.
inline torch::Tensor centre_gaussian(
    int64_t count, at::IntArrayRef size, double sigma,
    const at::TensorOptions& options = at::kFloat) {
  TORCH_CHECK_VALUE(
      sigma > 0, "cyborg::human::centre_gaussian: expected sigma > 0, got ",
      sigma);
  auto map = at::ones({1}, at::kDouble);
  for (const auto n : size) {
    const auto z =
        (at::arange(n, at::kDouble) - static_cast<double>(n - 1) / 2) / sigma;
    map = map.unsqueeze(-1) * (z * z * -0.5).exp();
  }
  auto shape = size.vec();
  shape.insert(shape.begin(), count);
  return map.expand(shape).to(options).contiguous();
}

/// `control`, but with the samples of `maps` where these are not annotated. Use
/// it after `uniform` and `centre_gaussian`, which take no maps.
///
/// Shapes: both [B, *S]. Throws: `c10::ValueError` where they differ.
inline torch::Tensor like_annotated(
    const torch::Tensor& control, const torch::Tensor& maps) {
  detail::check_float_maps(maps, "cyborg::human::like_annotated");
  TORCH_CHECK_VALUE(
      control.sizes() == maps.sizes(),
      "cyborg::human::like_annotated: expected a control ", maps.sizes(),
      ", got ", control.sizes());
  return detail::where_annotated(control, maps);
}

}  // namespace cyborg::human
