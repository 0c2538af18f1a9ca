// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/methods.hpp>
#include <cyborg/cam/observation.hpp>
#include <cyborg/guide/batch.hpp>
#include <cyborg/guide/detail/class_maps.hpp>
#include <cyborg/guide/task.hpp>

#include <ATen/ops/ones.h>

#include <cstdint>
#include <functional>

namespace cyborg {

/// One forward pass, as a term sees it.
///
/// Example of a term of your own:
///     struct Focus {  // the model should look at few positions
///       cyborg::PerSample operator()(const cyborg::Seen& seen) const {
///         auto share = seen.map().flatten(1).softmax(1);
///         return {1 - share.square().sum(1).sqrt(), {}};
///       }
///     };
///     guidance.add("focus", 0.1, Focus());
struct Seen {
  /// What the loss was given.
  const Batch& batch;
  /// [B, ...], the pictures that went into the network. They require a gradient
  /// if a term needs one (`needs::kInputGradient`).
  torch::Tensor images;
  /// [B, K], in float32 at least; one logit a sample is [B, 1].
  torch::Tensor logits;
  /// What the hook saw; without a map where the model's maps were given.
  const Observation& observation;
  /// Runs the network again: pictures -> logits. Empty where the loss was given
  /// logits and not the network.
  std::function<torch::Tensor(const torch::Tensor&)> forward;
  /// What the labels are.
  const TaskOptions& task;
  /// The maps of the classes [B], or, given no tensor, of the predicted ones.
  std::function<detail::ModelMap(const torch::Tensor&)> maps_of;

  /// [B] int64, the class of each sample: its label, or the class with the
  /// largest share; for a regression of one number 1, so that the map is not
  /// negated. Where the label is not known, it is 0 (see `known`).
  /// Throws: where a sample has several labels or several numbers.
  torch::Tensor classes() const;

  /// [B] bool, whether the label of each sample is known.
  torch::Tensor known() const;

  /// [B], the logit of each sample's class; of shares of classes, or of several
  /// labels, the weighted sum; of a regression the sum of its numbers. One
  /// logit is negated for class 0.
  torch::Tensor score() const;

  /// [B], the task's loss of other logits of this batch.
  PerSample loss_of(const torch::Tensor& other) const {
    return functional::task_loss(other, batch.labels, task);
  }

  /// [B], the same as one number a sample: with the weight of its class, and 0
  /// where its label is not known.
  torch::Tensor weighted_loss_of(const torch::Tensor& other) const {
    const PerSample loss = loss_of(other);
    return loss.usable.defined()
               ? loss.value * loss.usable.to(loss.value.scalar_type())
               : loss.value;
  }

  /// [B, *S], the model's maps in the unit of the logits, not normalised.
  /// `fixed` is the class where `which` is kFixed.
  /// Throws: as `Observation::cam`; for kAll.
  torch::Tensor map(
      CamClass which = CamClass::kLabel, int64_t fixed = 0) const {
    const detail::ModelMap found = class_map(which, fixed);
    TORCH_CHECK_VALUE(
        found.values.defined(),
        "cyborg::Seen: expected a map of the model, got none");
    return detail::flat_maps(found).reshape(found.sizes());
  }

  /// The same as features and rows of a head, where it is a class activation
  /// map, so that nothing is computed twice.
  detail::ModelMap class_map(CamClass which, int64_t fixed) const {
    if (task.task() == Task::kRegression && logits.size(1) == 1 &&
        which != CamClass::kAll) {
      TORCH_CHECK_VALUE(
          which != CamClass::kFixed || fixed == 0 || fixed == 1,
          "cyborg::Seen: expected fixed_class in [0, 1], got ", fixed);
      return maps_of(classes());  // the one number has one map, not negated
    }
    return detail::chosen_map(
        "cyborg::Seen", maps_of, logits, [this] { return classes(); }, which,
        fixed);
  }
};

inline torch::Tensor Seen::classes() const {
  constexpr const char* kFunction = "cyborg::Seen";
  const torch::Tensor& labels = batch.labels;
  switch (task.task()) {
    case Task::kRegression:
      TORCH_CHECK_VALUE(
          logits.size(1) == 1, kFunction, ": a regression of ", logits.size(1),
          " numbers has as many maps; choose one with CamClass::kFixed");
      return at::ones({logits.size(0)}, logits.options().dtype(at::kLong));
    case Task::kMultiLabel:
      TORCH_CHECK_VALUE(
          false, kFunction,
          ": with several labels a sample there is no single class; choose one "
          "with CamClass::kFixed or kPredicted, or give maps [B, K, *S], one "
          "for each class");
    case Task::kClassification:
      break;
  }
  if (!labels.is_floating_point()) {
    return labels.to(at::kLong).masked_fill(known().logical_not(), 0);
  }
  return logits.size(1) == 1 ? labels.reshape({-1}).ge(0.5).to(at::kLong)
                             : labels.argmax(/*dim=*/1);
}

inline torch::Tensor Seen::known() const {
  const torch::Tensor& labels = batch.labels;
  return labels.is_floating_point() || labels.dim() == 2
             ? at::ones({logits.size(0)}, logits.options().dtype(at::kBool))
             : detail::known_labels(labels);
}

inline torch::Tensor Seen::score() const {
  const torch::Tensor& labels = batch.labels;
  if (task.task() == Task::kRegression) {
    return logits.sum(/*dim=*/1);
  }
  if (logits.size(1) == 1) {
    const torch::Tensor share =
        (labels.is_floating_point() || task.task() != Task::kClassification
             ? labels.reshape({-1})
             : classes())
            .to(logits.scalar_type());
    return logits.squeeze(1) * (2 * share - 1);
  }
  if (labels.dim() == 2) {
    return (logits * labels.to(logits.scalar_type())).sum(/*dim=*/1);
  }
  return logits.gather(/*dim=*/1, classes().unsqueeze(1)).squeeze(1);
}

}  // namespace cyborg
