// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/checks.hpp>
#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/batch.hpp>

#include <ATen/core/Reduction.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/arg.h>

#include <cmath>
#include <cstdint>

namespace cyborg {

/// What the labels are, and so which loss the task has.
enum class Task {
  kClassification,  ///< one class of K a sample: cross entropy
  kMultiLabel,      ///< any of K classes a sample: binary cross entropy
  kRegression,      ///< numbers: the difference
};

/// How a number differs from the one that was wanted.
enum class RegressionLoss {
  kL1,      ///< |x - y|
  kL2,      ///< (x - y)^2
  kSmooth,  ///< (x - y)^2 / 2 below 1, |x - y| - 1/2 above
};

/// The label of a sample whose class is not known, as in PyTorch.
constexpr int64_t kIgnoredLabel = -100;

/// Options of `functional::task_loss`.
struct TaskOptions {
  /// What the labels are. Default: one class a sample.
  TORCH_ARG(Task, task) = Task::kClassification;
  /// [K], a factor of each class (of the positive labels with kMultiLabel).
  /// Default: 1. The mean over samples is weighted, as PyTorch's is. A sample
  /// whose class has the weight 0 does not count.
  TORCH_ARG(torch::Tensor, class_weight);
  /// Share of the label that is spread over all classes, in [0, 1).
  TORCH_ARG(double, label_smoothing) = 0;
  /// Exponent of the focal loss, from 0: (1 - p)^focal times the cross entropy,
  /// where p is the probability of the label. Default 0: no such factor.
  TORCH_ARG(double, focal) = 0;
  /// With kRegression, how numbers differ.
  TORCH_ARG(RegressionLoss, regression) = RegressionLoss::kL1;

 public:
};

namespace detail {

/// [B] bool, which integer labels are known. They are compared as int64: as
/// uint8, -100 is 156.
inline torch::Tensor known_labels(const torch::Tensor& labels) {
  return labels.to(at::kLong).ne(kIgnoredLabel);
}

/// Throws unless floating-point labels on the CPU are numbers of the task:
/// finite, in [0, 1] for classes, and shares of one sample that add up to 1.
inline void check_label_values(
    const char* function, const torch::Tensor& labels, Task task) {
  if (!labels.is_cpu() || labels.numel() == 0) {
    return;  // reading them elsewhere would make the host wait for the device
  }
  const torch::Tensor values =
      resolved_contiguous(labels.detach().to(at::kDouble));
  const double* value = values.data_ptr<double>();
  const int64_t width = values.dim() == 2 ? values.size(1) : 1;
  const bool shares = task == Task::kClassification && width > 1;
  for (int64_t b = 0; b < values.size(0); ++b) {
    double sum = 0;
    for (int64_t k = 0; k < width; ++k) {
      const double y = value[b * width + k];
      TORCH_CHECK_VALUE(
          task == Task::kRegression ? std::isfinite(y) : y >= 0 && y <= 1,
          function, ": expected labels ",
          task == Task::kRegression ? "that are finite" : "in [0, 1]", ", got ",
          y, " for sample ", b);
      sum += y;
    }
    TORCH_CHECK_VALUE(
        !shares || std::abs(sum - 1) < 1e-3, function,
        ": expected the shares of a sample's classes to add up to 1, got ", sum,
        " for sample ", b, " (several labels a sample are Task::kMultiLabel)");
  }
}

/// Throws unless the labels are those of the task. `logits` [B, K].
inline void check_task_labels(
    const char* function, const torch::Tensor& logits,
    const torch::Tensor& labels, const TaskOptions& options) {
  const int64_t batch = logits.size(0), classes = logits.size(1);
  const Task task = options.task();
  TORCH_CHECK_VALUE(labels.defined(), function, ": expected labels, got none");
  TORCH_CHECK_VALUE(
      labels.device() == logits.device(), function, ": expected labels on ",
      logits.device(), ", got ", labels.device());
  const bool integers =
      at::isIntegralType(labels.scalar_type(), /*includeBool=*/true);
  if (task == Task::kClassification && integers) {
    check_labels(
        function, labels.masked_fill(known_labels(labels).logical_not(), 0),
        logits, classes);
    return;
  }
  const bool fits =
      (labels.dim() == 2 && labels.sizes() == logits.sizes()) ||
      (classes == 1 && labels.dim() == 1 && labels.size(0) == batch);
  TORCH_CHECK_VALUE(
      fits && (labels.is_floating_point() ||
               (task == Task::kMultiLabel && integers)),
      function, ": expected labels ",
      task == Task::kClassification ? "[B] of integers, or shares " : "",
      logits.sizes(), " of floating point, got ", labels.sizes(), " of ",
      labels.scalar_type());
  check_label_values(function, labels, task);
}

/// Throws on options out of range. `like` are the logits [B, K].
inline void check_task_options(
    const char* function, const torch::Tensor& like,
    const TaskOptions& options) {
  TORCH_CHECK_VALUE(
      options.label_smoothing() >= 0 && options.label_smoothing() < 1, function,
      ": expected label_smoothing in [0, 1), got ", options.label_smoothing());
  TORCH_CHECK_VALUE(
      options.focal() >= 0 && std::isfinite(options.focal()), function,
      ": expected focal >= 0, got ", options.focal());
  const bool regression = options.task() == Task::kRegression;
  TORCH_CHECK_VALUE(
      !regression || (!options.class_weight().defined() &&
                      options.focal() == 0 && options.label_smoothing() == 0),
      function,
      ": a regression has no classes: expected no class_weight, focal or "
      "label_smoothing");
  if (options.class_weight().defined()) {
    const torch::Tensor& weight = options.class_weight();
    const int64_t wanted =
        like.size(1) == 1 && options.task() == Task::kClassification
            ? 2
            : like.size(1);
    TORCH_CHECK_VALUE(
        weight.dim() == 1 && weight.size(0) == wanted &&
            weight.is_floating_point(),
        function, ": expected class_weight [", wanted,
        "] of floating point, got ", weight.sizes(), " of ",
        weight.scalar_type());
    TORCH_CHECK_VALUE(
        weight.device() == like.device(), function,
        ": expected class_weight on ", like.device(), ", got ",
        weight.device());
    if (!weight.is_cpu()) {
      return;  // reading it elsewhere would make the host wait for the device
    }
    const torch::Tensor values =
        resolved_contiguous(weight.detach().to(at::kDouble));
    for (int64_t k = 0; k < values.size(0); ++k) {
      const double value = values.data_ptr<double>()[k];
      TORCH_CHECK_VALUE(
          value >= 0 && std::isfinite(value), function,
          ": expected class_weight of finite numbers >= 0, got ", value,
          " for class ", k);
    }
  }
}

/// Cross entropy of [B, K] with shares [B, K], class by class:
///
///     -share_k ln p_k  (1 - p_k)^focal
///
/// The sum over classes is the loss of a sample. A share of 0 gives 0, also
/// where p is 0.
inline torch::Tensor cross_entropies(
    const torch::Tensor& log_p, const torch::Tensor& share, double focal) {
  const torch::Tensor loss = -share * log_p.masked_fill(share.eq(0), 0);
  if (focal == 0) {
    return loss;
  }
  // 1 - p at the smallest number is not 0, so that its power has a derivative.
  const torch::Tensor rest = (-log_p.expm1()).clamp_min(1e-12);
  return loss * rest.pow(focal);
}

/// The shares [B, K] of integer labels [B]; of an unknown label they are those
/// of class 0, which nobody uses.
inline torch::Tensor one_hot(
    const torch::Tensor& labels, const torch::Tensor& like) {
  const torch::Tensor shares = at::zeros_like(like).detach();
  return shares.scatter(
      /*dim=*/1,
      labels.to(at::kLong)
          .masked_fill(known_labels(labels).logical_not(), 0)
          .unsqueeze(1),
      1.0);
}

/// The two logits of a single one, [B, 2]: 0 for class 0.
inline torch::Tensor two_logits(const torch::Tensor& logits) {
  return at::cat({at::zeros_like(logits), logits}, /*dim=*/1);
}

/// The loss of one class a sample, of K >= 2 logits.
inline PerSample classification_loss(
    const torch::Tensor& logits, const torch::Tensor& labels,
    const TaskOptions& options) {
  const torch::Tensor& weight = options.class_weight();
  if (labels.dim() == 1) {
    const torch::Tensor known = known_labels(labels);
    PerSample loss{{}, known};
    if (weight.defined()) {
      loss.usable =
          weight.to(logits.scalar_type())
              .index_select(
                  0, labels.masked_fill(known.logical_not(), 0).to(at::kLong))
              .masked_fill(known.logical_not(), 0);
    }
    if (options.focal() == 0) {
      // The factor of the class is in `usable`, so that the mean is weighted.
      // Smoothed labels weigh every class, so their factors are in the loss.
      const bool inside = weight.defined() && options.label_smoothing() > 0;
      loss.value = at::cross_entropy_loss(
          logits, labels.to(at::kLong),
          inside ? weight.to(logits.scalar_type()) : torch::Tensor(),
          at::Reduction::None, kIgnoredLabel, options.label_smoothing());
      if (inside) {
        loss.value = loss.value / loss.usable.masked_fill(loss.usable.eq(0), 1);
      }
      return loss;
    }
    const double spread = options.label_smoothing();
    torch::Tensor share = one_hot(labels, logits) * (1 - spread) +
                          spread / static_cast<double>(logits.size(1));
    if (weight.defined()) {  // as above: the factor of the label is in `usable`
      share = share * weight.to(logits.scalar_type()) /
              loss.usable.masked_fill(loss.usable.eq(0), 1).unsqueeze(1);
    }
    loss.value =
        cross_entropies(logits.log_softmax(1), share, options.focal()).sum(1);
    return loss;
  }
  const double spread = options.label_smoothing();
  torch::Tensor share = labels.to(logits.scalar_type()) * (1 - spread) +
                        spread / static_cast<double>(logits.size(1));
  if (weight.defined()) {
    share = share * weight.to(logits.scalar_type());
  }
  return {
      cross_entropies(logits.log_softmax(1), share, options.focal()).sum(1),
      {}};
}

/// The loss of several labels a sample: the mean over the classes.
inline PerSample multi_label_loss(
    const torch::Tensor& logits, const torch::Tensor& labels,
    const TaskOptions& options) {
  const double spread = options.label_smoothing();
  const torch::Tensor wanted =
      labels.to(logits.scalar_type()).reshape(logits.sizes()) * (1 - spread) +
      spread / 2;
  const torch::Tensor positive =
      options.class_weight().defined()
          ? wanted * options.class_weight().to(logits.scalar_type())
          : wanted;
  const torch::Tensor loss =
      cross_entropies(at::log_sigmoid(logits), positive, options.focal()) +
      cross_entropies(at::log_sigmoid(-logits), 1 - wanted, options.focal());
  return {loss.mean(1), {}};
}

/// The loss of numbers: the mean over the outputs.
inline PerSample regression_loss(
    const torch::Tensor& outputs, const torch::Tensor& labels,
    const TaskOptions& options) {
  const torch::Tensor difference =
      outputs - labels.to(outputs.scalar_type()).reshape(outputs.sizes());
  const torch::Tensor size = difference.abs();
  const torch::Tensor loss =
      options.regression() == RegressionLoss::kL1 ? size
      : options.regression() == RegressionLoss::kL2
          ? difference.square()
          : at::where(size < 1, difference.square() / 2, size - 0.5);
  return {loss.mean(1), {}};
}

/// Logits [B, K] in float32 at least; logits [B] become [B, 1].
inline torch::Tensor logit_rows(
    const char* function, const torch::Tensor& logits) {
  TORCH_CHECK_VALUE(
      logits.defined(), function, ": expected logits [B, K], got none");
  TORCH_CHECK_VALUE(
      (logits.dim() == 1 || logits.dim() == 2) && logits.numel() > 0 &&
          logits.is_floating_point(),
      function, ": expected logits [B, K] of floating point, got ",
      logits.sizes(), " of ", logits.scalar_type());
  return to_compute_type(logits.dim() == 1 ? logits.unsqueeze(1) : logits);
}

}  // namespace detail

namespace functional {

/// The loss of the task, sample by sample.
///
///     kClassification   (1 - p_y)^focal (-ln p_y),  p = softmax(z)
///     kMultiLabel       (1 / K) sum over k of the same for y_k and sigmoid(z_k)
///     kRegression       (1 / K) sum over k of |z_k - y_k|, or its square
///
/// One logit is that of class 1, whose probability is sigmoid(z). Shares [B, K]
/// (soft labels, mixup) weigh the classes: - sum over k of y_k ln p_k.
///
/// The mean of a batch is sum(usable value) / sum(usable). `usable` is the
/// label's class weight, and 0 where the label is -100. So the mean is that of
/// torch::nn::functional::cross_entropy, except that a batch without any known
/// label gives 0 instead of NaN.
///
/// Shapes: `logits` [B, K] or [B]; `labels` as in `Batch`. Returns [B].
/// Gradient: to the logits.
/// Throws: on labels, options and shapes that do not fit the task.
/// Source: Lin et al., "Focal loss for dense object detection", ICCV 2017.
/// Example:
///     auto loss = functional::task_loss(
///         logits, labels, TaskOptions().focal(2));
inline PerSample task_loss(
    const torch::Tensor& logits, const torch::Tensor& labels,
    const TaskOptions& options = {}) {
  constexpr const char* kFunction = "cyborg::functional::task_loss";
  const detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor rows = detail::logit_rows(kFunction, logits);
  detail::check_task_options(kFunction, rows, options);
  detail::check_task_labels(kFunction, rows, labels, options);
  switch (options.task()) {
    case Task::kMultiLabel:
      return detail::multi_label_loss(rows, labels, options);
    case Task::kRegression:
      return detail::regression_loss(rows, labels, options);
    case Task::kClassification:
      break;
  }
  if (rows.size(1) > 1) {
    return detail::classification_loss(rows, labels, options);
  }
  // The cross entropy of logits (0, z) is the binary cross entropy of z.
  torch::Tensor two_labels = labels;
  if (labels.is_floating_point()) {
    const torch::Tensor share = labels.reshape({-1, 1});
    two_labels = at::cat({1 - share, share}, /*dim=*/1);
  }
  return detail::classification_loss(
      detail::two_logits(rows), two_labels, options);
}

}  // namespace functional
}  // namespace cyborg
