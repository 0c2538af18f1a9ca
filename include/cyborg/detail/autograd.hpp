// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The graph of autograd: nodes, edges, leaves, torch::autograd::grad and
// functions of one's own.

#include <cyborg/detail/tensor.hpp>

// See detail/tensor.hpp.
#pragma push_macro("AT_PER_OPERATOR_HEADERS")
#undef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#include <torch/csrc/autograd/autograd.h>  // grad
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#pragma pop_macro("AT_PER_OPERATOR_HEADERS")

namespace cyborg::detail {

/// The node that ends a graph at a leaf, its `variable`; else nullptr.
inline const torch::autograd::AccumulateGrad* as_leaf(
    const torch::autograd::Node* node) {
  return dynamic_cast<const torch::autograd::AccumulateGrad*>(node);
}

}  // namespace cyborg::detail
