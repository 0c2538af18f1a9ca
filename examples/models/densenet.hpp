// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Densely connected networks. They do not use cyborg, and guidance needs no
// change in them.

#include "layers.hpp"

#include <torch/arg.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace models {

/// Options of a `DenseNet`.
struct DenseNetOptions {
  explicit DenseNetOptions(std::vector<int64_t> layers)
      : layers_(std::move(layers)) {}
  /// The number of layers in each block.
  TORCH_ARG(std::vector<int64_t>, layers);
  /// The channels that each layer adds, k in the paper. Default 32.
  TORCH_ARG(int64_t, growth) = 32;
  /// Channels before the first block. Default 64, twice the growth.
  TORCH_ARG(int64_t, stem) = 64;
  /// Channels of a layer's 1x1 convolution, divided by the growth. Default 4,
  /// as in the paper.
  TORCH_ARG(int64_t, bottleneck) = 4;
  /// The number of classes, or 1 for a single logit. Default 1000, as in
  /// ImageNet.
  TORCH_ARG(int64_t, classes) = 1000;

 public:
};

/// A bottleneck of two convolutions. Its output is appended to the channels of
/// its input.
struct DenseLayerImpl : torch::nn::Cloneable<DenseLayerImpl> {
  DenseLayerImpl(int64_t in_, int64_t width_, int64_t growth_)
      : in(in_), width(width_), growth(growth_) {
    DenseLayerImpl::reset();
  }

  void reset() override {
    norm1 = register_module("norm1", BatchNorm(in));
    conv1 = register_module("conv1", convolution(in, width, /*kernel=*/1));
    norm2 = register_module("norm2", BatchNorm(width));
    conv2 = register_module("conv2", convolution(width, growth, /*kernel=*/3));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto y = conv1->forward(norm1->forward(x).relu_());
    y = conv2->forward(norm2->forward(y).relu_());
    return torch::cat({x, y}, /*dim=*/1);
  }

  int64_t in, width, growth;
  BatchNorm norm1{nullptr}, norm2{nullptr};
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
};
TORCH_MODULE(DenseLayer);

/// Layers of which each reads the outputs of all layers before it.
struct DenseBlockImpl : torch::nn::Cloneable<DenseBlockImpl> {
  DenseBlockImpl(int64_t in_, int64_t count_, const DenseNetOptions& options_)
      : in(in_), count(count_), options(options_) {
    DenseBlockImpl::reset();
  }

  void reset() override {
    layers.clear();
    const int64_t growth = options.growth();
    for (int64_t i = 0; i < count; ++i) {
      layers.push_back(register_module(
          "denselayer" + std::to_string(i + 1),
          DenseLayer(in + i * growth, options.bottleneck() * growth, growth)));
    }
  }

  torch::Tensor forward(torch::Tensor x) {
    for (auto& layer : layers) {
      x = layer->forward(x);
    }
    return x;
  }

  int64_t in, count;
  DenseNetOptions options;
  std::vector<DenseLayer> layers;
};
TORCH_MODULE(DenseBlock);

/// Halves the number of channels, and height and width of the map.
struct TransitionImpl : torch::nn::Cloneable<TransitionImpl> {
  explicit TransitionImpl(int64_t in_) : in(in_) { TransitionImpl::reset(); }

  void reset() override {
    norm = register_module("norm", BatchNorm(in));
    conv = register_module("conv", convolution(in, in / 2, /*kernel=*/1));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    return torch::avg_pool2d(
        conv->forward(norm->forward(x).relu_()), /*kernel_size=*/2);
  }

  int64_t in;
  BatchNorm norm{nullptr};
  torch::nn::Conv2d conv{nullptr};
};
TORCH_MODULE(Transition);

/// Everything of a `DenseNet` except its head. It is a module because the names
/// of torchvision begin with "features.".
struct DenseFeaturesImpl : torch::nn::Cloneable<DenseFeaturesImpl> {
  explicit DenseFeaturesImpl(const DenseNetOptions& options_)
      : options(options_) {
    DenseFeaturesImpl::reset();
  }

  void reset() override {
    blocks.clear();
    transitions.clear();
    channels = options.stem();
    conv0 = register_module(
        "conv0", convolution(/*in=*/3, channels, /*kernel=*/7, /*stride=*/2));
    norm0 = register_module("norm0", BatchNorm(channels));
    for (const int64_t count : options.layers()) {
      if (!blocks.empty()) {
        transitions.push_back(register_module(
            "transition" + std::to_string(blocks.size()),
            Transition(channels)));
        channels /= 2;
      }
      blocks.push_back(register_module(
          "denseblock" + std::to_string(blocks.size() + 1),
          DenseBlock(channels, count, options)));
      channels += count * options.growth();
    }
    norm5 = register_module("norm5", BatchNorm(channels));
  }

  torch::Tensor forward(const torch::Tensor& images) {
    auto x = norm0->forward(conv0->forward(images)).relu_();
    x = torch::max_pool2d(x, /*kernel_size=*/3, /*stride=*/2, /*padding=*/1);
    x = blocks.front()->forward(x);
    for (size_t i = 0; i < transitions.size(); ++i) {
      x = blocks[i + 1]->forward(transitions[i]->forward(x));
    }
    return norm5->forward(x).relu_();
  }

  DenseNetOptions options;
  int64_t channels = 0;  // of the map that `forward` returns
  torch::nn::Conv2d conv0{nullptr};
  BatchNorm norm0{nullptr}, norm5{nullptr};
  std::vector<DenseBlock> blocks;
  std::vector<Transition> transitions;
};
TORCH_MODULE(DenseFeatures);

/// A densely connected network (DenseNet-BC).
///
/// Source: Huang et al., "Densely connected convolutional networks", CVPR
/// 2017, table 1.
///
/// Example:
///     auto net = models::densenet121(/*classes=*/2);
///     auto logits = net->forward(images);
struct DenseNetImpl : torch::nn::Cloneable<DenseNetImpl> {
  /// Throws: `c10::ValueError` if there is no block or no class.
  explicit DenseNetImpl(const DenseNetOptions& options_) : options(options_) {
    TORCH_CHECK_VALUE(
        !options.layers().empty(), "models::DenseNet: expected a block");
    TORCH_CHECK_VALUE(
        options.classes() > 0,
        "models::DenseNet: expected classes above 0, got ", options.classes());
    DenseNetImpl::reset();
  }

  void reset() override {
    trunk = register_module("features", DenseFeatures(options));
    classifier = register_module(
        "classifier", torch::nn::Linear(trunk->channels, options.classes()));
    draw_convolutions(*this, torch::kFanIn);
    torch::nn::init::zeros_(classifier->bias);
  }

  /// The map that is pooled: the output of the last ReLU.
  /// Shapes: [B, 3, H, W] -> [B, C, H/32, W/32], C = 1024 in DenseNet-121.
  torch::Tensor features(const torch::Tensor& images) {
    check_images("models::DenseNet", images);
    return trunk->forward(images);
  }

  /// Shapes: [B, 3, H, W] -> logits [B, K].
  torch::Tensor forward(const torch::Tensor& images) {
    return classifier->forward(features(images).mean({2, 3}));
  }

  DenseNetOptions options;
  DenseFeatures trunk{nullptr};  // registered as "features"
  torch::nn::Linear classifier{nullptr};
};
TORCH_MODULE(DenseNet);

/// DenseNet-121: 8.0 million parameters at 1000 classes.
inline DenseNet densenet121(int64_t classes = 1000) {
  return DenseNet(DenseNetOptions({6, 12, 24, 16}).classes(classes));
}

}  // namespace models
