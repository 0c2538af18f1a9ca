// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Decides by values what the arguments of an operator were, where the shapes
// leave it open: [B, C, h, w] with C = h = w, reduced to [B, C].

#include <cyborg/cam/detail/operators.hpp>

#include <ATen/ops/allclose.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>
#include <torch/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace cyborg::detail {

/// Whether `out` is what the operator makes of `in` with these arguments: the
/// set of reduced dimensions (bit d: dimension d), or, for a stack, the new
/// dimension, with `in` the first operand. It runs the operator again. That
/// happens only in the rare case that several readings fit the shapes.
inline bool values_agree(
    std::string_view node_name, const torch::Tensor& in,
    const torch::Tensor& out, uint32_t arguments) {
  if (!in.defined() || in.numel() == 0) {
    return false;
  }
  const at::NoGradGuard no_graph;
  const auto close = [&](const torch::Tensor& found) {
    const auto type = out.scalar_type();
    const double part = type == at::kDouble  ? 1e-12
                        : type == at::kFloat ? 1e-5
                                             : 1e-2;
    const double scale =
        in.detach().nan_to_num(0, 0, 0).abs().mean().item<double>();
    return at::allclose(
        found.to(at::kDouble), out.detach().to(at::kDouble), part, part * scale,
        /*equal_nan=*/true);
  };
  const auto name = base_name(node_name);
  if (name == "Stack") {
    return at::equal(
        in.detach(), out.detach().select(static_cast<int64_t>(arguments), 0));
  }
  std::vector<int64_t> dims;
  for (int64_t d = 0; d < in.dim(); ++d) {
    if ((arguments >> d & 1U) != 0) {
      dims.push_back(d);
    }
  }
  const torch::Tensor values = in.detach();
  if (name == "Mean") {
    return close(values.mean(dims));
  }
  if (name == "Sum") {
    return close(values.sum(dims));
  }
  if (name == "Amax" || name == "Max") {
    return close(values.amax(dims));
  }
  if (name == "Amin" || name == "Min") {
    return close(values.amin(dims));
  }
  return name == "Logsumexp" && close(values.logsumexp(dims));
}

}  // namespace cyborg::detail
