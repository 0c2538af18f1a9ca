// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Values and gradients of a computation, and the check that two are equal.

#include <ATen/ops/abs.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace claims {

using Tensors = std::vector<torch::Tensor>;
using Compute = std::function<torch::Tensor()>;

/// Moves the gradients out of the leaves, so that the next backward allocates
/// new ones.
inline Tensors take_gradients(Tensors leaves) {
  Tensors gradients;
  for (auto& leaf : leaves) {
    gradients.push_back(std::exchange(leaf.mutable_grad(), torch::Tensor()));
  }
  return gradients;
}

/// The loss, and the gradients of the leaves.
inline Tensors value_and_gradients(const Compute& loss, const Tensors& leaves) {
  const auto value = loss();
  value.backward();
  auto out = take_gradients(leaves);
  out.insert(out.begin(), value.detach());
  return out;
}

/// The work that is timed: forward, backward, and freeing the results, because
/// the allocator takes a part of the time.
inline std::function<void()> step(Compute loss, Tensors leaves) {
  return [loss = std::move(loss), leaves = std::move(leaves)] {
    value_and_gradients(loss, leaves);
  };
}

/// How much two results may differ, as a part of the largest number of each
/// tensor. They differ because sums of thousands of products are added in
/// another order.
inline double tolerance(at::ScalarType type) {
  return type == torch::kDouble ? 1e-11 : 1e-4;
}

/// Throws if two results differ. An undefined gradient counts as zeros.
inline void expect_same(
    const std::string& claim, const Tensors& ours, const Tensors& theirs,
    double share) {
  const auto fail = [&](size_t i, double difference, double largest) {
    throw std::runtime_error(fmt::format(
        "{}: the two sides differ: {} by {:.3g}, where the largest is {:.3g}",
        claim, i == 0 ? "the loss" : fmt::format("gradient {}", i), difference,
        largest));
  };
  for (size_t i = 0; i < theirs.size(); ++i) {
    if (!ours[i].defined() || !theirs[i].defined()) {
      const auto& there = ours[i].defined() ? ours[i] : theirs[i];
      if (there.defined() && there.abs().max().item<double>() != 0) {
        fail(i, there.abs().max().item<double>(), 0);
      }
      continue;
    }
    const double largest = theirs[i].abs().max().item<double>();
    const double difference = (ours[i] - theirs[i]).abs().max().item<double>();
    if (!(difference <= share * largest)) {  // NaN differs too
      fail(i, difference, largest);
    }
  }
}

}  // namespace claims
