// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Recognises the logits of an observed forward pass.

#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/detail/unchanged.hpp>

#include <ATen/ops/equal.h>

#include <cstdint>
#include <optional>
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
        version_(version_of(logits)) {}

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
  bool unchanged() const { return version_of(values_) == version_; }

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

}  // namespace cyborg::detail
