// SPDX-License-Identifier: BSD-3-Clause
// LayerCAM, XGrad-CAM, Grad-CAM++, Eigen-CAM and RISE.
#include <cyborg/cam/gradient_methods.hpp>
#include <cyborg/cam/hook.hpp>
#include <cyborg/cam/rise.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

namespace {

using cyborg::CamMethod;
using cyborg::GradCamOptions;
using support::close;
using support::contains;
using support::error_of;
using support::gradcheck;
using support::labels;
using support::t;
using torch::Tensor;
namespace functional = cyborg::functional;

/// Features [1, 2, 2], whose gradient is `gradient`.
struct Toy {
  Tensor features = t({1, 2, 3, -1}, {1, 2, 2}).requires_grad_();
  Tensor gradient = t({1, -1, 2, 4}, {1, 2, 2});
  Tensor score = (features * gradient).sum().reshape({1});
};

/// A score [B] that is curved in the features.
Tensor smooth_score(const Tensor& features) {
  return (features.square() * 0.3 + features.sin()).flatten(1).sum(1).tanh();
}

}  // namespace

TEST_CASE("Further methods give the numbers worked out by hand", "[cam]") {
  const Toy toy;
  // max(G, 0) F, added over the channels: 1 * 1 + 2 * 3 and 0 * 2 + 4 * -1.
  CHECK(close(
      functional::layer_cam(toy.features, toy.score), t({7, -4}, {1, 2})));
  CHECK(close(
      functional::layer_cam(
          toy.features, toy.score, GradCamOptions().relu(true)),
      t({7, 0}, {1, 2})));
  // w = (1 - 2) / 3 and (6 - 4) / 2.
  CHECK(close(
      functional::xgrad_cam(toy.features, toy.score),
      t({-1. / 3 + 3, -2. / 3 - 1}, {1, 2})));
  // Sums of the features: 3 and 2. w = 1 / (2 + 3) and 2 / (2 + 4) +
  // 4 / (2 + 8).
  const double first = 1. / 5, second = 2. / 6 + 4. / 10;
  CHECK(close(
      functional::grad_cam_plus_plus(toy.features, toy.score),
      t({first + 3 * second, 2 * first - second}, {1, 2})));
}

TEST_CASE("Grad-CAM++ is the equation of its paper", "[cam]") {
  torch::manual_seed(2);
  const auto features =
      torch::rand({2, 3, 4, 5}, torch::kDouble).requires_grad_();
  const auto gradient = torch::randn({2, 3, 4, 5}, torch::kDouble);
  const auto score = (features * gradient).flatten(1).sum(1);
  // Equation 19: alpha = G^2 / (2 G^2 + sum(A) G^3), w = sum alpha max(G, 0).
  const auto sum = features.detach().flatten(2).sum(2).reshape({2, 3, 1, 1});
  const auto alpha =
      gradient.square() / (2 * gradient.square() + sum * gradient.pow(3));
  const auto weights = (alpha * gradient.clamp_min(0)).flatten(2).sum(2);
  const auto expected =
      (weights.reshape({2, 3, 1, 1}) * features.detach()).sum(1);
  CHECK(
      close(functional::grad_cam_plus_plus(features, score), expected, 1e-12));
}

TEST_CASE("XGrad-CAM of a pooled linear head is Grad-CAM", "[cam]") {
  torch::manual_seed(3);
  const auto features =
      torch::randn({2, 3, 4, 5}, torch::kDouble).requires_grad_();
  const auto weight = torch::randn({3}, torch::kDouble);
  const auto score = features.mean({2, 3}).matmul(weight);
  const auto grad_cam = functional::grad_cam(features, score);
  CHECK(close(functional::xgrad_cam(features, score), grad_cam, 1e-10));
  CHECK_FALSE(close(functional::layer_cam(features, score), grad_cam, 1e-3));
}

TEST_CASE("A channel that adds up to nothing has no weight", "[cam]") {
  const auto features =
      t({1, -1, 2, 3}, {1, 2, 2}).to(torch::kFloat).requires_grad_();
  const auto score = (features * torch::ones_like(features)).sum().reshape({1});
  const auto map = functional::xgrad_cam(features, score);
  CHECK(close(map, t({2, 3}, {1, 2}), 1e-6));
  const auto zero = torch::zeros({1, 2, 3}).requires_grad_();
  CHECK(close(
      functional::xgrad_cam(zero, zero.sum().reshape({1})),
      torch::zeros({1, 3})));
}

TEST_CASE("Further methods can be differentiated", "[cam]") {
  torch::manual_seed(4);
  const auto features = torch::rand({2, 3, 2, 2}, torch::kDouble) + 0.2;
  for (const auto method :
       {&functional::layer_cam, &functional::xgrad_cam,
        &functional::grad_cam_plus_plus}) {
    CHECK(gradcheck(
        [&](std::vector<Tensor> at) {
          return method(at[0], smooth_score(at[0]), GradCamOptions(), 1);
        },
        {features}));
  }
}

TEST_CASE("Eigen-CAM is the main direction, its peak positive", "[cam]") {
  // Rank one: P = 3 positions times a direction of 2 channels.
  const auto place = t({-1, 0.5, -3});
  const auto channels = t({3, -4});
  const auto features =
      (channels.unsqueeze(1) * place.unsqueeze(0)).reshape({1, 2, 3});
  // The direction has length 5; the largest value, -3, is made positive.
  CHECK(
      close(functional::eigen_cam(features), t({5, -2.5, 15}, {1, 3}), 1e-12));
  const auto leaf = features.clone().requires_grad_();
  functional::eigen_cam(leaf).sum().backward();
  CHECK(close(leaf.grad()[0].select(1, 0).abs(), t({0.6, 0.8}), 1e-12));
  CHECK(close(
      functional::eigen_cam(torch::zeros({2, 2, 3})), torch::zeros({2, 3})));
  CHECK(contains(
      error_of([] { functional::eigen_cam(torch::ones({2, 3})); }),
      "expected features [B, C, *S], got [2, 3]"));
}

TEST_CASE("A hook computes further maps by name", "[cam]") {
  torch::manual_seed(5);
  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3).padding(1)),
      torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
      torch::nn::Linear(4, 3));
  const auto images = torch::rand({2, 3, 6, 6});
  const auto target = labels({2, 0});
  for (const auto method :
       {CamMethod::kLayerCam, CamMethod::kXGradCam, CamMethod::kGradCamPlusPlus,
        CamMethod::kEigenCam}) {
    cyborg::CamHook hook(net, cyborg::CamHookOptions().method(method));
    const auto logits = hook.forward([&] { return net->forward(images); });
    const auto& features = hook.observation().features;
    const auto score = logits.gather(1, target.unsqueeze(1)).squeeze(1);
    const auto expected = method == CamMethod::kLayerCam
                              ? functional::layer_cam(features, score)
                          : method == CamMethod::kXGradCam
                              ? functional::xgrad_cam(features, score)
                          : method == CamMethod::kGradCamPlusPlus
                              ? functional::grad_cam_plus_plus(features, score)
                              : functional::eigen_cam(features);
    INFO(cyborg::detail::name_of(method));
    CHECK(close(hook.cam(logits, target), expected, 1e-6));
    std::ostringstream text;
    text << hook;
    CHECK(contains(text.str(), cyborg::detail::name_of(method)));
    const torch::NoGradGuard no_grad;
    const auto again = hook.forward([&] { return net->forward(images); });
    CHECK(close(hook.cam(again, target), expected, 1e-6));
  }
}

TEST_CASE("RISE finds the pixels that a class depends on", "[cam]") {
  const auto generator = [] {
    return at::make_generator<at::CPUGeneratorImpl>(7);
  };
  // Class 0 is as probable as the brightness of the upper left quarter.
  const auto forward = [](const Tensor& x) {
    const auto share = x.narrow(2, 0, 8).narrow(3, 0, 8).mean({1, 2, 3});
    return torch::stack({share, 1 - share}, 1);
  };
  const auto images = torch::ones({2, 1, 16, 16});
  const auto maps = functional::rise(
      forward, images, labels({0, 1}),
      cyborg::RiseOptions().masks(400).cells(4).batch(37).generator(
          generator()));
  CHECK(maps.sizes() == at::IntArrayRef({2, 16, 16}));
  const auto quarter = [&](int64_t b) {
    return maps[b].narrow(0, 0, 8).narrow(1, 0, 8).mean().item<double>();
  };
  const auto rest = [&](int64_t b) {
    return (maps[b].sum().item<double>() - 64 * quarter(b)) / 192;
  };
  CHECK(quarter(0) > rest(0) + 0.02);
  CHECK(quarter(1) < rest(1) - 0.02);
  const auto again = functional::rise(
      forward, images, labels({0, 1}),
      cyborg::RiseOptions().masks(400).cells(4).batch(37).generator(
          generator()));
  CHECK(close(maps, again, 0));
  // With every cell shown the map is the probability everywhere.
  const auto all = functional::rise(
      forward, images * 0.25, labels({0, 1}),
      cyborg::RiseOptions().masks(3).probability(1));
  CHECK(close(all[0], torch::full({16, 16}, 0.25), 1e-6));
  CHECK(close(all[1], torch::full({16, 16}, 0.75), 1e-6));
  CHECK(
      error_of([&] {
        functional::rise(
            forward, images, labels({0, 1}), cyborg::RiseOptions().masks(0));
      }) ==
      "cyborg::functional::rise: expected masks, cells and batch >= 1 and "
      "probability in (0, 1], got 0, 8, 64 and 0.5");
}
