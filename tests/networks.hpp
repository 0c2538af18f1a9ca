// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Small networks of the forms that a hook must read. Each keeps the map that
// its pooling reads in `truth`.

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace networks {

namespace nn = torch::nn;
using torch::Tensor;

struct Net : nn::Module {
  Tensor truth;

  virtual Tensor forward(Tensor x) = 0;

  nn::Conv2d conv(
      const std::string& name, int64_t in, int64_t out, int64_t kernel = 3,
      int64_t stride = 1, int64_t groups = 1) {
    return register_module(
        name, nn::Conv2d(nn::Conv2dOptions(in, out, kernel)
                             .stride(stride)
                             .padding(kernel / 2)
                             .groups(groups)));
  }
  nn::Linear linear(
      const std::string& name, int64_t in, int64_t out, bool bias = true) {
    return register_module(
        name, nn::Linear(nn::LinearOptions(in, out).bias(bias)));
  }
  Tensor see(Tensor x) {
    truth = x;
    return x;
  }
};

/// A body `a` (convolution, ReLU; 8 channels), a head written as a function.
/// `b` and `fc2` are there for heads that need more.
struct Headed : Net {
  using Head = std::function<Tensor(Headed&, Tensor)>;
  nn::Conv2d a{nullptr}, b{nullptr};
  nn::Linear fc{nullptr}, fc2{nullptr};
  Head head;

  Headed(Head read, int64_t channels, bool bias) : head(std::move(read)) {
    a = conv("a", 3, 8);
    b = conv("b", 8, 8);
    fc = linear("fc", channels, 2, bias);
    fc2 = linear("fc2", 8, 2);
  }
  Tensor forward(Tensor x) override {
    return head(*this, see(torch::relu(a(x))));
  }
};

inline std::shared_ptr<Headed> headed(
    Headed::Head read, int64_t channels = 8, bool bias = true) {
  return std::make_shared<Headed>(std::move(read), channels, bias);
}

/// relu(conv) -> mean -> linear.
inline std::shared_ptr<Headed> plain() {
  return headed([](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})); });
}

struct BasicBlock : Net {
  nn::Conv2d conv1{nullptr}, conv2{nullptr}, down{nullptr};
  nn::BatchNorm2d bn1{nullptr}, bn2{nullptr};
  BasicBlock(int64_t in, int64_t out, int64_t stride) {
    conv1 = conv("conv1", in, out, 3, stride);
    bn1 = register_module("bn1", nn::BatchNorm2d(out));
    conv2 = conv("conv2", out, out);
    bn2 = register_module("bn2", nn::BatchNorm2d(out));
    if (in != out || stride != 1) {
      down = conv("down", in, out, 1, stride);
    }
  }
  Tensor forward(Tensor x) override {
    auto y = bn2(conv2(bn1(conv1(x)).relu_()));
    y += down.is_empty() ? x : down(x);
    return torch::relu_(y);
  }
};

/// A small ResNet with ReLUs in place.
struct Residual : Net {
  nn::Conv2d stem{nullptr};
  std::vector<std::shared_ptr<BasicBlock>> blocks;
  struct Stage : nn::Module {};  // holds blocks, for their names
  Tensor after_layer1;
  nn::AdaptiveAvgPool2d avgpool{nullptr};
  nn::Linear fc{nullptr};
  Residual() {
    stem = conv("stem", 3, 8);
    const int64_t widths[] = {8, 8, 16, 16};
    for (int i = 0; i < 4; ++i) {
      const std::string stage = i < 2 ? "layer1" : "layer2";
      if (i % 2 == 0) {
        register_module(stage, std::make_shared<Stage>());
      }
      blocks.push_back(std::make_shared<BasicBlock>(
          i == 0 ? 8 : widths[i - 1], widths[i], i == 2 ? 2 : 1));
      named_children()[stage]->register_module(
          std::to_string(i % 2), blocks.back());
    }
    avgpool = register_module(
        "avgpool", nn::AdaptiveAvgPool2d(nn::AdaptiveAvgPool2dOptions(1)));
    fc = linear("fc", 16, 3);
  }
  Tensor forward(Tensor x) override {
    x = stem(x).relu_();
    for (size_t i = 0; i < blocks.size(); ++i) {
      x = blocks[i]->forward(x);
      if (i == 1) {
        after_layer1 = x;
      }
    }
    return fc(torch::flatten(avgpool(see(x)), 1));
  }
};

/// A small DenseNet: norm, ReLU, convolution, concatenation; the last ReLU is a
/// function.
struct Dense : Net {
  struct Features : nn::Module {};
  struct Block : nn::Module {};
  nn::Conv2d stem{nullptr};
  std::vector<nn::BatchNorm2d> norms;
  std::vector<nn::Conv2d> convs;
  nn::BatchNorm2d last{nullptr};
  nn::Linear classifier{nullptr};
  Tensor block_output;
  Dense() {
    auto features = register_module("features", std::make_shared<Features>());
    stem = features->register_module(
        "conv0", nn::Conv2d(nn::Conv2dOptions(3, 4, 3).padding(1)));
    auto block = features->register_module("block", std::make_shared<Block>());
    for (int64_t i = 0; i < 3; ++i) {
      const auto id = std::to_string(i);
      norms.push_back(
          block->register_module("norm" + id, nn::BatchNorm2d(4 + 4 * i)));
      convs.push_back(block->register_module(
          "conv" + id,
          nn::Conv2d(nn::Conv2dOptions(4 + 4 * i, 4, 3).padding(1))));
    }
    last = features->register_module("norm5", nn::BatchNorm2d(16));
    classifier = linear("classifier", 16, 2);
  }
  Tensor forward(Tensor x) override {
    std::vector<Tensor> parts{stem(x)};
    for (size_t i = 0; i < 3; ++i) {
      parts.push_back(convs[i](torch::relu(norms[i](torch::cat(parts, 1)))));
    }
    block_output = torch::cat(parts, 1);
    x = see(last(block_output).relu_());
    return classifier(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }
};

/// Squeeze and excitation, written with pooling and linear layers.
struct Squeeze : Net {
  nn::Conv2d a{nullptr}, b{nullptr};
  nn::Linear down{nullptr}, up{nullptr}, fc{nullptr};
  Squeeze() {
    a = conv("a", 3, 8);
    b = conv("b", 8, 8);
    down = linear("down", 8, 4);
    up = linear("up", 4, 8);
    fc = linear("fc", 8, 2);
  }
  Tensor gate(Tensor x) {
    auto s = torch::sigmoid(up(torch::relu(down(x.mean({2, 3})))));
    return x * s.unsqueeze(2).unsqueeze(3);
  }
  Tensor forward(Tensor x) override {
    x = gate(torch::relu(a(x)));
    x = see(gate(torch::relu(b(x))));
    return fc(x.mean({2, 3}));
  }
};

/// A small transformer: patches, tokens, a class token.
struct Tokens : Net {
  nn::Conv2d patch{nullptr};
  nn::Linear mix{nullptr}, fc{nullptr};
  bool class_token;
  explicit Tokens(bool with_class_token) : class_token(with_class_token) {
    patch = register_module(
        "patch", nn::Conv2d(nn::Conv2dOptions(3, 8, 2).stride(2)));
    mix = linear("mix", 8, 8);
    fc = linear("fc", 8, 2);
  }
  Tensor forward(Tensor x) override {
    x = patch(x).flatten(2).transpose(1, 2);
    x = torch::gelu(mix(x));
    return fc(class_token ? x.select(1, 0) : x.mean(1));
  }
};

}  // namespace networks
