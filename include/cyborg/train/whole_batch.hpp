// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/train/group.hpp>

#include <c10/util/Exception.h>
#include <torch/types.h>

#include <cstdint>

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

}  // namespace cyborg::train
