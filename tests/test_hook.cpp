// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/head.hpp>
#include <cyborg/cam/hook.hpp>
#include <cyborg/loss.hpp>

#include <sstream>
#include <thread>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using cyborg::CamMethod;
using hooked::pictures;
using networks::headed;
using networks::Headed;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;
namespace nn = torch::nn;

namespace {

struct Observed {
  Tensor logits;
  cyborg::Observation observation;
};

template <class N>
Observed observe(
    const std::shared_ptr<N>& net, const Tensor& x,
    CamHookOptions options = {}) {
  CamHook hook(*net, std::move(options));
  Observed seen;
  seen.logits = hook.forward([&] { return net->forward(x); });
  seen.observation = hook.observation();
  return seen;
}

bool has_gradient(const Tensor& of, const Tensor& to) {
  auto grads = torch::autograd::grad({of.sum()}, {to}, {}, true, false, true);
  return grads[0].defined() && grads[0].abs().sum().item<double>() > 0;
}

struct HeadCase {
  const char* name;
  std::shared_ptr<Headed> net;
  bool exact;
  const char* reduction;
};

std::vector<HeadCase> heads() {
  const auto pooled = [](Tensor x) { return x.mean({2, 3}); };
  return {
      {"mean", networks::plain(), true, "aten::mean"},
      {"adaptive pool, flatten", headed([](Headed& n, Tensor x) {
         return n.fc(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
       }),
       true, "aten::adaptive_avg_pool2d"},
      {"a pool as large as the map", headed([](Headed& n, Tensor x) {
         return n.fc(torch::avg_pool2d(x, 8).flatten(1));
       }),
       true, "aten::avg_pool2d"},
      {"a pool that leaves a border out", headed([](Headed& n, Tensor x) {
         return n.fc(torch::avg_pool2d(x, 7).flatten(1));
       }),
       false, "aten::avg_pool2d"},
      {"keepdim", headed([](Headed& n, Tensor x) {
         return n.fc(x.mean(3, true).mean(2, true).squeeze(3).squeeze(2));
       }),
       true, "aten::mean"},
      {"mean of mean",
       headed([](Headed& n, Tensor x) { return n.fc(x.mean(3).mean(2)); }),
       true, "aten::mean"},
      {"flatten, mean",
       headed([](Headed& n, Tensor x) { return n.fc(x.flatten(2).mean(2)); }),
       true, "aten::flatten"},
      {"view, transpose, mean", headed([](Headed& n, Tensor x) {
         return n.fc(x.view({x.size(0), 8, -1}).transpose(1, 2).mean(1));
       }),
       true, "aten::view"},
      {"channels last, mean", headed([](Headed& n, Tensor x) {
         return n.fc(x.permute({0, 2, 3, 1}).mean({1, 2}));
       }),
       true, "aten::mean"},
      {"no bias",
       headed([=](Headed& n, Tensor x) { return n.fc(pooled(x)); }, 8, false),
       true, "aten::mean"},
      {"matmul plus bias", headed([=](Headed& n, Tensor x) {
         return torch::matmul(pooled(x), n.fc->weight.t()) + n.fc->bias;
       }),
       true, "aten::mean"},
      {"dropout", headed([=](Headed& n, Tensor x) {
         return n.fc(torch::dropout(pooled(x), 0.5, n.is_training()));
       }),
       true, "aten::mean"},
      {"weight normalisation", headed([=](Headed& n, Tensor x) {
         auto w = n.fc->weight / n.fc->weight.norm(2, {1}, true);
         return torch::linear(pooled(x), w, n.fc->bias);
       }),
       true, "aten::mean"},
      {"1x1 convolution after the pool", headed([](Headed& n, Tensor x) {
         auto w = n.fc->weight.unsqueeze(2).unsqueeze(3);
         return torch::conv2d(x.mean({2, 3}, true), w, n.fc->bias).flatten(1);
       }),
       true, "aten::mean"},
      {"a mean over channels of a map as wide",
       headed([](Headed& n, Tensor x) { return n.fc(x.mean(1).mean(2)); }),
       false, "aten::mean"},
      {"amax", headed([](Headed& n, Tensor x) { return n.fc(x.amax({2, 3})); }),
       false, "aten::amax"},
      {"flatten, max", headed([](Headed& n, Tensor x) {
         return n.fc(std::get<0>(x.flatten(2).max(2)));
       }),
       false, "aten::flatten"},
      {"sum", headed([](Headed& n, Tensor x) { return n.fc(x.sum({2, 3})); }),
       false, "aten::sum"},
      {"mean and max side by side",
       headed(
           [](Headed& n, Tensor x) {
             return n.fc(torch::cat({x.mean({2, 3}), x.amax({2, 3})}, 1));
           },
           16),
       false, "aten::mean"},
      {"flatten all",
       headed([](Headed& n, Tensor x) { return n.fc(x.flatten(1)); }, 8 * 64),
       false, "aten::flatten"},
      {"einsum", headed([](Headed& n, Tensor x) {
         return torch::einsum("bchw,kc->bk", {x, n.fc->weight});
       }),
       false, "aten::einsum"},
      {"two linear layers", headed([=](Headed& n, Tensor x) {
         return n.fc(
             torch::relu(torch::linear(pooled(x), torch::eye(8), {})) * 2);
       }),
       false, "aten::mean"},
      {"attention pooling", headed([](Headed& n, Tensor x) {
         auto gate = torch::softmax(
             torch::conv2d(x, n.b->weight.slice(0, 0, 1), {}, 1, 1).flatten(2),
             2);
         return n.fc(torch::bmm(x.flatten(2), gate.transpose(1, 2)).squeeze(2));
       }),
       false, "aten::flatten"},
  };
}

}  // namespace

TEST_CASE("The features are the map that the logits come from", "[hook]") {
  torch::manual_seed(1);
  for (auto& c : heads()) {
    INFO(c.name);
    const auto seen = observe(c.net, pictures());
    CHECK(seen.observation.features.is_same(c.net->truth));
    CHECK(seen.observation.exact == c.exact);
    CHECK(contains(seen.observation.reduction, c.reduction));
    CHECK(seen.observation.layer == "a");
    CHECK(has_gradient(seen.logits.pow(2), seen.observation.features));
    const auto maps =
        seen.observation.cam(seen.logits, support::labels({0, 1}));
    CHECK(maps.sizes() == torch::IntArrayRef({2, 8, 8}));
    CHECK(has_gradient(maps.pow(2), c.net->a->weight));
  }
}

TEST_CASE("Where CAM is exact, its mean plus the bias is the logit", "[hook]") {
  torch::manual_seed(2);
  for (auto& c : heads()) {
    if (!c.exact) {
      continue;
    }
    INFO(c.name);
    c.net->to(torch::kDouble);
    c.net->eval();
    const auto seen = observe(c.net, pictures().to(torch::kDouble));
    auto maps = seen.observation.cam(seen.logits, CamClass::kAll);
    auto logits = maps.mean({2, 3});
    if (seen.observation.bias.defined()) {
      logits = logits + seen.observation.bias;
    }
    CHECK(close(logits, seen.logits, 1e-12));
  }
}

TEST_CASE(
    "A 1x1 convolution before the pooling is read as an identity head",
    "[hook]") {
  auto net =
      headed([](Headed& n, Tensor x) { return n.see(n.b(x)).mean({2, 3}); });
  const auto seen = observe(net, pictures());
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK(seen.observation.exact);
  CHECK_FALSE(seen.observation.weight.defined());
  auto maps = seen.observation.cam(seen.logits, CamClass::kAll);
  CHECK(close(maps.mean({2, 3}), seen.logits, 1e-6));
  auto of_label = seen.observation.cam(seen.logits, support::labels({3, 5}));
  CHECK(close(of_label[0], net->truth[0][3], 0));
  CHECK(close(of_label[1], net->truth[1][5], 0));
}

TEST_CASE("A head whose convolution collapses the map is read", "[hook]") {
  auto net = headed(
      [](Headed& n, Tensor x) {
        return torch::conv2d(x, n.fc->weight.view({2, 8, 8, 8}), n.fc->bias)
            .flatten(1);
      },
      8 * 64);
  const auto seen = observe(net, pictures());
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK_FALSE(seen.observation.exact);
}

TEST_CASE("Other outputs before or after the head are ignored", "[hook]") {
  const std::vector<std::pair<const char*, Headed::Head>> cases = {
      {"auxiliary head before",
       [](Headed& n, Tensor x) {
         auto aux = n.fc2(x.mean({2, 3}));
         x = n.see(torch::relu(n.b(x)));
         return n.fc(x.mean({2, 3}));
       }},
      {"auxiliary head after",
       [](Headed& n, Tensor x) {
         auto y = n.see(torch::relu(n.b(x)));
         auto z = n.fc(y.mean({2, 3}));
         auto aux = n.fc2(x.mean({2, 3}));
         return z;
       }},
      {"projection after",
       [](Headed& n, Tensor x) {
         auto z = n.fc(x.mean({2, 3}));
         auto projected = n.b(x).mean({2, 3});
         return z;
       }},
      {"statistic of the features after",
       [](Headed& n, Tensor x) {
         auto z = n.fc(x.mean({2, 3}));
         auto brightness = x.amax({1, 2, 3});
         return z;
       }},
      {"two forwards in one scope",
       [](Headed& n, Tensor x) {
         auto z = n.fc(x.mean({2, 3}));
         auto other = torch::relu(n.a(torch::randn({2, 3, 8, 8})));
         auto unused = n.fc(other.mean({2, 3}));
         return z;
       }},
  };
  for (const auto& [name, head] : cases) {
    INFO(name);
    auto net = headed(head);
    const auto seen = observe(net, pictures());
    CHECK(seen.observation.features.is_same(net->truth));
    CHECK(seen.observation.exact);
  }
}

TEST_CASE("A mean whose values are reordered is not exact", "[hook]") {
  const std::vector<std::pair<const char*, Headed::Head>> cases = {
      {"channels shuffled",
       [](Headed& n, Tensor x) {
         auto p = x.mean({2, 3});
         return n.fc(p.view({-1, 2, 4}).transpose(1, 2).reshape({-1, 8}));
       }},
      {"batch and channels swapped",
       [](Headed& n, Tensor x) {
         auto p = x.mean({2, 3});
         return n.fc(p.transpose(0, 1).reshape({-1, 8}));
       }},
  };
  for (const auto& [name, head] : cases) {
    INFO(name);
    auto net = headed(head);
    const auto seen = observe(net, pictures());
    CHECK(seen.observation.features.is_same(net->truth));
    CHECK_FALSE(seen.observation.exact);
  }
}

TEST_CASE("Residual, dense and gated networks are read", "[hook]") {
  torch::manual_seed(3);
  auto residual = std::make_shared<networks::Residual>();
  auto seen = observe(residual, pictures());
  CHECK(seen.observation.features.is_same(residual->truth));
  CHECK(seen.observation.layer == "layer2");
  CHECK(seen.observation.exact);

  auto dense = std::make_shared<networks::Dense>();
  seen = observe(dense, pictures());
  CHECK(seen.observation.features.is_same(dense->truth));
  CHECK(seen.observation.layer == "features");
  CHECK(seen.observation.exact);

  auto squeeze = std::make_shared<networks::Squeeze>();
  seen = observe(squeeze, pictures());
  CHECK(seen.observation.features.is_same(squeeze->truth));
  CHECK(seen.observation.layer == "b");
  CHECK(seen.observation.exact);
}

TEST_CASE("1-D, 3-D, transposed and grouped convolutions are read", "[hook]") {
  nn::Sequential one(
      nn::Conv1d(nn::Conv1dOptions(3, 8, 3).padding(1)), nn::ReLU(),
      nn::AdaptiveAvgPool1d(1), nn::Flatten(), nn::Linear(8, 2));
  CamHook hook1(one);
  auto logits =
      hook1.forward([&] { return one->forward(torch::randn({2, 3, 9})); });
  CHECK(hook1.observation().features.sizes() == torch::IntArrayRef({2, 8, 9}));
  CHECK(hook1.observation().exact);
  CHECK(
      hook1.cam(logits, CamClass::kPredicted).sizes() ==
      torch::IntArrayRef({2, 9}));

  nn::Sequential three(
      nn::Conv3d(nn::Conv3dOptions(2, 4, 3).padding(1)), nn::ReLU(),
      nn::AdaptiveAvgPool3d(1), nn::Flatten(), nn::Linear(4, 2));
  CamHook hook3(three);
  logits = hook3.forward(
      [&] { return three->forward(torch::randn({2, 2, 4, 5, 6})); });
  CHECK(
      hook3.observation().features.sizes() ==
      torch::IntArrayRef({2, 4, 4, 5, 6}));
  CHECK(hook3.observation().exact);

  nn::Sequential up(
      nn::ConvTranspose2d(nn::ConvTranspose2dOptions(3, 4, 2).stride(2)),
      nn::ReLU(nn::ReLUOptions(true)),
      nn::Conv2d(nn::Conv2dOptions(4, 4, 3).padding(1).groups(4)),
      nn::AdaptiveAvgPool2d(1), nn::Flatten(), nn::Linear(4, 2));
  CamHook hook_up(up);
  logits = hook_up.forward([&] { return up->forward(pictures(2, 4)); });
  CHECK(
      hook_up.observation().features.sizes() ==
      torch::IntArrayRef({2, 4, 8, 8}));
  CHECK(hook_up.observation().layer == "2");
}

TEST_CASE(
    "A hook takes a reference, a shared_ptr, a holder and a stack module",
    "[hook]") {
  const auto x = pictures();
  auto shared = networks::plain();
  CamHook by_pointer(shared);
  by_pointer.forward([&] { return shared->forward(x); });
  CHECK(by_pointer.observation().features.is_same(shared->truth));

  Headed on_stack(
      [](Headed& n, Tensor y) { return n.fc(y.mean({2, 3})); }, 8, true);
  CamHook by_reference(on_stack);
  by_reference.forward([&] { return on_stack.forward(x); });
  CHECK(by_reference.observation().features.is_same(on_stack.truth));
  CamHook named(on_stack, CamHookOptions().layer("a"));
  named.forward([&] { return on_stack.forward(x); });
  CHECK(named.observation().layer == "a");

  nn::Sequential holder(
      nn::Conv2d(3, 4, 3), nn::AdaptiveAvgPool2d(1), nn::Flatten(),
      nn::Linear(4, 2));
  CamHook by_holder(holder);
  by_holder.forward([&] { return holder->forward(x); });
  CHECK(by_holder.observation().layer == "0");

  std::shared_ptr<Headed> none;
  CHECK(contains(error_of([&] { CamHook hook(none); }), "empty shared_ptr"));
}

TEST_CASE("A weight-normalised convolution counts as a convolution", "[hook]") {
  struct Normed : networks::Net {
    Tensor v, g;
    nn::Linear fc{nullptr};
    Normed() {
      v = register_parameter("v", torch::randn({8, 3, 3, 3}));
      g = register_parameter("g", torch::ones({8, 1, 1, 1}));
      fc = linear("fc", 8, 2);
    }
    Tensor forward(Tensor x) override {
      auto w = g * v / v.flatten(1).norm(2, {1}).view({8, 1, 1, 1});
      x = see(torch::relu(torch::conv2d(x, w, {}, 1, 1)));
      return fc(x.mean({2, 3}));
    }
  };
  auto net = std::make_shared<Normed>();
  const auto seen = observe(net, pictures());
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK(seen.observation.exact);
}

TEST_CASE("A named layer gives the output of that layer", "[hook]") {
  torch::manual_seed(4);
  auto net = std::make_shared<networks::Residual>();
  const auto x = pictures();

  auto seen = observe(net, x, CamHookOptions().layer("layer1"));
  CHECK(seen.observation.features.is_same(net->after_layer1));
  CHECK_FALSE(seen.observation.exact);
  CHECK_FALSE(seen.observation.weight.defined());

  seen = observe(net, x, CamHookOptions().layer("layer2"));
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK(seen.observation.exact);

  // The second convolution of the last block, which the published code reads.
  // The head's weight is known, although the head does not read this map.
  seen = observe(
      net, x, CamHookOptions().layer("layer2.1.conv2").method(CamMethod::kCam));
  CHECK(
      seen.observation.features.grad_fn()->name().find("Convolution") !=
      std::string::npos);
  CHECK_FALSE(seen.observation.exact);
  auto maps = seen.observation.cam(seen.logits, support::labels({0, 2}));
  CHECK(close(
      maps,
      cyborg::functional::cam(
          seen.observation.features, net->fc->weight, support::labels({0, 2})),
      0));

  auto dense = std::make_shared<networks::Dense>();
  seen = observe(dense, x, CamHookOptions().layer("features.block"));
  CHECK(seen.observation.features.is_same(dense->block_output));
  seen = observe(dense, x, CamHookOptions().layer("features"));
  CHECK(seen.observation.features.is_same(dense->truth));
}

TEST_CASE("A named layer includes the pooling that it registers", "[hook]") {
  struct Pooled : networks::Net {
    nn::Sequential features{nullptr};
    nn::Linear fc{nullptr};
    Pooled() {
      features = register_module(
          "features", nn::Sequential(
                          nn::Conv2d(nn::Conv2dOptions(3, 4, 3).padding(1)),
                          nn::ReLU(), nn::MaxPool2d(2)));
      fc = linear("fc", 4, 2);
    }
    Tensor forward(Tensor x) override {
      return fc(torch::max_pool2d(features->forward(x), 2).mean({2, 3}));
    }
  };
  auto net = std::make_shared<Pooled>();
  CamHook hook(net, CamHookOptions().layer("features"));
  hook.forward([&] { return net->forward(pictures()); });
  CHECK(
      hook.observation().features.sizes() == torch::IntArrayRef({2, 4, 4, 4}));
}

TEST_CASE(
    "A branch that is computed outside is not part of a named layer",
    "[hook]") {
  auto net = headed([](Headed& n, Tensor x) {
    auto y = n.see(n.b(x));
    return n.fc((y + n.a(torch::ones({2, 3, 8, 8}))).mean({2, 3}));
  });
  const auto seen = observe(net, pictures(), CamHookOptions().layer("b"));
  CHECK(seen.observation.features.is_same(net->truth));
}

TEST_CASE(
    "With gradients off the result is detached and the map is the same",
    "[hook]") {
  torch::manual_seed(5);
  for (bool max : {false, true}) {
    auto net = headed([=](Headed& n, Tensor x) {
      return n.fc(max ? x.amax({2, 3}) : x.mean({2, 3}));
    });
    const auto x = pictures();
    CamHook hook(*net);
    auto logits = hook.forward([&] { return net->forward(x); });
    const auto with = hook.cam(logits, support::labels({0, 1})).detach();
    torch::NoGradGuard off;
    logits = hook.forward([&] { return net->forward(x); });
    CHECK_FALSE(logits.requires_grad());
    const auto without = hook.cam(logits, support::labels({0, 1}));
    CHECK_FALSE(without.requires_grad());
    CHECK(close(with, without, 1e-7));
    CHECK(close(
        hook.cam(logits, CamClass::kAll).select(1, 0)[0], without[0], 1e-7));
  }
}

TEST_CASE("A frozen network is read with gradients off", "[hook]") {
  auto net = networks::plain();
  for (auto& p : net->parameters()) {
    p.requires_grad_(false);
  }
  CamHook hook(*net);
  const auto x = pictures();
  CHECK(contains(
      error_of([&] {
        hook.forward([&] { return net->forward(x); });
        hook.require();
      }),
      "their parameters are frozen"));
  torch::NoGradGuard off;
  const auto logits = hook.forward([&] { return net->forward(x); });
  CHECK(hook.observation().exact);
  CHECK_FALSE(hook.cam(logits, CamClass::kPredicted).requires_grad());
  for (auto& p : net->parameters()) {
    CHECK_FALSE(p.requires_grad());
  }
}

TEST_CASE("With one logit, label 0 negates the map", "[hook]") {
  for (bool max : {false, true}) {
    auto net = headed([=](Headed& n, Tensor x) {
      auto pooled = max ? x.amax({2, 3}) : x.mean({2, 3});
      return torch::linear(pooled, n.fc->weight.slice(0, 0, 1)).squeeze(1);
    });
    const auto seen = observe(net, pictures());
    CHECK(seen.logits.dim() == 1);
    auto zero = seen.observation.cam(seen.logits, support::labels({0, 0}));
    auto one = seen.observation.cam(seen.logits, support::labels({1, 1}));
    CHECK(close(zero, -one, 0));
    CHECK(
        seen.observation.cam(seen.logits, CamClass::kAll).sizes() ==
        torch::IntArrayRef({2, 1, 8, 8}));
    const auto positive = seen.logits.gt(0).to(torch::kLong);
    CHECK(close(
        seen.observation.cam(seen.logits, CamClass::kPredicted),
        seen.observation.cam(seen.logits, positive), 0));
  }
}

TEST_CASE("The gradient of the map is that of finite differences", "[hook]") {
  torch::manual_seed(6);
  for (const char* head : {"mean", "gem"}) {
    const bool gem = std::string(head) == "gem";
    auto net = headed([=](Headed& n, Tensor x) {
      return gem ? n.fc(x.clamp_min(1e-3).pow(3).mean({2, 3}).pow(1. / 3))
                 : n.fc(x.mean({2, 3}));
    });
    net->to(torch::kDouble);
    net->a->bias.data().fill_(0.5);  // away from the ReLU's corner
    CamHook hook(*net);
    const auto x = torch::rand({2, 3, 3, 3}, torch::kDouble);
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) {
          auto logits = hook.forward([&] {
            auto y =
                torch::sigmoid(torch::conv2d(x, in[0], net->a->bias, 1, 1));
            return net->head(*net, y);
          });
          return hook.cam(logits, support::labels({1, 0}));
        },
        {net->a->weight.detach()}));
    CHECK(hook.observation().exact != gem);
  }
}

TEST_CASE("Results may be of several types", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  auto pair = hook.forward([&] { return std::make_pair(net->forward(x), 3); });
  CHECK(pair.second == 3);
  CHECK(hook.observation().defined());
  auto tuple =
      hook.forward([&] { return std::make_tuple(net->forward(x), x.sum()); });
  CHECK(std::get<0>(tuple).requires_grad());
  auto list =
      hook.forward([&] { return std::vector<Tensor>{net->forward(x)}; });
  CHECK(list.size() == 1);
  struct Output {
    double other;
    Tensor scores;
  };
  auto output = hook.forward(
      [&] { return Output{1, net->forward(x)}; },
      [](const Output& o) { return o.scores; });
  CHECK(output.scores.sizes() == torch::IntArrayRef({2, 2}));
  CHECK(hook.observation().features.is_same(net->truth));
  torch::NoGradGuard off;
  pair = hook.forward([&] { return std::make_pair(net->forward(x), 4); });
  CHECK_FALSE(pair.first.requires_grad());
}

TEST_CASE(
    "Nothing is observed outside forward, nor after an exception", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  net->forward(x);
  CHECK_FALSE(hook.observation().defined());
  hook.forward([&] { return net->forward(x); });
  const auto kept = hook.observation();
  CHECK(error_of([&] {
          hook.forward([&]() -> Tensor {
            net->forward(x);
            throw std::runtime_error("mine");
          });
        }) == "mine");
  CHECK_FALSE(hook.observation().defined());
  CHECK(kept.features.defined());
  CHECK(support::operators_of([&] { net->forward(x); }).size() > 0);
  auto logits = hook.forward([&] { return net->forward(x); });
  CHECK(hook.observation().exact);
  hook.clear();
  CHECK(contains(
      error_of([&] { hook.cam(logits, CamClass::kPredicted); }),
      "nothing was observed"));
}

TEST_CASE("Hooks nest, and a copy of an observation stays valid", "[hook]") {
  auto first = networks::plain();
  auto second = networks::plain();
  const auto x = pictures();
  CamHook outer(*first), inner(*second);
  Tensor other;
  auto logits = outer.forward([&] {
    other = inner.forward([&] { return second->forward(x); });
    return first->forward(x);
  });
  CHECK(outer.observation().features.is_same(first->truth));
  CHECK(inner.observation().features.is_same(second->truth));
  CHECK(contains(
      error_of([&] {
        outer.forward(
            [&] { return outer.forward([&] { return first->forward(x); }); });
      }),
      "already observing"));
  const auto kept = inner.observation();
  const auto truth = second->truth;
  inner.forward([&] { return second->forward(x); });
  CHECK(kept.features.is_same(truth));
}

TEST_CASE("Each thread may have its own hook", "[hook]") {
  auto net = networks::plain();
  std::vector<std::string> wrong(2);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      wrong[i] = error_of([&] {
        CamHook hook(*net);
        for (int n = 0; n < 20; ++n) {
          const int64_t batch = static_cast<int64_t>(i) + 1;
          const auto x = pictures(batch);
          auto logits = hook.forward([&] {
            auto y = torch::relu(net->a(x));
            return net->fc(y.mean({2, 3}));
          });
          TORCH_CHECK(hook.observation().features.size(0) == batch);
        }
      });
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(wrong[0].empty());
  CHECK(wrong[1].empty());
}

TEST_CASE("Autocast and channels-last memory change nothing", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  Tensor logits;
  {
    support::CpuAutocast autocast;
    logits = hook.forward([&] { return net->forward(x); });
  }
  CHECK(hook.observation().features.scalar_type() == torch::kBFloat16);
  CHECK(hook.observation().exact);
  CHECK(hook.cam(logits, CamClass::kPredicted).scalar_type() == torch::kFloat);
  const auto plain_logits = hook.forward([&] { return net->forward(x); });
  const auto map = hook.cam(plain_logits, support::labels({0, 1}));
  logits = hook.forward([&] {
    return net->forward(x.contiguous(torch::MemoryFormat::ChannelsLast));
  });
  CHECK(hook.observation().exact);
  CHECK(close(hook.cam(logits, support::labels({0, 1})), map, 1e-5));
}

TEST_CASE("A model may change after the hook was made", "[hook]") {
  auto net = networks::plain();
  CamHook hook(*net);
  CamHook named(*net, CamHookOptions().layer("a"));
  const auto x = pictures();
  hook.forward([&] { return net->forward(x); });
  net->to(torch::kDouble);
  for (auto* h : {&hook, &named}) {
    h->forward([&] { return net->forward(x.to(torch::kDouble)); });
    CHECK(h->observation().features.scalar_type() == torch::kDouble);
    CHECK(h->observation().layer == "a");
  }
  net->a = net->replace_module(
      "a", nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1)));
  net->a->to(torch::kDouble);
  for (auto* h : {&hook, &named}) {
    h->forward([&] { return net->forward(x.to(torch::kDouble)); });
    CHECK(h->observation().features.defined());
  }
}

TEST_CASE("A batch of one in evaluation mode is read", "[hook]") {
  auto net = std::make_shared<networks::Residual>();
  net->eval();
  const auto seen = observe(net, pictures(1));
  CHECK(seen.observation.exact);
  CHECK(seen.observation.features.size(0) == 1);
}

TEST_CASE("A thousand steps keep no more memory than one", "[hook]") {
  auto net = networks::plain();
  CamHook hook(*net);
  c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> last(
      c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>{});
  for (int step = 0; step < 1000; ++step) {
    const auto x = pictures(1, 4);
    auto logits = hook.forward([&] { return net->forward(x); });
    hook.cam(logits, CamClass::kPredicted).sum().backward();
    net->truth.reset();
    if (step > 0) {
      REQUIRE(last.expired());  // the features of the step before
    }
    last = decltype(last)(hook.observation().features.getIntrusivePtr());
  }
}

TEST_CASE("Features can be captured by hand", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  auto features = torch::relu(net->a(x));
  auto logits = net->fc(features.mean({2, 3}));
  hook.capture(features, net->fc->weight, net->fc->bias);
  const auto by_hand = hook.cam(logits, support::labels({1, 1}));
  const auto again = hook.forward([&] { return net->forward(x); });
  CHECK(close(by_hand, hook.cam(again, support::labels({1, 1})), 1e-6));
  // A forward that the hook did not observe.
  CHECK(contains(
      error_of([&] { hook.cam(net->forward(x), support::labels({1, 1})); }),
      "the logits do not come from the observed features"));

  hook.capture(features);
  CHECK(close(hook.cam(logits, support::labels({1, 1})) * 64, by_hand, 1e-5));

  // Inside forward, captured features replace those that were found.
  logits = hook.forward([&] {
    auto early = torch::relu(net->a(x));
    hook.capture(early);
    return net->forward(x);
  });
  CHECK_FALSE(hook.observation().features.is_same(net->truth));
  CHECK(hook.observation().reduction == "captured");

  CHECK(contains(
      error_of([&] { hook.capture(torch::zeros({2, 3})); }),
      "expected features [B, C, *S], got [2, 3]"));
  CHECK(contains(
      error_of([&] { hook.capture(features, torch::zeros({2, 5})); }),
      "expected weight [K, 8], got [2, 5]"));
  CHECK(contains(
      error_of(
          [&] { hook.capture(features, net->fc->weight, torch::zeros({3})); }),
      "expected bias [2], got [3]"));
}

TEST_CASE("A hook prints what it found", "[hook]") {
  auto net = networks::plain();
  CamHook hook(*net);
  std::ostringstream before, after;
  before << hook;
  CHECK(before.str() == "cyborg::CamHook(nothing observed yet)");
  hook.forward([&] { return net->forward(pictures()); });
  after << hook;
  CHECK(contains(
      after.str(),
      "layer=a, features=[2, 8, 8, 8], "
      "reduction=aten::mean, exact=yes, method=CAM: "
      "a linear head reads the mean over positions"));
}

TEST_CASE("A GuidedHead is read like any other head", "[hook]") {
  struct Guided : networks::Net {
    nn::Conv2d a{nullptr};
    cyborg::GuidedHead head{nullptr};
    Guided() {
      a = conv("a", 3, 8);
      head = register_module("head", cyborg::GuidedHead(8, 2));
    }
    Tensor forward(Tensor x) override { return head(see(torch::relu(a(x)))); }
  };
  auto net = std::make_shared<Guided>();
  const auto seen = observe(net, pictures());
  CHECK(seen.observation.features.is_same(net->truth));
  CHECK(seen.observation.exact);
}

namespace {

/// An activation that is written as a custom function, to save memory.
struct Swish : torch::autograd::Function<Swish> {
  static Tensor forward(torch::autograd::AutogradContext* context, Tensor x) {
    context->save_for_backward({x});
    return x * torch::sigmoid(x);
  }
  static torch::autograd::tensor_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::tensor_list gradients) {
    const auto x = context->get_saved_variables()[0];
    const auto s = torch::sigmoid(x);
    return {gradients[0] * (s + x * s * (1 - s))};
  }
};

}  // namespace

TEST_CASE("A custom function between map and pooling is refused", "[hook]") {
  auto net = headed(
      [](Headed& n, Tensor x) { return n.fc(Swish::apply(x).mean({2, 3})); });
  CamHook hook(*net);
  const auto x = pictures();
  CHECK(contains(
      error_of([&] {
        hook.forward([&] { return net->forward(x); });
        hook.require();
      }),
      "the map that aten::mean read was made by the custom autograd function"));
  // Before the map it is allowed, and a layer before it can be named.
  auto deep = headed([](Headed& n, Tensor y) {
    return n.fc(n.see(torch::relu(n.b(Swish::apply(y)))).mean({2, 3}));
  });
  CHECK(observe(deep, x).observation.features.is_same(deep->truth));
  const auto named = observe(net, x, CamHookOptions().layer("a"));
  CHECK_FALSE(named.observation.exact);
}

TEST_CASE(
    "A map of zeros does not show whether a mean covers all positions",
    "[hook]") {
  auto net = headed([](Headed& n, Tensor x) {
    return n.fc(torch::avg_pool2d(x, 7).flatten(1));
  });
  net->a->bias.data().zero_();
  CamHook hook(*net);
  hook.forward([&] { return net->forward(torch::zeros({2, 3, 8, 8})); });
  hook.forward([&] { return net->forward(pictures()); });
  CHECK_FALSE(hook.observation().exact);
}

TEST_CASE("The loss reads Grad-CAM in the unit of the logits", "[hook]") {
  torch::manual_seed(7);
  auto net = networks::plain();
  auto through_relu = headed([](Headed& n, Tensor x) {
    return n.fc(torch::relu(x.mean({2, 3})));  // the same, but not exact
  });
  torch::NoGradGuard off;
  for (size_t i = 0; i < net->parameters().size(); ++i) {
    through_relu->parameters()[i].copy_(net->parameters()[i]);
  }
  at::AutoGradMode on(true);
  const auto x = pictures();
  const auto exact = observe(net, x), other = observe(through_relu, x);
  CHECK(exact.observation.logit_scale() == 1);
  CHECK(other.observation.logit_scale() == 64);
  const auto y = support::labels({0, 1});
  CHECK(close(
      exact.observation.cam(exact.logits, y),
      other.observation.cam(other.logits, y) * 64, 1e-5));
  const cyborg::CyborgKLLoss criterion;
  const auto maps = torch::rand({2, 8, 8});
  CHECK(close(
      criterion(exact.logits, y, exact.observation, maps).saliency,
      criterion(other.logits, y, other.observation, maps).saliency, 1e-5));
}

TEST_CASE(
    "Partly frozen networks are read if their map has a gradient", "[hook]") {
  auto biases = networks::plain();
  biases->a->weight.requires_grad_(false);
  CHECK(
      observe(biases, pictures()).observation.features.is_same(biases->truth));

  auto frozen = networks::plain();
  for (auto& p : frozen->parameters()) {
    p.requires_grad_(false);
  }
  const auto seen = observe(frozen, pictures().requires_grad_());
  CHECK(seen.observation.features.is_same(frozen->truth));

  auto plain = networks::plain();
  CHECK(observe(plain, pictures().requires_grad_()).observation.layer == "a");
}

TEST_CASE(
    "Several threads may read one frozen network at the same time", "[hook]") {
  auto net = networks::plain();
  for (auto& p : net->parameters()) {
    p.requires_grad_(false);
  }
  torch::NoGradGuard off;
  const auto x = pictures();
  CamHook first(*net);
  std::string wrong = "not run";
  bool after = false;
  first.forward([&] {
    std::thread([&] {
      torch::NoGradGuard off_here;
      wrong = error_of([&] {
        CamHook second(*net);
        second.forward([&] { return net->forward(x); });
      });
    }).join();
    after = net->a->weight.requires_grad();  // the first hook still runs
    return net->forward(x);
  });
  CHECK(wrong.empty());
  CHECK(after);
  CHECK(first.observation().exact);
  CHECK_FALSE(net->a->weight.requires_grad());
}
