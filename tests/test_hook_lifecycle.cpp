// SPDX-License-Identifier: BSD-3-Clause
//
// What a hook leaves behind after a run, hooks inside hooks, and errors inside
// the observer.
#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"
#include "tapped.hpp"

#include <cyborg/cam/head.hpp>
#include <cyborg/cam/hook.hpp>

#include <ATen/record_function.h>
#include <torch/version.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using hooked::pictures;
using networks::headed;
using networks::Headed;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;
namespace nn = torch::nn;

namespace {

/// A convolution under a guided head.
struct Guided : networks::Net {
  nn::Conv2d a{nullptr};
  cyborg::GuidedHead head{nullptr};

  Guided() {
    a = conv("a", 3, 8);
    head = register_module("head", cyborg::GuidedHead(8, 2));
  }
  Tensor forward(Tensor x) override { return head(see(torch::relu(a(x)))); }
};

/// Whether the observation is of this network's last forward.
void check_is_of(const CamHook& hook, const Guided& net) {
  const auto& seen = hook.observation();
  CHECK(seen.features.is_same(net.truth));
  CHECK(seen.exact);
  CHECK(seen.layer == "a");
  CHECK(seen.reduction == "cyborg::GuidedHead");
  CHECK(seen.weight.data_ptr() == net.head->weight.data_ptr());
  CHECK(close(
      seen.maps, cyborg::functional::cam_all(net.truth, net.head->weight),
      1e-5));
}

std::vector<bool> trainable(const nn::Module& net) {
  std::vector<bool> all;
  for (const auto& parameter : net.parameters()) {
    all.push_back(parameter.requires_grad());
  }
  return all;
}

}  // namespace

TEST_CASE("A hook leaves no callback on its thread", "[hook]") {
  REQUIRE_FALSE(at::hasThreadLocalCallbacks());
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net), inner(*net);
  bool during = false, after_inner = false;
  hook.forward([&] {
    during = at::hasThreadLocalCallbacks();
    inner.forward([&] { return net->forward(x); });
    after_inner = at::hasThreadLocalCallbacks();
    return net->forward(x);
  });
  CHECK(during);
  CHECK(after_inner);  // the outer hook still observes
  CHECK_FALSE(at::hasThreadLocalCallbacks());
  CHECK(hook.observation().features.is_same(net->truth));

  CHECK(error_of([&] {
          hook.forward([&]() -> Tensor { throw std::runtime_error("mine"); });
        }) == "mine");
  CHECK_FALSE(at::hasThreadLocalCallbacks());
  // An error of the hook itself: a network without a map.
  hook.forward([&] { return x.flatten(1); });
  CHECK_FALSE(error_of([&] { hook.require(); }).empty());
  CHECK_FALSE(at::hasThreadLocalCallbacks());
  {
    const torch::NoGradGuard off;
    hook.forward([&] { return net->forward(x); });
    CHECK_FALSE(torch::GradMode::is_enabled());
  }
  CHECK_FALSE(at::hasThreadLocalCallbacks());
}

TEST_CASE("A hook runs again after an error of any kind", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  const auto run = [&] { return net->forward(x); };
  for (int kind = 0; kind < 3; ++kind) {
    CAPTURE(kind);
    const auto error = error_of([&] {
      if (kind == 0) {
        hook.forward([&]() -> Tensor { throw std::runtime_error("mine"); });
      } else if (kind == 1) {
        hook.forward([&] { return hook.forward(run); });
      } else {
        hook.forward(run, [](const Tensor&) -> Tensor {
          throw std::runtime_error("no logits");
        });
      }
    });
    CHECK_FALSE(error.empty());
    CHECK_FALSE(hook.observation().defined());
    hook.forward(run);
    CHECK(hook.observation().features.is_same(net->truth));
  }
}

TEST_CASE("A hook cannot run inside its own forward", "[hook][error]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook hook(*net);
  std::string inside;
  hook.forward([&] {
    inside = error_of([&] {
      hook.forward([&] { return net->forward(torch::ones_like(x)); });
    });
    return net->forward(x);
  });
  CHECK(
      inside ==
      "cyborg::CamHook::forward: this hook is already observing; a forward "
      "inside a forward needs its own hook");
  // The outer forward continues.
  CHECK(hook.observation().features.is_same(net->truth));
}

TEST_CASE("All hooks around a guided head receive its maps", "[hook][head]") {
  auto net = std::make_shared<Guided>();
  const auto x = pictures();
  CamHook outer(*net), middle(*net), inner(*net);
  outer.forward([&] {
    return middle.forward(
        [&] { return inner.forward([&] { return net->forward(x); }); });
  });
  for (const auto* hook : {&outer, &middle, &inner}) {
    check_is_of(*hook, *net);
  }
}

TEST_CASE(
    "Hooks around two guided heads each have the maps of their own head",
    "[hook][head]") {
  auto first = std::make_shared<Guided>(), second = std::make_shared<Guided>();
  const auto x = pictures();
  CamHook outer(*first), inner(*second);
  for (const bool inner_last : {false, true}) {
    CAPTURE(inner_last);
    outer.forward([&] {
      const auto run_inner = [&] {
        inner.forward([&] { return second->forward(x); });
      };
      if (!inner_last) {
        run_inner();
      }
      const Tensor logits = first->forward(x);
      if (inner_last) {
        run_inner();
      }
      return logits;
    });
    check_is_of(outer, *first);
    check_is_of(inner, *second);
  }
}

TEST_CASE(
    "A head that reads two maps in one forward gives the maps of the right one",
    "[hook][head]") {
  auto net = std::make_shared<Guided>();
  const auto x = pictures();
  CamHook hook(*net);
  for (const bool other_last : {false, true}) {
    CAPTURE(other_last);
    hook.forward([&] {
      const auto run_other = [&] {
        return net->head(torch::relu(net->a(torch::ones_like(x))));
      };
      const Tensor before = other_last ? Tensor() : run_other();
      const Tensor logits = net->forward(x);
      const Tensor after = other_last ? run_other() : Tensor();
      return logits;
    });
    check_is_of(hook, *net);
  }
}

TEST_CASE(
    "The same map read by two guided heads has the maps of the logits' head",
    "[hook][head]") {
  auto net = std::make_shared<Guided>();
  cyborg::GuidedHead other(8, 2);
  const auto x = pictures();
  CamHook hook(*net);
  for (const bool other_last : {false, true}) {
    CAPTURE(other_last);
    hook.forward([&] {
      const Tensor map = net->see(torch::relu(net->a(x)));
      const Tensor before = other_last ? Tensor() : other(map);
      const Tensor logits = net->head(map);
      const Tensor after = other_last ? other(map) : Tensor();
      return logits;
    });
    check_is_of(hook, *net);
  }
}

TEST_CASE("A guided head outside a hook reports to nobody", "[hook][head]") {
  auto net = std::make_shared<Guided>();
  const auto x = pictures();
  CamHook hook(*net);
  hook.forward([&] { return net->forward(x); });
  const auto features = hook.observation().features;
  const auto maps = hook.observation().maps;
  net->forward(x);
  CHECK(hook.observation().features.is_same(features));
  CHECK(hook.observation().maps.is_same(maps));
  // Another thread is not observed.
  hook.forward([&] {
    std::thread([&] { net->head(torch::rand({2, 8, 4, 4})); }).join();
    return net->forward(x);
  });
  check_is_of(hook, *net);
}

TEST_CASE("A guided head with labels reports its mean to the hook", "[hook]") {
  auto net = std::make_shared<Guided>();
  const auto x = pictures();
  const auto labels = support::labels({1, 0});
  CamHook hook(*net);
  cyborg::GuidedHeadOutput out;
  hook.forward([&] {
    out = net->head->guided(net->see(torch::relu(net->a(x))), labels);
    return out.logits;
  });
  const auto& seen = hook.observation();
  CHECK(seen.features.is_same(net->truth));
  CHECK(seen.exact);
  CHECK(seen.reduction == "cyborg::GuidedHead");
  CHECK_FALSE(seen.maps.defined());  // only maps of all classes are reported
  CHECK(close(hook.cam(out.logits, labels), out.cam, 1e-6));
}

TEST_CASE("Operators inside a region of a profiler are seen", "[hook]") {
  auto net = headed([](Headed& n, Tensor x) {
    const at::RecordFunction head(at::RecordScope::USER_SCOPE);
    return n.fc(x.mean({2, 3}));
  });
  const auto x = pictures();
  CamHook hook(*net);
  hook.forward([&] {
    RECORD_USER_SCOPE("network");
    return net->forward(x);
  });
  CHECK(hook.observation().features.is_same(net->truth));
  CHECK(hook.observation().exact);
  CHECK(hook.observation().reduction == "aten::mean");
}

TEST_CASE("Operators inside the observer's callback are not seen", "[hook]") {
  // A view whose base was changed in place makes its node when somebody asks
  // for it: it runs the view again. Here the observer asks.
  auto net = headed([](Headed& n, Tensor x) {
    auto base = x * 1;
    auto view = torch::_neg_view(base);
    base.mul_(2);
    n.see(torch::dropout(view, 0.5, /*train=*/false));  // the view itself
    return n.fc(n.truth.mean({2, 3}));
  });
  const auto x = pictures();
  CamHook hook(*net);
  const Tensor logits = hook.forward([&] { return net->forward(x); });
  CHECK(hook.observation().features.is_same(net->truth));
  CHECK(hook.observation().exact);
  const auto all = hook.cam(logits, CamClass::kAll);
  CHECK(close(all.mean({2, 3}) + net->fc->bias, logits, 1e-5));
}

#if TORCH_VERSION_MAJOR >= 2
TEST_CASE("An error inside the observer is thrown by forward", "[hook]") {
  // A dimension of a nested tensor has no single size.
  auto net = headed([](Headed& n, Tensor x) {
    const auto nested = torch::_nested_tensor_from_tensor_list(
        {x[0], x[1].narrow(1, 0, 4)}, {}, {}, {}, {});
    return n.fc(x.mean({2, 3}));
  });
  CamHook hook(*net);
  const auto error =
      error_of([&] { hook.forward([&] { return net->forward(pictures()); }); });
  INFO(error);
  CHECK(contains(error, "support sizes"));
  CHECK_FALSE(hook.observation().defined());
  CHECK_FALSE(at::hasThreadLocalCallbacks());
}
#endif

TEST_CASE(
    "After a run, parameters are frozen or trainable as before", "[hook]") {
  struct Mixed : networks::Net {
    nn::Conv2d a{nullptr};
    nn::Linear fc{nullptr};
    Tensor count;
    Mixed() {
      a = conv("a", 3, 8);
      fc = linear("fc", 8, 2);
      count = register_parameter(
          "count", torch::ones({1}, torch::kLong), /*requires_grad=*/false);
      a->weight.requires_grad_(false);
      fc->bias.requires_grad_(false);
    }
    Tensor forward(Tensor x) override {
      return fc(see(torch::relu(a(x))).mean({2, 3}));
    }
  };
  auto net = std::make_shared<Mixed>();
  const auto x = pictures();
  const auto before = trainable(*net);
  CamHook outer(*net), inner(*net);
  const torch::NoGradGuard off;
  std::vector<bool> during, after_inner;
  const Tensor logits = outer.forward([&] {
    inner.forward([&] { return net->forward(x); });
    after_inner = trainable(*net);
    return net->forward(x);
  });
  CHECK(outer.observation().features.is_same(net->truth));
  CHECK_FALSE(logits.requires_grad());
  // a.weight, a.bias, fc.weight, fc.bias in some order, and the integer.
  CHECK(std::count(after_inner.begin(), after_inner.end(), true) == 4);
  CHECK(trainable(*net) == before);
  CHECK(error_of([&] {
          outer.forward([&]() -> Tensor {
            during = trainable(*net);
            throw std::runtime_error("mine");
          });
        }) == "mine");
  CHECK(during == after_inner);
  CHECK(trainable(*net) == before);
}

TEST_CASE("With gradients on, frozen parameters stay frozen", "[hook]") {
  auto net = networks::plain();
  net->a->weight.requires_grad_(false);
  net->fc->bias.requires_grad_(false);
  const auto before = trainable(*net);
  CamHook hook(*net);
  std::vector<bool> during;
  const Tensor logits = hook.forward([&] {
    during = trainable(*net);
    return net->forward(pictures());
  });
  CHECK(during == before);
  CHECK(logits.requires_grad());
  hook.cam(logits, CamClass::kPredicted).sum().backward();
  CHECK_FALSE(net->a->weight.grad().defined());
}

TEST_CASE("A hook can be moved together with its observation", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook first(*net, CamHookOptions().layer("a"));
  first.forward([&] { return net->forward(x); });
  const auto source = first.observation().features;
  CamHook second(std::move(first));
  CHECK(second.observation().features.is_same(source));
  second.forward([&] { return net->forward(x); });
  CHECK_FALSE(second.observation().features.is_same(source));
  CHECK(second.observation().layer == "a");
}

TEST_CASE(
    "Features and head must be as they were at the forward", "[hook][error]") {
  torch::manual_seed(3);
  for (const bool recording : {true, false}) {
    for (const bool exact : {true, false}) {
      auto net = tapped::net([&](tapped::Net& n, torch::Tensor f) {
        const auto z = n.fc(tapped::pooled(n.tap(f)));
        return exact ? z : z.tanh();
      });
      CamHook hook(*net);
      const auto x = tapped::pictures();
      const torch::AutoGradMode mode(recording);
      const auto forward = [&] {
        return hook.forward([&] { return net->forward(x); });
      };
      const auto why = [&](const torch::Tensor& logits) {
        return error_of([&] { hook.cam(logits, tapped::labels_for(logits)); });
      };
      INFO(recording << ", exact " << exact);
      auto logits = forward();
      CHECK(why(logits).empty());
      {
        const torch::NoGradGuard no_graph;
        hook.observation().features.mul_(3);
      }
      CHECK(contains(
          why(logits),
          "the features [2, 8, 6, 4] were changed by an in-place operator "
          "after the forward"));
      logits = forward();
      CHECK(why(logits).empty());
      {
        const torch::NoGradGuard no_graph;
        net->fc->weight.mul_(3);
      }
      if (exact) {
        CHECK(contains(
            why(logits),
            "the weight of the head was changed by an in-place operator after "
            "the forward (the step of an optimizer?)"));
      }
      logits = forward();
      CHECK(why(logits).empty());
    }
  }
  // What the user hands over is the user's.
  auto net = networks::plain();
  CamHook hook(*net);
  const auto features = torch::rand({2, 4, 3, 3});
  const auto weight = torch::rand({2, 4});
  hook.capture(features, weight);
  features.mul_(2);
  CHECK(hook.cam(torch::rand({2, 2}), support::labels({0, 1})).defined());
}

TEST_CASE("A hook may be destroyed by another thread", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  bool found = false;
  std::thread([&] {
    auto hook = std::make_unique<CamHook>(*net);
    hook->begin();
    net->forward(x);
    std::thread([&] { hook.reset(); }).join();
    net->forward(x);  // this thread still reports, to what is never freed
    CamHook next(*net);
    next.forward([&] { return net->forward(x); });
    found = next.observation().defined();
  }).join();
  CHECK(found);
}

TEST_CASE("begin and end observe as forward does", "[hook]") {
  auto net = networks::plain();
  const auto x = pictures();
  CamHook whole(*net);
  const auto wanted = whole.forward([&] { return net->forward(x); });
  CamHook halves(*net);
  halves.begin();
  CHECK(halves.observing());
  const auto logits = net->forward(x);
  CHECK(halves.end({logits}));
  CHECK_FALSE(halves.observing());
  const auto labels = torch::zeros({2}, torch::kLong);
  CHECK(halves.observation().exact);
  CHECK(halves.observation().features.is_same(net->truth));
  CHECK(close(halves.cam(logits, labels), whole.cam(wanted, labels), 1e-6));
}

TEST_CASE("Between begin and end gradients are on", "[hook]") {
  auto net = networks::plain();
  for (auto& parameter : net->parameters()) {
    parameter.requires_grad_(false);
  }
  const torch::NoGradGuard no_grad;
  CamHook hook(*net);
  hook.begin();
  CHECK(torch::GradMode::is_enabled());
  const auto logits = net->forward(pictures());
  CHECK_FALSE(hook.end({logits}));  // the caller detaches them
  CHECK_FALSE(torch::GradMode::is_enabled());
  CHECK(hook.observation().exact);
  for (const auto& parameter : net->parameters()) {
    CHECK_FALSE(parameter.requires_grad());
  }
}

TEST_CASE("Hooks begin and end in any order", "[hook]") {
  auto net = networks::plain();
  for (const bool first_ends_first : {true, false}) {
    CamHook one(*net), two(*net);
    one.begin();
    two.begin();
    const auto logits = net->forward(pictures());
    CamHook& inner = first_ends_first ? one : two;
    CamHook& outer = first_ends_first ? two : one;
    inner.end({logits});
    CHECK(cyborg::detail::Observer::armed());
    outer.end({logits});
    CHECK_FALSE(cyborg::detail::Observer::armed());
    CHECK(one.observation().features.is_same(net->truth));
    CHECK(two.observation().features.is_same(net->truth));
  }
}

TEST_CASE("A forward that was cancelled leaves nothing", "[hook]") {
  auto net = networks::plain();
  const torch::NoGradGuard no_grad;
  CamHook hook(*net);
  hook.begin();
  hook.cancel();
  CHECK_FALSE(torch::GradMode::is_enabled());
  CHECK_FALSE(cyborg::detail::Observer::armed());
  hook.begin();
  hook.end({net->forward(pictures())});
  CHECK(hook.observation().defined());
}

TEST_CASE("begin and end are called in turn, on one thread", "[hook][error]") {
  auto net = networks::plain();
  CamHook hook(*net);
  CHECK(error_of([&] {
          hook.end({});
        }) == "cyborg::CamHook::end: nothing is observed; call begin() first");
  hook.begin();
  CHECK(contains(
      error_of([&] { hook.begin(); }), "this hook is already observing"));
  std::string other;
  std::thread([&] { other = error_of([&] { hook.end({}); }); }).join();
  CHECK(other == "cyborg::CamHook::end: begin() was called on another thread");
  hook.end({}, "these are not logits");
  CHECK(error_of([&] {
          hook.require();
        }) == hooked::kForward + "these are not logits");
}
