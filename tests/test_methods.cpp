// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/cam/methods.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <string>
#include <vector>

using cyborg::GradCamOptions;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;
namespace cam = cyborg::functional;

namespace {

/// Logits of global average pooling and a linear layer.
Tensor pooled_logits(
    const Tensor& features, const Tensor& weight, const Tensor& bias) {
  return torch::matmul(features.flatten(2).mean(2), weight.t()) + bias;
}

/// A head that is not linear in the pooled features.
Tensor curved_score(const Tensor& features) {
  return (features.square() * features.roll(1, 1)).flatten(1).sum(1).tanh() +
         features.flatten(1).exp().mean(1);
}

struct Net {
  Tensor features, weight, bias, target;
};

Net net(std::vector<int64_t> space, int64_t classes = 3) {
  torch::manual_seed(7);
  space.insert(space.begin(), {3, 4});
  const auto options = torch::dtype(torch::kDouble).requires_grad(true);
  return {
      torch::randn(space, options), torch::randn({classes, 4}, options),
      torch::randn({classes}, options),
      classes == 1 ? labels({1, 0, 1}) : labels({2, 0, 1})};
}

const std::vector<std::vector<int64_t>> kSpaces = {{5}, {3, 2}, {2, 3, 2}};

}  // namespace

TEST_CASE("CAM gives the numbers worked out by hand", "[cam]") {
  const Tensor features = t({1, 2, 3, 4}, {1, 2, 2});  // two channels
  const Tensor weight = t({1, 10, -1, 0.5}, {2, 2});
  CHECK(close(cam::cam(features, weight, labels({0})), t({31, 42}, {1, 2})));
  CHECK(close(cam::cam(features, weight, labels({1})), t({.5, 0}, {1, 2})));
  CHECK(close(cam::cam_all(features, weight), t({31, 42, .5, 0}, {1, 2, 2})));
}

TEST_CASE("The mean of a CAM plus the bias is the logit", "[cam]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space);
    const Tensor logits = pooled_logits(n.features, n.weight, n.bias);
    const Tensor maps = cam::cam(n.features, n.weight, n.target);
    CHECK(maps.dim() == n.features.dim() - 1);
    CHECK(close(
        maps.flatten(1).mean(1) + n.bias.index_select(0, n.target),
        logits.gather(1, n.target.unsqueeze(1)).squeeze(1)));
    CHECK(close(
        cam::cam_all(n.features, n.weight).flatten(2).mean(2) + n.bias,
        logits));
  }
}

TEST_CASE(
    "With pooling and a linear layer, Grad-CAM is CAM divided by the number of "
    "positions, and HiResCAM is Grad-CAM",
    "[cam]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space);
    const Tensor score = pooled_logits(n.features, n.weight, n.bias)
                             .gather(1, n.target.unsqueeze(1))
                             .squeeze(1);
    const Tensor maps = cam::cam(n.features, n.weight, n.target);
    const double positions = static_cast<double>(maps[0].numel());
    CHECK(close(cam::grad_cam(n.features, score), maps / positions));
    CHECK(close(cam::hires_cam(n.features, score), maps / positions));
  }
}

TEST_CASE(
    "Grad-CAM and HiResCAM give the numbers worked out by hand", "[cam]") {
  // score = sum of squares, so G = 2 F.
  const Tensor features = t({1, 3, -2, 0}, {1, 2, 2}).requires_grad_();
  const Tensor score = features.square().flatten(1).sum(1);
  // Means of G: 4 and -2.
  CHECK(close(cam::grad_cam(features, score), t({8, 12}, {1, 2})));
  CHECK(close(cam::hires_cam(features, score), t({10, 18}, {1, 2})));
  const auto relu = GradCamOptions().relu(true);
  const Tensor minus = -score;
  CHECK(close(cam::grad_cam(features, minus, relu), t({0, 0}, {1, 2}), 0));
  CHECK(close(cam::hires_cam(features, minus), t({-10, -18}, {1, 2})));
}

TEST_CASE("cam_all gives the map of each class", "[cam]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space);
    const Tensor all = cam::cam_all(n.features, n.weight);
    for (int64_t k = 0; k < 3; ++k) {
      CHECK(close(
          all.select(1, k), cam::cam(n.features, n.weight, labels({k, k, k}))));
    }
  }
}

TEST_CASE("A head of one logit is negated for label 0", "[cam]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space, 1);
    const Tensor maps = cam::cam(n.features, n.weight, n.target);
    const Tensor one = cam::cam_all(n.features, n.weight).squeeze(1);
    CHECK(close(maps[0], one[0]));
    CHECK(close(maps[1], -one[1]));
    // The same without a weight.
    const Tensor single = n.features.narrow(1, 0, 1);
    CHECK(close(cam::cam(single, Tensor(), n.target)[1], -single[1][0]));
    CHECK(close(cam::cam(single, Tensor(), n.target)[2], single[2][0]));
  }
}

TEST_CASE(
    "Without a weight the features are the maps of the classes", "[cam]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space);
    const Tensor maps = cam::cam(n.features, Tensor(), n.target);
    CHECK(close(maps[0], n.features[0][2], 0));
    CHECK(close(maps[1], n.features[1][0], 0));
    CHECK(close(cam::cam_all(n.features, Tensor()), n.features, 0));
    CHECK(close(
        maps, cam::cam(n.features, torch::eye(4, torch::kDouble), n.target)));
  }
}

TEST_CASE("CAM has the gradient of finite differences", "[cam][gradient]") {
  for (const auto& space : kSpaces) {
    const Net n = net(space);
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) {
          return cam::cam(in[0], in[1], n.target);
        },
        {n.features, n.weight}));
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) { return cam::cam_all(in[0], in[1]); },
        {n.features, n.weight}));
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) {
          return cam::cam(in[0], Tensor(), n.target);
        },
        {n.features}));
  }
  const Net one = net({3, 2}, 1);
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) {
        return cam::cam(in[0], in[1], one.target);
      },
      {one.features, one.weight}));
}

TEST_CASE(
    "Attached Grad-CAM and HiResCAM have the gradient of finite "
    "differences",
    "[cam][gradient]") {
  torch::manual_seed(8);
  const Tensor features = torch::randn({2, 3, 2, 2}, torch::kDouble) * 0.5;
  const auto grad = [](std::vector<Tensor> in) {
    return cam::grad_cam(in[0], curved_score(in[0]));
  };
  const auto hires = [](std::vector<Tensor> in) {
    return cam::hires_cam(in[0], curved_score(in[0]));
  };
  CHECK(support::gradcheck(grad, {features}));
  CHECK(support::gradcheck(hires, {features}));
  // Also through the head's weights, which act only through the gradient.
  const Tensor weight = torch::randn({3, 3}, torch::kDouble);
  CHECK(support::gradcheck(
      [](std::vector<Tensor> in) {
        const Tensor score =
            torch::matmul(in[0].flatten(2).mean(2), in[1]).exp().sum(1);
        return cam::grad_cam(in[0], score);
      },
      {features, weight}));
}

TEST_CASE(
    "Detached weights keep the value and lose that part of the "
    "gradient",
    "[cam][gradient]") {
  torch::manual_seed(9);
  const Tensor features =
      torch::randn({2, 3, 4}, torch::kDouble).requires_grad_();
  const Tensor weight = torch::randn({3}, torch::kDouble).requires_grad_();
  const Tensor score = torch::matmul(features.mean(2), weight).exp();
  const auto detached = GradCamOptions().detach_weights(true);
  for (const bool hires : {false, true}) {
    const auto method = hires ? cam::hires_cam : cam::grad_cam;
    const Tensor whole = method(features, score, GradCamOptions(), 1);
    const Tensor part = method(features, score, detached, 1);
    CHECK(close(whole, part));
    const auto to = [&](const Tensor& maps, const Tensor& input) {
      return torch::autograd::grad(
          {maps.square().sum()}, {input}, {}, true, false, true)[0];
    };
    CHECK(to(whole, weight).abs().sum().item<double>() > 1e-3);
    CHECK_FALSE(to(part, weight).defined());
    CHECK(to(part, features).abs().sum().item<double>() > 1e-3);
    CHECK_FALSE(close(to(part, features), to(whole, features), 1e-6));
  }
}

TEST_CASE(
    "With gradient mode off the maps are the same, without a graph",
    "[cam][gradient]") {
  const Net n = net({3, 2});
  const Tensor score = curved_score(n.features);
  const Tensor expected = cam::grad_cam(n.features, score);
  const torch::NoGradGuard no_grad;
  const Tensor maps = cam::grad_cam(n.features, score);
  CHECK(close(maps, expected));
  CHECK_FALSE(maps.requires_grad());
  CHECK_FALSE(cam::cam(n.features, n.weight, n.target).requires_grad());
}

TEST_CASE("The graph of the score is kept", "[cam][gradient]") {
  const Net n = net({3, 2});
  const Tensor score = curved_score(n.features);
  cam::grad_cam(n.features, score, GradCamOptions().detach_weights(true));
  cam::hires_cam(n.features, score);
  CHECK(error_of([&] { score.sum().backward(); }).empty());
}

TEST_CASE("Channels may come last", "[cam]") {
  const Net n = net({3, 2});
  const Tensor last =
      n.features.detach().permute({0, 2, 3, 1}).contiguous().requires_grad_();
  const Tensor score = curved_score(last.permute({0, 3, 1, 2}));
  const Tensor expected_score = curved_score(n.features);
  CHECK(close(
      cam::grad_cam(last, score, GradCamOptions(), /*channel_dim=*/3),
      cam::grad_cam(n.features, expected_score)));
  CHECK(close(
      cam::hires_cam(last, score, GradCamOptions(), /*channel_dim=*/3),
      cam::hires_cam(n.features, expected_score)));
}

TEST_CASE("Memory format does not change a map", "[cam]") {
  const Net n = net({3, 2});
  const Tensor last = n.features.contiguous(torch::MemoryFormat::ChannelsLast);
  CHECK(close(
      cam::cam(last, n.weight, n.target),
      cam::cam(n.features, n.weight, n.target)));
}

TEST_CASE("CAM is computed in float32 at least", "[cam][dtype]") {
  const Net n = net({3, 2});
  const Tensor exact = cam::cam(n.features, n.weight, n.target);
  for (const auto type : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const Tensor features = n.features.detach().to(type).requires_grad_();
    const Tensor weight = n.weight.detach().to(type);
    const Tensor maps = cam::cam(features, weight, n.target);
    CHECK(maps.scalar_type() == at::kFloat);
    // Only the inputs were rounded: the result in float64 differs by 1e-6.
    CHECK(close(
        maps,
        cam::cam(features.to(at::kDouble), weight.to(at::kDouble), n.target),
        1e-5));
    maps.sum().backward();
    CHECK(features.grad().scalar_type() == type);
  }
  // Features of one type and a weight of another, as under autocast.
  CHECK(
      cam::cam(n.features.to(at::kBFloat16), n.weight.to(at::kFloat), n.target)
          .scalar_type() == at::kFloat);
  CHECK(
      cam::cam_all(n.features.to(at::kFloat), n.weight).scalar_type() ==
      at::kDouble);
  const Tensor half = n.features.detach().to(at::kBFloat16).requires_grad_();
  const Tensor score = half.to(at::kFloat).square().flatten(1).sum(1);
  CHECK(cam::grad_cam(half, score).scalar_type() == at::kFloat);
  CHECK(exact.scalar_type() == at::kDouble);
}

TEST_CASE("Autocast does not round a map", "[cam][dtype]") {
  const Net n = net({3, 2});
  const Tensor features = n.features.to(at::kFloat);
  const Tensor weight = n.weight.to(at::kFloat);
  const Tensor expected = cam::cam(features, weight, n.target);
  const Tensor expected_all = cam::cam_all(features, weight);
  const support::CpuAutocast autocast;
  REQUIRE(torch::mm(weight, weight.t()).scalar_type() == at::kBFloat16);
  CHECK(close(cam::cam(features, weight, n.target), expected, 0));
  CHECK(close(cam::cam_all(features, weight), expected_all, 0));
  const Tensor score = features.square().flatten(1).sum(1);
  CHECK(cam::grad_cam(features, score).scalar_type() == at::kFloat);
}

TEST_CASE("Labels may be any integers", "[cam][dtype]") {
  const Net n = net({3, 2});
  const Tensor expected = cam::cam(n.features, n.weight, n.target);
  for (const auto type : {at::kInt, at::kByte, at::kShort}) {
    CHECK(
        close(cam::cam(n.features, n.weight, n.target.to(type)), expected, 0));
  }
}

TEST_CASE("CAM reads nothing back from the device", "[cam][sync]") {
  const Net n = net({3, 2});
  const auto names = support::operators_of([&] {
    cam::cam(n.features, n.weight, n.target).sum().backward();
    cam::grad_cam(n.features, curved_score(n.features)).sum().backward();
  });
  CHECK_FALSE(names.empty());
  CHECK(support::host_reads(names) == 0);
}

TEST_CASE("CAM says what it expected", "[cam][error]") {
  const Net n = net({3, 2});
  const Tensor& f = n.features;
  const Tensor& w = n.weight;
  CHECK(
      error_of([&] { cam::cam(torch::rand({3, 4}), w, n.target); }) ==
      "cyborg::functional::cam: expected features [B, C, *S], got [3, 4]");
  CHECK(
      error_of([&] { cam::cam(Tensor(), w, n.target); }) ==
      "cyborg::functional::cam: expected features [B, C, *S], got none");
  CHECK(
      error_of([&] { cam::cam(f.to(at::kLong), w, n.target); }) ==
      "cyborg::functional::cam: expected features of floating point, got Long");
  CHECK(error_of([&] {
          cam::cam(f, w.t(), n.target);
        }) == "cyborg::functional::cam: expected weight [K, 4], got [4, 3]");
  CHECK(
      error_of([&] { cam::cam_all(f, torch::rand({3, 5})); }) ==
      "cyborg::functional::cam_all: expected weight [K, 4], got [3, 5]");
  CHECK(error_of([&] {
          cam::cam(f, w, labels({0, 1}));
        }) == "cyborg::functional::cam: expected labels [3], got [2]");
  CHECK(error_of([&] {
          cam::cam(f, w, Tensor());
        }) == "cyborg::functional::cam: expected labels [3], got none");
  CHECK(
      error_of([&] { cam::cam(f, w, t({0, 1, 2})); }) ==
      "cyborg::functional::cam: expected labels of integers, got Double "
      "(labels.to(torch::kLong) makes them)");
  CHECK(
      error_of([&] { cam::cam(f, w, labels({0, 3, 1})); }) ==
      "cyborg::functional::cam: expected labels in [0, 2], got 3 at position "
      "1");
  CHECK(
      error_of([&] { cam::cam(f, w, labels({0, 1, -1})); }) ==
      "cyborg::functional::cam: expected labels in [0, 2], got -1 at position "
      "2");
  CHECK(
      error_of([&] { cam::cam(f, w.narrow(0, 0, 1), labels({0, 1, 2})); }) ==
      "cyborg::functional::cam: expected labels in [0, 1], got 2 at position "
      "2");
  CHECK(
      error_of([&] { cam::cam(f, Tensor(), labels({0, 4, 0})); }) ==
      "cyborg::functional::cam: expected labels in [0, 3], got 4 at position "
      "1");
}

TEST_CASE("Grad-CAM says what is wrong with the graph", "[cam][error]") {
  const Net n = net({3, 2});
  const Tensor& f = n.features;
  const Tensor score = curved_score(f);
  CHECK(
      error_of([&] { cam::grad_cam(f, score.sum()); }) ==
      "cyborg::functional::grad_cam: expected score [3], one number a sample, "
      "got []");
  CHECK(
      error_of([&] { cam::hires_cam(f, score.narrow(0, 0, 2)); }) ==
      "cyborg::functional::hires_cam: expected score [3], one number a sample, "
      "got [2]");
  CHECK(
      error_of([&] { cam::grad_cam(f, score.detach()); }) ==
      "cyborg::functional::grad_cam: expected a score with a graph to the "
      "features, got a "
      "score without one (computed with gradients off, or detached)");
  CHECK(
      error_of([&] { cam::hires_cam(f.detach(), score); }) ==
      "cyborg::functional::hires_cam: expected a score with a graph to the "
      "features, got "
      "features without one (computed with gradients off, or detached)");
  CHECK(
      error_of([&] { cam::grad_cam(f.clone(), score); }) ==
      "cyborg::functional::grad_cam: expected features that the score is "
      "computed from, "
      "got features that do not reach it (a copy, or those of another "
      "forward)");
  CHECK(
      error_of([&] { cam::grad_cam(f, score, GradCamOptions(), 4); }) ==
      "cyborg::functional::grad_cam: expected channel_dim in [1, 3], got 4");
}
