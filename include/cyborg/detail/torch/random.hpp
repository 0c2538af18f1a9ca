// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/core/Generator.h>
#include <ATen/ops/rand.h>

namespace cyborg::detail {

/// Random numbers from [0, 1) in the shape, in the type and on the device of
/// `like`. They are drawn on the device of `generator`, so that a generator of
/// the CPU gives the same numbers for pictures on any device; without one
/// (undefined), by the global generator of `like`'s device.
inline torch::Tensor uniform_like(
    const torch::Tensor& like, const at::Generator& generator) {
  const at::TensorOptions options = like.options().requires_grad(false);
  if (!generator.defined()) {
    return at::rand(like.sizes(), options);
  }
  return at::rand(like.sizes(), generator, options.device(generator.device()))
      .to(like.device());
}

}  // namespace cyborg::detail
