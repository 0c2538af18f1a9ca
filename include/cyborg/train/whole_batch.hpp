// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/train/group.hpp>

#include <c10/util/Exception.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cyborg::train {

/// The number from which each rank starts its backward, so that the gradients
/// that `DataParallel` averages are those of the guided loss over the samples
/// of all ranks in one batch. Samples and annotations may be spread over the
/// ranks in any way.
///
///     total_r = R / B ( (1 - (1 - alpha) n / B) B_r task_r
///                       + (1 - alpha) n_r S_r )
///
/// Here rank r of R has B_r samples, n_r of them guided, the task's loss task_r
/// and the mean distance S_r; B and n are the sums of B_r and n_r over the
/// ranks. The mean of total_r over the ranks is the loss of the whole batch.
/// The ranks exchange two numbers.
///
/// Shapes: `terms` are the loss of this rank's `samples` samples. Returns one
/// number.
/// Gradient: to `terms.classification` and `terms.saliency`.
/// Throws: `c10::ValueError` for a loss of reduction kSum (the gradients of
/// sums have to be added, not averaged) and for samples < 1; as `Group`.
/// Example:
///     auto terms = criterion(logits, labels, hook, maps);
///     cyborg::train::whole_batch_total(
///         criterion, terms, labels.size(0), group).backward();
template <class Distance>
torch::Tensor whole_batch_total(
    const SaliencyGuidedLoss<Distance>& criterion, const LossTerms& terms,
    int64_t samples, const Group& group) {
  TORCH_CHECK_VALUE(
      criterion.options().reduction() == Reduction::kMean,
      "cyborg::train::whole_batch_total: expected a loss of reduction kMean, "
      "got kSum");
  TORCH_CHECK_VALUE(
      samples > 0,
      "cyborg::train::whole_batch_total: expected samples > 0, got ", samples);
  const auto strength = 1 - criterion.alpha();
  const auto own = static_cast<double>(samples);
  const torch::Tensor guided = terms.annotated_count.to(at::kDouble);
  const torch::Tensor counts =
      at::stack({guided, at::full_like(guided, own)});  // n and B
  group.all_reduce(counts);
  const torch::Tensor batch = counts[1];
  const auto type = terms.classification.scalar_type();
  const torch::Tensor to_task =
      (1 - strength * counts[0] / batch) * own * group.size() / batch;
  const torch::Tensor to_saliency = strength * guided * group.size() / batch;
  return to_task.to(type) * terms.classification +
         to_saliency.to(type) * terms.saliency;
}

/// The same for a `Guidance`: the gradients that `DataParallel` averages are
/// those of the loss over the samples of all ranks.
///
///     total_r = R ( (1 - sum over convex t of s_t n_t / B) m_r / m task_r
///                   + sum of s_t n_tr / B S_tr )
///
/// m_r is the sum of the weights of the task's mean on rank r (B_r without class
/// weights and unknown labels), m their sum over the ranks; term t has the
/// strength s_t, counts n_tr samples on rank r and n_t on all.
///
/// Shapes: `terms` are the loss of this rank's `samples` samples, with
/// reduction kMean and a balance of kFixed. Returns one number.
/// Gradient: to `terms.task` and the values of the parts.
/// Throws: `c10::ValueError` for samples < 1; as `Group`. All ranks must have
/// the same terms.
/// Example:
///     auto terms = guidance(hook, forward, batch);
///     cyborg::train::whole_batch_total(
///         terms, labels.size(0), group).backward();
inline torch::Tensor whole_batch_total(
    const GuidanceTerms& terms, int64_t samples, const Group& group) {
  TORCH_CHECK_VALUE(
      samples > 0,
      "cyborg::train::whole_batch_total: expected samples > 0, got ", samples);
  std::vector<torch::Tensor> numbers{
      terms.task_count.to(at::kDouble),
      at::full_like(terms.task_count.to(at::kDouble), samples)};
  for (const auto& part : terms.parts) {
    numbers.push_back(part.count.to(at::kDouble));
  }
  const torch::Tensor counts = at::stack(numbers).detach();
  group.all_reduce(counts);
  const torch::Tensor batch = counts[1];
  const auto type = terms.task.scalar_type();
  torch::Tensor left = at::ones_like(batch);
  torch::Tensor total;
  for (size_t i = 0; i < terms.parts.size(); ++i) {
    const auto& part = terms.parts[i];
    if (part.blend == Blend::kConvex) {
      left = left - part.strength * counts[static_cast<int64_t>(i) + 2] / batch;
    }
    const torch::Tensor factor =
        part.strength * group.size() * part.count.to(at::kDouble) / batch;
    const torch::Tensor scaled = factor.to(type) * part.value;
    total = total.defined() ? total + scaled : scaled;
  }
  const torch::Tensor share = terms.task_count.to(at::kDouble) /
                              counts[0].masked_fill(counts[0].eq(0), 1) *
                              group.size() * left;
  const torch::Tensor task = share.to(type) * terms.task;
  return total.defined() ? task + total : task;
}

}  // namespace cyborg::train
