// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/methods.hpp>  // CamClass
#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/detail/class_maps.hpp>
#include <cyborg/guide/detail/fused.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/reduction.hpp>
#include <cyborg/maps/normalize.hpp>

#include <ATen/core/Reduction.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/zeros.h>
#include <torch/arg.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg {

/// Options of `SaliencyGuidedLoss`.
struct SaliencyGuidedLossOptions {
  /// Weight of the classification term, in [0, 1]; the saliency term has the
  /// weight 1 - alpha. Default 0.5, as in the paper.
  TORCH_ARG(double, alpha) = 0.5;
  /// The class whose map is compared: the label's (default, as in most of the
  /// published code), the predicted class (as in CYBORG's own code), the
  /// label's minus its strongest rival's, or `fixed_class` for all samples.
  TORCH_ARG(CamClass, cam_class) = CamClass::kLabel;
  /// The class with `CamClass::kFixed`, from 0.
  TORCH_ARG(int64_t, fixed_class) = 0;
  /// Normaliser of the model's maps. Default: the distance's own.
  TORCH_ARG(std::optional<Normalizer>, map_normalizer) = std::nullopt;
  /// Normaliser of people's maps. Default: the distance's own. With kNone a
  /// constant map also guides; a control map that points nowhere needs this.
  TORCH_ARG(std::optional<Normalizer>, human_normalizer) = std::nullopt;
  /// Mean over the samples (default), or sum: B times the mean.
  TORCH_ARG(ReductionChoice, reduction) = Reduction::kMean;

 public:
};

/// What a guided loss returns: tensors without dimensions. They stay on the
/// device, so that the caller decides when to wait for their values.
struct LossTerms {
  torch::Tensor total;            ///< run backward from this
  torch::Tensor classification;   ///< the task's own loss
  torch::Tensor saliency;         ///< distance over the guided samples
  torch::Tensor annotated_count;  ///< how many samples were guided, int64
};

/// The task's loss and the distance between where the model looks and where
/// people look, weighted.
///
///     total = a task + (1 - a) S,    a = 1 - (1 - alpha) n / B
///
/// n of the B samples are guided, and S is the mean distance over them. With
/// n = B this is the published loss alpha task + (1 - alpha) S; with n = 0 it
/// is the task's loss, in value and gradient. A sample is not guided when its
/// human map is constant or has a NaN, when its entry of `annotated` is false,
/// or when its model map is constant or not finite. With reduction kSum, task
/// and S are sums, total = a task + (1 - alpha) S, and everything is B times as
/// large.
///
/// Sample weights w multiply a sample's whole loss and are not normalised:
/// classification = (1 / B) sum w CE, saliency = (1 / n) sum w D.
///
/// It is a plain class whose only state is its options: it has no parameters,
/// and it reads no tensor back from the device. Maps and distances are computed
/// in float32 at least, also under autocast.
///
/// Gradient: to the logits and to the model's map, through its normalisation.
/// People's maps are targets. With gradient mode off the value is the same.
/// Source: Boyd et al., "CYBORG: Blending Human Saliency Into the Loss
/// Improves Deep Learning-Based Synthetic Face Detection", WACV 2023.
/// Departures from its code: a sample with a constant map is left out, where
/// that code gives NaN; and the class is the label's unless `cam_class` says
/// otherwise.
///
/// Example:
///     cyborg::CamHook hook(*net);
///     cyborg::CyborgL2Loss criterion;
///     auto logits = hook.forward([&] { return net->forward(images); });
///     auto terms = criterion(logits, labels, hook, maps);
///     terms.total.backward();
template <class Distance>
class SaliencyGuidedLoss {
  static_assert(
      std::is_invocable_r_v<
          torch::Tensor, const Distance&, const torch::Tensor&,
          const torch::Tensor&>,
      "a distance needs: torch::Tensor operator()(const torch::Tensor& model, "
      "const torch::Tensor& human) const");

 public:
  /// Throws: when `alpha` is not in [0, 1] or `cam_class` is kAll.
  explicit SaliencyGuidedLoss(
      SaliencyGuidedLossOptions options = {}, Distance distance = {})
      : options_(options), distance_(std::move(distance)) {
    TORCH_CHECK_VALUE(
        options_.cam_class() != CamClass::kAll, kName,
        ": expected cam_class kLabel, kPredicted, kDifference or kFixed, got "
        "kAll (one map a sample is compared)");
    alpha(options_.alpha());
  }

  /// Sets the weight of the classification term, to any value in [0, 1]. A
  /// schedule may call it before any step.
  /// Throws: on any other value.
  void alpha(double value) {
    TORCH_CHECK_VALUE(
        value >= 0 && value <= 1, kName, ": expected alpha in [0, 1], got ",
        value);
    options_.alpha(value);
  }

  /// The weight of the classification term.
  double alpha() const { return options_.alpha(); }

  /// The options, with `alpha` as it was set last.
  const SaliencyGuidedLossOptions& options() const { return options_; }

  /// Cross entropy and saliency of one batch. With one logit a sample it is the
  /// binary cross entropy.
  ///
  /// Shapes: `logits` [B, K], or [B] for one logit; `labels` [B], integers;
  /// `source`: a CamHook or an Observation, asked for the map of the class
  /// that `cam_class` names, or maps [B, *S] computed otherwise; `maps`
  /// [B, *S'] or [B, 1, *S'], any type, no smaller than the model's in any
  /// dimension; `annotated` [B] bool; `weight` [B], not negative.
  /// With alpha = 1 neither `source` nor `maps` is read.
  /// Throws: on shapes, types and devices that do not fit; on labels out of
  /// range and negative weights where they are on the CPU; and when the logits
  /// require a gradient and the model's map does not.
  template <class Source>
  LossTerms operator()(
      const torch::Tensor& logits, const torch::Tensor& labels,
      const Source& source, const torch::Tensor& maps,
      const torch::Tensor& annotated = {},
      const torch::Tensor& weight = {}) const {
    TORCH_CHECK_VALUE(
        logits.defined(), kName, ": expected logits [B, K], got none");
    TORCH_CHECK_VALUE(
        (logits.dim() == 1 || logits.dim() == 2) && logits.numel() > 0 &&
            logits.is_floating_point(),
        kName, ": expected logits [B, K] of floating point, got ",
        logits.sizes(), " of ", logits.scalar_type(),
        " (combine() takes any other task)");
    const torch::Tensor rows = logits.dim() == 1 ? logits.unsqueeze(1) : logits;
    detail::check_labels(kName, labels, rows, rows.size(1));
    if (weight.defined()) {
      detail::check_weights(kName, weight, rows);
    }
    const torch::Tensor classes = labels.to(at::kLong);
    const torch::Tensor task = classification(rows, classes, weight);
    if (options_.alpha() == 1) {
      return unguided(task);
    }
    return guided(
        task,
        detail::chosen_map_of(
            kName, source, rows, classes, options_.cam_class(),
            options_.fixed_class()),
        rows, maps, annotated, weight);
  }

  /// The same for any task loss: regression, label smoothing, class weights,
  /// segmentation, several heads.
  ///
  /// Shapes: `task_loss` one number, a mean over the B samples (a sum with
  /// reduction kSum); `cam` [B, *S], the model's map; the others as above.
  /// `weight` weights the saliency; the task's loss is the caller's.
  /// With alpha = 1 `cam` and `maps` are not read and may be undefined.
  /// Throws: as above.
  LossTerms combine(
      const torch::Tensor& task_loss, const torch::Tensor& cam,
      const torch::Tensor& maps, const torch::Tensor& annotated = {},
      const torch::Tensor& weight = {}) const {
    TORCH_CHECK_VALUE(
        task_loss.defined(), kName, ": expected task_loss, got none");
    TORCH_CHECK_VALUE(
        task_loss.numel() == 1 && task_loss.is_floating_point(), kName,
        ": expected task_loss of one floating-point number, got ",
        task_loss.sizes(), " of ", task_loss.scalar_type());
    const torch::Tensor task = task_loss.reshape({});
    if (options_.alpha() == 1) {
      return unguided(task);
    }
    if (weight.defined() && cam.defined() && cam.dim() > 0) {
      detail::check_weights(kName, weight, cam);
    }
    return guided(task, {cam, {}, {}}, cam, maps, annotated, weight);
  }

 private:
  /// The beginning of every error of this class.
  static constexpr const char* kName = "cyborg::SaliencyGuidedLoss";

  /// Whether the reduction is kSum.
  bool sums() const { return options_.reduction() == Reduction::kSum; }

  /// Cross entropy of logits [B, K] by the reduction.
  torch::Tensor classification(
      const torch::Tensor& logits, const torch::Tensor& labels,
      const torch::Tensor& weight) const {
    const detail::AutocastDisabledGuard no_autocast;
    const torch::Tensor values = detail::to_compute_type(logits);
    const int64_t reduction = weight.defined() ? at::Reduction::None
                              : sums()         ? at::Reduction::Sum
                                               : at::Reduction::Mean;
    // The softmax of a single logit is 1, so its cross entropy would always be
    // zero, without an error.
    const torch::Tensor loss =
        values.size(1) == 1
            ? at::binary_cross_entropy_with_logits(
                  values.squeeze(1), labels.to(values.scalar_type()),
                  /*weight=*/{}, /*pos_weight=*/{}, reduction)
            : at::cross_entropy_loss(values, labels, /*weight=*/{}, reduction);
    if (!weight.defined()) {
      return loss;
    }
    const torch::Tensor weighted = loss * weight.to(loss.scalar_type());
    return sums() ? weighted.sum() : weighted.mean();
  }

  /// The terms of a batch without guidance: the task's loss alone.
  static LossTerms unguided(const torch::Tensor& task) {
    const torch::Tensor zero = at::zeros({}, task.options());
    return {task, task, zero, zero.to(at::kLong)};
  }

  /// Checks the model's map and computes the terms of a guided batch. `batch`
  /// is a tensor with B entries in its first dimension.
  LossTerms guided(
      const torch::Tensor& task, detail::ModelMap model,
      const torch::Tensor& batch, const torch::Tensor& human_maps,
      const torch::Tensor& annotated, const torch::Tensor& weight) const {
    const torch::Tensor& values = model.values;
    TORCH_CHECK_VALUE(
        values.defined(), kName, ": expected a map of the model, got none");
    const std::vector<int64_t> sizes = model.sizes();
    TORCH_CHECK_VALUE(
        sizes.size() >= 2 && sizes[0] == batch.size(0) && values.numel() > 0 &&
            values.is_floating_point(),
        kName, ": expected a map of the model [B, *S] of floating point",
        " for a batch of ", batch.dim() > 0 ? batch.size(0) : 0, ", got ",
        at::IntArrayRef(sizes), " of ", values.scalar_type());
    TORCH_CHECK_VALUE(
        values.device() == task.device(), kName,
        ": expected a map of the model on ", task.device(), ", got ",
        values.device());
    TORCH_CHECK(
        !at::GradMode::is_enabled() || !task.requires_grad() ||
            model.requires_grad(),
        kName,
        ": the saliency term has no gradient path: the task's loss "
        "requires a gradient and the model's map does not, so guidance would "
        "change nothing. Compute the map in gradient mode from features that "
        "are neither detached nor frozen, or set alpha to 1");

    const detail::BlendOptions how{
        options_.map_normalizer().value_or(Distance::map_normalizer),
        options_.human_normalizer().value_or(Distance::human_normalizer),
        1 - options_.alpha(), sums()};
    detail::check_positions(kName, sizes, how.model, how.human);

    const detail::AutocastDisabledGuard no_autocast;
    model.values = detail::to_compute_type(values);
    const auto human = detail::human_maps(
        kName, human_maps, sizes, model.values, annotated, how.human,
        detail::DistanceTraits<Distance>::resize());
    detail::check_not_smaller(kName, human_maps, sizes);
    const auto terms =
        detail::guide(kName, distance_, how, task, model, human, weight);
    return {terms.total, task, terms.saliency, terms.guided_count};
  }

  SaliencyGuidedLossOptions options_;
  Distance distance_;
};

/// The guided loss with the mean absolute difference.
using CyborgL1Loss = SaliencyGuidedLoss<L1>;
/// The guided loss with the mean squared difference: the published one.
using CyborgL2Loss = SaliencyGuidedLoss<L2>;
/// The guided loss with the Kullback-Leibler divergence.
using CyborgKLLoss = SaliencyGuidedLoss<KL>;

}  // namespace cyborg
