// SPDX-License-Identifier: BSD-3-Clause
// Lesson 4: guidance for a network that was exported from Python.
//
// You learn how to use a CamHook with a TorchScript file. Only the include is
// different: with <cyborg/jit.hpp> a CamHook takes a torch::jit::Module. The
// hook finds the map that the exported code pools, and prints what it found and
// why the class activation map is exact. The gradient of the guided loss
// reaches the first layer.
//
// This lesson writes its own file, so it needs no Python. You can give it
// yours:
//
// Run: build/dev/bin/04_torchscript [network.pt]
//
// Output:
//   cyborg::CamHook: cyborg::Observation(layer=conv2, features=[4, 16, 32, 32], reduction=aten::adaptive_avg_pool2d, exact=yes, method=CAM: a linear head reads the mean over positions)
//   total ... = 0.5 * task ... + 0.5 * saliency ...
//   conv1.weight has a gradient: yes

#include <cyborg/jit.hpp>
#include <cyborg/loss.hpp>

#include <torch/script.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>

/// Saves a small network, in the format of torch.jit.script(net).save(path).
void write_network(const std::string& path) {
  const auto layer = [](torch::Tensor weight) {
    torch::jit::Module module("Layer");
    const auto bias = torch::zeros({weight.size(0)});
    module.register_parameter("weight", weight.requires_grad_(), false);
    module.register_parameter("bias", bias.clone().requires_grad_(), false);
    return module;
  };
  torch::jit::Module net("Network");
  net.register_module("conv1", layer(0.3 * torch::randn({8, 3, 3, 3})));
  net.register_module("conv2", layer(0.1 * torch::randn({16, 8, 3, 3})));
  net.register_module("fc", layer(0.1 * torch::randn({2, 16})));
  net.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.conv1.weight, self.conv1.bias, [1, 1], [1, 1]))
      x = torch.max_pool2d(x, [2, 2])
      x = torch.relu(torch.conv2d(x, self.conv2.weight, self.conv2.bias, [1, 1], [1, 1]))
      x = torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)
      return torch.matmul(x, self.fc.weight.t()) + self.fc.bias
  )");
  net.save(path);
}

int main(int argc, char** argv) {
  torch::manual_seed(1);
  const std::string path =
      argc > 1
          ? argv[1]
          : (std::filesystem::temp_directory_path() / "lesson_04.pt").string();
  if (argc == 1) {
    write_network(path);
  }
  auto net = torch::jit::load(path);
  net.train();

  const auto images = torch::randn({4, 3, 64, 64});
  const auto labels = torch::tensor({0, 1, 0, 1});
  const auto maps = torch::rand({4, 64, 64});  // where people looked

  cyborg::CamHook hook(net);
  cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(0.5));
  const auto logits =
      hook.forward([&] { return net.forward({images}).toTensor(); });
  const auto terms = criterion(logits, labels, hook, maps);
  terms.total.backward();

  std::cout << hook << std::endl;
  std::printf(
      "total %.3f = 0.5 * task %.3f + 0.5 * saliency %.3f\n",
      terms.total.item<double>(), terms.classification.item<double>(),
      terms.saliency.item<double>());
  const auto first = *net.named_parameters().begin();
  std::printf(
      "%s has a gradient: %s\n", first.name.c_str(),
      first.value.grad().defined() ? "yes" : "no");
}
