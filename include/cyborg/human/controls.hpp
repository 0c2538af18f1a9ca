// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/human/maps.hpp>

#include <torch/types.h>

#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

/// Maps that should *not* help, to see that human maps do: gains in accuracy
/// were shown to appear with random and inverted maps too (arXiv:2004.05704),
/// so an experiment without controls proves little.
///
/// All take the maps [B, *S] of a whole set, or of a batch. A sample that is
/// not annotated (`annotated`: missing or constant) keeps what it had, so that
/// a control guides as many samples, and the same ones, as the maps it stands
/// for. Randomness comes from a CPU generator that the caller hands over, so
/// the numbers are the same on every device; the global one is not touched.
/// Example:
///     auto generator = at::make_generator<at::CPUGeneratorImpl>(/*seed=*/7);
///     auto control =
///         cyborg::human::shuffled_within_class(maps, labels, generator);
namespace cyborg::human {

namespace detail {

inline void check_maps(const torch::Tensor& maps, const char* function) {
  TORCH_CHECK_VALUE(
      maps.defined() && maps.dim() >= 2 && maps.is_floating_point(), function,
      ": expected floating-point maps [B, *S], got ",
      maps.defined() ? maps.sizes() : at::IntArrayRef());
}

inline void check_generator(
    const at::Generator& generator, const char* function) {
  TORCH_CHECK_VALUE(
      generator.defined() && generator.device().is_cpu(), function,
      ": expected a CPU generator");
}

/// `control` where `maps` are annotated, `maps` elsewhere.
inline torch::Tensor where_annotated(
    const torch::Tensor& control, const torch::Tensor& maps) {
  auto mask = annotated(maps);
  while (mask.dim() < maps.dim()) {
    mask = mask.unsqueeze(-1);
  }
  return at::where(mask, control.to(maps.options()), maps);
}

}  // namespace detail

/// For each sample, the index of the sample whose map it gets.
///
/// Annotated samples, put in random order, each get the next one's map and the
/// last gets the first one's: a permutation in which none keeps its own map
/// where there are two or more. Others keep their own. With `labels`, the maps
/// stay within their class. For maps that are not in memory at once.
/// Shapes: annotated bool [B], labels integer [B] or undefined; returns int64
/// [B] on the CPU.
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

/// The maps, dealt out anew among all annotated samples.
///
/// Shapes: maps [B, *S]; returns the same. No sample keeps its own map where
/// two or more are annotated (see `shuffled_indices`).
/// Throws: `c10::ValueError`.
inline torch::Tensor shuffled(
    const torch::Tensor& maps, at::Generator generator) {
  detail::check_maps(maps, "cyborg::human::shuffled");
  const auto indices = shuffled_indices(annotated(maps), std::move(generator));
  return maps.index_select(/*dim=*/0, indices.to(maps.device()));
}

/// The maps, dealt out anew among the annotated samples of the same class: what
/// is left is where people look at pictures of this class in general.
///
/// Shapes: maps [B, *S], labels [B] integer; returns as maps.
/// Throws: `c10::ValueError`.
inline torch::Tensor shuffled_within_class(
    const torch::Tensor& maps, const torch::Tensor& labels,
    at::Generator generator) {
  detail::check_maps(maps, "cyborg::human::shuffled_within_class");
  TORCH_CHECK_VALUE(
      labels.defined() && labels.dim() == 1 && labels.size(0) == maps.size(0),
      "cyborg::human::shuffled_within_class: expected labels [", maps.size(0),
      "], got ", labels.defined() ? labels.sizes() : at::IntArrayRef());
  const auto indices =
      shuffled_indices(annotated(maps), std::move(generator), labels);
  return maps.index_select(/*dim=*/0, indices.to(maps.device()));
}

/// max_b - m_b, max_b the largest value of that map: 0 where people looked
/// most, and most where they looked least. For maps in [0, 1] that reach 1 it
/// is 1 - m.
///
/// Shapes: maps [B, *S]; returns the same. Throws: `c10::ValueError`.
inline torch::Tensor inverted(const torch::Tensor& maps) {
  detail::check_maps(maps, "cyborg::human::inverted");
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
  detail::check_maps(maps, "cyborg::human::random_like");
  detail::check_generator(generator, "cyborg::human::random_like");
  return detail::where_annotated(
      at::rand(maps.sizes(), std::move(generator), at::kFloat), maps);
}

/// Ones: look everywhere alike.
///
/// The loss takes a constant map for a missing one, unless its
/// `human_normalizer` is `Normalizer::kNone`: this control needs that, and for
/// the KL distance division by the number of positions as well.
/// Shapes: returns [count, *size].
inline torch::Tensor uniform(
    int64_t count, at::IntArrayRef size,
    const at::TensorOptions& options = at::kFloat) {
  auto shape = size.vec();
  shape.insert(shape.begin(), count);
  return at::ones(shape, options);
}

/// A Gaussian around the centre, exp(-d^2 / (2 sigma^2)): people look at the
/// middle of any picture.
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

/// `control`, with the samples that are not annotated in `maps` as they are
/// there: for `uniform` and `centre_gaussian`, which know of no maps.
///
/// Shapes: both [B, *S]. Throws: `c10::ValueError` where they differ.
inline torch::Tensor like_annotated(
    const torch::Tensor& control, const torch::Tensor& maps) {
  detail::check_maps(maps, "cyborg::human::like_annotated");
  TORCH_CHECK_VALUE(
      control.sizes() == maps.sizes(),
      "cyborg::human::like_annotated: expected a control ", maps.sizes(),
      ", got ", control.sizes());
  return detail::where_annotated(control, maps);
}

}  // namespace cyborg::human
