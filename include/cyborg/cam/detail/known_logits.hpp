// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Recognises the logits of an observed forward pass, and finds out whether
// other logits may be asked for maps.

#include <cyborg/cam/detail/equalities.hpp>
#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/methods.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// Some samples of the observed batch.
struct SampleRange {
  int64_t start = 0;
  int64_t count = 0;
};

/// The samples of `range` of a tensor with the batch in dimension 0.
inline torch::Tensor samples_of(
    const torch::Tensor& tensor, const SampleRange& range) {
  return !tensor.defined() ||
                 (range.start == 0 && range.count == tensor.size(0))
             ? tensor
             : tensor.narrow(0, range.start, range.count);
}

/// One tensor that a forward pass returned, as far as it must be recognised.
class KnownLogits {
 public:
  KnownLogits() = default;
  /// `logits` [B, K] or [B], as the network returned them.
  explicit KnownLogits(const torch::Tensor& logits)
      : node_(logits.grad_fn()),
        key_(node_output(logits)),
        values_(logits.detach()),
        version_(static_cast<int64_t>(logits._version())) {}

  bool defined() const { return values_.defined(); }

  /// Which samples `logits` holds of these logits; nothing if they are others.
  /// They are the same if they are the same value of the graph, up to casts and
  /// views that keep size and order; if they lie in the same memory, whole or
  /// as a range of samples; or, without a graph, if they are the same numbers.
  std::optional<SampleRange> samples_of(const torch::Tensor& logits) const {
    if (!defined()) {
      return std::nullopt;
    }
    const int64_t batch = values_.size(0);
    if (same_value(logits)) {
      return SampleRange{0, batch};
    }
    if (const auto range = same_memory(logits)) {
      return range;
    }
    if (!logits.requires_grad() && logits.numel() == values_.numel() &&
        logits.size(0) == batch && unchanged() &&
        at::equal(
            logits.reshape(values_.sizes()), values_.to(logits.options()))) {
      return SampleRange{0, batch};
    }
    return std::nullopt;
  }

 private:
  bool unchanged() const {
    return static_cast<int64_t>(values_._version()) == version_;
  }

  bool same_value(const torch::Tensor& logits) const {
    return key_.node != nullptr && logits.requires_grad() && logits.grad_fn() &&
           logits.numel() == values_.numel() &&
           logits.size(0) == values_.size(0) &&
           skip_views(node_output(logits), key_) == key_;
  }

  std::optional<SampleRange> same_memory(const torch::Tensor& logits) const {
    if (!logits.has_storage() || !values_.has_storage() || !unchanged() ||
        logits.storage().unsafeGetStorageImpl() !=
            values_.storage().unsafeGetStorageImpl() ||
        logits.scalar_type() != values_.scalar_type()) {
      return std::nullopt;
    }
    const torch::Tensor mine =
        values_.dim() == 1 ? values_.unsqueeze(1) : values_;
    const torch::Tensor theirs =
        logits.dim() == 1 ? logits.detach().unsqueeze(1) : logits.detach();
    if (theirs.dim() != mine.dim() ||
        theirs.sizes().slice(1) != mine.sizes().slice(1)) {
      return std::nullopt;
    }
    for (int64_t d = 0; d < mine.dim(); ++d) {
      if (theirs.size(d) > 1 && theirs.stride(d) != mine.stride(d)) {
        return std::nullopt;
      }
    }
    const int64_t offset = theirs.storage_offset() - mine.storage_offset();
    const int64_t step = mine.size(0) > 1 ? mine.stride(0) : mine.numel();
    if (offset < 0 || step <= 0 || offset % step != 0 ||
        offset / step + theirs.size(0) > mine.size(0)) {
      return std::nullopt;
    }
    return SampleRange{offset / step, theirs.size(0)};
  }

  NodePtr node_;  // keeps the address in `key_` from being used again
  NodeOutput key_;
  torch::Tensor values_;  // the same memory, without the graph
  int64_t version_ = 0;
};

/// The labels' logits [batch], with 0 for the samples outside `range`. With
/// `negate` there is one logit, which label 0 turns around.
inline torch::Tensor scores_of(
    const torch::Tensor& logits, const torch::Tensor& labels, bool negate,
    const SampleRange& range, int64_t batch) {
  const at::AutoGradMode graph_on(true);
  const auto columns = logits.dim() == 1 ? logits.unsqueeze(1) : logits;
  const torch::Tensor score =
      negate ? columns.squeeze(1) * label_sign(labels, logits.scalar_type())
             : columns.gather(1, labels.to(at::kLong).unsqueeze(1)).squeeze(1);
  if (range.count == batch) {
    return score;
  }
  const auto zeros = [&](int64_t count) {
    return at::zeros({count}, score.options().requires_grad(false));
  };
  return at::cat(
      {zeros(range.start), score, zeros(batch - range.start - range.count)});
}

/// How much the scores of a batch depend on other samples' features.
struct SampleMixing {
  double error = 0;      // of the equation below, as a part of the gradient
  double deviation = 0;  // of the samples' weights in the gradient
  bool decided = false;  // the gradient is finite and not zero
};

/// Compares, for uneven weights r,
///
///     d(sum of r_b score_b) / dF_b = r_b d(sum of score_b) / dF_b
///
/// which holds if the score of each sample reaches that sample's features alone.
/// Both gradients are computed, so it costs two passes through what lies behind
/// the features. A batch in another order gives each sample another's weight.
///
/// Shapes: `score` [B], `source` has its batch in dimension `batch_dim`.
inline SampleMixing sample_mixing(
    const char* function, const torch::Tensor& score,
    const torch::Tensor& source, int64_t batch_dim) {
  const at::AutoGradMode graph_on(true);
  const int64_t batch = score.size(0);
  const torch::Tensor weights =
      at::arange(
          1, batch + 1, score.options().dtype(at::kDouble).requires_grad(false))
          .mul_(0.618)
          .frac_()
          .add_(0.5);
  const auto gradient = [&](const torch::Tensor& of_each) {
    return score_gradient(
               function, source, score * of_each.to(score.scalar_type()),
               GradCamOptions().detach_weights(true))
        .to(at::kDouble)
        .movedim(batch_dim, 0)
        .reshape({batch, -1});
  };
  const torch::Tensor plain = gradient(at::ones_like(weights));
  const torch::Tensor weighted = gradient(weights);
  const at::NoGradGuard no_graph;
  const torch::Tensor wanted = plain * weights.unsqueeze(1);
  const torch::Tensor own = (plain * plain).sum(1);
  const torch::Tensor found = (weighted * plain).sum(1) / own;
  SampleMixing mixing;
  const double size = wanted.abs().max().item<double>();
  mixing.error = (weighted - wanted).abs().max().item<double>() / size;
  mixing.deviation =
      at::where(own.gt(0), (found - weights).abs(), at::zeros_like(own))
          .max()
          .item<double>();
  mixing.decided = size > 0 && std::isfinite(mixing.error);
  return mixing;
}

/// What is known of how logits depend on samples, for one way through a network.
/// The way decides it, not the values, so one proof serves all forwards that go
/// the same way.
struct SampleProof {
  bool proven = false;
  bool moved = false;  // an operator on the way may move samples
};

/// Throws, on behalf of `function`, unless each sample's score depends on its
/// own features alone. Batch statistics mix samples a little, but leave each its
/// own weight: then it warns. `in_order`: nothing on the way moves samples, so
/// that batch statistics are the only reason. Returns whether it is proven.
inline bool check_sample_wise(
    const char* function, const torch::Tensor& logits,
    const torch::Tensor& score, const torch::Tensor& source, int64_t batch_dim,
    bool in_order) {
  const SampleMixing mixing = sample_mixing(function, score, source, batch_dim);
  // A gradient that passes through bfloat16 is rounded there, and one of
  // float32 in TF32 or bfloat16 where PyTorch may use them: on GPUs it may in
  // convolutions, unless it was told not to.
  bool casts = source.scalar_type() == at::kFloat &&
               (!source.is_cpu() ||
                product_epsilon_of(at::kFloat) > epsilon_of(at::kFloat));
  bool normalizes = false;
  walk_to(logits, node_output(source), [&](const Node& node) {
    const std::string name = node.name();
    casts |= starts_with(name, "ToCopy");
    normalizes |= contains(name, "BatchNorm");
  });
  if (!mixing.decided || mixing.error <= (casts ? 5e-2 : 1e-3)) {
    return mixing.decided;
  }
  TORCH_CHECK_VALUE(
      normalizes && (in_order || mixing.deviation < 0.25), function,
      ": the logit of a sample depends on the features of other samples: the "
      "batch of the logits is in another order than that of the features, or "
      "the logits compare samples with each other. A map of one sample does "
      "not exist");
  TORCH_WARN_ONCE(
      function,
      ": batch normalisation in training mode lies between the features and "
      "these logits, so the map of a sample also depends on the others; use "
      "evaluation mode for pictures");
  return false;
}

}  // namespace cyborg::detail
