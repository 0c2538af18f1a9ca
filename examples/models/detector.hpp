// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The network of the demo (`train --network demo`): an ordinary small
// convolutional network. It does not use cyborg, and guidance needs no change
// in it.

#include "layers.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/nn/pimpl.h>

#include <cmath>
#include <cstdint>

namespace models {

/// A classifier of grey pictures in two classes.
struct DetectorImpl : torch::nn::Module {
  DetectorImpl() {
    int64_t in = 1;
    for (const int64_t out : {16, 32, 64}) {
      features->push_back(
          torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, /*kernel_size=*/3)
                                .padding(1)
                                .bias(false)));
      features->push_back(BatchNorm(out));
      features->push_back(torch::nn::ReLU());
      if (out < 64) {
        features->push_back(torch::nn::MaxPool2d(2));
      }
      in = out;
    }
    register_module("features", features);
    head = register_module("head", torch::nn::Linear(in, /*classes=*/2));
  }

  /// Shapes: images [B, 1, H, W] -> logits [B, 2].
  torch::Tensor forward(const torch::Tensor& images) {
    return head->forward(features->forward(images).mean({2, 3}));
  }

  /// Draws weights from the distribution that LibTorch uses by default, but
  /// with the given generator, because all threads share the global one.
  void initialize(torch::Generator& random) {
    torch::NoGradGuard no_grad;
    for (auto& module : modules(/*include_self=*/false)) {
      double bound = 0;  // 1 / sqrt(inputs of a neuron)
      if (auto* conv = module->as<torch::nn::Conv2d>()) {
        bound = 1 / std::sqrt(conv->weight[0].numel());
        conv->weight.uniform_(-bound, bound, random);
      } else if (auto* linear = module->as<torch::nn::Linear>()) {
        bound = 1 / std::sqrt(linear->weight[0].numel());
        linear->weight.uniform_(-bound, bound, random);
        linear->bias.uniform_(-bound, bound, random);
      }
    }
  }

  torch::nn::Sequential features;
  torch::nn::Linear head{nullptr};
};
TORCH_MODULE(Detector);

}  // namespace models
