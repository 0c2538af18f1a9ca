// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// TorchScript networks like those of torchvision, built without Python.

#include <torch/script.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace torchscript {

using torch::jit::Module;

/// A submodule with `weight` and `bias`.
inline Module with_weights(
    const std::string& name, torch::Tensor weight, torch::Tensor bias) {
  Module module(name);
  module.register_parameter(
      "weight", weight.requires_grad_(),
      /*is_buffer=*/false);
  module.register_parameter(
      "bias", bias.requires_grad_(),
      /*is_buffer=*/false);
  return module;
}

inline Module convolution(
    int64_t in, int64_t out, int64_t kernel, int64_t groups = 1) {
  return with_weights(
      "Conv2d", torch::randn({out, in / groups, kernel, kernel}) * 0.3,
      torch::zeros({out}));
}

inline Module linear(int64_t in, int64_t out) {
  return with_weights(
      "Linear", torch::randn({out, in}) * 0.3, torch::zeros({out}));
}

inline Module norm(int64_t channels) {
  auto module = with_weights(
      "BatchNorm2d", torch::ones({channels}), torch::zeros({channels}));
  module.register_buffer("running_mean", torch::zeros({channels}));
  module.register_buffer("running_var", torch::ones({channels}));
  return module;
}

/// A network that has no forward yet, in training mode.
inline Module network(const std::string& name) {
  Module net(name);
  net.register_attribute("training", c10::BoolType::get(), true);
  return net;
}

/// What some of the networks below share.
inline std::string with_helpers(const std::string& forward) {
  return R"(
    def bn(self, x, weight, bias, mean, var):
      return torch.batch_norm(x, weight, bias, mean, var, self.training, 0.1, 1e-5, False)
  )" + forward;
}

/// Stem, residual block with a projection, in-place ReLUs, pool, linear.
inline Module residual() {
  auto net = network("Residual");
  net.register_module("stem", convolution(3, 8, 3));
  net.register_module("block1", convolution(8, 16, 3));
  net.register_module("block2", convolution(16, 16, 3));
  net.register_module("block3", norm(16));
  net.register_module("down", convolution(8, 16, 1));
  net.register_module("fc", linear(16, 3));
  net.define(with_helpers(R"(
    def forward(self, x):
      x = torch.relu_(torch.conv2d(x, self.stem.weight, self.stem.bias, [1, 1], [1, 1]))
      y = torch.relu_(torch.conv2d(x, self.block1.weight, self.block1.bias, [2, 2], [1, 1]))
      y = torch.conv2d(y, self.block2.weight, self.block2.bias, [1, 1], [1, 1])
      y = self.bn(y, self.block3.weight, self.block3.bias, self.block3.running_mean, self.block3.running_var)
      y += torch.conv2d(x, self.down.weight, self.down.bias, [2, 2])
      y = torch.relu_(y)
      y = torch.flatten(torch.adaptive_avg_pool2d(y, [1, 1]), 1)
      return torch.linear(y, self.fc.weight, self.fc.bias)
  )"));
  return net;
}

/// Concatenations, a last norm and ReLU, pool, linear.
inline Module dense() {
  auto net = network("Dense");
  net.register_module("conv0", convolution(3, 8, 3));
  net.register_module("conv1", convolution(8, 4, 3));
  net.register_module("conv2", convolution(12, 4, 3));
  net.register_module("norm", norm(16));
  net.register_module("classifier", linear(16, 2));
  net.define(with_helpers(R"(
    def forward(self, x):
      a = torch.conv2d(x, self.conv0.weight, self.conv0.bias, [1, 1], [1, 1])
      b = torch.conv2d(torch.relu(a), self.conv1.weight, self.conv1.bias, [1, 1], [1, 1])
      c = torch.conv2d(torch.relu(torch.cat([a, b], 1)), self.conv2.weight, self.conv2.bias, [1, 1], [1, 1])
      y = torch.cat([a, b, c], 1)
      y = torch.relu_(self.bn(y, self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var))
      y = torch.flatten(torch.adaptive_avg_pool2d(y, [1, 1]), 1)
      return torch.linear(y, self.classifier.weight, self.classifier.bias)
  )"));
  return net;
}

/// Squeeze and excitation by 1x1 convolutions, hard swish, two linear
/// layers.
inline Module mobile() {
  auto net = network("Mobile");
  net.register_module("stem", convolution(3, 8, 3));
  net.register_module("depth", convolution(8, 8, 3, 8));
  net.register_module("squeeze", convolution(8, 4, 1));
  net.register_module("excite", convolution(4, 8, 1));
  net.register_module("last", convolution(8, 16, 1));
  net.register_module("fc1", linear(16, 12));
  net.register_module("fc2", linear(12, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.conv2d(x, self.stem.weight, self.stem.bias, [2, 2], [1, 1])
      x = x * torch.clamp(x + 3.0, 0.0, 6.0) / 6.0
      x = torch.relu(torch.conv2d(x, self.depth.weight, self.depth.bias, [1, 1], [1, 1], [1, 1], 8))
      s = torch.adaptive_avg_pool2d(x, [1, 1])
      s = torch.relu(torch.conv2d(s, self.squeeze.weight, self.squeeze.bias))
      s = torch.sigmoid(torch.conv2d(s, self.excite.weight, self.excite.bias))
      x = torch.conv2d(x * s, self.last.weight, self.last.bias)
      x = x * torch.clamp(x + 3.0, 0.0, 6.0) / 6.0
      x = torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)
      x = torch.linear(x, self.fc1.weight, self.fc1.bias)
      x = torch.dropout(x * torch.clamp(x + 3.0, 0.0, 6.0) / 6.0, 0.2, self.training)
      return torch.linear(x, self.fc2.weight, self.fc2.bias)
  )");
  return net;
}

/// Depthwise convolution, channels-last norm and MLP, permuted back; a norm
/// between pool and head.
inline Module convnext() {
  auto net = network("ConvNeXt");
  net.register_module("stem", convolution(3, 8, 4));
  net.register_module("depth", convolution(8, 8, 7, 8));
  net.register_module("norm", norm(8));
  net.register_module("mlp1", linear(8, 16));
  net.register_module("mlp2", linear(16, 8));
  net.register_module("last", norm(8));
  net.register_module("fc", linear(8, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.conv2d(x, self.stem.weight, self.stem.bias, [4, 4])
      y = torch.conv2d(x, self.depth.weight, self.depth.bias, [1, 1], [3, 3], [1, 1], 8)
      y = y.permute([0, 2, 3, 1])
      y = torch.layer_norm(y, [8], self.norm.weight, self.norm.bias)
      y = torch.gelu(torch.linear(y, self.mlp1.weight, self.mlp1.bias))
      y = torch.linear(y, self.mlp2.weight, self.mlp2.bias)
      x = x + y.permute([0, 3, 1, 2])
      p = torch.adaptive_avg_pool2d(x, [1, 1])
      p = torch.layer_norm(p.permute([0, 2, 3, 1]), [8], self.last.weight, self.last.bias).permute([0, 3, 1, 2])
      return torch.linear(torch.flatten(p, 1), self.fc.weight, self.fc.bias)
  )");
  return net;
}

/// Convolutions and max pooling, flattened into two linear layers.
inline Module vgg() {
  auto net = network("VGG");
  net.register_module("conv1", convolution(3, 8, 3));
  net.register_module("conv2", convolution(8, 8, 3));
  net.register_module("fc1", linear(8 * 16, 16));
  net.register_module("fc2", linear(16, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.relu_(torch.conv2d(x, self.conv1.weight, self.conv1.bias, [1, 1], [1, 1]))
      x = torch.max_pool2d(x, [2, 2])
      x = torch.relu_(torch.conv2d(x, self.conv2.weight, self.conv2.bias, [1, 1], [1, 1]))
      x = torch.max_pool2d(x, [2, 2])
      x = torch.flatten(torch.adaptive_avg_pool2d(x, [4, 4]), 1)
      x = torch.dropout(torch.relu(torch.linear(x, self.fc1.weight, self.fc1.bias)), 0.5, self.training)
      return torch.linear(x, self.fc2.weight, self.fc2.bias)
  )");
  return net;
}

/// Parallel branches, and an auxiliary head in training, which returns a tuple.
inline Module inception() {
  auto net = network("Inception");
  net.register_module("stem", convolution(3, 8, 3));
  net.register_module("aux", convolution(8, 4, 1));
  net.register_module("aux_fc", linear(4, 2));
  net.register_module("branch1", convolution(8, 4, 1));
  net.register_module("branch2", convolution(8, 4, 3));
  net.register_module("branch3", convolution(8, 4, 1));
  net.register_module("fc", linear(12, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.stem.weight, self.stem.bias, [2, 2], [1, 1]))
      a = torch.relu(torch.conv2d(torch.avg_pool2d(x, [2, 2]), self.aux.weight, self.aux.bias))
      a = torch.flatten(torch.adaptive_avg_pool2d(a, [1, 1]), 1)
      a = torch.linear(a, self.aux_fc.weight, self.aux_fc.bias)
      p = torch.relu(torch.conv2d(x, self.branch1.weight, self.branch1.bias))
      q = torch.relu(torch.conv2d(x, self.branch2.weight, self.branch2.bias, [1, 1], [1, 1]))
      r = torch.avg_pool2d(x, [3, 3], [1, 1], [1, 1])
      r = torch.relu(torch.conv2d(r, self.branch3.weight, self.branch3.bias))
      y = torch.cat([p, q, r], 1)
      y = torch.dropout(torch.flatten(torch.adaptive_avg_pool2d(y, [1, 1]), 1), 0.5, self.training)
      return (torch.linear(y, self.fc.weight, self.fc.bias), a)
  )");
  return net;
}

}  // namespace torchscript
