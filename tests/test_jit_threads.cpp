// SPDX-License-Identifier: BSD-3-Clause
//
// A TorchScript module that other threads run without a hook: the callable gets
// a copy that belongs to the hook. By hand, for longer:
//
//     CYBORG_JIT_ROUNDS=10000 test_jit "[threads]"
#include "tapped.hpp"
#include "torchscript.hpp"

#include <cyborg/jit.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace jit_threads_test {

using cyborg::CamClass;
using cyborg::CamHook;
using hooked::printed;
using support::contains;
using support::error_of;
using tapped::error_of_values;
using tapped::kClose;
using tapped::labels_for;
using torch::Tensor;

namespace {

int64_t rounds() {
  const char* text = std::getenv("CYBORG_JIT_ROUNDS");
  return text == nullptr ? 500 : std::atoll(text);
}

/// Two convolutions and a linear layer, in float64. Returns the logits and the
/// map that they come from.
torch::jit::Module two_convolutions() {
  auto net = torchscript::network("Two");
  net.register_module("first", torchscript::convolution(3, 4, 3));
  net.register_module("second", torchscript::convolution(4, 8, 3));
  net.register_module("fc", torchscript::linear(8, 3));
  net.define(R"(
    def forward(self, x):
      x = torch.relu(torch.conv2d(x, self.first.weight, self.first.bias, [1, 1], [1, 1]))
      f = torch.relu(torch.conv2d(x, self.second.weight, self.second.bias, [1, 1], [1, 1]))
      e = torch.dropout(f.mean([2, 3]), 0.5, self.training)
      return (torch.linear(e, self.fc.weight, self.fc.bias), f)
  )");
  net.to(torch::kDouble);
  return net;
}

Tensor part(const c10::IValue& result, size_t i) {
  return result.toTupleRef().elements()[i].toTensor();
}

/// The class activation map of the labels' classes: W F.
Tensor map_of(
    const torch::jit::Module& net, const Tensor& f, const Tensor& labels) {
  const Tensor weight = net.attr("fc").toModule().attr("weight").toTensor();
  return torch::einsum("bc,bchw->bhw", {weight.index_select(0, labels), f});
}

}  // namespace

TEST_CASE(
    "A hook runs a copy while another thread runs the module",
    "[jit][threads]") {
  torch::manual_seed(1);
  auto net = two_convolutions();
  net.eval();
  std::atomic<bool> done{false};
  std::atomic<int64_t> others{0};
  std::string error;
  std::thread plain([&] {
    const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
    error = error_of([&] {
      while (!done) {
        part(net.forward({x}), 0).sum().backward();
        ++others;
      }
    });
  });
  CamHook hook(net);
  int64_t lost = 0;
  double worst = 0;
  const std::string mine = error_of([&] {
    for (int64_t round = 0; round < rounds(); ++round) {
      const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
      const auto result =
          hook.forward([&](auto& own) { return own.forward({x}); });
      lost += hook.observation().exact ? 0 : 1;
      const Tensor logits = part(result, 0);
      const Tensor labels = labels_for(logits);
      worst = std::max(
          worst,
          error_of_values(
              hook.cam(logits, labels), map_of(net, part(result, 1), labels)));
    }
  });
  done = true;
  plain.join();
  INFO(mine << error);
  CHECK(mine.empty());
  CHECK(error.empty());
  CHECK(lost == 0);
  CHECK(worst < kClose);
  CHECK(others > 0);
}

TEST_CASE(
    "Two threads have hooks on one TorchScript module", "[jit][threads]") {
  torch::manual_seed(2);
  auto net = two_convolutions();
  net.eval();
  std::vector<std::string> errors(2);
  std::vector<double> worst(2, 0);
  std::vector<CamHook> hooks;
  hooks.emplace_back(net);
  hooks.emplace_back(net);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      errors[i] = error_of([&] {
        for (int64_t round = 0; round < rounds() / 5; ++round) {
          const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
          const auto result =
              hooks[i].forward([&](auto& own) { return own.forward({x}); });
          const Tensor labels = labels_for(part(result, 0));
          worst[i] = std::max(
              worst[i], error_of_values(
                            hooks[i].cam(part(result, 0), labels),
                            map_of(net, part(result, 1), labels)));
        }
      });
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (size_t i = 0; i < 2; ++i) {
    INFO(errors[i]);
    CHECK(errors[i].empty());
    CHECK(worst[i] < kClose);
  }
}

TEST_CASE("The hook's copy shares everything with the module", "[jit]") {
  torch::manual_seed(3);
  auto net = two_convolutions();
  CamHook hook(net);
  const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
  const torch::jit::Module* first = nullptr;
  for (const bool training : {false, true, false, true}) {
    CAPTURE(training);
    net.train(training);
    Tensor weight;
    const auto result = hook.forward([&](auto& own) {
      CHECK((first == nullptr || first == &own));  // made once
      first = &own;
      CHECK(own.is_training() == training);
      weight = own.attr("second").toModule().attr("weight").toTensor();
      return own.forward({x});
    });
    CHECK(weight.is_same(
        net.attr("second").toModule().attr("weight").toTensor()));
    INFO(printed(hook));
    CHECK(hook.observation().exact);
    CHECK(hook.observation().layer == "second");
    const Tensor labels = labels_for(part(result, 0));
    const Tensor maps = hook.cam(part(result, 0), labels);
    const Tensor wanted = map_of(net, part(result, 1), labels);
    CHECK(error_of_values(maps, wanted) < kClose);
    // The gradients reach the module's own parameters.
    std::vector<Tensor> parameters;
    for (const auto& parameter : net.parameters()) {
      parameters.push_back(parameter);
    }
    const auto slopes = [&](const Tensor& of) {
      std::vector<Tensor> row;
      const auto found = torch::autograd::grad(
          {of.pow(2).sum()}, parameters, {}, true, false, true);
      for (size_t i = 0; i < found.size(); ++i) {
        row.push_back(
            (found[i].defined() ? found[i] : torch::zeros_like(parameters[i]))
                .flatten());
      }
      return torch::cat(row);
    };
    CHECK(error_of_values(slopes(maps), slopes(wanted)) < kClose);
  }
  // A parameter that changes afterwards changes in the copy, too.
  net.eval();
  {
    const torch::NoGradGuard off;
    net.attr("fc").toModule().attr("weight").toTensor().mul_(2);
  }
  const auto result = hook.forward([&](auto& own) { return own.forward({x}); });
  const Tensor labels = labels_for(part(result, 0));
  CHECK(
      error_of_values(
          hook.cam(part(result, 0), labels),
          map_of(net, part(result, 1), labels)) < kClose);
  CHECK(error_of_values(part(result, 0), part(net.forward({x}), 0)) < kClose);
}

TEST_CASE("With gradients off the copy is read, too", "[jit]") {
  torch::manual_seed(4);
  auto net = two_convolutions();
  net.eval();
  for (const auto& parameter : net.parameters()) {
    parameter.set_requires_grad(false);
  }
  CamHook hook(net);
  const torch::NoGradGuard off;
  const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
  const auto result = hook.forward([&](auto& own) { return own.forward({x}); });
  const Tensor logits = part(result, 0);
  CHECK_FALSE(logits.requires_grad());
  const Tensor labels = labels_for(logits);
  CHECK(
      error_of_values(
          hook.cam(logits, labels), map_of(net, part(result, 1), labels)) <
      kClose);
  for (const auto& parameter : net.parameters()) {
    CHECK_FALSE(parameter.requires_grad());
  }
}

TEST_CASE(
    "The old form says that it removes plans that others may run", "[jit]") {
  struct Warnings : c10::WarningHandler {
    void process(const c10::Warning& warning) override {
      text += warning.msg();
    }
    std::string text;
  } warnings;
  auto net = two_convolutions();
  net.eval();
  const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
  const bool always = c10::WarningUtils::get_warnAlways();
  c10::WarningUtils::set_warnAlways(true);
  {
    const c10::WarningUtils::WarningHandlerGuard guard(&warnings);
    CamHook hook(net);
    hook.forward([&] { return net.forward({x}); });
    CHECK(warnings.text.empty());  // nobody ran it before
    for (int run = 0; run < 3; ++run) {
      net.forward({x});
    }
    hook.forward([&](auto& own) { return own.forward({x}); });
    CHECK(warnings.text.empty());  // a copy removes nothing
    hook.forward([&] { return net.forward({x}); });
    CHECK(hook.observation().exact);
    CHECK(contains(warnings.text, "crashes other threads"));
    CHECK(contains(
        warnings.text, "hook.forward([&](auto& net) { return net.forward("));
  }
  c10::WarningUtils::set_warnAlways(always);
}

TEST_CASE(
    "A TorchScript member of a native network is named as the reason",
    "[jit][error]") {
  struct Native : torch::nn::Module {
    torch::jit::Module body;
    Native() : body(two_convolutions()) {
      for (const auto& parameter : body.parameters()) {
        parameter.set_requires_grad(false);
      }
    }
    Tensor forward(const Tensor& x) { return part(body.forward({x}), 0); }
  } native;
  CamHook hook(native);
  const auto x = torch::randn({2, 3, 6, 4}, torch::kDouble);
  const torch::NoGradGuard off;
  hook.forward([&] { return native.forward(x); });
  INFO(printed(hook));
  CHECK_FALSE(hook.observation().defined());
  CHECK(contains(printed(hook), "a torch::jit member of a native module"));
  CHECK_FALSE(
      contains(printed(hook), "run a frozen network under torch::NoGradGuard"));
}

}  // namespace jit_threads_test
