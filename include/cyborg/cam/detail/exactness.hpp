// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Proves that the class activation map explains the logits exactly, or says
// what is missing. Structure alone is no proof: operators do not report their
// arguments. So two equalities are read off the values:
//
//   (1) the pooled vector is the mean of the map over its positions;
//   (2) the logits are W x + b, for the x that the head read.
//
// Dropout may stand between the two. One equality of map and logits instead of
// the two would prove nothing: a head of zeros satisfies it with any axes.

#include <cyborg/cam/detail/equalities.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/detail/trace.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <cstdint>
#include <string>
#include <unordered_set>
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
    const bool fits = !head.weight.defined() ||
                      (head.weight.size(0) == classes &&
                       (!head.bias.defined() || head.bias.numel() == classes ||
                        head.bias.numel() == 1));
    if (!fits) {  // an ordinal head: one weight, and a bias for each logit
      return kNotLinear;
    }
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
    const auto flags = [&](Flags wanted) {
      return std::pair(
          mean_flags(ordered, pooled, collapsed->means, wanted),
          head_flags(x, head.weight, head.bias, logits.detach(), wanted));
    };
    const auto [mean, linear] =
        ordered.is_cpu() ? read(flags(Flags::kAll))
                         : decide(key(trace, *collapsed, ordered), flags);
    if (mean == Verdict::kNotFinite || linear == Verdict::kNotFinite) {
      return "the features or logits are not finite, so nothing is proven";
    }
    if (mean == Verdict::kRefuted) {
      return collapsed->op + " did not average every position exactly once";
    }
    if (mean == Verdict::kUndecided) {
      return "the map is constant, so its mean proves nothing";
    }
    if (linear == Verdict::kRefuted) {
      return kNotLinear;
    }
    return "";
  }

 private:
  static constexpr const char* kNotLinear =
      "the logits are not W x + b of the linear layer that reads the mean (a "
      "scale, a further bias, alpha or beta of addmm)";

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

  static Verdicts read(const std::pair<torch::Tensor, torch::Tensor>& flags) {
    return {verdict_of(flags.first), verdict_of(flags.second)};
  }

  /// The verdicts away from the CPU, where reading waits for the device. `key`
  /// names the forward.
  template <class FlagsOf>
  Verdicts decide(const std::string& key, const FlagsOf& flags) {
    constexpr Verdicts kBothHold{Verdict::kHolds, Verdict::kHolds};
    if (decided_.count(key) > 0) {
      const auto [mean, linear] = flags(Flags::kHolds);
      // The host does not wait here: the device keeps whether all held.
      holds_ = holds_.defined() && holds_.device() == mean.device()
                   ? holds_.logical_and(mean)
                   : mean;
      holds_ = holds_.logical_and(linear);
      if (++forwards_ % kForwardsBetweenReads != 0) {
        return kBothHold;
      }
      const bool held = holds_.item<bool>();
      holds_ = torch::Tensor();
      if (held) {
        return kBothHold;
      }
      decided_.clear();
    }
    const Verdicts now = read(flags(Flags::kAll));
    if (now == kBothHold) {
      decided_.insert(key);
    }
    return now;
  }

  std::unordered_set<std::string> decided_;  // forwards for which both hold
  static constexpr int64_t kForwardsBetweenReads = 64;
  torch::Tensor holds_;  // on the device: whether both held since the last read
  int64_t forwards_ = 0;
};

}  // namespace cyborg::detail
