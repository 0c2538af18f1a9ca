// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The ways to a loss that bench_loss compares, each with a name.

#include "heads.hpp"
#include "tensors.hpp"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace claims {

using CasePtr = std::shared_ptr<Case>;

/// A way to compute a loss.
struct Way {
  std::string text;
  std::function<torch::Tensor(Case&)> loss;
  /// Floats moved between memory and processor, in counts of the features:
  /// docs/performance.md.
  double moved = 0;
};

inline Compute of(const Way& way, const CasePtr& c) {
  return [loss = way.loss, c] { return loss(*c); };
}

inline std::function<void()> step(const Way& way, const CasePtr& c) {
  return step(of(way, c), c->leaves());
}

inline Way plain(Pool pool) {
  return {
      pool == Pool::kMean ? "mean, linear, CE" : "adaptive pool, linear, CE",
      [pool](Case& c) { return plain_head(c, pool); }, 2};
}

template <class Distance>
Way guided() {
  return {
      "GuidedHead, CE, CYBORG",
      [](Case& c) { return guided_head<Distance>(c); }, 3};
}

/// A user's own distance: equal to L2, but nothing that a kernel knows.
struct Own {
  static constexpr auto map_normalizer = cyborg::Normalizer::kMinMax;
  static constexpr auto human_normalizer = cyborg::Normalizer::kMinMax;
  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).pow(2).mean(/*dim=*/1);
  }
};

/// Any saliency term beside the plain head.
inline Way head_with(
    const std::string& text, Pool pool,
    std::function<torch::Tensor(Case&)> saliency) {
  return {
      "plain head, " + text, [pool, saliency = std::move(saliency)](Case& c) {
        return blend(plain_head(c, pool), saliency(c));
      }};
}

/// The loss alone: the logits are fixed, so that backward is the saliency's.
inline Way alone(
    const std::string& text, std::function<torch::Tensor(Case&)> saliency) {
  return {text, [saliency = std::move(saliency)](Case& c) {
            return blend(cross_entropy(c.logits, c.labels), saliency(c));
          }};
}

inline Way fused_alone() {
  return {
      "CYBORG-L2 through a hook",
      [](Case& c) { return fused_loss(c, c.logits); }, 3};
}

/// What a network gets that nobody edited: a plain head, and the fused loss.
inline Way hooked(Pool pool) {
  return {
      "plain head, CYBORG-L2 through a hook",
      [pool](Case& c) { return fused_loss(c, plain_logits(c, pool)); }, 5};
}

template <class Distance = cyborg::L2>
Way batched_alone() {
  return alone("batched operators", [](Case& c) {
    return batched_saliency<Distance>(c);
  });
}

template <class Distance = cyborg::L2>
Way head_and_batched() {
  return head_with("batched operators", Pool::kMean, [](Case& c) {
    return batched_saliency<Distance>(c);
  });
}

inline Way loop_alone() {
  return alone("published loop", [](Case& c) { return loop_saliency(c); });
}

inline Way head_and_loop(Pool pool) {
  return head_with(
      "published loop", pool, [](Case& c) { return loop_saliency(c); });
}

}  // namespace claims
