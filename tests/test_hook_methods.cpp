// SPDX-License-Identifier: BSD-3-Clause
//
// The methods of a hook's maps, and its errors for what it cannot read.
#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/gradient_methods.hpp>
#include <cyborg/cam/hook.hpp>

#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using cyborg::CamMethod;
using hooked::kForward;
using hooked::pictures;
using hooked::printed;
using hooked::refusal;
using networks::headed;
using networks::Headed;
using support::close;
using support::contains;
using support::error_of;
using torch::Tensor;
namespace nn = torch::nn;

TEST_CASE("Every method is the function of that name", "[hook]") {
  const auto labels = support::labels({1, 0});
  const std::vector<std::pair<CamMethod, const char*>> methods = {
      {CamMethod::kAuto, "method=CAM: "},
      {CamMethod::kCam, "method=CAM: "},
      {CamMethod::kGradCam, "method=Grad-CAM: "},
      {CamMethod::kHiResCam, "method=HiResCAM: "},
  };
  for (const bool one_logit : {false, true}) {
    for (const auto& [method, name] : methods) {
      INFO(name << (one_logit ? ", one logit" : ""));
      auto net =
          headed([](Headed& n, Tensor x) { return n.fc(x.mean({2, 3})); });
      if (one_logit) {
        net->fc = net->replace_module("fc", nn::Linear(8, 1));
      }
      CamHook hook(*net, CamHookOptions().method(method));
      const auto logits =
          hook.forward([&] { return net->forward(pictures()); });
      CHECK(contains(printed(hook), name));
      const bool is_cam =
          method == CamMethod::kAuto || method == CamMethod::kCam;
      CHECK(hook.logit_scale() == (is_cam ? 1 : 64));
      const auto& f = hook.observation().features;
      auto score = one_logit ? logits.squeeze(1) * support::t({1, -1})
                             : logits.gather(1, labels.unsqueeze(1)).squeeze(1);
      const auto expected =
          is_cam ? cyborg::functional::cam(f, net->fc->weight, labels)
          : method == CamMethod::kGradCam
              ? cyborg::functional::grad_cam(f, score)
              : cyborg::functional::hires_cam(f, score);
      CHECK(close(hook.cam(logits, labels), expected, 1e-6));
      // kAll gives the map of each class; a single logit is that of class 1.
      const auto all = hook.cam(logits, CamClass::kAll);
      CHECK(all.size(1) == (one_logit ? 1 : 2));
      for (int64_t k = 0; k < all.size(1); ++k) {
        const int64_t label = one_logit ? 1 : k;
        CHECK(close(
            all.select(1, k), hook.cam(logits, support::labels({label, label})),
            1e-6));
      }
    }
  }
}

TEST_CASE(
    "Each method has its own map where the gradient varies by position",
    "[hook]") {
  // With a linear head on the mean, several methods have the same map.
  const auto net =
      headed([](Headed& n, Tensor x) { return n.fc(x.amax({2, 3})); });
  const auto labels = support::labels({1, 0});
  using Function = std::function<Tensor(const Tensor&, const Tensor&)>;
  namespace functional = cyborg::functional;
  const std::vector<std::pair<CamMethod, Function>> methods = {
      {CamMethod::kGradCam,
       [](auto& f, auto& score) { return functional::grad_cam(f, score); }},
      {CamMethod::kHiResCam,
       [](auto& f, auto& score) { return functional::hires_cam(f, score); }},
      {CamMethod::kLayerCam,
       [](auto& f, auto& score) { return functional::layer_cam(f, score); }},
      {CamMethod::kXGradCam,
       [](auto& f, auto& score) { return functional::xgrad_cam(f, score); }},
      {CamMethod::kGradCamPlusPlus,
       [](auto& f, auto& score) {
         return functional::grad_cam_plus_plus(f, score);
       }},
      {CamMethod::kEigenCam,
       [](auto& f, auto&) { return functional::eigen_cam(f); }},
  };
  const auto x = pictures();
  std::vector<Tensor> maps;
  for (const auto& [method, function] : methods) {
    INFO(cyborg::detail::name_of(method));
    CamHook hook(*net, CamHookOptions().method(method));
    const auto logits = hook.forward([&] { return net->forward(x); });
    const auto score = logits.gather(1, labels.unsqueeze(1)).squeeze(1);
    const auto map = hook.cam(logits, labels);
    CHECK(close(map, function(hook.observation().features, score), 1e-6));
    for (const Tensor& other : maps) {
      CHECK(!torch::allclose(map, other, /*rtol=*/1e-3, /*atol=*/0));
    }
    maps.push_back(map.detach());
  }
}

TEST_CASE("A logit of zero is of class 0", "[hook]") {
  auto net = headed([](Headed& n, Tensor x) {
    return torch::linear(x.mean({2, 3}), n.fc->weight.narrow(0, 0, 1));
  });
  net->fc->weight.data().zero_();
  CamHook hook(*net, CamHookOptions().method(CamMethod::kGradCam));
  const auto logits = hook.forward([&] { return net->forward(pictures()); });
  REQUIRE(logits.eq(0).all().item<bool>());
  net->fc->weight.data().fill_(1);
  const auto again = hook.forward([&] { return net->forward(pictures()); });
  CHECK(close(
      hook.cam(again - again.detach(), CamClass::kPredicted),
      hook.cam(again, support::labels({0, 0})), 1e-6));
}

TEST_CASE("A hook explains what it cannot read", "[hook][error]") {
  const auto x = pictures();
  auto net = headed(
      [](Headed& n, Tensor y) { return n.fc(y.mean({2, 3})).unsqueeze(2); });
  CHECK(
      refusal(*net, x) ==
      kForward + "expected logits [B, K] or [B], got [2, 2, 1]");
  net = headed([](Headed& n, Tensor y) {
    return n.fc(torch::relu(y.transpose(0, 1)).mean({2, 3}).t());
  });
  CHECK(refusal(*net, x).empty());  // [C, B, h, w], as its axes say
  net = headed([](Headed& n, Tensor y) {
    return n.fc(n.truth.new_ones({2, 8})) + 0 * y.detach().mean();
  });
  CHECK(
      refusal(*net, x) ==
      kForward +
          "the logits do not come from the convolutions that ran on this "
          "thread");
  nn::Sequential single(
      nn::Conv2d(3, 8, 8), nn::ReLU(), nn::Flatten(), nn::Linear(8, 2));
  CHECK(
      error_of([&] {
        CamHook hook(single);
        hook.forward([&] { return single->forward(x); });
        hook.require();
      }) ==
      kForward +
          "the convolutions that the logits come from have a single position: "
          "there is no map to guide");
  std::ostringstream nothing;
  nothing << cyborg::Observation();
  CHECK(nothing.str() == "cyborg::Observation(nothing observed yet)");
}

TEST_CASE(
    "Logits that do not fit an observation are refused", "[hook][error]") {
  auto net = networks::plain();
  CamHook hook(*net);
  hook.forward([&] { return net->forward(pictures()); });
  const std::string name = "cyborg::Observation::cam: ";
  const auto expected = name +
                        "expected logits [2, K] (as many samples as the "
                        "observed features [2, 8, 8, 8]), got ";
  const auto refuse = [&](const Tensor& logits) {
    return error_of([&] { hook.cam(logits, CamClass::kPredicted); });
  };
  CHECK(refuse({}) == expected + "undefined");
  CHECK(refuse(torch::ones({3, 2})) == expected + "[3, 2]");
  CHECK(refuse(torch::ones({2, 2, 1})) == expected + "[2, 2, 1]");
  CHECK(
      error_of([&] { hook.cam(torch::ones({2, 2}), CamClass::kLabel); }) ==
      name + "CamClass::kLabel needs the labels; call cam(logits, labels)");
}
