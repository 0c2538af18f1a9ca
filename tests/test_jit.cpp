// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"
#include "torchscript.hpp"

#include <cyborg/jit.hpp>
#include <cyborg/loss.hpp>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;

namespace {

struct Case {
  const char* name;
  torch::jit::Module net;
  std::vector<int64_t> features;  // of two 16x16 pictures
  bool exact;
  const char* layer;
  const char* first;  // the first convolution's weight
};

std::vector<Case> zoo() {
  return {
      {"residual",
       torchscript::residual(),
       {2, 16, 8, 8},
       true,
       "down",
       "stem.weight"},
      {"dense",
       torchscript::dense(),
       {2, 16, 16, 16},
       true,
       "norm",
       "conv0.weight"},
      {"mobile",
       torchscript::mobile(),
       {2, 16, 8, 8},
       false,
       "last",
       "stem.weight"},
      {"convnext",
       torchscript::convnext(),
       {2, 8, 4, 4},
       false,
       "mlp2",
       "stem.weight"},
      {"vgg", torchscript::vgg(), {2, 8, 4, 4}, false, "conv2", "conv1.weight"},
      {"inception",
       torchscript::inception(),
       {2, 12, 8, 8},
       true,
       "branch",
       "stem.weight"},
  };
}

Tensor logits_of(const c10::IValue& output) {
  return output.isTuple() ? output.toTupleRef().elements()[0].toTensor()
                          : output.toTensor();
}

}  // namespace

TEST_CASE("TorchScript networks are read, saved and loaded too", "[jit]") {
  torch::manual_seed(1);
  for (auto& c : zoo()) {
    for (bool loaded : {false, true}) {
      INFO(c.name << (loaded ? ", loaded from its file" : ""));
      if (loaded) {
        const auto file = std::filesystem::temp_directory_path() /
                          (std::string("cyborg_test_jit_") + c.name + ".pt");
        c.net.save(file.string());
        c.net = torch::jit::load(file.string());
        std::filesystem::remove(file);
      }
      const auto x = torch::randn({2, 3, 16, 16});
      CamHook hook(c.net);
      // The interpreter profiles twice, and then optimises if that is allowed.
      for (int run = 0; run < 4; ++run) {
        auto output = hook.forward([&] { return c.net.forward({x}); });
        auto logits = logits_of(output);
        const auto& seen = hook.observation();
        CHECK(seen.features.sizes().vec() == c.features);
        CHECK(seen.exact == c.exact);
        CHECK(contains(seen.layer, c.layer));
        auto maps = hook.cam(logits, support::labels({0, 1}));
        auto first = c.net
                         .attr(
                             c.first[0] == 's'   ? "stem"
                             : c.first[4] == '0' ? "conv0"
                                                 : "conv1")
                         .toModule()
                         .attr("weight")
                         .toTensor();
        auto gradient =
            torch::autograd::grad({maps.pow(2).sum()}, {first}, {}, true)[0];
        CHECK(gradient.abs().sum().item<double>() > 0);
        gradient = torch::autograd::grad(
            {logits.pow(2).sum()}, {seen.features}, {}, true)[0];
        CHECK(gradient.abs().sum().item<double>() > 0);
      }
    }
  }
}

TEST_CASE(
    "A TorchScript network that was used before the hook is read", "[jit]") {
  // Now it has a plan in which the features are inside a fused block.
  torch::manual_seed(4);
  for (auto& c : zoo()) {
    INFO(c.name);
    const auto x = torch::randn({2, 3, 16, 16});
    for (int run = 0; run < 5; ++run) {
      logits_of(c.net.forward({x})).sum().backward();
    }
    CamHook hook(c.net);
    hook.forward([&] { return c.net.forward({x}); });
    CHECK(hook.observation().features.sizes().vec() == c.features);
    CHECK(hook.observation().exact == c.exact);
  }
}

TEST_CASE("The mean of a TorchScript map plus the bias is the logit", "[jit]") {
  torch::manual_seed(2);
  for (auto& c : zoo()) {
    if (!c.exact) {
      continue;
    }
    INFO(c.name);
    c.net.eval();
    CamHook hook(c.net);
    auto logits = logits_of(hook.forward(
        [&] { return c.net.forward({torch::randn({2, 3, 16, 16})}); }));
    auto mean = hook.cam(logits, CamClass::kAll).mean({2, 3});
    CHECK(close(mean + hook.observation().bias, logits, 1e-5));
  }
}

TEST_CASE(
    "A TorchScript step of the guided loss reaches every parameter", "[jit]") {
  torch::manual_seed(3);
  auto net = torchscript::residual();
  CamHook hook(net);
  cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(0.5));
  auto logits = hook.forward(
      [&] { return net.forward({torch::randn({2, 3, 16, 16})}).toTensor(); });
  auto terms = criterion(
      logits, support::labels({0, 1}), hook, torch::rand({2, 32, 32}));
  terms.total.backward();
  for (const auto& p : net.named_parameters()) {
    INFO(p.name);
    CHECK(p.value.grad().defined());
  }
}

TEST_CASE("TorchScript has named layers and runs with gradients off", "[jit]") {
  torch::manual_seed(4);
  auto net = torchscript::residual();
  const auto x = torch::randn({2, 3, 16, 16});
  CamHook named(net, CamHookOptions().layer("down"));
  named.forward([&] { return net.forward({x}).toTensor(); });
  CHECK(
      named.observation().features.sizes().vec() ==
      std::vector<int64_t>({2, 16, 8, 8}));
  CHECK(contains(
      error_of([&] {
        CamHook hook(net, CamHookOptions().layer("stem"));
        hook.forward([&] { return net.forward({x}).toTensor(); });
        hook.require();
      }),
      "an in-place operator overwrote"));
  CHECK(contains(
      error_of([&] { CamHook hook(net, CamHookOptions().layer("steam")); }),
      "expected a layer among stem"));

  CamHook hook(net);
  torch::NoGradGuard off;
  auto output = hook.forward([&] { return net.forward({x}); });
  CHECK_FALSE(output.toTensor().requires_grad());
  CHECK(hook.cam(output.toTensor(), CamClass::kPredicted).dim() == 3);
}

TEST_CASE("Graph optimisation is off only inside a hook", "[jit]") {
  auto net = torchscript::residual();
  const auto x = torch::randn({2, 3, 16, 16});
  CamHook hook(net);
  REQUIRE(torch::jit::getGraphExecutorOptimize());
  bool during = true;
  hook.forward([&] {
    during = torch::jit::getGraphExecutorOptimize();
    return net.forward({x});
  });
  CHECK_FALSE(during);
  CHECK(torch::jit::getGraphExecutorOptimize());
  CHECK(error_of([&] {
          hook.forward([&]() -> Tensor { throw std::runtime_error("mine"); });
        }) == "mine");
  CHECK(torch::jit::getGraphExecutorOptimize());
}

TEST_CASE("Modules inside modules of TorchScript have names", "[jit]") {
  // Two modules inside the network; the inner one ends with a pooling.
  for (const bool pools : {false, true}) {
    torch::jit::Module net = torchscript::network("Net"), body("Body");
    auto conv = torchscript::convolution(3, 8, 3);
    body.register_module("conv", conv);
    if (pools) {
      body.register_module("last", torch::jit::Module("MaxPool2d"));
    }
    torch::jit::Module backbone("Backbone");
    backbone.register_module("body", body);
    net.register_module("backbone", backbone);
    net.register_module("fc", torchscript::linear(8, 2));
    net.define(R"(
      def forward(self, x):
        conv = self.backbone.body.conv
        x = torch.relu(torch.conv2d(x, conv.weight, conv.bias, [1, 1], [1, 1]))
        x = torch.max_pool2d(x, [2, 2])
        x = torch.max_pool2d(x, [2, 2])
        x = torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)
        return torch.linear(x, self.fc.weight, self.fc.bias)
    )");
    const auto x = torch::randn({2, 3, 16, 16});
    const auto look = [&](const std::string& layer) {
      CamHook hook(net, CamHookOptions().layer(layer));
      hook.forward([&] { return net.forward({x}); });
      return hook.observation();
    };
    CHECK(look("").layer == "backbone");
    CHECK(look("").features.size(2) == 4);
    for (const char* layer : {"backbone", "backbone.body"}) {
      INFO(layer << (pools ? ", with pooling" : ""));
      CHECK(look(layer).layer == layer);
      CHECK(look(layer).features.size(2) == (pools ? 8 : 16));
    }
    CHECK(look("backbone.body.conv").features.size(2) == 16);
    CHECK(
        error_of([&] { look("body"); }) ==
        std::string("cyborg::CamHook: expected a layer among backbone, "
                    "backbone.body, backbone.body.conv, ") +
            (pools ? "backbone.body.last, " : "") + "fc; got 'body'");
  }
}

TEST_CASE("TorchScript may return a dictionary", "[jit]") {
  auto net = torchscript::network("Segmentation");
  net.register_module("conv", torchscript::convolution(3, 8, 3));
  net.register_module("fc", torchscript::linear(8, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.conv.weight, self.conv.bias))
      z = torch.linear(x.mean([2, 3]), self.fc.weight, self.fc.bias)
      return {"aux": x.amax([2, 3]), "out": z}
  )");
  const auto x = torch::randn({2, 3, 16, 16});
  CamHook hook(net);
  for (const bool recording : {true, false}) {
    const at::AutoGradMode mode(recording);
    const auto dict =
        hook.forward([&] { return net.forward({x}); }).toGenericDict();
    CHECK(hook.observation().exact);
    for (const char* name : {"aux", "out"}) {
      CHECK(dict.at(name).toTensor().requires_grad() == recording);
    }
  }
}

TEST_CASE("TorchScript inside a native module is optimised", "[jit]") {
  torch::manual_seed(2);
  struct Wrapper : torch::nn::Module {
    Tensor forward(const Tensor& x) { return script.forward({x}).toTensor(); }
    torch::jit::Module script;
  };
  Wrapper wrapper;
  wrapper.script = torchscript::network("Plain");
  wrapper.script.register_module("a", torchscript::convolution(3, 8, 3));
  wrapper.script.register_module("b", torchscript::convolution(8, 8, 3));
  wrapper.script.register_module("fc", torchscript::linear(8, 3));
  wrapper.script.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.a.weight, self.a.bias))
      x = torch.relu(torch.conv2d(x, self.b.weight, self.b.bias))
      x = torch.flatten(torch.adaptive_avg_pool2d(x, [1, 1]), 1)
      return torch.linear(x, self.fc.weight, self.fc.bias)
  )");
  CamHook outside(wrapper);
  CamHook inside(wrapper.script);
  const auto x = torch::randn({2, 3, 16, 16});
  std::string words;
  for (int i = 0; i < 4; ++i) {
    outside.forward([&] { return wrapper.forward(x); });
    words = error_of([&] { outside.require(); });
  }
  INFO(words);
  CHECK(contains(
      words,
      "Give the hook the torch::jit::Module itself (include "
      "<cyborg/jit.hpp>)"));
  inside.forward([&] { return wrapper.forward(x); });
  CHECK(error_of([&] { inside.require(); }).empty());
}

TEST_CASE("TorchScript without a map is refused", "[jit]") {
  auto net = torchscript::network("Tokens");
  net.register_module("patch", torchscript::convolution(3, 8, 4));
  net.register_module("mix", torchscript::linear(8, 8));
  net.register_module("fc", torchscript::linear(8, 2));
  net.define(R"(
    def forward(self, x):
      x = torch.conv2d(x, self.patch.weight, self.patch.bias, [4, 4])
      x = torch.flatten(x, 2).transpose(1, 2)
      x = torch.gelu(torch.matmul(x, self.mix.weight.t()) + self.mix.bias)
      return torch.matmul(x.mean(1), self.fc.weight.t()) + self.fc.bias
  )");
  CamHook hook(net);
  const auto error = error_of([&] {
    hook.forward([&] { return net.forward({torch::randn({2, 3, 16, 16})}); });
    hook.require();
  });
  INFO(error);
  CHECK(contains(error, "the logits come from tokens"));
}
