// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The detector: a small convolutional network as anyone would write it. It
// knows nothing of cyborg; guidance needs no change in it.

#include "synthesize.hpp"

#include "../models/layers.hpp"

#include <torch/nn/module.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/nn/pimpl.h>

#include <cmath>

namespace demo {

struct DetectorImpl : torch::nn::Module {
  DetectorImpl() {
    int64_t in = 1;
    for (const int64_t out : {16, 32, 64}) {
      features->push_back(
          torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, /*kernel_size=*/3)
                                .padding(1)
                                .bias(false)));
      features->push_back(models::BatchNorm(out));
      features->push_back(torch::nn::ReLU());
      if (out < 64) {
        features->push_back(torch::nn::MaxPool2d(2));
      }
      in = out;
    }
    register_module("features", features);
    head = register_module("head", torch::nn::Linear(in, /*classes=*/2));
  }

  torch::Tensor forward(const torch::Tensor& images) {  // [B, 1, 32, 32]
    return head->forward(features->forward(images).mean({2, 3}));
  }

  /// LibTorch's default initialisation, from a generator of one's own: the
  /// global one is shared by all threads.
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

}  // namespace demo
