// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A network that shows its own map, and what plain autograd in float64 says of
// that map: the truth that the hook's maps and their gradients must have.

#include "catch.hpp"
#include "hooked.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tapped {

namespace nn = torch::nn;
using torch::Tensor;

/// A convolution `a` with ReLU, 8 channels; the rest is written as a function,
/// which taps its map. The other layers are there for functions that need them.
struct Net : networks::Net {
  using Rest = std::function<Tensor(Net&, Tensor)>;

  explicit Net(Rest read, int64_t width = 8, int64_t classes = 3)
      : rest(std::move(read)) {
    a = conv("a", 3, 8);
    b = conv("b", 8, 8);
    norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({8})));
    mix = linear("mix", 8, 8);
    qkv = linear("qkv", 8, 24);
    merge = linear("merge", 32, 8, /*bias=*/false);
    fc = linear("fc", width, classes);
    fc2 = linear("fc2", 8, classes);
    to(torch::kDouble);
  }

  Tensor forward(Tensor x) override {
    logits = rest(*this, torch::relu(a(x)));
    return logits;
  }

  /// Says that `x` is the map; `dims` are its batch, channels, rows, columns.
  Tensor tap(Tensor x, std::vector<int64_t> dims = {0, 1, 2, 3}) {
    order = std::move(dims);
    return see(std::move(x));
  }

  /// The map of `score` [B] (one number per sample, made of the tapped tensor)
  /// in the unit of the score: sum over c of (sum over s of dz/dF) F.
  Tensor map_of(const Tensor& score) const {
    const at::AutoGradMode graph_on(true);
    const Tensor gradient =
        torch::autograd::grad(
            {score.sum()}, {truth}, {}, /*retain_graph=*/true,
            /*create_graph=*/true)[0]
            .permute(order);
    const Tensor map = truth.permute(order);
    const auto rank = static_cast<size_t>(map.dim());
    std::vector<int64_t> shape(rank, 1);
    shape[0] = map.size(0);
    shape[1] = map.size(1);
    return (gradient.flatten(2).sum(2).view(shape) * map).sum(1);
  }

  /// The gradients of a weighted sum of `maps` to all parameters, in one row.
  Tensor slope_of(const Tensor& maps) const {
    const at::AutoGradMode graph_on(true);
    const Tensor factors =
        torch::linspace(.5, 9.5, maps.numel(), torch::kDouble)
            .cos()
            .view(maps.sizes());
    std::vector<Tensor> row;
    const auto all = parameters();
    const auto found = torch::autograd::grad(
        {(maps.to(torch::kDouble) * factors).sum()}, all, {},
        /*retain_graph=*/true, /*create_graph=*/false, /*allow_unused=*/true);
    for (size_t i = 0; i < all.size(); ++i) {
      row.push_back((found[i].defined() ? found[i] : torch::zeros_like(all[i]))
                        .flatten());
    }
    return torch::cat(row);
  }

  nn::Conv2d a{nullptr}, b{nullptr};
  nn::LayerNorm norm{nullptr};
  nn::Linear mix{nullptr}, qkv{nullptr}, merge{nullptr}, fc{nullptr},
      fc2{nullptr};
  Rest rest;
  std::vector<int64_t> order;
  Tensor logits;  // of the last forward, with their graph
};

inline std::shared_ptr<Net> net(
    Net::Rest rest, int64_t width = 8, int64_t classes = 3) {
  return std::make_shared<Net>(std::move(rest), width, classes);
}

inline Tensor pictures(
    int64_t batch = 2, int64_t rows = 6, int64_t columns = 4) {
  return torch::randn({batch, 3, rows, columns}, torch::kDouble);
}

inline Tensor pooled(const Tensor& x) {
  return x.mean({2, 3});
}

/// Labels 0, 1, 2, 0, ... for these logits; 0, 1, 0, ... for one logit.
inline Tensor labels_for(const Tensor& logits) {
  const int64_t classes = logits.dim() == 1 ? 1 : logits.size(1);
  return torch::arange(logits.size(0)).remainder(classes == 1 ? 2 : classes);
}

/// The number that the map explains, for each sample.
inline Tensor score_of(const Tensor& logits, const Tensor& labels) {
  const at::AutoGradMode graph_on(true);
  const Tensor columns = logits.dim() == 1 ? logits.unsqueeze(1) : logits;
  return columns.size(1) == 1
             ? columns.squeeze(1) * (2 * labels - 1).to(columns.dtype())
             : columns.gather(1, labels.unsqueeze(1)).squeeze(1);
}

/// The largest difference, relative to the size of `wanted`.
inline double error_of_values(const Tensor& found, const Tensor& wanted) {
  const double size = wanted.detach().abs().max().item<double>();
  return support::distance(found, wanted) / (size > 0 ? size : 1);
}

/// The tolerance of the comparisons, relative to the largest value.
constexpr double kClose = 1e-10;

/// Checks the map of `logits`, and its gradient, against autograd. `graph`: the
/// same logits with a graph, where `logits` has none.
inline void check_map(
    const cyborg::CamHook& hook, const Net& net, const Tensor& logits,
    const Tensor& graph = {}) {
  INFO(hooked::printed(hook));
  const Tensor labels = labels_for(logits);
  Tensor maps;
  const std::string refused = support::error_of(
      [&] { maps = hook.cam(logits, labels) * hook.logit_scale(logits); });
  INFO(refused);
  CHECK(refused.empty());
  if (!refused.empty()) {
    return;
  }
  const Tensor wanted =
      net.map_of(score_of(graph.defined() ? graph : logits, labels));
  CHECK(wanted.detach().abs().max().item<double>() > 0);
  const double of_map = error_of_values(maps, wanted);
  CHECK(of_map < kClose);
  if (of_map < kClose && torch::GradMode::is_enabled()) {
    CHECK(error_of_values(net.slope_of(maps), net.slope_of(wanted)) < kClose);
  }
}

/// Runs `net` on `x` under a hook of its own, and checks the map of what it
/// returned. Returns the observation.
inline cyborg::Observation check_network(Net& net, const Tensor& x) {
  cyborg::CamHook hook(net);
  const Tensor logits = hook.forward([&] { return net.forward(x); });
  check_map(hook, net, logits);
  return hook.observation();
}

/// Checks that `net` has no map, in these words; in all three places.
inline void check_refused(Net& net, const Tensor& x, const std::string& words) {
  cyborg::CamHook hook(net);
  const Tensor logits = hook.forward([&] { return net.forward(x); });
  INFO(hooked::printed(hook));
  CHECK_FALSE(hook.observation().defined());
  CHECK(support::contains(hooked::printed(hook), words));
  CHECK(support::contains(
      support::error_of([&] { hook.require(); }), hooked::kForward + words));
  CHECK(support::contains(
      support::error_of([&] { hook.cam(logits, labels_for(logits)); }),
      hooked::kForward + words));
}

}  // namespace tapped
