// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The tensor, its operators and its gradient mode, and no more of LibTorch,
// because every program that includes cyborg pays for it: torch/types.h costs
// half the compile time of torch/torch.h. Functions (at::bmm) come from
// <ATen/ops/NAME.h>, one by one, in the headers that call them.

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
using at::Tensor;  // as torch/types.h declares it; a file may include both
}

namespace cyborg::detail {

/// The same values in plain contiguous memory, for code that reads memory. A
/// tensor may have its minus sign as a flag (after `imag()` of a conjugate), or
/// be zeros without memory; the result has neither.
inline torch::Tensor resolved_contiguous(const torch::Tensor& tensor) {
  return (tensor._is_zerotensor() ? tensor.clone() : tensor.resolve_neg())
      .contiguous();
}

}  // namespace cyborg::detail
