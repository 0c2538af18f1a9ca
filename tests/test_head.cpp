// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/cam/head.hpp>
#include <cyborg/cam/hook.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/loss.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

using cyborg::GuidedHead;
using cyborg::GuidedHeadOptions;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

TEST_CASE("A guided head gives the numbers worked out by hand", "[head]") {
  GuidedHead head(2, 2);
  head->to(torch::kDouble);
  {
    const torch::NoGradGuard no_grad;
    head->weight.copy_(t({1, 10, -1, 0.5}, {2, 2}));
    head->bias.copy_(t({100, 200}));
  }
  const Tensor features = t({1, 2, 3, 4}, {1, 2, 2});
  const auto out = head->guided(features, labels({0}));
  CHECK(close(out.logits, t({136.5, 200.25}, {1, 2})));
  CHECK(close(out.cam, t({31, 42}, {1, 2})));
}

TEST_CASE("A guided head is pooling, a linear layer and CAM", "[head]") {
  torch::manual_seed(1);
  for (const auto& sizes : std::vector<std::vector<int64_t>>{
           {3, 6, 5}, {3, 6, 4, 5}, {3, 6, 2, 3, 2}}) {
    const Tensor features = torch::randn(sizes);
    GuidedHead head(6, 4);
    torch::nn::Linear linear = head->to_linear();
    const Tensor target = labels({3, 0, 1});
    const Tensor logits = linear->forward(features.flatten(2).mean(2));
    const auto out = head->guided(features, target);
    CHECK(close(head->forward(features), logits, 1e-6));
    CHECK(close(out.logits, logits, 1e-6));
    CHECK(close(
        out.cam, cyborg::functional::cam(features, linear->weight, target), 0));
    CHECK(close(
        out.cam.flatten(1).mean(1) + linear->bias.index_select(0, target),
        logits.gather(1, target.unsqueeze(1)).squeeze(1), 1e-5));
  }
}

TEST_CASE(
    "A guided head has the gradient of finite differences",
    "[head][gradient]") {
  torch::manual_seed(2);
  GuidedHead head(3, 2);
  head->to(torch::kDouble);
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) {
        head->weight = in[1];
        head->bias = in[2];
        const auto out = head->guided(in[0], labels({1, 0}));
        return torch::cat({out.logits.flatten(), out.cam.flatten()});
      },
      {torch::randn({2, 3, 2, 2}), torch::randn({2, 3}), torch::randn({2})}));
}

TEST_CASE("One logit negates the map for label 0", "[head]") {
  torch::manual_seed(3);
  GuidedHead head(3, 1);
  const Tensor features = torch::randn({1, 3, 2, 2}).repeat({2, 1, 1, 1});
  const auto out = head->guided(features, labels({0, 1}));
  CHECK(out.logits.sizes() == at::IntArrayRef({2, 1}));
  CHECK(close(out.cam[0], -out.cam[1], 0));
}

TEST_CASE(
    "A guided head copies parameters from and to a linear layer", "[head]") {
  for (const bool bias : {true, false}) {
    torch::nn::Linear linear(torch::nn::LinearOptions(6, 4).bias(bias));
    linear->to(torch::kDouble);
    GuidedHead head(GuidedHeadOptions(6, 4).bias(bias));
    head->to(torch::kDouble);
    head->from_linear(linear);
    CHECK(close(head->weight, linear->weight, 0));
    CHECK(head->bias.defined() == bias);
    torch::nn::Linear back = head->to_linear();
    CHECK(back->weight.scalar_type() == torch::kDouble);
    CHECK(back->weight.requires_grad());
    const Tensor x = torch::randn({2, 6}, torch::kDouble);
    CHECK(close(back->forward(x), linear->forward(x), 0));
    // They are copies: a change of one does not change the other.
    const torch::NoGradGuard no_grad;
    const Tensor before = linear->weight.clone();
    head->weight.fill_(0);
    CHECK(close(linear->weight, before, 0));
    CHECK(close(back->weight, before, 0));
  }
}

TEST_CASE(
    "A guided head has the state dictionary of a linear layer", "[head]") {
  GuidedHead head(6, 4);
  const torch::nn::Linear linear(6, 4);
  const auto ours = head->named_parameters();
  const auto theirs = linear->named_parameters();
  REQUIRE(ours.size() == 2);
  REQUIRE(ours.keys() == theirs.keys());
  for (const auto& item : ours) {
    CHECK(item.value().sizes() == theirs[item.key()].sizes());
    CHECK(item.value().requires_grad());
  }
  CHECK(
      GuidedHead(GuidedHeadOptions(6, 4).bias(false))->parameters().size() ==
      1);
  std::stringstream file;
  torch::save(linear, file);
  torch::load(head, file);
  CHECK(close(head->weight, linear->weight, 0));
}

TEST_CASE("A guided head has the initial values of a linear layer", "[head]") {
  torch::manual_seed(4);
  GuidedHead head(64, 10);
  torch::manual_seed(4);
  const torch::nn::Linear linear(64, 10);
  CHECK(close(head->weight, linear->weight, 0));
  CHECK(close(head->bias, linear->bias, 0));
  CHECK(head->weight.abs().max().item<double>() <= 1. / 8);
}

TEST_CASE("A guided head can be cloned and printed", "[head]") {
  GuidedHead head(6, 4);
  const auto copy =
      std::dynamic_pointer_cast<cyborg::GuidedHeadImpl>(head->clone());
  REQUIRE(copy);
  CHECK(close(copy->weight, head->weight, 0));
  CHECK(copy->weight.data_ptr() != head->weight.data_ptr());
  std::ostringstream text;
  text << head;
  CHECK(text.str() == "cyborg::GuidedHead(channels=6, classes=4, bias=true)");
}

namespace {

/// A convolution under a guided head, or under pooling and a linear layer with
/// the same parameters.
struct Headed : torch::nn::Module {
  Headed(int64_t classes, bool guided) : guided_(guided) {
    torch::manual_seed(5);
    conv = register_module(
        "conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 6, 3)));
    head = register_module("head", GuidedHead(6, classes));
    to(torch::kDouble);
  }

  Tensor forward(const Tensor& images) {
    features = torch::relu(conv->forward(images));
    return guided_
               ? head->forward(features)
               : torch::linear(features.mean({2, 3}), head->weight, head->bias);
  }

  torch::nn::Conv2d conv{nullptr};
  GuidedHead head{nullptr};
  Tensor features;

 private:
  bool guided_;
};

Tensor images() {
  torch::manual_seed(6);
  return torch::rand({4, 3, 8, 8}, torch::kDouble);
}

/// Labels for 4 pictures.
Tensor classes_of(int64_t classes) {
  return torch::arange(4).remainder(std::max<int64_t>(classes, 2));
}

}  // namespace

TEST_CASE("A hook reads the map of a guided head", "[head][hook]") {
  for (const int64_t classes : {1, 2, 8, 9}) {
    INFO(classes << " classes");
    Headed net(classes, /*guided=*/true);
    cyborg::CamHook hook(net);
    const Tensor logits = hook.forward([&] { return net.forward(images()); });
    const auto& seen = hook.observation();
    CHECK(torch::equal(logits, net.head->forward(net.features)));
    CHECK(seen.exact);
    CHECK(seen.layer == "conv");
    CHECK(seen.reduction == "cyborg::GuidedHead");
    CHECK(seen.reason == "a linear head reads the mean over positions");
    CHECK(seen.features.is_same(net.features));
    CHECK(torch::equal(seen.weight, net.head->weight));
    CHECK(torch::equal(seen.bias, net.head->bias));
    CHECK(seen.maps.defined() == (classes <= 8));
    const Tensor target = classes_of(classes);
    CHECK(close(
        hook.cam(logits, target),
        cyborg::functional::cam(net.features, net.head->weight, target)));
    CHECK(close(
        hook.cam(logits, cyborg::CamClass::kAll),
        cyborg::functional::cam_all(net.features, net.head->weight)));
    const auto predicted =
        net.head->guided(net.features, cyborg::CamClass::kPredicted);
    CHECK(close(hook.cam(logits, cyborg::CamClass::kPredicted), predicted.cam));
    CHECK(close(predicted.logits, logits));
  }
}

TEST_CASE(
    "The loss of a guided head equals that of a linear layer", "[head][hook]") {
  for (const int64_t classes : {1, 2, 9}) {
    for (const auto method :
         {cyborg::CamMethod::kAuto, cyborg::CamMethod::kGradCam}) {
      INFO(classes << " classes, method " << static_cast<int>(method));
      const auto gradients = [&](bool guided) {
        Headed net(classes, guided);
        cyborg::CamHook hook(net, cyborg::CamHookOptions().method(method));
        const Tensor logits =
            hook.forward([&] { return net.forward(images()); });
        const auto terms = cyborg::CyborgL2Loss()(
            logits, classes_of(classes), hook,
            torch::rand({4, 6, 6}, torch::kDouble));
        terms.total.backward();
        CHECK(terms.annotated_count.item<int64_t>() == 4);
        std::vector<Tensor> all{terms.total};
        for (const Tensor& parameter : net.parameters()) {
          all.push_back(parameter.grad());
        }
        return all;
      };
      const auto ours = gradients(true), plain = gradients(false);
      REQUIRE(ours.size() == plain.size());
      for (size_t i = 0; i < ours.size(); ++i) {
        CHECK(close(ours[i], plain[i]));
      }
    }
  }
}

TEST_CASE("A hook distinguishes two guided heads", "[head][hook]") {
  Headed net(2, /*guided=*/true);
  GuidedHead other(3, 2);
  other->to(torch::kDouble);
  cyborg::CamHook hook(net);
  const Tensor logits = hook.forward([&] {
    const Tensor input = images();
    const Tensor main = net.forward(input);
    other->forward(input.narrow(1, 0, 3));  // an auxiliary head on the picture
    net.head->guided(net.features * 2, classes_of(2));
    return main;
  });
  CHECK(hook.observation().features.is_same(net.features));
  CHECK(close(
      hook.observation().maps,
      cyborg::functional::cam_all(net.features, net.head->weight)));
}

TEST_CASE("A guided head also works with gradients off", "[head][hook]") {
  Headed net(2, /*guided=*/true);
  const Tensor before = net.forward(images()).detach();
  const torch::NoGradGuard no_grad;
  CHECK(torch::equal(net.forward(images()), before));
  CHECK_FALSE(
      net.head->guided(net.features, classes_of(2)).cam.requires_grad());
  cyborg::CamHook hook(net);
  const Tensor logits = hook.forward([&] { return net.forward(images()); });
  CHECK(torch::equal(logits, before));
  CHECK(close(
      hook.cam(logits, classes_of(2)),
      cyborg::functional::cam(net.features, net.head->weight, classes_of(2))));
}

TEST_CASE("A guided head takes an empty batch", "[head]") {
  GuidedHead head(6, 4);
  const Tensor none = torch::empty({0, 6, 3, 2});
  CHECK(head->forward(none).sizes() == at::IntArrayRef({0, 4}));
  const auto out = head->guided(none, torch::empty({0}, torch::kLong));
  CHECK(out.logits.sizes() == at::IntArrayRef({0, 4}));
  CHECK(out.cam.sizes() == at::IntArrayRef({0, 3, 2}));
}

TEST_CASE("A guided head says what it expected", "[head][error]") {
  GuidedHead head(6, 4);
  CHECK(
      error_of([&] { head->forward(torch::rand({2, 6})); }) ==
      "cyborg::GuidedHead::forward: expected features [B, C, *S], got [2, 6]");
  CHECK(
      error_of([&] { head->forward(torch::rand({2, 5, 3})); }) ==
      "cyborg::GuidedHead::forward: expected features of 6 channels, got "
      "[2, 5, 3]");
  CHECK(
      error_of([&] { head->guided(torch::rand({2, 6, 3}), labels({0, 4})); }) ==
      "cyborg::GuidedHead::guided: expected labels in [0, 3], got 4 at "
      "position 1");
  CHECK(
      error_of([&] {
        head->guided(torch::rand({2, 6, 3}), cyborg::CamClass::kLabel);
      }) ==
      "cyborg::GuidedHead::guided: CamClass::kLabel needs the labels; call "
      "guided(features, labels)");
  CHECK(
      error_of([&] { head->from_linear(torch::nn::Linear(6, 3)); }) ==
      "cyborg::GuidedHead::from_linear: expected weight [4, 6] and a bias, "
      "got [3, 6] and a bias");
  CHECK(
      error_of([&] {
        head->from_linear(
            torch::nn::Linear(torch::nn::LinearOptions(6, 4).bias(false)));
      }) ==
      "cyborg::GuidedHead::from_linear: expected weight [4, 6] and a bias, "
      "got [4, 6] and no bias");
  CHECK(
      error_of([] { GuidedHead(0, 4); }) ==
      "cyborg::GuidedHead: expected channels and classes above 0, got 0 and "
      "4");
}
