// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/cam/hook.hpp>

#include "catch.hpp"
#include "models/densenet.hpp"
#include "models/resnet.hpp"
#include "support.hpp"

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

using support::close;
using support::error_of;
using torch::Tensor;

namespace {

/// Calls `look(name, network)` with each network, of three classes.
template <class Look>
void each_network(Look look) {
  torch::manual_seed(1);
  look("resnet18", models::resnet18(3));
  look("resnet50", models::resnet50(3));
  look("densenet121", models::densenet121(3));
}

Tensor pictures(int64_t batch = 2) {
  return torch::randn({batch, 3, 64, 64});
}

/// How many numbers a network learns, in how many tensors, and how many other
/// numbers it keeps.
struct Size {
  int64_t numbers, parameters, buffers;
  bool operator==(const Size& other) const {
    return numbers == other.numbers && parameters == other.parameters &&
           buffers == other.buffers;
  }
};

Size size_of(const torch::nn::Module& net) {
  Size size = {0, 0, static_cast<int64_t>(net.buffers().size())};
  for (const Tensor& parameter : net.parameters()) {
    size.numbers += parameter.numel();
    ++size.parameters;
  }
  return size;
}

using Shapes = std::map<std::string, std::vector<int64_t>>;

/// Those tensors of `expected` that `net` lacks or has in another shape.
std::string misfits(const torch::nn::Module& net, const Shapes& expected) {
  Shapes found;
  for (const auto& item : net.named_parameters()) {
    found[item.key()] = item->sizes().vec();
  }
  for (const auto& item : net.named_buffers()) {
    found[item.key()] = item->sizes().vec();
  }
  std::string names;
  for (const auto& [name, shape] : expected) {
    if (found.count(name) == 0 || found.at(name) != shape) {
      names += name + "\n";
    }
  }
  return names;
}

/// Whether the weights can come from a normal distribution of this standard
/// deviation: it is within five standard errors, and there are tails, which a
/// uniform distribution lacks (it ends at 1.7).
bool looks_normal(const Tensor& weight, double sigma) {
  const double error = 5 / std::sqrt(2 * static_cast<double>(weight.numel()));
  return std::abs(weight.std().item<double>() / sigma - 1) < error &&
         std::abs(weight.mean().item<double>()) < 2 * error * sigma &&
         weight.abs().max().item<double>() > 3 * sigma;
}

/// Whether a linear layer's weight is uniform in +-1 / sqrt(inputs).
bool looks_uniform(const Tensor& weight) {
  const double bound = 1 / std::sqrt(static_cast<double>(weight.size(1)));
  const double largest = weight.abs().max().item<double>();
  return largest <= bound && largest > 0.98 * bound;
}

/// Numbers between -1 and 1 that are the same on every machine.
Tensor wave(const Tensor& like, int64_t number) {
  const Tensor steps = torch::arange(like.numel(), torch::kDouble);
  return torch::cos((number + 1) * steps).view(like.sizes());
}

/// Fills a network in float64 with known parameters and statistics.
void fill(const torch::nn::Module& net) {
  const torch::NoGradGuard no_grad;
  int64_t number = 0;
  for (const auto& item : net.named_parameters()) {
    const Tensor& to = item.value();
    const Tensor numbers = wave(to, number++);
    if (to.dim() > 1) {
      const auto inputs = static_cast<double>(to[0].numel());
      to.copy_(2 * numbers / std::sqrt(inputs));
    } else {
      to.copy_(0.1 * numbers + support::contains(item.key(), "weight"));
    }
  }
  number = 0;
  for (const auto& item : net.named_buffers()) {
    const Tensor numbers = wave(item.value(), number++);
    if (support::contains(item.key(), "running_mean")) {
      item.value().copy_(0.1 * numbers);
    } else if (support::contains(item.key(), "running_var")) {
      item.value().copy_(1 + 0.5 * numbers);
    }
  }
}

}  // namespace

TEST_CASE("The networks have the sizes that are published", "[models]") {
  CHECK(size_of(*models::resnet18()) == Size{11689512, 62, 60});
  CHECK(size_of(*models::resnet50()) == Size{25557032, 161, 159});
  CHECK(size_of(*models::densenet121()) == Size{7978856, 364, 363});
}

TEST_CASE("The options make the other networks of each family", "[models]") {
  using models::ResNetBlock;
  const models::ResNet resnet34(
      models::ResNetOptions(ResNetBlock::kBasic, {3, 4, 6, 3}));
  CHECK(size_of(*resnet34).numbers == 21797672);
  const models::DenseNet densenet161(
      models::DenseNetOptions({6, 12, 36, 24}).growth(48).stem(96));
  CHECK(size_of(*densenet161).numbers == 28681000);
}

TEST_CASE("torchvision's weights fit ResNet-18 by name", "[models]") {
  CHECK(
      misfits(
          *models::resnet18(),
          {{"conv1.weight", {64, 3, 7, 7}},
           {"bn1.weight", {64}},
           {"bn1.bias", {64}},
           {"bn1.running_mean", {64}},
           {"bn1.running_var", {64}},
           {"bn1.num_batches_tracked", {}},
           {"layer1.0.conv1.weight", {64, 64, 3, 3}},
           {"layer1.1.bn2.weight", {64}},
           {"layer2.0.conv1.weight", {128, 64, 3, 3}},
           {"layer2.0.downsample.0.weight", {128, 64, 1, 1}},
           {"layer2.0.downsample.1.running_var", {128}},
           {"layer3.0.downsample.1.bias", {256}},
           {"layer4.1.conv2.weight", {512, 512, 3, 3}},
           {"layer4.1.bn2.num_batches_tracked", {}},
           {"fc.weight", {1000, 512}},
           {"fc.bias", {1000}}}) == "");
}

TEST_CASE("torchvision's weights fit ResNet-50 by name", "[models]") {
  CHECK(
      misfits(
          *models::resnet50(),
          {{"conv1.weight", {64, 3, 7, 7}},
           {"layer1.0.conv1.weight", {64, 64, 1, 1}},
           {"layer1.0.conv2.weight", {64, 64, 3, 3}},
           {"layer1.0.conv3.weight", {256, 64, 1, 1}},
           {"layer1.0.downsample.0.weight", {256, 64, 1, 1}},
           {"layer1.0.downsample.1.running_mean", {256}},
           {"layer1.2.conv1.weight", {64, 256, 1, 1}},
           {"layer2.0.conv1.weight", {128, 256, 1, 1}},
           {"layer2.3.bn3.weight", {512}},
           {"layer3.0.downsample.0.weight", {1024, 512, 1, 1}},
           {"layer3.5.conv2.weight", {256, 256, 3, 3}},
           {"layer4.2.conv3.weight", {2048, 512, 1, 1}},
           {"layer4.2.bn3.num_batches_tracked", {}},
           {"fc.weight", {1000, 2048}},
           {"fc.bias", {1000}}}) == "");
}

TEST_CASE("torchvision's weights fit DenseNet-121 by name", "[models]") {
  CHECK(
      misfits(
          *models::densenet121(),
          {{"features.conv0.weight", {64, 3, 7, 7}},
           {"features.norm0.running_mean", {64}},
           {"features.denseblock1.denselayer1.norm1.weight", {64}},
           {"features.denseblock1.denselayer1.conv1.weight", {128, 64, 1, 1}},
           {"features.denseblock1.denselayer1.norm2.num_batches_tracked", {}},
           {"features.denseblock1.denselayer1.conv2.weight", {32, 128, 3, 3}},
           {"features.denseblock1.denselayer6.norm1.weight", {224}},
           {"features.transition1.norm.bias", {256}},
           {"features.transition1.conv.weight", {128, 256, 1, 1}},
           {"features.denseblock2.denselayer12.conv1.weight", {128, 480, 1, 1}},
           {"features.transition2.conv.weight", {256, 512, 1, 1}},
           {"features.denseblock3.denselayer24.norm1.running_var", {992}},
           {"features.transition3.conv.weight", {512, 1024, 1, 1}},
           {"features.denseblock4.denselayer16.conv2.weight", {32, 128, 3, 3}},
           {"features.norm5.weight", {1024}},
           {"features.norm5.num_batches_tracked", {}},
           {"classifier.weight", {1000, 1024}},
           {"classifier.bias", {1000}}}) == "");
}

TEST_CASE("The same weights give torchvision's logits", "[models]") {
  // What torchvision 0.29.1 gives, filled in the same way, in float64.
  const std::map<std::string, Tensor> expected = {
      {"resnet18", support::t({0.214541901, 0.0198934776, -0.110258611})},
      {"resnet50", support::t({0.0852246074, -0.0744033617, 0.0110838992})},
      {"densenet121", support::t({0.0647730291, 0.142370943, 0.134290164})}};
  const torch::NoGradGuard no_grad;
  each_network([&](const char* name, auto net) {
    INFO(name);
    net->to(torch::kDouble);
    net->eval();
    fill(*net);
    const Tensor images = wave(torch::empty({1, 3, 96, 64}), 0);
    CHECK(close(net->forward(images)[0], expected.at(name), 1e-9));
  });
}

TEST_CASE(
    "The logits are what the head makes of the mean of the features",
    "[models]") {
  const torch::NoGradGuard no_grad;
  const auto check = [](auto& net, const torch::nn::Linear& head) {
    net->eval();
    const Tensor images = pictures();
    const Tensor map = net->features(images);
    CHECK(map.sizes() == torch::IntArrayRef({2, head->weight.size(1), 2, 2}));
    CHECK(map.min().item<double>() >= 0);  // behind a ReLU
    const Tensor logits = net->forward(images);
    CHECK(logits.sizes() == torch::IntArrayRef({2, 3}));
    CHECK(torch::allclose(
        logits, torch::linear(map.mean({2, 3}), head->weight, head->bias)));
  };
  each_network([&](const char* name, auto net) {
    INFO(name);
    if constexpr (std::is_same_v<decltype(net), models::ResNet>) {
      check(net, net->fc);
    } else {
      check(net, net->classifier);
    }
  });
}

TEST_CASE("Odd sizes are rounded as torchvision rounds them", "[models]") {
  const torch::NoGradGuard no_grad;
  const Tensor images = torch::randn({1, 3, 97, 75});
  CHECK(
      models::resnet18()->features(images).sizes() ==
      torch::IntArrayRef({1, 512, 4, 3}));
  CHECK(
      models::densenet121()->features(images).sizes() ==
      torch::IntArrayRef({1, 1024, 3, 2}));
}

TEST_CASE("The gradient reaches every parameter", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    net->forward(pictures()).square().sum().backward();
    for (const auto& parameter : net->named_parameters()) {
      INFO(parameter.key());
      REQUIRE(parameter->grad().defined());
      CHECK(parameter->grad().abs().sum().template item<double>() > 0);
    }
  });
}

TEST_CASE("The gradient is that of finite differences", "[models]") {
  // Operators that work in place must not change it. The step is so small that
  // none of 10^6 ReLUs changes its side.
  each_network([](const char* name, auto net) {
    INFO(name);
    net->to(torch::kDouble);
    net->eval();
    const Tensor images = pictures().to(torch::kDouble).requires_grad_();
    const Tensor direction = torch::randn_like(images);
    const auto loss = [&](double step) {
      return net->forward(images + step * direction).square().sum();
    };
    const Tensor gradient = torch::autograd::grad({loss(0)}, {images})[0];
    const double found = (gradient * direction).sum().template item<double>();
    const torch::NoGradGuard no_grad;
    const double step = 1e-8;
    const double expected =
        (loss(step) - loss(-step)).template item<double>() / (2 * step);
    CHECK(found == Approx(expected).epsilon(1e-4));
  });
}

TEST_CASE("A CamHook finds the pooled map, and CAM is exact", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    net->eval();
    const Tensor images = pictures();
    cyborg::CamHook hook(*net);
    const Tensor logits = hook.forward([&] { return net->forward(images); });
    const auto& seen = hook.observation();
    const bool dense = std::is_same_v<decltype(net), models::DenseNet>;
    CHECK(seen.layer == (dense ? "features" : "layer4"));
    CHECK(seen.exact);
    CHECK(torch::allclose(seen.features, net->features(images)));
    const Tensor maps = hook.cam(logits, cyborg::CamClass::kAll);
    CHECK(torch::allclose(
        maps.mean({2, 3}) + seen.bias, logits, /*rtol=*/1e-4, /*atol=*/1e-5));
  });
}

TEST_CASE("The networks are initialised as in torchvision", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    const bool dense = std::is_same_v<decltype(net), models::DenseNet>;
    for (const auto& item : net->named_modules()) {
      INFO(item.key());
      if (const auto* conv = item.value()->template as<torch::nn::Conv2d>()) {
        const Tensor& weight = conv->weight;
        const int64_t fan = weight[0][0].numel() * weight.size(dense ? 1 : 0);
        CHECK(looks_normal(weight, std::sqrt(2.0 / static_cast<double>(fan))));
        CHECK_FALSE(conv->bias.defined());
      } else if (
          const auto* norm = item.value()->template as<models::BatchNorm>()) {
        CHECK((norm->weight == 1).all().template item<bool>());
        CHECK((norm->bias == 0).all().template item<bool>());
        CHECK(norm->options.eps() == 1e-5);
        CHECK(norm->options.momentum() == 0.1);
      } else if (
          const auto* head = item.value()->template as<torch::nn::Linear>()) {
        CHECK(looks_uniform(head->weight));
        CHECK((head->bias == 0).all().template item<bool>() == dense);
      }
    }
  });
}

TEST_CASE("A network can be saved and loaded", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    net->forward(pictures());  // moves the running statistics
    std::stringstream file;
    torch::save(net, file);
    decltype(net) other(net->options);
    torch::load(other, file);
    net->eval();
    other->eval();
    const torch::NoGradGuard no_grad;
    const Tensor images = pictures();
    CHECK(close(other->forward(images), net->forward(images), 0));
  });
}

TEST_CASE(
    "A clone has the same names and values, and is independent", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    const torch::NoGradGuard no_grad;
    net->forward(pictures());
    net->eval();
    const auto copy = net->clone();
    auto& clone = *copy->template as<typename decltype(net)::ContainedType>();
    CHECK(clone.named_parameters().keys() == net->named_parameters().keys());
    CHECK(clone.named_buffers().keys() == net->named_buffers().keys());
    const Tensor images = pictures();
    const Tensor logits = net->forward(images);
    CHECK(close(clone.forward(images), logits, 0));
    for (Tensor& parameter : clone.parameters()) {
      parameter.zero_();
    }
    CHECK(close(net->forward(images), logits, 0));
    CHECK(close(clone.forward(images), torch::zeros({2, 3}), 0));
  });
}

TEST_CASE(
    "A network moves to another type, and fits an AnyModule", "[models]") {
  each_network([](const char* name, auto net) {
    INFO(name);
    const torch::NoGradGuard no_grad;
    net->eval();
    const Tensor images = pictures();
    const Tensor logits = net->forward(images);
    torch::nn::AnyModule any(net);
    CHECK(close(any.forward(images), logits, 0));
    net->to(torch::kDouble);
    const Tensor exact = any.forward(images.to(torch::kDouble));
    CHECK(exact.scalar_type() == torch::kDouble);
    CHECK(torch::allclose(exact, logits.to(torch::kDouble), 1e-3, 1e-4));
  });
}

TEST_CASE("Anything but a batch of colour pictures is refused", "[models]") {
  CHECK(
      error_of([] {
        models::resnet18()->forward(torch::zeros({2, 1, 64, 64}));
      }) == "models::ResNet: expected images [B, 3, H, W], got [2, 1, 64, 64]");
  CHECK(
      error_of([] {
        models::densenet121()->features(torch::zeros({3, 64, 64}));
      }) == "models::DenseNet: expected images [B, 3, H, W], got [3, 64, 64]");
}

TEST_CASE("A network without layers or classes is refused", "[models]") {
  using models::ResNetBlock;
  CHECK(error_of([] {
          models::ResNet(models::ResNetOptions(ResNetBlock::kBasic, {2, 2}));
        }) == "models::ResNet: expected 4 layers, got 2");
  CHECK(error_of([] {
          models::resnet50(0);
        }) == "models::ResNet: expected classes above 0, got 0");
  CHECK(error_of([] {
          models::DenseNet(models::DenseNetOptions({}));
        }) == "models::DenseNet: expected a block");
  CHECK(error_of([] {
          models::densenet121(-1);
        }) == "models::DenseNet: expected classes above 0, got -1");
}
