// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Recognises the logits of an observed forward pass, and finds out whether
// other logits may be asked for maps.

#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/methods.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
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
            logits.reshape(values_.sizes()).to(values_.options()), values_)) {
      return SampleRange{0, batch};
    }
    return std::nullopt;
  }

 private:
  bool unchanged() const {
    return static_cast<int64_t>(values_._version()) == version_;
  }

  bool same_value(const torch::Tensor& logits) const {
    if (key_.node == nullptr || !logits.requires_grad() || !logits.grad_fn() ||
        logits.numel() != values_.numel() ||
        logits.size(0) != values_.size(0)) {
      return false;
    }
    NodeOutput key = node_output(logits);
    while (!(key == key_)) {
      if (key.node == nullptr || !is_view(key.node->name()) ||
          key.node->next_edges().empty()) {
        return false;
      }
      key = edge_output(key.node->next_edges()[0]);
    }
    return true;
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

/// Whether the score of each sample reaches that sample's features alone.
///
///     d(sum of r_b score_b) / dF_b = r_b d(sum of score_b) / dF_b
///
/// for uneven weights r. Both gradients are computed, so it costs two passes
/// through what lies behind the features. It fails for a batch in another order
/// and where samples are mixed (similarities of pairs).
///
/// Shapes: `score` [B], `source` has its batch in dimension `batch_dim`.
inline bool is_sample_wise(
    const torch::Tensor& score, const torch::Tensor& source,
    int64_t batch_dim) {
  const at::AutoGradMode graph_on(true);
  const int64_t batch = score.size(0);
  if (batch == 1) {
    return true;
  }
  const torch::Tensor weights =
      at::arange(
          1, batch + 1, score.options().dtype(at::kDouble).requires_grad(false))
          .mul_(0.618)
          .frac_()
          .add_(0.5)
          .to(score.scalar_type());
  const auto gradient = [&](const torch::Tensor& of_each) {
    return torch::autograd::grad(
        {score}, {source}, {of_each}, /*retain_graph=*/true,
        /*create_graph=*/false, /*allow_unused=*/true)[0];
  };
  const torch::Tensor plain = gradient(at::ones_like(weights));
  const torch::Tensor weighted = gradient(weights);
  if (!plain.defined() || !weighted.defined()) {
    return false;
  }
  std::vector<int64_t> sizes(static_cast<size_t>(source.dim()), 1);
  sizes[static_cast<size_t>(batch_dim)] = batch;
  const at::NoGradGuard no_graph;
  const torch::Tensor wanted =
      plain.to(at::kDouble) * weights.to(at::kDouble).reshape(sizes);
  const double error =
      (weighted.to(at::kDouble) - wanted).abs().max().item<double>();
  const double size = wanted.abs().max().item<double>();
  const double unit = score.scalar_type() == at::kDouble ? 1e-8 : 1e-3;
  const bool half =
      source.scalar_type() != at::kFloat && source.scalar_type() != at::kDouble;
  return error <= size * (half ? 5e-2 : unit);
}

/// Whether batch statistics lie between `logits` and the value `map`: a batch
/// normalisation in training mode.
inline bool has_batch_statistics(
    const torch::Tensor& logits, const NodeOutput& map) {
  bool found = false;
  walk_to(logits, map, [&](const Node& node) {
    found |= contains(node.name(), "BatchNorm");
  });
  return found;
}

}  // namespace cyborg::detail
