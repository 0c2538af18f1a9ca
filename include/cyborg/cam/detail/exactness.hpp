// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Proves that the class activation map explains the logits exactly, or says
// what is missing. Structure alone is no proof: operators do not report their
// arguments. So two equalities are read off the values:
//
//   (1) the pooled vector is the mean of the map over its positions;
//   (2) the logits are W x + b, for the x that the head read.
//
// Dropout may stand between the two. Their product would prove nothing: a head
// of zeros satisfies it with any axes.

#include <cyborg/cam/detail/equalities.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/detail/trace.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/logical_and.h>
#include <ATen/ops/logical_not.h>
#include <ATen/ops/logical_or.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

namespace cyborg::detail {

/// Decides whether CAM is exact, in each forward pass.
///
/// On the CPU the values are read each time. Elsewhere reading waits for the
/// device, so it is done at the first forward of each shape, type and number of
/// values. Later forwards collect refutations on the device, which are read now
/// and then; if there are any, the decision is taken anew.
class Exactness {
 public:
  /// Why CAM is not exact for `logits`; empty where it is. `collapsed` is what
  /// the head read (or, without a head, the logits' own value).
  std::string why_not(
      const Trace& trace, const LinearHead& head, const TracedValue* collapsed,
      const FeatureMap& map, const torch::Tensor& logits) {
    if (collapsed == nullptr || !collapsed->is_collapsed() ||
        (!collapsed->averaged && is_custom(collapsed->node->name()))) {
      return "no single linear operator reads the collapsed features";
    }
    if (!collapsed->averaged) {
      return "there is more than a mean between the map and the head (" +
             collapsed->op + ", ...)";
    }
    if (collapsed->open() || !is_mean_of(collapsed->layout.axes, map) ||
        !collapsed->pooled.defined()) {
      return "the mean leaves more than one value per channel";
    }
    const torch::Tensor ordered = map.in_order(map.tensor.detach());
    const int64_t samples = ordered.size(0);
    const int64_t channels = ordered.size(1);
    const int64_t classes = logit_count(logits);
    const int64_t width = head.weight.defined() ? head.weight.size(1) : classes;
    const torch::Tensor pooled = in_rows(
        collapsed->pooled, collapsed->pooled_axes, map, samples, channels);
    if (width != channels || !pooled.defined()) {
      return "the mean leaves more than one value per channel";
    }
    if (collapsed->value._version() !=
        static_cast<decltype(collapsed->value._version())>(
            collapsed->version)) {
      return "what the head read was overwritten by an in-place operator";
    }
    const at::NoGradGuard no_graph;
    const AutocastDisabledGuard no_autocast;
    const torch::Tensor x =
        collapsed->value.detach().reshape({samples, channels});
    const torch::Tensor first = mean_flags(ordered, pooled, collapsed->means);
    const torch::Tensor second =
        head_flags(x, head.weight, head.bias, logits.detach());
    const auto [mean, linear] =
        read([&] { return key(trace, *collapsed, ordered); }, first, second);
    if (mean == Verdict::kNotFinite || linear == Verdict::kNotFinite) {
      return "the features or logits are not finite, so nothing is proven";
    }
    if (mean == Verdict::kRefuted) {
      return "what " + collapsed->op + " averaged is not every position once";
    }
    if (mean == Verdict::kUndecided) {
      return "the map is constant, so its mean proves nothing";
    }
    if (linear == Verdict::kRefuted) {
      return "the logits are not W x + b of the linear layer that reads the "
             "mean (a scale, a further bias, alpha or beta of addmm)";
    }
    return "";
  }

 private:
  using Verdicts = std::pair<Verdict, Verdict>;

  /// Whether the dimensions are those of [B, C] for this map, up to dimensions
  /// of size 1.
  static bool is_mean_of(const Axes& axes, const FeatureMap& map) {
    bool batch = true;  // the next one may be the batch
    bool channel = !map.channels.empty();
    for (const Axis& axis : axes.dims) {
      if (axis.empty()) {
        continue;
      }
      if (batch && pure_role(axis) == Role::kBatch && axis.front().complete()) {
        batch = false;
      } else if (channel && axis == map.channels) {
        batch = channel = false;
      } else {
        return false;
      }
    }
    return !channel;
  }

  /// A mean as [B, C], from that or from [C, B]; undefined if it is neither.
  static torch::Tensor in_rows(
      const torch::Tensor& mean, const Axes& axes, const FeatureMap& map,
      int64_t samples, int64_t channels) {
    if (mean.numel() != samples * channels) {
      return {};
    }
    if (is_mean_of(reshaped(axes, {samples, channels}), map)) {
      return mean.reshape({samples, channels});
    }
    Axes turned = reshaped(axes, {channels, samples});
    std::swap(turned.dims[0], turned.dims[1]);
    return is_mean_of(turned, map) ? mean.reshape({channels, samples}).t()
                                   : torch::Tensor();
  }

  static std::string key(
      const Trace& trace, const TracedValue& collapsed,
      const torch::Tensor& map) {
    return c10::str(
        collapsed.op, " ", trace.size(), " ", map.sizes(), " ",
        map.scalar_type(), " ", collapsed.pooled.scalar_type());
  }

  /// `key_of()` names the forward; it is asked for away from the CPU only.
  template <class KeyOf>
  Verdicts read(
      const KeyOf& key_of, const torch::Tensor& first,
      const torch::Tensor& second) {
    if (first.is_cpu()) {
      return {verdict_of(first), verdict_of(second)};
    }
    // Nobody waits for the device here: refutations are collected on it.
    const torch::Tensor refuted = at::logical_not(
        at::logical_and(first.select(0, 0), second.select(0, 0)));
    refuted_ = refuted_.defined() && refuted_.device() == refuted.device()
                   ? at::logical_or(refuted_, refuted)
                   : refuted;
    if (++forwards_ % kForwardsBetweenReads == 0) {
      if (refuted_.item<bool>()) {
        decided_.clear();
      }
      refuted_ = torch::Tensor();
    }
    const std::string key = key_of();
    if (const auto known = decided_.find(key); known != decided_.end()) {
      return known->second;
    }
    const Verdicts now{verdict_of(first), verdict_of(second)};
    if (now.first == Verdict::kHolds && now.second == Verdict::kHolds) {
      decided_[key] = now;
    }
    return now;
  }

  std::unordered_map<std::string, Verdicts> decided_;
  static constexpr int64_t kForwardsBetweenReads = 64;
  torch::Tensor refuted_;  // on the device: whether some forward refuted
  int64_t forwards_ = 0;
};

}  // namespace cyborg::detail
