// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Finds out whether the logit of each sample depends on that sample's features
// alone. Else a map of one sample does not exist.

#include <cyborg/cam/detail/equalities.hpp>
#include <cyborg/cam/detail/graph.hpp>
#include <cyborg/cam/detail/known_logits.hpp>
#include <cyborg/cam/methods.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cyborg::detail {

/// The labels' logits [batch], with 0 for the samples outside `range`. With
/// `negate` there is one logit, whose sign is changed for label 0.
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
  bool decided = false;  // the gradient is finite and not zero
  torch::Tensor found;   // [B], the weight of each sample, as the gradient has
                         // it; NaN where the gradient is zero
};

/// Fractions [B] in [0, 1), in float64, that differ from sample to sample.
inline torch::Tensor uneven_fractions(
    int64_t batch, int64_t turn, const c10::TensorOptions& options) {
  return at::arange(
             1, batch + 1, options.dtype(at::kDouble).requires_grad(false))
      .mul_(0.6180339887)
      .add_(0.7548776662 * static_cast<double>(turn % 1024))
      .frac_();
}

/// Weights [B]: 0.5, 1 or 2, and never the same for neighbours. Powers of two, so
/// that a product with them is exact in each type: rounding in bfloat16 is not
/// taken for mixing. If two samples with equal weights are exchanged, nothing
/// shows it. So each `turn` has other weights.
inline torch::Tensor exact_weights(
    int64_t batch, int64_t turn, const c10::TensorOptions& options) {
  return uneven_fractions(batch, turn, options)
      .mul_(3)
      .floor_()
      .sub_(1)
      .exp2_();
}

/// Compares, for uneven weights r [B] in float64,
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
    const torch::Tensor& source, int64_t batch_dim,
    const torch::Tensor& weights) {
  const at::AutoGradMode graph_on(true);
  const int64_t batch = score.size(0);
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
  SampleMixing mixing;
  mixing.found = (weighted * plain).sum(1) / own;
  const double size = wanted.abs().max().item<double>();
  mixing.error = (weighted - wanted).abs().max().item<double>() / size;
  mixing.decided = size > 0 && std::isfinite(mixing.error);
  return mixing;
}

/// What is known of how logits depend on samples, for one way through a network.
///
/// Values decide it, too: a factor that is 0 at first may mix samples later. So
/// on the CPU it is proven for each map. It is proven now and then in two cases:
/// where reading waits for a device, and in training with a named layer, because
/// much of the network may lie behind that.
class SampleProof {
 public:
  bool moved = false;             // an operator on the way may move samples
  bool batch_statistics = false;  // a batch norm computed the batch's own
  bool proven = false;
  bool of_named_layer = false;

  /// Whether the next map needs a check of its own.
  bool is_due(bool on_cpu) {
    const bool rarely = of_named_layer && at::GradMode::is_enabled();
    const int64_t period = !on_cpu ? kElsewhere : rarely ? kBehindLayer : 1;
    return ++asked_ % period == 0 || !proven;
  }

  /// The number of maps that were asked for.
  int64_t asked() const { return asked_; }

 private:
  // Maps from one check to the next.
  static constexpr int64_t kBehindLayer = 8, kElsewhere = 64;
  int64_t asked_ = 0;
};

/// Throws, on behalf of `function`, unless each sample's score depends on its
/// own features alone. With batch statistics a score depends a little on other
/// samples; then the function warns and does not throw. `proof`: what is known of
/// logits that the network returned; null for others. Returns whether it is
/// proven.
inline bool check_sample_wise(
    const char* function, const torch::Tensor& logits,
    const torch::Tensor& score, const torch::Tensor& source, int64_t batch_dim,
    const SampleProof* proof) {
  const int64_t turn = proof == nullptr ? 0 : proof->asked();
  const auto batch = score.size(0);
  const SampleMixing mixing = sample_mixing(
      function, score, source, batch_dim,
      exact_weights(batch, turn, score.options()));
  // The weights are powers of two, so that each product is exact. Away from the
  // CPU the order of sums may differ from one gradient to the next, which shows
  // where they are rounded to few bits; and half types lose small numbers.
  bool coarse = source.scalar_type() == at::kFloat && !source.is_cpu();
  bool normalizes = false;
  const auto look_at_type = [&](at::ScalarType type) {
    coarse |= type == at::kHalf || (type == at::kBFloat16 && !source.is_cpu());
  };
  look_at_type(source.scalar_type());
  look_at_type(logits.scalar_type());
  walk_to(logits, node_output(source), [&](const Node& node) {
    for (size_t i = 0; i < node.num_inputs(); ++i) {
      look_at_type(c10::typeMetaToScalarType(node.input_metadata(i).dtype()));
    }
    normalizes |= contains(node.name(), "BatchNorm");
  });
  if (!mixing.decided || mixing.error <= (coarse ? 5e-2 : 1e-3)) {
    return mixing.decided;
  }
  // Batch statistics leave each sample most of its own weight, if weights are
  // not far from one another.
  const auto keeps_order = [&] {
    const auto weights = uneven_fractions(batch, 0, score.options()) + 0.5;
    const auto found =
        sample_mixing(function, score, source, batch_dim, weights).found;
    return !(found - weights).abs().ge(0.25).any().item<bool>();
  };
  const bool by_statistics =
      normalizes && (proof == nullptr ? keeps_order()
                                      : proof->batch_statistics &&
                                            (!proof->moved || keeps_order()));
  TORCH_CHECK_VALUE(
      by_statistics, function,
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
