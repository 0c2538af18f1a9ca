// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <ATen/Parallel.h>

#include <c10/core/InferenceMode.h>

#include <string>
#include <thread>
#include <tuple>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using cyborg::CamMethod;
using hooked::pictures;
using hooked::refusal;
using networks::headed;
using networks::Headed;
using support::contains;
using support::error_of;
using torch::Tensor;
namespace nn = torch::nn;

TEST_CASE("A network without convolutions is refused", "[hook][error]") {
  nn::Sequential net(
      nn::Flatten(), nn::Linear(192, 8), nn::ReLU(), nn::Linear(8, 2));
  CamHook hook(net);
  CHECK(contains(
      refusal(*net, pictures()),
      "cyborg::CamHook::forward: no convolution ran"));
}

TEST_CASE("Tokens are rejected with an explanation", "[hook][error]") {
  for (bool class_token : {false, true}) {
    networks::Tokens net(class_token);
    CHECK(contains(refusal(net, pictures()), "the logits come from tokens"));
  }
  struct Columns : networks::Net {
    nn::Conv2d a{nullptr};
    nn::LSTM lstm{nullptr};
    nn::Linear fc{nullptr};
    Columns() {
      a = conv("a", 3, 8);
      lstm = register_module(
          "lstm", nn::LSTM(nn::LSTMOptions(8, 8).batch_first(true)));
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      x = torch::relu(a(x)).mean(2).transpose(1, 2);
      return fc(std::get<0>(lstm(x)).select(1, -1));
    }
  } columns;
  CHECK(contains(refusal(columns, pictures()), "the logits come from tokens"));
}

TEST_CASE("Several sources are listed, and one can be named", "[hook][error]") {
  auto net = headed(
      [](Headed& n, Tensor x) {
        auto y = n.see(torch::relu(n.b(x)));
        return n.fc(torch::cat({x.mean({2, 3}), y.mean({2, 3})}, 1));
      },
      16);
  const auto error = refusal(*net, pictures());
  CHECK(contains(error, "the logits come from 2 maps"));
  CHECK(contains(error, "layer 'a' [2, 8, 8, 8] through aten::mean"));
  CHECK(contains(error, "layer 'b' [2, 8, 8, 8] through aten::mean"));
  CamHook hook(*net, CamHookOptions().layer("b"));
  auto logits = hook.forward([&] { return net->forward(pictures()); });
  CHECK(
      hook.observation().features.sizes() == torch::IntArrayRef({2, 8, 8, 8}));
  CHECK(hook.cam(logits, CamClass::kPredicted).dim() == 3);
}

TEST_CASE(
    "A layer that runs twice needs a forward for each run", "[hook][error]") {
  auto net = headed([](Headed& n, Tensor x) {
    auto other = torch::relu(n.a(torch::ones({2, 3, 8, 8})));
    return n.fc((x.mean({2, 3}) - other.mean({2, 3})).abs());
  });
  CHECK(contains(
      refusal(*net, pictures()),
      "the same layer ran several times, so observe the forwards "
      "one by one"));
}

TEST_CASE("Logits of another head are refused", "[hook][error]") {
  auto net = networks::plain();
  CamHook hook(*net);
  hook.forward([&] { return net->forward(pictures()); });
  CHECK(contains(
      error_of([&] { hook.cam(torch::zeros({2, 7}), CamClass::kPredicted); }),
      "expected the logits of the observed head, [2, 2], got [2, 7]"));
}

TEST_CASE(
    "A network on another thread is refused, also with half a batch",
    "[hook][error]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  CHECK(contains(
      error_of([&] {
        hook.forward([&] {
          Tensor logits;
          std::thread([&] { logits = net->forward(x); }).join();
          return logits;
        });
        hook.require();
      }),
      "no operator ran on this thread"));
  CHECK(contains(
      error_of([&] {
        hook.forward([&] {
          Tensor other;
          std::thread([&] { other = net->forward(x); }).join();
          return torch::cat({net->forward(x), other});
        });
        hook.require();
      }),
      "a part of the logits comes from convolutions that were not observed: "
      "they ran in another thread"));
  CHECK_FALSE(hook.observation().defined());
}

TEST_CASE(
    "Disabled observers and inference mode are refused", "[hook][error]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  {
    at::DisableRecordFunctionGuard disabled;
    CHECK(contains(
        error_of([&] {
          hook.forward([&] { return net->forward(x); });
          hook.require();
        }),
        "operator observers are disabled"));
  }
  c10::InferenceMode inference;
  CHECK(contains(
      error_of([&] {
        hook.forward([&] { return net->forward(x); });
        hook.require();
      }),
      "inference mode leaves no graph"));
}

TEST_CASE("Gradients off inside the callable are refused", "[hook][error]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  CHECK(contains(
      error_of([&] {
        hook.forward([&] {
          torch::NoGradGuard off;
          return net->forward(x);
        });
        hook.require();
      }),
      "gradients are off inside the callable"));
}

TEST_CASE("Inference mode inside the callable is refused", "[hook][error]") {
  auto net = networks::plain();
  const auto x = pictures();
  const std::string words = "the network ran in inference mode inside the";
  for (const bool recording : {true, false}) {
    const torch::AutoGradMode mode(recording);
    CamHook hook(*net);
    hook.forward([&] {
      const c10::InferenceMode inference;
      return net->forward(x);
    });
    CHECK(contains(error_of([&] { hook.require(); }), words));
    // Of a second result alone: the first has its map.
    torch::Tensor teacher;
    {
      const c10::InferenceMode inference;
      teacher = torch::rand({2, 2});
    }
    const auto results =
        hook.forward([&] { return std::make_tuple(net->forward(x), teacher); });
    hook.require();
    CHECK(hook.cam(std::get<0>(results), support::labels({0, 1})).defined());
  }
}

TEST_CASE("Logits that are not dense are refused", "[hook][error]") {
  auto net = networks::plain();
  CamHook hook(*net);
  const auto x = pictures();
  const auto logits = hook.forward([&] { return net->forward(x); });
  CHECK(contains(
      error_of([&] { hook.cam(logits.to_sparse(), support::labels({0, 1})); }),
      "expected dense logits, got a tensor of layout Sparse"));
}

TEST_CASE("Results that are not logits are refused", "[hook][error]") {
  auto net = headed([](Headed&, Tensor x) { return x; });
  CHECK(contains(refusal(*net, pictures()), "is a map itself, not logits"));
  net = headed([](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})).sum(); });
  CHECK(contains(refusal(*net, pictures()), "return the logits, not the loss"));
  net = headed([](Headed&, Tensor) { return Tensor(); });
  CHECK(contains(refusal(*net, pictures()), "returned no tensor"));
}

TEST_CASE("Empty batches and integer results are refused", "[hook][error]") {
  auto net = networks::headed(
      [](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})); });
  CHECK(contains(
      refusal(*net, pictures(0)),
      "expected at least one sample, got an empty batch [0, 2]"));
  CamHook hook(*net);
  CHECK(contains(
      error_of([&] {
        hook.forward([&] { return net->forward(pictures()).argmax(1); });
        hook.require();
      }),
      "expected logits [B, K] of floating point, got [2] of Long"));
}

TEST_CASE(
    "A body that ran on another thread is named in the error",
    "[hook][error]") {
  auto net = networks::headed(
      [](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})); });
  CamHook hook(*net);
  const std::string text = error_of([&] {
    hook.forward([&] {
      Tensor map;
      std::thread([&] { map = torch::relu(net->a(pictures())); }).join();
      return net->fc(map.mean({2, 3}));
    });
    hook.require();
  });
  CHECK(contains(text, "they ran in another thread"));
}

TEST_CASE(
    "A map that was overwritten after it was read is refused",
    "[hook][error]") {
  auto net = headed([](Headed& n, Tensor x) {
    auto logits = n.fc(x.mean({2, 3}));
    torch::NoGradGuard off;
    x.mul_(2);
    return logits;
  });
  CHECK(contains(refusal(*net, pictures()), "was overwritten by an in-place"));
}

TEST_CASE("Layers that cannot be observed are refused", "[hook][error]") {
  auto net = std::make_shared<networks::Residual>();
  CHECK(contains(
      refusal(*net, pictures(), CamHookOptions().layer("layer9")),
      "expected a layer among stem, layer1, layer1.0"));
  CHECK(contains(
      refusal(*net, pictures(), CamHookOptions().layer("avgpool")),
      "'avgpool' has no parameters, and C++ modules report nothing "
      "else; name the layer before it ('layer2.1.bn2')"));
  // bn1 is followed by an in-place ReLU.
  CHECK(contains(
      refusal(*net, pictures(), CamHookOptions().layer("layer1.0.bn1")),
      "layer 'layer1.0.bn1' returned a map that an in-place operator "
      "overwrote"));
  CHECK(contains(
      refusal(*net, pictures(), CamHookOptions().layer("fc")),
      "layer 'fc' returns no map"));
  auto plain = networks::plain();
  CHECK(contains(
      refusal(*plain, pictures(), CamHookOptions().layer("b")),
      "layer 'b' did not run under observation"));
  auto aside = headed([](Headed& n, Tensor x) {
    auto unused = n.b(x);
    return n.fc(x.mean({2, 3}));
  });
  CHECK(contains(
      refusal(*aside, pictures(), CamHookOptions().layer("b")),
      "is not what the logits come from"));
}

TEST_CASE(
    "CamMethod::kCam without a head that fits is refused", "[hook][error]") {
  auto net =
      headed([](Headed& n, Tensor x) { return n.fc(x.flatten(1)); }, 8 * 64);
  CHECK(contains(
      refusal(*net, pictures(), CamHookOptions().method(CamMethod::kCam)),
      "CamMethod::kCam needs a linear head that reads 8 channels"));
}

TEST_CASE("Labels and logits that do not fit are refused", "[hook][error]") {
  auto net = networks::plain();
  CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(pictures()); });
  CHECK(contains(
      error_of([&] { hook.cam(logits, support::labels({0, 2})); }),
      "cyborg::Observation::cam: expected labels in [0, 1], got 2"));
  CHECK(contains(
      error_of([&] { hook.cam(logits, support::labels({0})); }),
      "expected labels [2], got [1]"));
  CHECK(contains(
      error_of([&] { hook.cam(torch::zeros({3, 2}), CamClass::kPredicted); }),
      "expected logits [2, K]"));
  CHECK(contains(
      error_of([&] { hook.cam(logits, CamClass::kLabel); }),
      "needs the labels"));
}

TEST_CASE("Grad-CAM of logits without a graph is refused", "[hook][error]") {
  auto net = headed([](Headed& n, Tensor x) { return n.fc(x.amax({2, 3})); });
  CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(pictures()); });
  CHECK(contains(
      error_of([&] { hook.cam(logits.detach(), CamClass::kPredicted); }),
      "CAM is not exact here (there is more than a mean between the map and "
      "the "
      "head (aten::amax, ...)), and Grad-CAM needs logits with a graph"));
}
