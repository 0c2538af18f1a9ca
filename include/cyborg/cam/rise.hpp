// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/core/Generator.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>
#include <torch/arg.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace cyborg {

/// Options of `functional::rise`.
struct RiseOptions {
  /// How many random masks each picture gets. Default 2000.
  TORCH_ARG(int64_t, masks) = 2000;
  /// Cells of a mask's grid in each direction. Default 8.
  TORCH_ARG(int64_t, cells) = 8;
  /// The probability that a cell is shown. Default 0.5, as in the paper.
  TORCH_ARG(double, probability) = 0.5;
  /// How many masked pictures the network sees at once. Default 64.
  TORCH_ARG(int64_t, batch) = 64;
  /// A CPU generator of the masks. Default: the global one.
  TORCH_ARG(at::Generator, generator);

 public:
};

namespace detail {

/// Random masks [N, 1, H, W] in [0, 1]: a grid of shown and hidden cells,
/// enlarged, and moved by a part of a cell.
inline torch::Tensor rise_masks(
    const RiseOptions& options, int64_t count, int64_t height, int64_t width) {
  const int64_t cells = options.cells();
  const int64_t tall = (height + cells - 1) / cells;
  const int64_t wide = (width + cells - 1) / cells;
  const c10::optional<at::Generator> generator =
      options.generator().defined()
          ? c10::optional<at::Generator>(options.generator())
          : c10::nullopt;
  const torch::Tensor grid =
      at::rand({count, 1, cells, cells}, generator, at::kFloat)
          .lt(options.probability())
          .to(at::kFloat);
  const torch::Tensor large = at::upsample_bilinear2d(
      grid, {(cells + 1) * tall, (cells + 1) * wide}, /*align_corners=*/false);
  const torch::Tensor y =
      at::randint(tall, {count}, generator, at::TensorOptions(at::kLong));
  const torch::Tensor x =
      at::randint(wide, {count}, generator, at::TensorOptions(at::kLong));
  std::vector<torch::Tensor> masks;
  for (int64_t i = 0; i < count; ++i) {
    masks.push_back(large[i]
                        .narrow(1, y.data_ptr<int64_t>()[i], height)
                        .narrow(2, x.data_ptr<int64_t>()[i], width));
  }
  return at::stack(masks);
}

}  // namespace detail

namespace functional {

/// RISE: how much a class's probability depends on each pixel, from pictures
/// that are hidden at random. It needs no features and no gradient, so it works
/// for any network.
///
///     M = 1 / (N p) sum over masks m of f(x m)[target] m
///
/// Costs `masks` forward passes a picture. Masks are the same for all pictures
/// of a call. Values outside of what a mask shows are 0, the mean colour of
/// standardised pictures.
///
/// Shapes: `forward` maps pictures [n, C, H, W] to probabilities [n, K];
/// `images` [B, C, H, W]; `target` [B] -> [B, H, W] float32.
/// Range: [0, 1 / probability]; probabilities in [0, 1].
/// Gradient: none.
/// Throws: for options out of range, and for other shapes.
/// Source: Petsiuk et al., "RISE", BMVC 2018.
/// Example:
///     auto maps = functional::rise(
///         [&](const torch::Tensor& x) { return net->forward(x).softmax(1); },
///         images, labels);
inline torch::Tensor rise(
    const std::function<torch::Tensor(const torch::Tensor&)>& forward,
    const torch::Tensor& images, const torch::Tensor& target,
    const RiseOptions& options = {}) {
  constexpr const char* kFunction = "cyborg::functional::rise";
  TORCH_CHECK_VALUE(
      images.defined() && images.dim() == 4 && images.is_floating_point() &&
          images.numel() > 0,
      kFunction, ": expected images [B, C, H, W], got ",
      images.defined() ? images.sizes() : at::IntArrayRef());
  TORCH_CHECK_VALUE(
      options.masks() >= 1 && options.cells() >= 1 && options.batch() >= 1 &&
          options.probability() > 0 && options.probability() <= 1,
      kFunction,
      ": expected masks, cells and batch >= 1 and probability in (0, 1], got ",
      options.masks(), ", ", options.cells(), ", ", options.batch(), " and ",
      options.probability());
  const at::NoGradGuard no_grad;
  const int64_t count = images.size(0);
  const int64_t height = images.size(2), width = images.size(3);
  torch::Tensor maps =
      at::zeros({count, height, width}, images.options().dtype(at::kFloat));
  for (int64_t done = 0; done < options.masks();) {
    const int64_t some = std::min(options.batch(), options.masks() - done);
    const torch::Tensor masks =
        detail::rise_masks(options, some, height, width).to(images.device());
    for (int64_t b = 0; b < count; ++b) {
      const torch::Tensor shares =
          forward(images.narrow(0, b, 1) * masks.to(images.scalar_type()));
      TORCH_CHECK_VALUE(
          shares.dim() == 2 && shares.size(0) == some, kFunction,
          ": expected probabilities [", some, ", K] of the network, got ",
          shares.sizes());
      detail::check_labels(kFunction, target, images, shares.size(1));
      const torch::Tensor of_class =
          shares.to(at::kFloat)
              .index_select(
                  1, target.narrow(0, b, 1).to(shares.device(), at::kLong));
      maps[b] += (of_class.reshape({some, 1, 1}) * masks.squeeze(1)).sum(0);
    }
    done += some;
  }
  return maps / (static_cast<double>(options.masks()) * options.probability());
}

}  // namespace functional
}  // namespace cyborg
