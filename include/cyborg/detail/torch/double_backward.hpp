// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A derivative of a derivative, for functions that a kernel computes. When a
// backward pass is itself to be differentiated, it computes the function again
// by ATen's operators and asks autograd for the derivative of those.

#include <cyborg/detail/torch/autograd.hpp>  // grad

#include <ATen/ops/alias.h>

#include <cstddef>
#include <vector>

namespace cyborg::detail {

/// Aliases of the inputs: the same values, each with its own node. One input
/// may have been computed from another; the derivative with respect to each
/// must treat the other as a constant, so no derivative may run from one input
/// into another.
inline std::vector<torch::Tensor> as_leaves(
    const std::vector<torch::Tensor>& inputs) {
  std::vector<torch::Tensor> own;
  own.reserve(inputs.size());
  for (const torch::Tensor& input : inputs) {
    own.push_back(input.defined() ? at::alias(input) : input);
  }
  return own;
}

/// The derivatives of `outputs`, weighted by `grads`, with respect to `inputs`,
/// with a graph of their own: what a kernel's backward returns when it is
/// itself to be differentiated. An undefined gradient means zero. The result is
/// undefined for inputs that require no gradient or have no derivative.
inline std::vector<torch::Tensor> grad_with_graph(
    const std::vector<torch::Tensor>& outputs,
    const std::vector<torch::Tensor>& inputs,
    const std::vector<torch::Tensor>& grads) {
  std::vector<torch::Tensor> of, weights, to;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (grads[i].defined() && outputs[i].requires_grad()) {
      of.push_back(outputs[i]);
      weights.push_back(grads[i]);
    }
  }
  for (const torch::Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) {
      to.push_back(input);
    }
  }
  std::vector<torch::Tensor> found(inputs.size());
  if (of.empty() || to.empty()) {
    return found;
  }
  const auto each = torch::autograd::grad(
      of, to, weights, /*retain_graph=*/true, /*create_graph=*/true,
      /*allow_unused=*/true);
  for (size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && inputs[i].requires_grad()) {
      found[i] = each[next++];
    }
  }
  return found;
}

}  // namespace cyborg::detail
