// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/known_logits.hpp>
#include <cyborg/cam/detail/sample_proof.hpp>
#include <cyborg/cam/detail/unchanged.hpp>
#include <cyborg/cam/gradient_methods.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <c10/util/accumulate.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cyborg {

class CamHook;
struct Observation;

namespace detail {
class Finder;
ModelMap map_of_labels(
    const Observation& seen, const torch::Tensor& logits,
    const torch::Tensor& labels);
}  // namespace detail

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
  /// output of the named layer. Its position axes are in the order of the
  /// picture's. Undefined where no map was found.
  torch::Tensor features;
  /// [K, C], the weight of the linear layer that reads the collapsed features;
  /// undefined where there is no such layer or it does not read C channels.
  torch::Tensor weight;
  /// [K], its bias; undefined where there is none.
  torch::Tensor bias;
  /// [B, K, *S], the maps of all classes, where a `GuidedHead` made them in
  /// this forward; otherwise undefined.
  torch::Tensor maps;
  /// The module that made `features` ("layer4"); of a product or sum of several
  /// modules' maps, such as a map and its gate, one of them.
  std::string layer;
  /// The operators that collapsed space ("aten::adaptive_avg_pool2d").
  std::string reduction;
  /// A sentence that explains the value of `exact`; where no map was found,
  /// why.
  std::string reason;
  /// Whether the class activation map explains the logits exactly: space is
  /// collapsed by a mean that a linear head reads directly, which the values of
  /// this forward prove.
  bool exact = false;
  /// What `cam` computes; `kAuto`: CAM where exact, else Grad-CAM.
  CamMethod method = CamMethod::kAuto;
  /// Whether Grad-CAM and HiResCAM treat their gradient as a constant.
  bool detach_weights = false;

  /// Whether a map was found.
  bool defined() const { return features.defined(); }

  /// Throws unless a map was found, with the reason.
  void require() const;

  /// Maps of the labels' classes, not normalised.
  ///
  /// `logits` are those of the observed forward: the tensor that the network
  /// returned, one of several that it returned, a cast or a view of one with
  /// the same size and order, or a range of its samples. Only for these a class
  /// activation map is used. Of other logits that were computed from the
  /// features (a margin, another head) the map is Grad-CAM, after a proof that
  /// each sample depends on its own features alone.
  ///
  /// Shapes: `logits` [B, K] or [B], `labels` [B] int64 -> [B, *S]. With one
  /// logit, label 0 negates the map.
  /// Gradient: in gradient mode to features and head; otherwise none.
  ///
  /// Ask before the step of the optimizer: afterwards the head is another one.
  ///
  /// Throws: when no map was found, on other shapes, on labels out of range
  /// (CPU), on logits that have no path to the features, on logits that mix
  /// samples or have them in another order, and where the features or the head's
  /// weight were changed in place after the forward. (`torch::optim::SGD` changes
  /// weights without a trace, so that its step is not seen.)
  torch::Tensor cam(
      const torch::Tensor& logits, const torch::Tensor& labels) const;

  /// The same for the predicted class, [B, *S], or for all, [B, K, *S].
  torch::Tensor cam(const torch::Tensor& logits, CamClass which) const;

  /// The factor that brings the maps to the unit of the logits, so that all
  /// methods agree for a linear head: 1 for CAM, whose mean over positions is
  /// the logit (without bias, and without a dropout that is active between mean
  /// and head); the number of positions for Grad-CAM and HiResCAM, which divide
  /// by it. The guided loss multiplies the maps by this factor, because a
  /// softmax over Grad-CAM's own, small values would be flat.
  ///
  /// Without logits it is the factor for the first tensor that the network
  /// returned. Another one may come from another map.
  double logit_scale() const;
  double logit_scale(const torch::Tensor& logits) const;

 private:
  friend class CamHook;
  friend class detail::Finder;
  friend detail::ModelMap detail::map_of_labels(
      const Observation&, const torch::Tensor&, const torch::Tensor&);

  /// The logits that a map is asked for, and whose they are.
  struct Asked {
    const Observation* seen = nullptr;  // that of the tensor they are
    // Which samples of it; nothing for logits that the network did not return.
    std::optional<detail::SampleRange> samples;

    CamMethod method() const;
    double scale() const;
  };

  Asked ask(const torch::Tensor& logits) const;

  /// The maps of the labels' classes, once it is known whose the logits are.
  static torch::Tensor labelled(
      const Asked& asked, const torch::Tensor& logits,
      const torch::Tensor& labels);

  /// Grad-CAM or HiResCAM of the labels' logits. `negate`: there is one logit,
  /// whose sign is changed for label 0.
  torch::Tensor scored(
      const Asked& asked, const torch::Tensor& logits,
      const torch::Tensor& labels, bool negate) const;

  // The tensor on the graph of the logits, and its dimensions in the order
  // [batch, channel, *positions]. `features` is the same tensor or a view.
  torch::Tensor source_;
  detail::Sizes order_;
  detail::Unchanged unchanged_;
  // Shared by the observations of all forwards that go the same way.
  std::shared_ptr<detail::SampleProof> proof_;
  detail::KnownLogits known_;   // the returned tensor
  torch::Tensor graph_logits_;  // with its graph, where gradient mode was off
  std::vector<Observation> others_;  // of further tensors in the result
};

namespace detail {

/// The method that `Observation::cam` uses; `kAuto` is replaced by a choice.
inline CamMethod settled(const Observation& seen) {
  if (seen.method != CamMethod::kAuto) {
    return seen.method;
  }
  return seen.exact ? CamMethod::kCam : CamMethod::kGradCam;
}

}  // namespace detail

inline void Observation::require() const {
  TORCH_CHECK_VALUE(
      defined() || reason.empty(), "cyborg::CamHook::forward: ", reason);
  TORCH_CHECK_VALUE(
      defined(),
      "cyborg::Observation::cam: nothing was observed; run the "
      "network inside hook.forward([&] { ... }), or give the "
      "features to hook.capture(features, weight)");
}

inline CamMethod Observation::Asked::method() const {
  return samples                            ? detail::settled(*seen)
         : seen->method == CamMethod::kAuto ? CamMethod::kGradCam
                                            : seen->method;
}

inline double Observation::Asked::scale() const {
  if (method() == CamMethod::kCam) {
    return 1;
  }
  const auto sizes = seen->features.sizes();
  return static_cast<double>(c10::multiply_integers(sizes.slice(2)));
}

/// Finds the forward that the logits belong to. Throws if there is none.
inline Observation::Asked Observation::ask(const torch::Tensor& logits) const {
  if (!defined() && others_.empty()) {
    require();
  }
  constexpr const char* kFunction = "cyborg::Observation::cam: ";
  const auto wanted = [&] {
    return defined() ? c10::str(
                           "[", features.size(0),
                           ", K] (as many samples as the observed features ",
                           features.sizes(), ")")
                     : std::string("[B, K]");
  };
  TORCH_CHECK_VALUE(
      logits.defined() && (logits.dim() == 2 || logits.dim() == 1) &&
          logits.is_floating_point(),
      kFunction, "expected logits ", wanted(), ", got ",
      logits.defined() ? c10::str(logits.sizes()) : std::string("undefined"));
  TORCH_CHECK_VALUE(
      logits.layout() == at::kStrided, kFunction,
      "expected dense logits, got a tensor of layout ", logits.layout());
  const auto whose = [&](const Observation& one) -> std::optional<Asked> {
    const auto samples = one.known_.samples_of(logits);
    return samples ? std::optional<Asked>({&one, samples}) : std::nullopt;
  };
  if (const auto found = whose(*this)) {
    require();
    unchanged_.check(kFunction, features, weight);
    return *found;
  }
  for (const Observation& other : others_) {
    if (const auto found = whose(other)) {
      other.require();
      other.unchanged_.check(kFunction, other.features, other.weight);
      return *found;
    }
  }
  require();
  unchanged_.check(kFunction, features, weight);
  TORCH_CHECK_VALUE(
      logits.size(0) == features.size(0), kFunction, "expected logits ",
      wanted(), ", got ", logits.sizes());
  const bool mine = !known_.defined();  // features that the user handed over
  TORCH_CHECK_VALUE(
      (logits.requires_grad() && !mine) || !exact || !weight.defined() ||
          detail::logit_count(logits) == weight.size(0),
      kFunction, "expected the logits of the observed head, [", logits.size(0),
      ", ", weight.defined() ? weight.size(0) : 0, "], got ", logits.sizes());
  if (mine) {
    return {this, detail::SampleRange{0, logits.size(0)}};
  }
  TORCH_CHECK_VALUE(
      logits.requires_grad(), kFunction,
      "these logits are not those that the observed forward returned: their "
      "numbers differ, and they have no graph. Give the returned tensor; run "
      "the network inside hook.forward([&] { ... }) every time");
  TORCH_CHECK_VALUE(
      source_.grad_fn() == nullptr ||
          detail::reaches(logits, detail::node_output(source_)),
      kFunction,
      "the logits do not come from the observed features, which are those of "
      "another forward, or of another result of this one; run the network "
      "inside hook.forward([&] { ... }) every time");
  TORCH_CHECK_VALUE(
      method != CamMethod::kCam, kFunction,
      "CamMethod::kCam needs the logits that the network returned under the "
      "hook, got others; use CamMethod::kAuto");
  return {this, std::nullopt};
}

inline torch::Tensor Observation::scored(
    const Asked& asked, const torch::Tensor& logits,
    const torch::Tensor& labels, bool negate) const {
  constexpr const char* kFunction = "cyborg::Observation::cam";
  const int64_t batch = features.size(0);
  const torch::Tensor& source = source_.defined() ? source_ : features;
  torch::Tensor graph = logits;
  if (graph_logits_.defined() && asked.samples) {
    const at::AutoGradMode graph_on(true);
    graph = detail::samples_of(graph_logits_, *asked.samples);
  }
  TORCH_CHECK_VALUE(
      graph.requires_grad() && source.requires_grad(), kFunction,
      ": CAM is not exact here (", reason,
      "), and Grad-CAM needs logits with a graph, got ",
      graph.requires_grad() ? "features" : "logits", " without one");
  const torch::Tensor score = detail::scores_of(
      graph, labels, negate,
      asked.samples.value_or(detail::SampleRange{0, batch}), batch);
  detail::SampleProof* proof = asked.samples ? proof_.get() : nullptr;
  if (known_.defined() && batch > 1 &&
      (proof == nullptr || proof->is_due(source.is_cpu()))) {
    if (proof != nullptr) {
      proof->proven = false;  // also where the check throws
    }
    const bool proven = detail::check_sample_wise(
        kFunction, graph, score, source, order_.empty() ? 0 : order_[0], proof);
    if (proof != nullptr && asked.samples->count == batch) {
      proof->proven = proven;
    }
  }
  const detail::AutocastDisabledGuard no_autocast;
  torch::Tensor gradient = detail::to_compute_type(detail::score_gradient(
      kFunction, source, score,
      GradCamOptions().detach_weights(detach_weights)));
  if (!order_.empty()) {
    gradient = gradient.permute(order_);
  }
  const torch::Tensor values = detail::to_compute_type(features);
  const torch::Tensor all =
      detail::gradient_map(asked.method(), gradient, values);
  return asked.samples ? detail::samples_of(all, *asked.samples) : all;
}

inline double Observation::logit_scale() const {
  require();
  return Asked{this, detail::SampleRange()}.scale();
}

inline double Observation::logit_scale(const torch::Tensor& logits) const {
  return ask(logits).scale();
}

inline torch::Tensor Observation::cam(
    const torch::Tensor& logits, const torch::Tensor& labels) const {
  return labelled(ask(logits), logits, labels);
}

inline torch::Tensor Observation::labelled(
    const Asked& asked, const torch::Tensor& logits,
    const torch::Tensor& labels) {
  const Observation& seen = *asked.seen;
  const auto classes = detail::logit_count(logits);
  const detail::SampleRange all{0, logits.size(0)};
  const auto range = asked.samples.value_or(all);
  const auto some = detail::samples_of(seen.features, range);
  detail::check_labels("cyborg::Observation::cam", labels, some, classes);
  if (asked.method() != CamMethod::kCam) {
    return asked.method() == CamMethod::kEigenCam
               ? functional::eigen_cam(some)
               : seen.scored(asked, logits, labels, /*negate=*/classes == 1);
  }
  return seen.maps.defined()
             ? functional::cam(
                   detail::samples_of(seen.maps, range), /*weight=*/{}, labels)
             : functional::cam(some, seen.weight, labels);
}

inline torch::Tensor Observation::cam(
    const torch::Tensor& logits, CamClass which) const {
  TORCH_CHECK_VALUE(
      which == CamClass::kPredicted || which == CamClass::kAll,
      "cyborg::Observation::cam: CamClass::", detail::name_of(which),
      " needs the labels; call cam(logits, labels)");
  const Asked asked = ask(logits);
  const Observation& seen = *asked.seen;
  const auto classes = detail::logit_count(logits);
  if (which == CamClass::kPredicted) {
    return labelled(asked, logits, detail::predicted_classes(logits));
  }
  if (asked.method() == CamMethod::kCam) {
    const auto some = detail::samples_of(
        seen.maps.defined() ? seen.maps : seen.features, *asked.samples);
    return seen.maps.defined() ? some : functional::cam_all(some, seen.weight);
  }
  std::vector<torch::Tensor> each;
  for (int64_t k = 0; k < classes; ++k) {
    each.push_back(seen.scored(
        asked, logits,
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
  const auto asked = seen.ask(logits);
  const Observation& one = *asked.seen;
  if (asked.method() != CamMethod::kCam || !one.weight.defined() ||
      one.maps.defined()) {
    const torch::Tensor maps = Observation::labelled(asked, logits, labels);
    const double scale = asked.scale();
    return {scale == 1 ? maps : maps * scale, {}, {}};
  }
  const auto features = samples_of(one.features, *asked.samples);
  check_labels(
      "cyborg::Observation::cam", labels, features, logit_count(logits));
  return class_map(features, one.weight, labels);
}

}  // namespace detail

}  // namespace cyborg
