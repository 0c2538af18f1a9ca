// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/cam_method.hpp>
#include <cyborg/cam/detail/gradient_maps.hpp>
#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/detail/kernels/feature_pass.hpp>
#include <cyborg/detail/torch/autograd.hpp>  // grad
#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <torch/arg.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cyborg {

/// The class whose evidence a map shows.
enum class CamClass {
  kLabel,       ///< the label of the sample
  kPredicted,   ///< the class with the highest logit
  kAll,         ///< every class: maps [B, K, *S]
  kDifference,  ///< the label's map minus that of its strongest rival
  kFixed,       ///< one class, the same for all samples
};

/// Options of `functional::grad_cam` and `functional::hires_cam`.
struct GradCamOptions {
  /// Whether the gradient is treated as a constant. This is cheaper, because no
  /// second derivative is built. But the gradient of the map is then another
  /// one, and it does not reach the layers above the features. Default false.
  TORCH_ARG(bool, detach_weights) = false;
  /// Whether negative values become 0, as the papers do for display. Default
  /// false: a map that is negative everywhere would train nothing.
  TORCH_ARG(bool, relu) = false;

 public:
};

namespace detail {

/// The name of a choice that needs the labels, for errors.
inline const char* name_of(CamClass which) {
  return which == CamClass::kLabel        ? "kLabel"
         : which == CamClass::kDifference ? "kDifference"
                                          : "kFixed";
}

/// +1 for label 1 and -1 for label 0: a single logit is that of class 1, so the
/// map of class 0 is the negated one.
inline torch::Tensor label_sign(
    const torch::Tensor& target, at::ScalarType type) {
  return target.to(type).mul(2).sub(1);
}

/// K of logits [B, K]; logits [B] have one. One logit separates two classes.
inline int64_t logit_count(const torch::Tensor& logits) {
  return logits.dim() == 1 ? 1 : logits.size(1);
}

/// [B] int64, the class with the highest logit. A single logit predicts class 1
/// where it is above 0.
inline torch::Tensor predicted_classes(const torch::Tensor& logits) {
  return logit_count(logits) == 1 ? logits.reshape({-1}).gt(0).to(at::kLong)
                                  : logits.argmax(/*dim=*/1);
}

/// The maps of the targets' classes in the form "features and rows of a head",
/// in float32 at least. A head of one row is that of class 1, so the negative
/// row is added for class 0.
inline ModelMap class_map(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& target) {
  const at::ScalarType type = compute_type(
      c10::promoteTypes(features.scalar_type(), weight.scalar_type()));
  const torch::Tensor rows = weight.to(type);
  return {
      features.to(type),
      (rows.size(0) == 1 ? at::cat({-rows, rows}) : rows).contiguous(),
      resolved_contiguous(target.to(at::kLong))};
}

/// The name of the first operator on the graph of `gradient` whose derivative
/// LibTorch does not know; empty where all are known. Such an operator leaves a
/// node that throws when a backward pass reaches it.
inline std::string underivable(const torch::Tensor& gradient) {
  std::string found;
  walk_to(gradient, /*map=*/{}, [&](const Node& node) {
    const std::string name = node.name();
    if (const auto* missing =
            dynamic_cast<const torch::autograd::NotImplemented*>(&node)) {
      found = missing->msg;
    } else if (starts_with(name, "CdistBackwardBackward")) {
      found = "cdist";
    } else if (starts_with(name, "PdistBackwardBackward")) {
      found = "pdist";
    }
  });
  return found;
}

/// d(sum of score) / d(features), as it lies in memory. In gradient mode it has
/// a graph, so that a loss of the map can be differentiated; `detach_weights`
/// leaves that graph out.
/// Throws: on behalf of `function`, when no graph leads from `score` to
/// `features`, when a backward pass has freed it, or when it cannot be
/// differentiated once more.
inline torch::Tensor score_gradient(
    const char* function, const torch::Tensor& features,
    const torch::Tensor& score, const GradCamOptions& options) {
  constexpr const char* kUnderivable =
      ": a loss of this map cannot be differentiated, because LibTorch has "
      "no second derivative of an operator above the features (";
  constexpr const char* kDetach =
      "); treat the map's weights as constants with detach_weights(true)";
  TORCH_CHECK_VALUE(
      score.requires_grad() && features.requires_grad(), function,
      ": expected a score with a graph to the features, got ",
      features.requires_grad() ? "a score" : "features",
      " without one (computed with gradients off, or detached)");
  const bool attached = at::GradMode::is_enabled() && !options.detach_weights();
  // The graph is kept: the task loss runs backward through it later.
  // Ones instead of a sum: with gradient mode off a sum would have no graph.
  torch::Tensor gradient;
  try {
    gradient = torch::autograd::grad(
        {score}, {features},
        /*grad_outputs=*/{at::ones_like(score)},
        /*retain_graph=*/true,
        /*create_graph=*/attached,
        /*allow_unused=*/true)[0];
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    const bool underivable = what.find("derivative for") != std::string::npos;
    TORCH_CHECK(
        !attached || !underivable, function, kUnderivable, what, kDetach);
    TORCH_CHECK(
        what.find("second time") == std::string::npos, function,
        ": the graph between the features and the score was freed by a "
        "backward pass; ask for the map before it, or give "
        "backward(/*gradient=*/{}, /*retain_graph=*/true)");
    throw;
  }
  TORCH_CHECK_VALUE(
      gradient.defined(), function,
      ": expected features that the score is computed from, got "
      "features that do not reach it (a copy, or those of another forward)");
  TORCH_CHECK(
      gradient.layout() == at::kStrided, function,
      ": the gradient of the features is sparse, and no map can be made of it");
  if (attached && gradient.requires_grad()) {
    const std::string missing = underivable(gradient);
    TORCH_CHECK(missing.empty(), function, kUnderivable, missing, kDetach);
  }
  return gradient;
}

/// `score_gradient` with the channels in dimension 1, in float32 at least.
/// Throws: also when shapes do not fit.
inline torch::Tensor feature_gradient(
    const char* function, const torch::Tensor& features,
    const torch::Tensor& score, const GradCamOptions& options,
    int64_t channel_dim) {
  check_features(function, features);
  TORCH_CHECK_VALUE(
      channel_dim >= 1 && channel_dim < features.dim(), function,
      ": expected channel_dim in [1, ", features.dim() - 1, "], got ",
      channel_dim);
  TORCH_CHECK_VALUE(
      score.defined() && score.dim() == 1 && score.size(0) == features.size(0),
      function, ": expected score [", features.size(0),
      "], one number a sample, got ",
      score.defined() ? score.sizes() : at::IntArrayRef());
  return to_compute_type(score_gradient(function, features, score, options))
      .movedim(channel_dim, 1);
}

}  // namespace detail

namespace functional {

/// Class activation maps of given classes.
///
///     M_b[s] = sum over c of W[target_b, c] F_b[c, s]
///
/// No bias and no ReLU, as in the training code of CYBORG. Where the logits
/// are W GAP(F) + b, mean over s of M_b plus the bias is the logit.
///
/// Shapes: `features` [B, C, *S], `weight` [K, C], `target` [B] -> [B, *S].
/// An undefined `weight` means a head that is the identity: the features are
/// the maps of all classes [B, K, *S] already. K = 1: the one logit speaks
/// for class 1, and label 0 negates the map.
/// Range: unbounded, in the unit of the logits; computed in float32 at least.
/// Gradient: to `features` and `weight`.
/// Throws: on shapes, types or devices that do not fit, and on targets out
/// of range where they are on the CPU.
/// Source: Zhou et al., "Learning Deep Features for Discriminative
/// Localization", CVPR 2016, equation 2.
///
/// Example:
///     auto maps = functional::cam(features, net->fc->weight, labels);
inline torch::Tensor cam(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& target) {
  constexpr const char* kFunction = "cyborg::functional::cam";
  detail::check_features(kFunction, features);
  const bool identity = !weight.defined();
  if (!identity) {
    detail::check_head(kFunction, features, weight);
  }
  const int64_t classes = identity ? features.size(1) : weight.size(0);
  detail::check_labels(kFunction, target, features, classes);
  const detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor index = target.to(at::kLong);
  if (identity) {
    const torch::Tensor maps = detail::to_compute_type(features);
    std::vector<int64_t> sizes(static_cast<size_t>(maps.dim()), 1);
    sizes[0] = maps.size(0);
    if (classes == 1) {
      return (maps *
              detail::label_sign(target, maps.scalar_type()).reshape(sizes))
          .squeeze(1);
    }
    std::vector<int64_t> one_class = maps.sizes().vec();
    one_class[1] = 1;
    return maps.gather(/*dim=*/1, index.reshape(sizes).expand(one_class))
        .squeeze(1);
  }
  return detail::feature_sums(
             detail::class_map(features, weight, target),
             detail::HeadOutputs::kMaps)
      .maps.reshape(detail::map_sizes(features));
}

/// Class activation maps of all classes.
///
///     M_b[k, s] = sum over c of W[k, c] F_b[c, s]
///
/// Shapes: `features` [B, C, *S], `weight` [K, C] -> [B, K, *S]; an undefined
/// `weight` means an identity head, whose maps are the features. K = 1: the
/// map of class 1, not negated.
/// Range, Gradient, Source: as `cam`.
/// Throws: on shapes, types or devices that do not fit.
inline torch::Tensor cam_all(
    const torch::Tensor& features, const torch::Tensor& weight) {
  constexpr const char* kFunction = "cyborg::functional::cam_all";
  detail::check_features(kFunction, features);
  const detail::AutocastDisabledGuard no_autocast;
  if (!weight.defined()) {
    return detail::to_compute_type(features);
  }
  detail::check_head(kFunction, features, weight);
  const at::ScalarType type = detail::compute_type(
      c10::promoteTypes(features.scalar_type(), weight.scalar_type()));
  std::vector<int64_t> sizes = features.sizes().vec();
  sizes[1] = weight.size(0);
  return at::bmm(
             weight.to(type).unsqueeze(0).expand({features.size(0), -1, -1}),
             features.to(type).flatten(2))
      .reshape(sizes);
}

/// Grad-CAM: maps of whatever `score` is computed from `features`.
///
///     M_b[s] = sum over c of (mean over s of G_b[c, s]) F_b[c, s],
///     G = d(sum of score) / dF
///
/// For a head W GAP(F) + b this is the CAM divided by the number of positions.
/// The scores of a batch are summed. So if there are batch statistics between
/// features and score (batch normalisation in training mode), G of one sample
/// also depends on the others.
///
/// Shapes: `features` [B, C, *S], `score` [B] (one logit a sample) -> [B, *S].
/// For features with their channels in another dimension ([B, *S, C]),
/// `channel_dim` names it.
/// Range: unbounded, in float32 at least; without ReLU unless `relu` is set.
/// Gradient: to everything that `features` depend on; in gradient mode and
/// unless `detach_weights`, also to everything that G depends on. The graph of
/// `score` is kept.
/// Throws: when no graph leads from `score` to `features`.
/// Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
///
/// Example:
///     auto score = logits.gather(1, labels.unsqueeze(1)).squeeze(1);
///     auto maps = functional::grad_cam(features, score);
inline torch::Tensor grad_cam(
    const torch::Tensor& features, const torch::Tensor& score,
    const GradCamOptions& options = {}, int64_t channel_dim = 1) {
  const detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor gradient = detail::feature_gradient(
      "cyborg::functional::grad_cam", features, score, options, channel_dim);
  const torch::Tensor maps = detail::weigh_channels(
      gradient.flatten(2).mean(/*dim=*/2),
      detail::to_compute_type(features).movedim(channel_dim, 1));
  return options.relu() ? maps.relu() : maps;
}

/// HiResCAM: Grad-CAM without the mean over positions, so that the value at a
/// position depends on the gradient at that position only.
///
///     M_b[s] = sum over c of G_b[c, s] F_b[c, s]
///
/// Equal to Grad-CAM for a head W GAP(F) + b.
///
/// Shapes, Range, Gradient, Throws: as `grad_cam`.
/// Source: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful
/// explanations of convolutional neural networks", arXiv:2011.08891.
inline torch::Tensor hires_cam(
    const torch::Tensor& features, const torch::Tensor& score,
    const GradCamOptions& options = {}, int64_t channel_dim = 1) {
  const detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor gradient = detail::feature_gradient(
      "cyborg::functional::hires_cam", features, score, options, channel_dim);
  const torch::Tensor maps =
      (gradient * detail::to_compute_type(features).movedim(channel_dim, 1))
          .sum(/*dim=*/1);
  return options.relu() ? maps.relu() : maps;
}

}  // namespace functional
}  // namespace cyborg
