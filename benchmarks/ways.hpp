// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The ways to compute a loss that bench_loss compares, each with a name.

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
  /// How many numbers move between memory and processor, divided by the number
  /// of features (docs/performance.md).
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

/// A user's own distance. It computes what L2 does, but no kernel knows it.
struct Own {
  static constexpr auto map_normalizer = cyborg::Normalizer::kMinMax;
  static constexpr auto human_normalizer = cyborg::Normalizer::kMinMax;
  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).pow(2).mean(/*dim=*/1);
  }
};

/// The plain head with any saliency term.
inline Way head_with(
    const std::string& text, Pool pool,
    std::function<torch::Tensor(Case&)> saliency) {
  return {
      "plain head, " + text, [pool, saliency = std::move(saliency)](Case& c) {
        return blend(plain_head(c, pool), saliency(c));
      }};
}

/// The loss alone. The logits are fixed, so only the saliency term has a
/// backward.
inline Way alone(
    const std::string& text, std::function<torch::Tensor(Case&)> saliency) {
  return {text, [saliency = std::move(saliency)](Case& c) {
            return blend(cross_entropy(c.logits, c.labels), saliency(c));
          }};
}

template <class Distance = cyborg::L2>
Way fused_alone() {
  return {
      "CYBORG-L2 through a hook",
      [](Case& c) { return fused_loss<Distance>(c, c.logits); }, 3};
}

/// The end of a network that was not changed: a plain head and the fused loss.
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
