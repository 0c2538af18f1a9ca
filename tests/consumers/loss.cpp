// SPDX-License-Identifier: BSD-3-Clause
// A user's program that includes the loss alone: one guided loss, one backward.
// It compiles faster than main.cpp, which uses torch::nn as well.
#include <cyborg/loss.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>

int main() {
  const auto features = at::rand({2, 4, 6, 6}).requires_grad_();
  const auto weight = at::rand({2, 4}).requires_grad_();
  const auto labels = at::arange(2, at::kLong);
  const auto logits = at::matmul(features.mean({2, 3}), weight.t());
  const auto maps = cyborg::functional::cam(features, weight, labels);
  cyborg::CyborgL2Loss criterion(cyborg::SaliencyGuidedLossOptions().alpha(.5));
  const auto terms = criterion(logits, labels, maps, at::rand({2, 8, 8}));
  terms.total.backward();
  return features.grad().defined() && weight.grad().defined() ? 0 : 1;
}
