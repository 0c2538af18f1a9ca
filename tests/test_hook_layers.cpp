// SPDX-License-Identifier: BSD-3-Clause
//
// Names of layers: from which module a map comes, and which map a named layer
// gives.
#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using hooked::kForward;
using hooked::pictures;
using hooked::printed;
using hooked::refusal;
using networks::headed;
using networks::Headed;
using support::contains;
using support::error_of;
using torch::Tensor;
namespace nn = torch::nn;

namespace {

struct Part : nn::Module {};

/// backbone.stage1.block1.conv and backbone.stage2.block1.conv make the map.
/// The test chooses the module in which the head `fc` is.
struct Deep : networks::Net {
  nn::Conv2d first{nullptr}, second{nullptr};
  nn::Linear fc{nullptr};
  std::shared_ptr<Part> owner, last_block;

  explicit Deep(const std::string& owner_of_head) {
    auto backbone = register_module("backbone", std::make_shared<Part>());
    const auto stage = [&](const std::string& name, int64_t in) {
      auto part = backbone->register_module(name, std::make_shared<Part>());
      auto block = part->register_module("block1", std::make_shared<Part>());
      auto conv = block->register_module(
          "conv", nn::Conv2d(nn::Conv2dOptions(in, 8, 3).padding(1)));
      return std::make_tuple(part, block, conv);
    };
    first = std::get<2>(stage("stage1", 3));
    const auto [part, block, conv] = stage("stage2", 8);
    second = conv;
    last_block = block;
    if (owner_of_head.empty() || owner_of_head == "backbone_head") {
      fc = linear(owner_of_head.empty() ? "fc" : owner_of_head, 8, 2);
      return;
    }
    owner = owner_of_head == "backbone" ? backbone
            : owner_of_head == "stage2" ? part
                                        : block;
    fc = owner->register_module("fc", nn::Linear(8, 2));
  }
  Tensor forward(Tensor x) override {
    x = torch::relu(second(torch::relu(first(x))));
    return fc(see(x).mean({2, 3}));
  }
};

}  // namespace

TEST_CASE(
    "A map has the shortest module name that does not contain the head",
    "[hook]") {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"", "backbone"},
      {"backbone_head", "backbone"},  // lies beside it
      {"backbone", "backbone.stage2"},
      {"stage2", "backbone.stage2.block1"},
      {"block1", "backbone.stage2.block1.conv"},
  };
  for (const auto& [owner, expected] : cases) {
    INFO("the head in '" << owner << "'");
    Deep net(owner);
    CamHook hook(net);
    hook.forward([&] { return net.forward(pictures()); });
    CHECK(hook.observation().features.is_same(net.truth));
    CHECK(hook.observation().layer == expected);
  }
}

TEST_CASE("Every module around a map can be named", "[hook]") {
  Deep net("");
  for (const char* layer :
       {"backbone", "backbone.stage2", "backbone.stage2.block1"}) {
    INFO(layer);
    CamHook hook(net, CamHookOptions().layer(layer));
    hook.forward([&] { return net.forward(pictures()); });
    CHECK(hook.observation().features.is_same(net.truth));
    CHECK(hook.observation().layer == layer);
    CHECK(hook.observation().exact);
  }
  // A leaf gives its own operator's output, before the ReLU.
  CamHook leaf(net, CamHookOptions().layer("backbone.stage2.block1.conv"));
  leaf.forward([&] { return net.forward(pictures()); });
  CHECK(torch::equal(torch::relu(leaf.observation().features), net.truth));
  CHECK_FALSE(leaf.observation().exact);
  CHECK(
      leaf.observation().reason ==
      "the head does not read this layer's output");
  // A name that begins with another one is another layer.
  CHECK(
      refusal(net, pictures(), CamHookOptions().layer("backbone.stage")) ==
      "cyborg::CamHook: expected a layer among backbone, backbone.stage1, "
      "backbone.stage1.block1, backbone.stage1.block1.conv, backbone.stage2, "
      "backbone.stage2.block1, backbone.stage2.block1.conv, fc; got "
      "'backbone.stage'");
  Part none;
  CHECK(
      error_of([&] { CamHook hook(none, CamHookOptions().layer("a")); }) ==
      "cyborg::CamHook: expected a layer among (none: the module has no "
      "submodules); got 'a'");
}

TEST_CASE("Names follow parameters that were replaced", "[hook]") {
  Deep net("backbone");
  CamHook hook(net);
  const auto layer = [&] {
    hook.forward([&] { return net.forward(pictures()); });
    return hook.observation().layer;
  };
  CHECK(layer() == "backbone.stage2");
  // A new head: if the hook did not know it, the name would be shorter.
  net.fc = net.owner->replace_module("fc", nn::Linear(8, 2));
  CHECK(layer() == "backbone.stage2");
  // A new body.
  net.second = net.last_block->replace_module(
      "conv", nn::Conv2d(nn::Conv2dOptions(8, 8, 3).padding(1)));
  CHECK(layer() == "backbone.stage2");
}

TEST_CASE("A module under two names is found under both", "[hook]") {
  struct Shared : networks::Net {
    nn::Conv2d a{nullptr};
    nn::Linear fc{nullptr};
    Shared() {
      a = conv("one", 3, 8);
      register_module("two", a);
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override { return fc(see(a(x)).mean({2, 3})); }
  } net;
  for (const char* name : {"", "one", "two"}) {
    INFO(name);
    CamHook hook(net, CamHookOptions().layer(name));
    hook.forward([&] { return net.forward(pictures()); });
    CHECK(hook.observation().features.is_same(net.truth));
    CHECK(hook.observation().exact);
    const auto& layer = hook.observation().layer;
    CHECK((*name != '\0' ? layer == name : layer == "one" || layer == "two"));
  }
}

TEST_CASE(
    "A map of two layers has the name of the one that ran last", "[hook]") {
  struct Branches : networks::Net {
    nn::Conv2d a{nullptr}, b{nullptr};
    nn::Linear fc{nullptr};
    bool b_last = false;
    Branches() {
      a = conv("a", 3, 8);
      b = conv("b", 3, 8);
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      const Tensor first = b_last ? a(x) : b(x);
      const Tensor last = b_last ? b(x) : a(x);
      return fc(see(first + last).mean({2, 3}));
    }
  } net;
  for (const bool b_last : {false, true}) {
    net.b_last = b_last;
    CamHook hook(net);
    hook.forward([&] { return net.forward(pictures()); });
    CHECK(hook.observation().features.is_same(net.truth));
    CHECK(hook.observation().layer == (b_last ? "b" : "a"));
  }
}

TEST_CASE("Parameters of the network itself have no layer's name", "[hook]") {
  struct Root : networks::Net {
    Tensor kernel;
    nn::Linear fc{nullptr};
    Root() {
      kernel = register_parameter("kernel", torch::randn({8, 3, 3, 3}));
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      return fc(see(torch::conv2d(x, kernel)).mean({2, 3}));
    }
  } net;
  CamHook hook(net);
  hook.forward([&] { return net.forward(pictures()); });
  CHECK(hook.observation().layer.empty());
  CHECK(contains(printed(hook), "cyborg::Observation(layer=?, features="));
}

TEST_CASE("Parameters in front of a network do not make its map", "[hook]") {
  // A picture plus an offset that is a parameter, as prompts are.
  auto net = headed([](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})); });
  const auto offset = torch::randn({1, 3, 8, 8}).requires_grad_();
  const auto x = pictures();
  const std::vector<std::pair<const char*, std::function<Tensor()>>> inputs = {
      {"a parameter", [&] { return offset.expand({2, 3, 8, 8}); }},
      {"a sum", [&] { return x + offset; }},
      {"a scaled one", [&] { return x + offset.tanh() * 0.1; }},
      {"a picture", [&] { return x.clone().requires_grad_() * 1; }},
  };
  for (const auto& input : inputs) {
    INFO(input.first);
    CamHook hook(*net);
    hook.forward([&] { return net->forward(input.second()); });
    CHECK(hook.observation().features.is_same(net->truth));
    CHECK(hook.observation().layer == "a");
    CHECK(hook.observation().exact);
  }
}

TEST_CASE("A network of one channel has a map, not a gate", "[hook]") {
  nn::Sequential net(
      nn::Conv2d(nn::Conv2dOptions(3, 1, 3)), nn::ReLU(),
      nn::AdaptiveAvgPool2d(1), nn::Flatten(), nn::Linear(1, 2));
  CamHook hook(net);
  hook.forward([&] { return net->forward(pictures()); });
  CHECK(hook.observation().features.sizes() == at::IntArrayRef({2, 1, 6, 6}));
  CHECK(hook.observation().exact);
}

TEST_CASE("A named layer ends where another one begins", "[hook]") {
  // A norm outside keeps the size, and has its own parameters.
  struct Normed : networks::Net {
    nn::Sequential body{nullptr};
    nn::BatchNorm2d norm{nullptr};
    nn::Linear fc{nullptr};
    Tensor inner;
    Normed() {
      body = register_module(
          "body",
          nn::Sequential(
              nn::Conv2d(nn::Conv2dOptions(3, 4, 3).padding(1)), nn::ReLU()));
      norm = register_module("norm", nn::BatchNorm2d(4));
      fc = linear("fc", 4, 2);
    }
    Tensor forward(Tensor x) override {
      inner = body->forward(x);
      return fc(see(norm(inner)).mean({2, 3}));
    }
  } net;
  CamHook hook(net, CamHookOptions().layer("body"));
  hook.forward([&] { return net.forward(pictures()); });
  CHECK(hook.observation().features.is_same(net.inner));
  CHECK_FALSE(hook.observation().exact);
  CHECK_FALSE(hook.observation().maps.defined());
}

TEST_CASE("Only pooling behind a layer's parameters is part of it", "[hook]") {
  struct Pooled : networks::Net {
    nn::Sequential body{nullptr};
    nn::Linear fc{nullptr};
    Tensor inner;
    explicit Pooled(const nn::Sequential& layers) {
      body = register_module("body", layers);
      fc = linear("fc", 4, 2);
    }
    Tensor forward(Tensor x) override {
      inner = body->forward(x);
      return fc(see(torch::max_pool2d(inner, 2)).mean({2, 3}));
    }
  };
  const auto conv = [](int64_t in) {
    return nn::Conv2d(nn::Conv2dOptions(in, 4, 3).padding(1));
  };
  const auto pool = [] { return nn::MaxPool2d(2); };
  const std::vector<std::pair<const char*, nn::Sequential>> cases = {
      {"none", nn::Sequential(conv(3), nn::ReLU())},
      {"before", nn::Sequential(conv(3), pool(), conv(4), nn::ReLU())},
      {"behind", nn::Sequential(conv(3), nn::ReLU(), pool())},
      {"both", nn::Sequential(conv(3), pool(), conv(4), pool())},
  };
  for (const auto& [name, layers] : cases) {
    INFO(name);
    Pooled net(layers);
    CamHook hook(net, CamHookOptions().layer("body"));
    hook.forward([&] { return net.forward(pictures()); });
    CHECK(hook.observation().features.is_same(net.inner));
  }
}

TEST_CASE("A named layer may put its channels last", "[hook]") {
  struct Last : networks::Net {
    nn::Sequential body{nullptr};
    nn::Linear fc{nullptr};
    Last() {
      body = register_module(
          "body",
          nn::Sequential(nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1))));
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      see(body->forward(x).permute({0, 2, 3, 1}));
      return fc(truth.amax({1, 2}));
    }
  } net;
  CamHook hook(net, CamHookOptions().layer("body"));
  const auto logits = hook.forward([&] { return net.forward(pictures()); });
  CHECK(torch::equal(
      hook.observation().features, net.truth.permute({0, 3, 1, 2})));
  CHECK(
      hook.cam(logits, CamClass::kPredicted).sizes() ==
      at::IntArrayRef({2, 8, 8}));
}

TEST_CASE("A named layer may put its channels before the batch", "[hook]") {
  struct Turned : networks::Net {
    nn::Sequential body{nullptr};
    nn::Linear fc{nullptr};
    Turned() {
      body = register_module(
          "body",
          nn::Sequential(nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1))));
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      x = torch::relu(body->forward(x).transpose(0, 1));
      return fc(x.mean({2, 3}).t());
    }
  } net;
  CamHook hook(net, CamHookOptions().layer("body"));
  const auto logits = hook.forward([&] { return net.forward(pictures()); });
  CHECK(hook.observation().exact);
  const auto all = hook.cam(logits, CamClass::kAll);
  CHECK(support::close(all.mean({2, 3}) + net.fc->bias, logits, 1e-5));
}
