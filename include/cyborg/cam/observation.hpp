// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace cyborg {

/// What a `CamHook` saw in one forward pass: the features that the logits
/// come from, and how they were read.
///
/// An observation is a value: copy it to keep it. Siamese networks and gradient
/// accumulation hold one per forward. It keeps its features, and with them the
/// graph, alive for as long as it lives.
///
/// Example:
///     auto logits = hook.forward([&] { return net->forward(images); });
///     auto seen = hook.observation();
///     std::cout << seen;                     // layer, shape, reduction, why
///     auto maps = seen.cam(logits, labels);  // [B, *S]
struct Observation {
  /// [B, C, *S], the map that was collapsed on the way to the logits, or the
  /// output of the named layer.
  torch::Tensor features;
  /// [K, C], the weight of the linear layer that reads the collapsed features;
  /// undefined where there is no such layer or it does not read C channels.
  torch::Tensor weight;
  /// [K], its bias; undefined where there is none.
  torch::Tensor bias;
  /// [B, K, *S], the maps of all classes, where a `GuidedHead` made them in
  /// this forward; otherwise undefined.
  torch::Tensor maps;
  /// The shortest name of a module that returns `features` ("layer4").
  std::string layer;
  /// The operators that collapsed space ("aten::adaptive_avg_pool2d").
  std::string reduction;
  /// A sentence that explains the value of `exact`.
  std::string reason;
  /// Whether the class activation map explains the logits exactly: space is
  /// collapsed by a mean that a linear head reads directly.
  bool exact = false;
  /// What `cam` computes; `kAuto`: CAM where exact, else Grad-CAM.
  CamMethod method = CamMethod::kAuto;

  /// The tensor on the graph of the logits. `features` is the same tensor or,
  /// where the network keeps its channels last ([B, *S, C]), a view of it.
  torch::Tensor source;
  /// The dimension of `source` that holds the channels.
  int64_t channel_dim = 1;
  /// The logits with their graph, kept only when gradient mode was off and
  /// the caller received a detached result.
  torch::Tensor graph_logits;

  /// Whether anything was observed.
  bool defined() const { return features.defined(); }

  /// Maps of the labels' classes, not normalised.
  ///
  /// Shapes: `logits` [B, K] or [B], `labels` [B] int64 -> [B, *S]. With one
  /// logit, label 0 negates the map.
  /// Gradient: in gradient mode to features and head; otherwise none.
  /// Throws: when nothing was observed, on other shapes, on labels out of
  /// range (CPU), when the logits have no path to the features and the map
  /// needs one.
  torch::Tensor cam(
      const torch::Tensor& logits, const torch::Tensor& labels) const;

  /// The same for the predicted class, [B, *S], or for all, [B, K, *S].
  torch::Tensor cam(const torch::Tensor& logits, CamClass which) const;

  /// The factor that brings the maps to the unit of the logits, so that all
  /// methods agree for a linear head: 1 for CAM, whose mean over positions is
  /// the logit; the number of positions for Grad-CAM and HiResCAM, which divide
  /// by it. The guided loss multiplies the maps by this factor, because a
  /// softmax over Grad-CAM's own, small values would be flat.
  double logit_scale() const;

 private:
  /// Grad-CAM or HiResCAM of the labels' logits. `negate`: there is one logit,
  /// which label 0 turns around.
  torch::Tensor scored(
      const torch::Tensor& logits, const torch::Tensor& labels,
      bool negate) const;
};

namespace detail {

/// The method that `Observation::cam` uses; `kAuto` is replaced by a choice.
inline CamMethod settled(const Observation& seen) {
  if (seen.method != CamMethod::kAuto) {
    return seen.method;
  }
  return seen.exact ? CamMethod::kCam : CamMethod::kGradCam;
}

/// Throws unless `logits` can be those of the observed forward.
inline void check_logits(const Observation& seen, const torch::Tensor& logits) {
  TORCH_CHECK_VALUE(
      seen.defined(),
      "cyborg::Observation::cam: nothing was observed; run the "
      "network inside hook.forward([&] { ... }), or give the "
      "features to hook.capture(features, weight)");
  TORCH_CHECK_VALUE(
      logits.defined() && (logits.dim() == 2 || logits.dim() == 1) &&
          logits.size(0) == seen.features.size(0),
      "cyborg::Observation::cam: expected logits [", seen.features.size(0),
      ", K] (as many samples as the observed features ", seen.features.sizes(),
      "), got ",
      logits.defined() ? c10::str(logits.sizes()) : std::string("undefined"));
  TORCH_CHECK_VALUE(
      !seen.exact || !seen.weight.defined() ||
          logit_count(logits) == seen.weight.size(0),
      "cyborg::Observation::cam: expected the logits of the observed head, [",
      logits.size(0), ", ", seen.weight.size(0), "], got ", logits.sizes());
  // Without this check, logits of a forward without the hook would get maps of
  // the features of the forward before. Captured features are not checked: the
  // user answers for them.
  TORCH_CHECK_VALUE(
      seen.reduction == "captured" || !logits.requires_grad() ||
          !seen.source.requires_grad() || !seen.source.grad_fn() ||
          reaches(logits, node_output(seen.source)),
      "cyborg::Observation::cam: the logits do not come from the observed "
      "features, which are those of another forward; run the network inside "
      "hook.forward([&] { ... }) every time");
}

}  // namespace detail

inline torch::Tensor Observation::scored(
    const torch::Tensor& logits, const torch::Tensor& labels,
    bool negate) const {
  const torch::Tensor& graph =
      !logits.requires_grad() && graph_logits.defined() ? graph_logits : logits;
  TORCH_CHECK_VALUE(
      graph.requires_grad() && source.requires_grad(),
      "cyborg::Observation::cam: CAM is not exact here (", reason,
      "), and Grad-CAM needs logits with a graph, got ",
      graph.requires_grad() ? "features" : "logits", " without one");
  torch::Tensor score;
  {
    const at::AutoGradMode graph_on(true);
    const auto columns = graph.dim() == 1 ? graph.unsqueeze(1) : graph;
    score =
        negate
            ? columns.squeeze(1) *
                  detail::label_sign(labels, graph.scalar_type())
            : columns.gather(1, labels.to(at::kLong).unsqueeze(1)).squeeze(1);
  }
  // The gradient is taken on the tensor that lies on the graph: where a
  // network keeps its channels last, `features` is only a view of it.
  return method == CamMethod::kHiResCam
             ? functional::hires_cam(
                   source, score, GradCamOptions(), channel_dim)
             : functional::grad_cam(
                   source, score, GradCamOptions(), channel_dim);
}

inline double Observation::logit_scale() const {
  return detail::settled(*this) == CamMethod::kCam || !features.defined()
             ? 1.0
             : static_cast<double>(detail::positions(features, /*channel=*/1));
}

inline torch::Tensor Observation::cam(
    const torch::Tensor& logits, const torch::Tensor& labels) const {
  detail::check_logits(*this, logits);
  const auto classes = detail::logit_count(logits);
  detail::check_labels("cyborg::Observation::cam", labels, features, classes);
  if (detail::settled(*this) == CamMethod::kCam) {
    return maps.defined() ? functional::cam(maps, /*weight=*/{}, labels)
                          : functional::cam(features, weight, labels);
  }
  return scored(logits, labels, /*negate=*/classes == 1);
}

inline torch::Tensor Observation::cam(
    const torch::Tensor& logits, CamClass which) const {
  detail::check_logits(*this, logits);
  TORCH_CHECK_VALUE(
      which != CamClass::kLabel,
      "cyborg::Observation::cam: CamClass::kLabel needs the "
      "labels; call cam(logits, labels)");
  const auto classes = detail::logit_count(logits);
  if (which == CamClass::kPredicted) {
    return cam(logits, detail::predicted_classes(logits));
  }
  if (detail::settled(*this) == CamMethod::kCam) {
    return maps.defined() ? maps : functional::cam_all(features, weight);
  }
  std::vector<torch::Tensor> each;
  for (int64_t k = 0; k < classes; ++k) {
    each.push_back(scored(
        logits,
        at::full(
            {logits.size(0)}, k,
            logits.options().dtype(at::kLong).requires_grad(false)),
        /*negate=*/false));
  }
  return at::stack(each, /*dim=*/1);
}

namespace detail {

/// The labels' maps in the unit of the logits. Where the map is a class
/// activation map, it is returned as features and head instead of numbers, so
/// that the loss can compute and differentiate it in its own pass.
inline ModelMap map_of_labels(
    const Observation& seen, const torch::Tensor& logits,
    const torch::Tensor& labels) {
  if (!seen.defined() || settled(seen) != CamMethod::kCam ||
      !seen.weight.defined() || seen.maps.defined()) {
    const torch::Tensor maps = seen.cam(logits, labels);
    const double scale = seen.logit_scale();
    return {scale == 1 ? maps : maps * scale, {}, {}};
  }
  check_logits(seen, logits);
  check_labels(
      "cyborg::Observation::cam", labels, seen.features, logit_count(logits));
  return class_map(seen.features, seen.weight, labels);
}

}  // namespace detail

/// Prints layer, shape, reduction, and whether CAM is exact and why.
inline std::ostream& operator<<(std::ostream& out, const Observation& seen) {
  if (!seen.defined()) {
    return out << "cyborg::Observation(nothing observed yet)";
  }
  out << "cyborg::Observation(layer=" << (seen.layer.empty() ? "?" : seen.layer)
      << ", features=" << seen.features.sizes()
      << ", reduction=" << seen.reduction
      << ", exact=" << (seen.exact ? "yes" : "no") << ", method=";
  switch (detail::settled(seen)) {
    case CamMethod::kCam:
      out << "CAM";
      break;
    case CamMethod::kHiResCam:
      out << "HiResCAM";
      break;
    default:
      out << "Grad-CAM";
  }
  return out << ": " << seen.reason << ")";
}

}  // namespace cyborg
