// SPDX-License-Identifier: BSD-3-Clause
// All of LibTorch after the loss: the declarations of the loss do not conflict
// with it, and torch::kMean and torch::kSum can be used.
#include <cyborg/loss.hpp>

#include <torch/torch.h>

double loss_of_then_torch();
double loss_of_then_torch() {
  torch::nn::Sequential net(
      torch::nn::Conv2d(3, 4, 3), torch::nn::ReLU(),
      torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
      torch::nn::Linear(4, 2));
  cyborg::CamHook hook(net);
  const torch::Tensor logits =
      hook.forward([&] { return net->forward(torch::rand({2, 3, 8, 8})); });
  auto options = cyborg::SaliencyGuidedLossOptions().reduction(torch::kMean);
  options.reduction(torch::kSum);
  const cyborg::CyborgL2Loss criterion(options);
  return criterion(
             logits, torch::zeros({2}, torch::kLong), hook,
             torch::rand({2, 8, 8}))
      .total.item<double>();
}
