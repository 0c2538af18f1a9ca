// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/script.h>
#include <torch/types.h>

#include <cstdint>

namespace programs {

/// Gives the last layer of a TorchScript module new weights, drawn from
/// LibTorch's global generator, for another number of classes.
///
/// The last layer is found on the graph of `logits` [B, K], which the module
/// made in gradient mode: its weight is the first one there that has K rows.
/// Returns false, and changes nothing, where there is none.
bool replace_head(
    torch::jit::Module& module, const torch::Tensor& logits, int64_t classes);

}  // namespace programs
