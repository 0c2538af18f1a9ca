// SPDX-License-Identifier: BSD-3-Clause
// Lesson 1: human saliency in the loss of an existing network.
//
// You learn how to observe a network without changing it, and what the terms of
// a guided loss are. A picture is noise with a square, which is dark in class 0
// and bright in class 1. A person has marked the square. At step 20 the network
// looks where the person looked; then it learns the task.
//
// Run: build/dev/bin/01_first_loss
//
// Output:
//   step  total = 0.5 task + 0.5 saliency
//      0   0.56       0.71       0.41
//     20   0.27       0.53       0.01
//     40   0.02       0.02       0.02
//     60   0.01       0.00       0.02
#include <torch/torch.h>
#include <cyborg/loss.hpp>  // the only header that guidance needs

#include <cstdio>

int main() {
  torch::manual_seed(1);
  const auto labels = torch::randint(0, 2, {64}, torch::kLong);
  auto images = 0.1 * torch::randn({64, 1, 16, 16});
  auto maps = torch::zeros({64, 16, 16});  // where the person looked
  for (int64_t i = 0; i < 64; ++i) {
    const int64_t x = i % 12, y = i / 12;
    maps[i].narrow(0, y, 4).narrow(1, x, 4).fill_(1);
    images[i][0] += maps[i] * (2 * labels[i] - 1);
  }

  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1)),
      torch::nn::ReLU(),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding(1)),
      torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
      torch::nn::Linear(8, 2));
  torch::optim::Adam optimizer(net->parameters(), /*lr=*/0.01);

  cyborg::CamHook hook(net);
  const cyborg::CyborgL2Loss criterion;
  std::printf("step  total = 0.5 task + 0.5 saliency\n");
  for (int step = 0; step <= 60; ++step) {
    auto logits = hook.forward([&] { return net->forward(images); });
    auto terms = criterion(logits, labels, hook, maps);
    optimizer.zero_grad();
    terms.total.backward();
    optimizer.step();
    if (step % 20 == 0) {
      std::printf(
          "%4d   %.2f       %.2f       %.2f\n", step,
          terms.total.item<double>(), terms.classification.item<double>(),
          terms.saliency.item<double>());
    }
  }
}
