// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/gradient_maps.hpp>
#include <cyborg/cam/methods.hpp>

#include <cstdint>

namespace cyborg {

namespace detail {

/// The map of a method, from features and a score [B], as `grad_cam` takes them.
inline torch::Tensor map_by_gradient(
    const char* function, CamMethod method, const torch::Tensor& features,
    const torch::Tensor& score, const GradCamOptions& options,
    int64_t channel_dim) {
  const AutocastDisabledGuard no_autocast;
  const torch::Tensor gradient =
      feature_gradient(function, features, score, options, channel_dim);
  const torch::Tensor maps = gradient_map(
      method, gradient, to_compute_type(features).movedim(channel_dim, 1));
  return options.relu() ? maps.relu() : maps;
}

}  // namespace detail

/// Further maps, for display. Each can be differentiated, but for a loss of the
/// map CAM and Grad-CAM are simpler and better understood.
namespace functional {

/// LayerCAM: HiResCAM without the positions whose gradient is negative.
///
///     M_b[s] = sum over c of max(G_b[c, s], 0) F_b[c, s]
///
/// It differs from Grad-CAM even for a head W GAP(F) + b, because channels with
/// negative weights are left out.
///
/// Shapes, Range, Gradient, Throws: as `grad_cam`.
/// Source: Jiang et al., "LayerCAM", IEEE TIP 2021.
inline torch::Tensor layer_cam(
    const torch::Tensor& features, const torch::Tensor& score,
    const GradCamOptions& options = {}, int64_t channel_dim = 1) {
  return detail::map_by_gradient(
      "cyborg::functional::layer_cam", CamMethod::kLayerCam, features, score,
      options, channel_dim);
}

/// XGrad-CAM: Grad-CAM whose mean of the gradient is weighted by the features.
///
///     M_b[s] = sum over c of w_b[c] F_b[c, s],
///     w_b[c] = sum over s of G F / sum over s of F
///
/// A channel whose features add up to nothing has the weight 0. Equal to
/// Grad-CAM for a head W GAP(F) + b.
///
/// Shapes, Range, Gradient, Throws: as `grad_cam`.
/// Source: Fu et al., "Axiom-based Grad-CAM", BMVC 2020.
inline torch::Tensor xgrad_cam(
    const torch::Tensor& features, const torch::Tensor& score,
    const GradCamOptions& options = {}, int64_t channel_dim = 1) {
  return detail::map_by_gradient(
      "cyborg::functional::xgrad_cam", CamMethod::kXGradCam, features, score,
      options, channel_dim);
}

/// Grad-CAM++: weights that do not grow with the number of positions that an
/// object covers.
///
///     M_b[s] = sum over c of w_b[c] F_b[c, s],
///     w_b[c] = sum over s of max(G, 0) / (2 + (sum over s of F) G)
///
/// This is the paper's equation for the exponential of the score, without the
/// powers of G that underflow, and without the factor exp(score), which a
/// normalised map does not show.
///
/// Shapes, Range, Gradient, Throws: as `grad_cam`.
/// Source: Chattopadhay et al., "Grad-CAM++", WACV 2018.
inline torch::Tensor grad_cam_plus_plus(
    const torch::Tensor& features, const torch::Tensor& score,
    const GradCamOptions& options = {}, int64_t channel_dim = 1) {
  return detail::map_by_gradient(
      "cyborg::functional::grad_cam_plus_plus", CamMethod::kGradCamPlusPlus,
      features, score, options, channel_dim);
}

/// Eigen-CAM: the features along their first right singular vector. It shows
/// what stands out in the features, of whatever class.
///
///     M_b = X v,  X = F_b as [P, C],  v its first right singular vector
///
/// X is not centred, as in the paper. The sign of v is arbitrary; the largest
/// value of each map is made positive.
///
/// Shapes: `features` [B, C, *S] -> [B, *S].
/// Range: unbounded, in float32 at least.
/// Gradient: to `features`; v is a constant, because its derivative has no
/// bound where two singular values are close.
/// Throws: on other shapes.
/// Source: Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020.
inline torch::Tensor eigen_cam(const torch::Tensor& features) {
  detail::check_features("cyborg::functional::eigen_cam", features);
  const detail::AutocastDisabledGuard no_autocast;
  return detail::principal_map(detail::to_compute_type(features));
}

}  // namespace functional
}  // namespace cyborg
