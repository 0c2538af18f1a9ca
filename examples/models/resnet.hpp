// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// Residual networks. They do not use cyborg, and guidance needs no change in
// them.

#include "layers.hpp"

#include <torch/arg.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace models {

/// Options of a `BasicBlock` and a `Bottleneck`.
struct BlockOptions {
  BlockOptions(int64_t in, int64_t width) : in_(in), width_(width) {}
  /// Channels of the input.
  TORCH_ARG(int64_t, in);
  /// Channels of the 3x3 convolutions.
  TORCH_ARG(int64_t, width);
  /// Height and width are divided by it. Default 1.
  TORCH_ARG(int64_t, stride) = 1;

 public:
};

/// The path of a block's input around its convolutions: nothing if the input
/// has the shape of their output, else a 1x1 convolution that gives it that
/// shape.
inline torch::nn::Sequential shortcut(
    const BlockOptions& options, int64_t out) {
  if (options.stride() == 1 && options.in() == out) {
    return nullptr;
  }
  return torch::nn::Sequential(
      convolution(options.in(), out, /*kernel=*/1, options.stride()),
      BatchNorm(out));
}

/// Two 3x3 convolutions and a shortcut.
struct BasicBlockImpl : torch::nn::Cloneable<BasicBlockImpl> {
  static constexpr int64_t kExpansion = 1;  // channels out / width

  explicit BasicBlockImpl(const BlockOptions& options_) : options(options_) {
    BasicBlockImpl::reset();
  }

  void reset() override {
    const int64_t in = options.in(), width = options.width();
    conv1 = register_module(
        "conv1", convolution(in, width, /*kernel=*/3, options.stride()));
    bn1 = register_module("bn1", BatchNorm(width));
    conv2 = register_module("conv2", convolution(width, width, /*kernel=*/3));
    bn2 = register_module("bn2", BatchNorm(width));
    downsample = shortcut(options, width);
    if (downsample) {
      register_module("downsample", downsample);
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto y = bn1->forward(conv1->forward(x)).relu_();
    y = bn2->forward(conv2->forward(y));
    y += downsample ? downsample->forward(x) : x;
    return y.relu_();
  }

  BlockOptions options;
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  BatchNorm bn1{nullptr}, bn2{nullptr};
  torch::nn::Sequential downsample{nullptr};
};
TORCH_MODULE(BasicBlock);

/// A 3x3 convolution between two 1x1 convolutions, and a shortcut.
///
/// Departure from the paper, as in torchvision: the 3x3 convolution has the
/// stride, not the first convolution ("ResNet V1.5").
struct BottleneckImpl : torch::nn::Cloneable<BottleneckImpl> {
  static constexpr int64_t kExpansion = 4;  // channels out / width

  explicit BottleneckImpl(const BlockOptions& options_) : options(options_) {
    BottleneckImpl::reset();
  }

  void reset() override {
    const int64_t in = options.in(), width = options.width();
    const int64_t out = width * kExpansion;
    conv1 = register_module("conv1", convolution(in, width, /*kernel=*/1));
    bn1 = register_module("bn1", BatchNorm(width));
    conv2 = register_module(
        "conv2", convolution(width, width, /*kernel=*/3, options.stride()));
    bn2 = register_module("bn2", BatchNorm(width));
    conv3 = register_module("conv3", convolution(width, out, /*kernel=*/1));
    bn3 = register_module("bn3", BatchNorm(out));
    downsample = shortcut(options, out);
    if (downsample) {
      register_module("downsample", downsample);
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    auto y = bn1->forward(conv1->forward(x)).relu_();
    y = bn2->forward(conv2->forward(y)).relu_();
    y = bn3->forward(conv3->forward(y));
    y += downsample ? downsample->forward(x) : x;
    return y.relu_();
  }

  BlockOptions options;
  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr}, conv3{nullptr};
  BatchNorm bn1{nullptr}, bn2{nullptr}, bn3{nullptr};
  torch::nn::Sequential downsample{nullptr};
};
TORCH_MODULE(Bottleneck);

/// The kind of block of which a `ResNet` is made.
enum class ResNetBlock { kBasic, kBottleneck };

/// Options of a `ResNet`.
struct ResNetOptions {
  ResNetOptions(ResNetBlock block, std::vector<int64_t> blocks)
      : block_(block), blocks_(std::move(blocks)) {}
  /// The kind of block.
  TORCH_ARG(ResNetBlock, block);
  /// The number of blocks in each of the four layers.
  TORCH_ARG(std::vector<int64_t>, blocks);
  /// The number of classes, or 1 for a single logit. Default 1000, as in
  /// ImageNet.
  TORCH_ARG(int64_t, classes) = 1000;

 public:
};

/// A residual network.
///
/// Source: He et al., "Deep residual learning for image recognition", CVPR
/// 2016, table 1.
///
/// Example:
///     auto net = models::resnet50(/*classes=*/2);
///     auto logits = net->forward(images);
struct ResNetImpl : torch::nn::Cloneable<ResNetImpl> {
  /// Throws: `c10::ValueError` if there are not four layers, or if there is no
  /// class.
  explicit ResNetImpl(const ResNetOptions& options_) : options(options_) {
    TORCH_CHECK_VALUE(
        options.blocks().size() == 4, "models::ResNet: expected 4 layers, got ",
        options.blocks().size());
    TORCH_CHECK_VALUE(
        options.classes() > 0, "models::ResNet: expected classes above 0, got ",
        options.classes());
    ResNetImpl::reset();
  }

  void reset() override {
    conv1 = register_module(
        "conv1", convolution(/*in=*/3, /*out=*/64, /*kernel=*/7, /*stride=*/2));
    bn1 = register_module("bn1", BatchNorm(64));
    int64_t channels = 64;
    layer1 = register_module("layer1", layer(0, channels));
    layer2 = register_module("layer2", layer(1, channels));
    layer3 = register_module("layer3", layer(2, channels));
    layer4 = register_module("layer4", layer(3, channels));
    fc = register_module("fc", torch::nn::Linear(channels, options.classes()));
    draw_convolutions(*this, torch::kFanOut);
  }

  /// The map that is pooled. Shapes: [B, 3, H, W] -> [B, C, H/32, W/32]
  /// (rounded up), C = 512 with basic blocks and 2048 with bottlenecks.
  torch::Tensor features(const torch::Tensor& images) {
    check_images("models::ResNet", images);
    auto x = bn1->forward(conv1->forward(images)).relu_();
    x = torch::max_pool2d(x, /*kernel_size=*/3, /*stride=*/2, /*padding=*/1);
    x = layer1->forward(x);
    x = layer2->forward(x);
    x = layer3->forward(x);
    return layer4->forward(x);
  }

  /// Shapes: [B, 3, H, W] -> logits [B, K].
  torch::Tensor forward(const torch::Tensor& images) {
    return fc->forward(features(images).mean({2, 3}));
  }

  ResNetOptions options;
  torch::nn::Conv2d conv1{nullptr};
  BatchNorm bn1{nullptr};
  torch::nn::Sequential layer1{nullptr}, layer2{nullptr}, layer3{nullptr},
      layer4{nullptr};
  torch::nn::Linear fc{nullptr};

 private:
  torch::nn::Sequential layer(size_t index, int64_t& channels) const {
    return options.block() == ResNetBlock::kBasic
               ? layer<BasicBlock>(index, channels)
               : layer<Bottleneck>(index, channels);
  }

  /// Blocks of one width. The first of them halves height and width of the map,
  /// except in `layer1`.
  template <class Block>
  torch::nn::Sequential layer(size_t index, int64_t& channels) const {
    const int64_t width = int64_t{64} << index;
    torch::nn::Sequential made;
    for (int64_t i = 0; i < options.blocks()[index]; ++i) {
      const int64_t stride = i == 0 && index > 0 ? 2 : 1;
      made->push_back(Block(BlockOptions(channels, width).stride(stride)));
      channels = width * Block::ContainedType::kExpansion;
    }
    return made;
  }
};
TORCH_MODULE(ResNet);

/// ResNet-18: 11.7 million parameters at 1000 classes.
inline ResNet resnet18(int64_t classes = 1000) {
  return ResNet(
      ResNetOptions(ResNetBlock::kBasic, {2, 2, 2, 2}).classes(classes));
}

/// ResNet-50: 25.6 million parameters at 1000 classes.
inline ResNet resnet50(int64_t classes = 1000) {
  return ResNet(
      ResNetOptions(ResNetBlock::kBottleneck, {3, 4, 6, 3}).classes(classes));
}

}  // namespace models
