// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The tensor, its operators and its gradient mode, and no more of LibTorch:
// torch/types.h costs half of what torch/torch.h does. Functions (at::bmm)
// come from <ATen/ops/NAME.h>, one by one, in the headers that call them.

// LibTorch's headers include all functions at once unless this is defined.
#pragma push_macro("AT_PER_OPERATOR_HEADERS")
#undef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#pragma pop_macro("AT_PER_OPERATOR_HEADERS")

#include <c10/util/Exception.h>

namespace torch {
using torch::Tensor;  // as torch/types.h makes it; may be said twice
}

namespace cyborg::detail {

/// The same values as memory holds them, one after the other, with neither a
/// sign nor zeros that are there by a flag alone.
inline torch::Tensor resolved_contiguous(const torch::Tensor& tensor) {
  return (tensor._is_zerotensor() ? tensor.clone() : tensor.resolve_neg())
      .contiguous();
}

}  // namespace cyborg::detail
