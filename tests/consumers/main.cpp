// SPDX-License-Identifier: BSD-3-Clause
// A user's program: one guided loss, one backward.
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <cyborg/loss.hpp>

int main() {
  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 4, 3)), torch::nn::ReLU(),
      torch::nn::AdaptiveAvgPool2d(1),
      torch::nn::Functional(
          [](const torch::Tensor& x) { return x.flatten(1); }),
      torch::nn::Linear(4, 2));
  cyborg::CamHook hook(*net);
  cyborg::CyborgL2Loss criterion(cyborg::SaliencyGuidedLossOptions().alpha(.5));
  const auto images = torch::rand({2, 1, 8, 8});
  const auto labels = torch::tensor({0, 1}, torch::kLong);
  const auto logits = hook.forward([&] { return net->forward(images); });
  const auto terms = criterion(logits, labels, hook, torch::rand({2, 8, 8}));
  terms.total.backward();
  for (const auto& parameter : net->parameters()) {
    if (!parameter.grad().defined()) {
      return 1;
    }
  }
  return 0;
}
