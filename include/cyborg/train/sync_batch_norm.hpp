// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/group.hpp>

#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/types.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace cyborg::train {

namespace detail {

/// The node of `sum_over_ranks`. Backward is the same operator, so it has a
/// gradient of its own. The graph keeps the link, not the group: a link can be
/// stored in an `IValue`.
struct SumOverRanks : torch::autograd::Function<SumOverRanks> {
  static torch::Tensor forward(
      torch::autograd::AutogradContext* context, const torch::Tensor& tensor,
      const c10::intrusive_ptr<Link>& link) {
    context->saved_data["link"] = c10::IValue::make_capsule(link);
    torch::Tensor sum = tensor.clone(at::MemoryFormat::Contiguous);
    link->sum(sum)();
    return sum;
  }

  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::variable_list grads) {
    const auto link = c10::static_intrusive_pointer_cast<Link>(
        context->saved_data["link"].toCapsule());
    return {apply(grads[0], link), torch::Tensor()};
  }
};

}  // namespace detail

/// The sum of a tensor over all ranks, as an operator inside of a model.
///
///     y = x_0 + ... + x_(R-1), the same on all R ranks
///
/// Shapes: [*S], the same on every rank, on `group.device()` -> [*S].
/// Gradient: the sum over all ranks of their gradients of y, because the loss
/// of every rank depends on the tensor of every rank. Differentiable twice and
/// more. Every rank must run backward through it.
/// Throws: as `Group`.
/// Example:
///     auto mean = cyborg::train::sum_over_ranks(x, group) / group.size();
inline torch::Tensor sum_over_ranks(
    const torch::Tensor& tensor, const Group& group) {
  return detail::SumOverRanks::apply(tensor, group.link());
}

namespace detail {

/// Throws for an input that is not [B, channels, H, W] or has no samples.
inline void check_normalized(const torch::Tensor& input, int64_t channels) {
  TORCH_CHECK_VALUE(
      input.dim() == 4 && input.size(1) == channels && input.numel() > 0,
      "cyborg::train::SyncBatchNorm2d: expected [B, ", channels,
      ", H, W], got ", input.sizes());
}

/// Normalises by the mean and variance of the samples of all ranks, and updates
/// the running values of `norm` in training. `SyncBatchNorm2d` has the formula.
/// Every rank computes it from the same rows, so mean and variance are the same
/// to the last bit.
template <class Norm>
torch::Tensor normalize_over_ranks(
    Norm& norm, const torch::Tensor& input, double momentum,
    const Group& group) {
  const cyborg::detail::AutocastDisabledGuard no_autocast;
  const torch::Tensor x = cyborg::detail::to_compute_type(input);
  const int64_t channels = x.size(1);
  const std::vector<int64_t> across{0, 2, 3};
  const torch::Tensor own_mean = x.mean(across, /*keepdim=*/true);
  const torch::Tensor own_squares = (x - own_mean).square().sum(across);
  const torch::Tensor own_count =
      at::full({1}, x.numel() / channels, own_squares.options());

  // One row for each rank, [R, 2 C + 1]: its mean, its sum of squared
  // deviations and its count. A sum with zeros gathers the rows.
  const torch::Tensor row =
      at::cat({own_mean.flatten(), own_squares, own_count}).unsqueeze(0);
  const torch::Tensor rows = sum_over_ranks(
      at::cat(
          {row.new_zeros({group.rank(), row.size(1)}), row,
           row.new_zeros({group.size() - group.rank() - 1, row.size(1)})}),
      group);
  const torch::Tensor means = rows.narrow(1, 0, channels);
  const torch::Tensor squares = rows.narrow(1, channels, channels);
  const torch::Tensor counts = rows.narrow(1, 2 * channels, 1).detach();
  const torch::Tensor count = counts.sum();
  const torch::Tensor mean = (counts * means).sum(0) / count;
  const torch::Tensor square =
      (squares + counts * (means - mean).square()).sum(0);

  if (norm.is_training() && norm.running_mean.defined()) {
    const at::NoGradGuard no_grad;
    const auto follow = [momentum](
                            torch::Tensor& running, const torch::Tensor& now) {
      running.lerp_(now.detach().to(running.scalar_type()), momentum);
    };
    follow(norm.running_mean, mean);
    follow(norm.running_var, square / (count - 1));
  }
  const auto wide = [channels](const torch::Tensor& tensor) {
    return tensor.view({1, channels, 1, 1});
  };
  torch::Tensor y =
      (x - wide(mean)) * wide((square / count + norm.options.eps()).rsqrt());
  if (norm.weight.defined()) {
    y = y * wide(norm.weight) + wide(norm.bias);
  }
  return y.to(input.scalar_type());
}

}  // namespace detail

/// The forward of `SyncBatchNorm2d` as a function, for any module `norm` that
/// has the options, parameters and buffers of `torch::nn::BatchNorm2d`. A layer
/// that calls it in its own forward need not change its type.
///
/// Shapes, gradient, throws: as `SyncBatchNorm2d`.
/// Example:
///     auto y = cyborg::train::sync_batch_norm(*bn, x, group);
template <class Norm>
torch::Tensor sync_batch_norm(
    Norm& norm, const torch::Tensor& input, const Group& group) {
  detail::check_normalized(input, norm.options.num_features());
  const bool by_batch = norm.is_training() || !norm.running_mean.defined();
  double momentum = norm.options.momentum().value_or(0);
  if (norm.is_training() && norm.num_batches_tracked.defined()) {
    norm.num_batches_tracked += 1;
    if (!norm.options.momentum().has_value()) {
      momentum = 1 / norm.num_batches_tracked.template item<double>();
    }
  }
  if (!by_batch || group.size() == 1) {
    return torch::batch_norm(
        input, norm.weight, norm.bias, norm.running_mean, norm.running_var,
        by_batch, momentum, norm.options.eps(),
        at::globalContext().userEnabledCuDNN());
  }
  return detail::normalize_over_ranks(norm, input, momentum, group);
}

/// `torch::nn::BatchNorm2d` with the mean and variance of the samples of all
/// ranks. The ranks may have different numbers of samples, from one.
///
///     mean = sum n_r mean_r / n
///     var  = sum ( M_r + n_r (mean_r - mean)^2 ) / n
///
/// Rank r has n_r values in a channel, with the mean mean_r and the sum of
/// squared deviations M_r; n is the sum of n_r. This form does not subtract
/// large squares from each other. There is one exchange in forward and one in
/// backward. Parameters and buffers have the names and the meaning of those of
/// BatchNorm2d, so each of the two types loads what the other one saved. In
/// evaluation and in a group of one process it computes what BatchNorm2d does.
///
/// A finished network cannot be converted, because a LibTorch module calls its
/// children through members of their own types, which `replace_module` does not
/// change. Write this type in place of `torch::nn::BatchNorm2d`, or write a
/// layer that calls `sync_batch_norm`.
///
/// Shapes: [B, C, H, W] -> [B, C, H, W].
/// Range: any floating type; computed in float32 or float64.
/// Gradient: to the input on every rank, and to weight and bias from this
/// rank's samples (`DataParallel` averages them).
/// Throws: `c10::ValueError` for another shape or no samples; as `Group`.
/// Source: Chan, Golub and LeVeque, The American Statistician 37(3), 1983, for
/// the variance.
/// Example:
///     bn = register_module("bn", cyborg::train::SyncBatchNorm2d(64, group));
class SyncBatchNorm2dImpl
    : public torch::nn::NormImplBase<
          2, SyncBatchNorm2dImpl, torch::nn::BatchNormOptions> {
  using Base = torch::nn::NormImplBase<
      2, SyncBatchNorm2dImpl, torch::nn::BatchNormOptions>;

 public:
  SyncBatchNorm2dImpl(const torch::nn::BatchNormOptions& norm, Group group)
      : Base(norm), group_(std::move(group)) {}

  torch::Tensor forward(const torch::Tensor& input) {
    return sync_batch_norm(*this, input, group_);
  }

 protected:
  void _check_input_dim(const torch::Tensor& input) override {
    detail::check_normalized(input, options.num_features());
  }

 private:
  Group group_;
};

/// The holder of a `SyncBatchNorm2dImpl`, where the documentation is.
TORCH_MODULE(SyncBatchNorm2d);

}  // namespace cyborg::train
