// SPDX-License-Identifier: BSD-3-Clause
//
// Every form of a head that reads a mean, and what is not such a head.
#include "reading.hpp"
#include "tapped.hpp"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using networks::headed;
using networks::Headed;
using reading::Changes;
using reading::check_exact;
using reading::check_inexact;
using reading::look;
using reading::pooled;
using support::close;
using torch::Tensor;

namespace {

/// An autograd node with the name that the linear operator has on devices with
/// their own linear operator. Backward never runs.
struct LinearNode : torch::autograd::Node {
  torch::autograd::variable_list apply(
      torch::autograd::variable_list&& grads) override {
    return grads;
  }
  std::string name() const override { return "LinearBackward0"; }
};

/// A linear layer for which the graph has one node, with or without a bias.
Tensor one_operator(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  using Pointer = std::decay_t<decltype(x.grad_fn())>;
  std::unique_ptr<torch::autograd::Node> made = std::make_unique<LinearNode>();
  const Pointer node(std::move(made));
  node->set_next_edges(torch::autograd::collect_next_edges(x, weight, bias));
  Tensor out;
  {
    const torch::NoGradGuard off;
    out = torch::linear(x, weight, bias);
  }
  torch::autograd::impl::set_gradient_edge(
      out, {node, node->add_input_metadata(out)});
  return out;
}

}  // namespace

TEST_CASE("Every way to write a linear head is read", "[hook]") {
  using Head = std::function<Tensor(Headed&, const Tensor&)>;
  const std::vector<std::tuple<const char*, bool, Head>> heads = {
      {"a module", true, [](auto& n, auto& p) { return n.fc(p); }},
      {"linear", true,
       [](auto& n, auto& p) {
         return torch::linear(p, n.fc->weight, n.fc->bias);
       }},
      {"linear without a bias", false,
       [](auto& n, auto& p) { return torch::linear(p, n.fc->weight); }},
      {"one linear operator", true,
       [](auto& n, auto& p) {
         return one_operator(p, n.fc->weight, n.fc->bias);
       }},
      {"one linear operator without a bias", false,
       [](auto& n, auto& p) { return one_operator(p, n.fc->weight, {}); }},
      {"addmm", true,
       [](auto& n, auto& p) {
         return torch::addmm(n.fc->bias, p, n.fc->weight.t());
       }},
      {"mm", false,
       [](auto& n, auto& p) { return torch::mm(p, n.fc->weight.t()); }},
      {"matmul, the weight transposed", false,
       [](auto& n, auto& p) {
         return torch::matmul(p, n.fc->weight.transpose(0, 1));
       }},
      {"matmul, then the bias", true,
       [](auto& n, auto& p) {
         return torch::matmul(p, n.fc->weight.t()) + n.fc->bias;
       }},
      {"the bias, then matmul", true,
       [](auto& n, auto& p) {
         return n.fc->bias + torch::matmul(p, n.fc->weight.t());
       }},
      {"a convolution of one position", true,
       [](auto& n, auto& p) {
         return torch::conv2d(
                    p.view({2, 8, 1, 1}), n.fc->weight.view({2, 8, 1, 1}),
                    n.fc->bias)
             .flatten(1);
       }},
      {"a convolution in one dimension", false,
       [](auto& n, auto& p) {
         return torch::conv1d(p.unsqueeze(2), n.fc->weight.unsqueeze(2))
             .squeeze(2);
       }},
      {"a weight through views", true,
       [](auto& n, auto& p) {
         const auto w = n.fc->weight.unsqueeze(0).squeeze(0).view({2, 8});
         return torch::linear(p, at::alias(w), n.fc->bias.clone());
       }},
      {"a weight computed from parameters", true,
       [](auto& n, auto& p) {
         return torch::linear(p, n.fc->weight * 1, n.fc->bias + 0);
       }},
  };
  for (const auto& c : heads) {
    INFO(std::get<0>(c));
    const auto head = std::get<2>(c);
    auto net = headed([=](Headed& n, Tensor x) { return head(n, pooled(x)); });
    check_exact(*net);
    const auto seen = look(*net).observation;
    CHECK(seen.bias.defined() == std::get<1>(c));
    if (seen.bias.defined()) {
      CHECK(close(seen.bias, net->fc->bias, 0));
    }
  }
}

TEST_CASE(
    "Logits may be views, copies and casts of the head's output", "[hook]") {
  const Changes views = {
      {"view", [](auto& z) { return z.view({2, 2}); }},
      {"_unsafe_view", [](auto& z) { return at::_unsafe_view(z, {2, 2}); }},
      {"reshape", [](auto& z) { return z.reshape({2, -1}); }},
      {"unsqueeze, squeeze", [](auto& z) { return z.unsqueeze(1).squeeze(1); }},
      {"alias", [](auto& z) { return at::alias(z); }},
      {"clone", [](auto& z) { return z.clone(); }},
      {"expand", [](auto& z) { return z.expand({2, 2}); }},
      {"a copy",
       [](auto& z) { return at::_to_copy(z, torch::dtype(torch::kDouble)); }},
      {"several",
       [](auto& z) { return at::alias(z.clone().view({2, 1, 2})).squeeze(1); }},
  };
  for (const auto& [name, view] : views) {
    INFO(name);
    const auto change = view;
    auto net =
        headed([=](Headed& n, Tensor x) { return change(n.fc(pooled(x))); });
    check_exact(*net);
  }
}

TEST_CASE("Ordinal heads share one weight, and have Grad-CAM", "[hook]") {
  torch::manual_seed(5);
  using Rest = tapped::Net::Rest;
  const auto biases = torch::tensor({.5, 0., -.5}, torch::kDouble);
  const std::vector<Rest> heads = {
      [&](tapped::Net& n, Tensor f) {
        return n.fc(tapped::pooled(n.tap(f))) + biases;
      },
      [&](tapped::Net& n, Tensor f) {
        return torch::linear(tapped::pooled(n.tap(f)), n.fc->weight) +
               n.fc2->bias;
      },
      [&](tapped::Net& n, Tensor f) {
        return tapped::pooled(n.tap(f)).mm(n.fc->weight.t()) + n.fc2->bias;
      },
      [&](tapped::Net& n, Tensor f) {
        return n.fc(tapped::pooled(n.tap(f))).expand({f.size(0), 3});
      }};
  for (size_t i = 0; i < heads.size(); ++i) {
    INFO("head " << i);
    auto one = std::make_shared<tapped::Net>(heads[i], 8, /*classes=*/1);
    // `fc2` has three classes in each of these networks.
    one->fc2 = one->replace_module("fc2", torch::nn::Linear(8, 3));
    one->to(torch::kDouble);
    const auto seen = tapped::check_network(*one, tapped::pictures());
    CHECK_FALSE(seen.exact);
  }
}

TEST_CASE("The reason says why a head is not one linear operator", "[hook]") {
  const std::string more =
      "there is more than a mean between the map and the head (aten::mean, "
      "...)";
  const std::string single =
      "no single linear operator reads the collapsed features";
  using Head = std::function<Tensor(Headed&, const Tensor&)>;
  const std::vector<std::tuple<const char*, std::string, Head>> cases = {
      {"logits scaled", more,
       [](auto& n, auto& x) { return n.fc(pooled(x)) * 2; }},
      {"a sum of two heads", more,
       [](auto& n, auto& x) { return n.fc(pooled(x)) + n.fc2(pooled(x)); }},
      {"a bias that is computed from the map", more,
       [](auto& n, auto& x) {
         return torch::matmul(pooled(x), n.fc->weight.t()) +
                pooled(x).narrow(1, 0, 2);
       }},
      {"a ReLU after the mean", more,
       [](auto& n, auto& x) { return n.fc(torch::relu(pooled(x))); }},
      {"one column left", "the mean leaves more than one value per channel",
       [](auto& n, auto& x) {
         const auto columns = x.mean(3).flatten(1);  // [2, 48]
         return torch::linear(columns, n.fc->weight.repeat({1, 6}));
       }},
      {"half of the rows",
       "aten::avg_pool2d did not average every position exactly once",
       [](auto& n, auto& x) {
         return n.fc(torch::avg_pool2d(x, {5, 4}).flatten(1));
       }},
  };
  for (const auto& c : cases) {
    INFO(std::get<0>(c));
    const auto head = std::get<2>(c);
    auto net = headed([=](Headed& n, Tensor x) { return head(n, x); });
    check_inexact(*net, std::get<1>(c));
  }
  // A weight that is computed from the batch mixes its samples.
  auto mixed = headed([](Headed& n, Tensor x) {
    return torch::linear(
        pooled(x), n.fc->weight * pooled(x).mean(0), n.fc->bias);
  });
  mixed->to(torch::kDouble);
  cyborg::CamHook hook(*mixed);
  const Tensor logits =
      hook.forward([&] { return mixed->forward(reading::pictures()); });
  CHECK(hook.observation().reason == more);
  CHECK(support::contains(
      support::error_of([&] { hook.cam(logits, cyborg::CamClass::kAll); }),
      "depends on the features of other samples"));
  // The hook cannot see into a custom function.
  struct Double : torch::autograd::Function<Double> {
    static Tensor forward(torch::autograd::AutogradContext*, const Tensor& x) {
      return x * 2;
    }
    static torch::autograd::tensor_list backward(
        torch::autograd::AutogradContext*, torch::autograd::tensor_list grads) {
      return {grads[0] * 2};
    }
  };
  auto net = headed(
      [](Headed& n, Tensor x) { return Double::apply(n.fc(pooled(x))); });
  check_inexact(*net, single);
}
