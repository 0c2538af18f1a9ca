// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Maps from features and the gradient of a score by them, for each method.

#include <cyborg/cam/cam_method.hpp>
#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/bmm.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/where.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace cyborg::detail {

/// [B, *S], the sizes of a map over `features` [B, C, *S].
inline std::vector<int64_t> map_sizes(const torch::Tensor& features) {
  std::vector<int64_t> sizes = features.sizes().vec();
  sizes.erase(sizes.begin() + 1);
  return sizes;
}

/// [B, *S], the sum over channels of weights [B, C] times features [B, C, *S].
inline torch::Tensor weigh_channels(
    const torch::Tensor& weights, const torch::Tensor& features) {
  return at::bmm(weights.unsqueeze(1), features.flatten(2))
      .reshape(map_sizes(features));
}

/// The weights [B, C] of XGrad-CAM: the gradient's mean, weighted by the
/// features. A channel whose features add up to nothing has the weight 0.
inline torch::Tensor xgrad_weights(
    const torch::Tensor& gradient, const torch::Tensor& features) {
  const torch::Tensor sum = features.flatten(2).sum(/*dim=*/2);
  const torch::Tensor size = features.flatten(2).abs().sum(/*dim=*/2);
  // Features that cancel out leave rounding noise as the divisor.
  const torch::Tensor nothing = sum.abs() <= 1e-6 * size;
  return ((gradient * features).flatten(2).sum(/*dim=*/2) /
          sum.masked_fill(nothing, 1))
      .masked_fill(nothing, 0);
}

/// The weights [B, C] of Grad-CAM++:
///
///     w = sum over s of max(G, 0) / (2 + (sum over s of A) G), where G is not 0
///
/// Only positive gradients count, so that the divisor is at least 2 where the
/// features are not negative. Elsewhere it is kept at 1e-3 or more.
inline torch::Tensor plus_plus_weights(
    const torch::Tensor& gradient, const torch::Tensor& features) {
  const torch::Tensor positive = gradient.flatten(2).clamp_min(0);
  const torch::Tensor sum =
      features.flatten(2).sum(/*dim=*/2, /*keepdim=*/true);
  return (positive / (2 + sum * positive).clamp_min(1e-3)).sum(/*dim=*/2);
}

/// Eigen-CAM: the features [B, C, *S] along their first right singular vector,
/// which is a constant for the gradient. The vector's sign is arbitrary, so the
/// largest value of each map is made positive.
inline torch::Tensor principal_map(const torch::Tensor& features) {
  const torch::Tensor rows =
      features.flatten(2).transpose(1, 2).contiguous();  // [B, P, C]
  const torch::Tensor direction =
      std::get<2>(at::linalg_svd(rows.detach(), /*full_matrices=*/false))
          .narrow(1, 0, 1)
          .transpose(1, 2);  // [B, C, 1]
  const torch::Tensor map = at::bmm(rows, direction).squeeze(2);
  const torch::Tensor values = map.detach();
  const torch::Tensor turned = values.amax(/*dim=*/1) < -values.amin(/*dim=*/1);
  return at::where(turned.unsqueeze(1), -map, map).reshape(map_sizes(features));
}

/// The maps [B, *S] of a method that needs a gradient. Both tensors are
/// [B, C, *S], in float32 at least. `kAuto` and `kCam` stand for Grad-CAM.
inline torch::Tensor gradient_map(
    CamMethod method, const torch::Tensor& gradient,
    const torch::Tensor& features) {
  switch (method) {
    case CamMethod::kHiResCam:
      return (gradient * features).sum(/*dim=*/1);
    case CamMethod::kLayerCam:
      return (gradient.clamp_min(0) * features).sum(/*dim=*/1);
    case CamMethod::kXGradCam:
      return weigh_channels(xgrad_weights(gradient, features), features);
    case CamMethod::kGradCamPlusPlus:
      return weigh_channels(plus_plus_weights(gradient, features), features);
    case CamMethod::kEigenCam:
      return principal_map(features);
    case CamMethod::kAuto:
    case CamMethod::kCam:
    case CamMethod::kGradCam:
      break;
  }
  return weigh_channels(gradient.flatten(2).mean(/*dim=*/2), features);
}

}  // namespace cyborg::detail
