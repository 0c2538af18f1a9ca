// SPDX-License-Identifier: BSD-3-Clause
// What guidance through the hook costs a training step. One thread, float32.

#include "claims.hpp"

#include <cyborg/loss.hpp>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <string>

namespace nn = torch::nn;
namespace F = torch::nn::functional;

namespace {

/// Two stages of convolution, norm and ReLU, pooled into a linear head.
nn::Sequential network() {
  const auto conv = [](int64_t in, int64_t out, int64_t stride) {
    return nn::Conv2d(
        nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
  };
  return nn::Sequential(conv(3, 32, 2), nn::BatchNorm2d(32), nn::ReLU(),
                        conv(32, 64, 2), nn::BatchNorm2d(64), nn::ReLU(),
                        conv(64, 128, 2), nn::BatchNorm2d(128), nn::ReLU(),
                        nn::AdaptiveAvgPool2d(1), nn::Flatten(),
                        nn::Linear(128, 2));
}

}  // namespace

int main(int argc, char** argv) {
  bool quick = false;
  std::string summary = "summary.json";
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    quick |= flag == "--quick";
    if (flag.rfind("--summary=", 0) == 0) {
      summary = flag.substr(10);
    }
  }
  benchmark::Initialize(&argc, argv);
  at::set_num_threads(1);
  torch::manual_seed(1);

  auto net = network();
  torch::optim::SGD optimizer(net->parameters(), 1e-3);
  const auto images = torch::randn({16, 3, 64, 64});
  const auto labels = torch::randint(0, 2, {16}, torch::kLong);
  const auto maps = torch::rand({16, 64, 64});
  cyborg::CamHook hook(net);
  const cyborg::CyborgL2Loss criterion;

  const auto step = [&](const torch::Tensor& loss) {
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  };
  const auto plain = [&] {
    step(F::cross_entropy(net->forward(images), labels));
  };
  const auto observed = [&] {
    step(F::cross_entropy(
        hook.forward([&] { return net->forward(images); }), labels));
  };
  const auto guided = [&] {
    auto logits = hook.forward([&] { return net->forward(images); });
    step(criterion(logits, labels, hook, maps).total);
  };

  // The observer must not change what is computed.
  net->eval();
  if (!torch::equal(net->forward(images),
                    hook.forward([&] { return net->forward(images); }))) {
    std::printf("the observed forward differs from the plain one\n");
    return 1;
  }
  net->train();
  return claims::run(
      {{"observed_step_vs_plain_step_small", "hook, CE alone", "plain step",
        observed, plain, 1.05},
       {"hook_step_vs_plain_step_small", "hook and CYBORG-L2", "plain step",
        guided, plain, 1.15}},
      quick ? 31 : 101, summary);
}
