// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the tests of terms share: a forward pass made by hand, a small smooth
// network, and numbers from a JSON file.

#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/seen.hpp>

#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace given {

using nlohmann::json;
using torch::Tensor;

inline const double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A term's view of one forward pass, whose maps are those that were given.
struct Pass {
  cyborg::Batch batch;
  Tensor logits, maps;
  cyborg::TaskOptions task = {};
  std::function<Tensor(const Tensor&)> forward = {};
  cyborg::Observation nothing = {};

  cyborg::Seen seen() const {
    const Tensor given = maps;
    return cyborg::Seen{
        batch,
        batch.images,
        logits,
        nothing,
        forward,
        task,
        [given](const Tensor&) {
          return cyborg::detail::ModelMap{given, {}, {}};
        }};
  }
};

/// A pass of B samples of two classes, labels 0, with these maps.
inline Pass pass_of(
    const Tensor& maps, const Tensor& people, const Tensor& wrong = {}) {
  Pass pass;
  pass.batch.labels = torch::zeros({maps.size(0)}, torch::kLong);
  pass.batch.maps = people;
  pass.batch.wrong = wrong;
  pass.logits = torch::zeros({maps.size(0), 2}, maps.options());
  pass.maps = maps;
  return pass;
}

/// A bool tensor of these flags.
inline Tensor flags(std::initializer_list<int64_t> values) {
  return support::labels(values).to(torch::kBool);
}

/// The term of one distance, of this pass.
template <class Distance>
cyborg::PerSample term_of(
    const Pass& pass, cyborg::SaliencyTermOptions options = {}) {
  return cyborg::SaliencyTerm<Distance>(options)(pass.seen());
}

/// A smooth network in float64: convolution 3 x 3, tanh, mean, linear. It
/// counts how often it ran.
struct Net : torch::nn::Module {
  explicit Net(int64_t classes = 3, int64_t channels = 2) {
    conv = register_module(
        "conv",
        torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, 3, 3).padding(1)));
    fc = register_module("fc", torch::nn::Linear(3, classes));
    to(torch::kDouble);
  }
  Tensor forward(const Tensor& x) {
    ++runs;
    return fc(torch::tanh(conv(x)).mean({2, 3}));
  }
  std::function<Tensor(const Tensor&)> function() {
    return [this](const Tensor& x) { return forward(x); };
  }

  torch::nn::Conv2d conv{nullptr};
  torch::nn::Linear fc{nullptr};
  int runs = 0;
};

/// What `Guidance` shows a term of pictures, without the rest of `Guidance`.
struct Shown {
  cyborg::Batch batch;
  cyborg::TaskOptions task;
  cyborg::Observation nothing;

  template <class Term>
  cyborg::PerSample operator()(
      const Term& term, const std::function<Tensor(const Tensor&)>& net) const {
    const Tensor images = batch.images.detach().requires_grad_();
    return term(
        cyborg::Seen{batch, images, net(images), nothing, net, task, {}});
  }
};

inline Shown three_pictures(int64_t height = 4, int64_t width = 3) {
  torch::manual_seed(31);
  Shown shown;
  shown.batch.images = torch::rand({3, 2, height, width}, torch::kDouble);
  shown.batch.labels = support::labels({0, 2, 1});
  shown.batch.wrong = torch::rand({3, height, width}, torch::kDouble);
  shown.batch.maps = torch::rand({3, height, width}, torch::kDouble);
  return shown;
}

/// A network that is linear in the pictures, with two classes: the logits are
/// sums of the pixels times `weight` [2, C, H, W].
inline std::function<Tensor(const Tensor&)> linear(const Tensor& weight) {
  return [weight](const Tensor& x) {
    return torch::matmul(x.flatten(1), weight.flatten(1).t());
  };
}

/// The gradients of `of` by `leaves`; zeros where there is none.
inline std::vector<Tensor> gradients(
    const Tensor& of, const std::vector<Tensor>& leaves) {
  auto found = torch::autograd::grad(
      {of}, leaves, {}, /*retain_graph=*/true, /*create_graph=*/false,
      /*allow_unused=*/true);
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (!found[i].defined()) {
      found[i] = torch::zeros_like(leaves[i]);
    }
  }
  return found;
}

/// Whether `function`, a number that depends on the parameters of `net`, has
/// the gradient of finite differences.
template <class Module>
bool parameters_agree(
    Module& net, const std::function<Tensor()>& function, double tol = 1e-7) {
  std::vector<Tensor> leaves;
  for (const auto& parameter : net.parameters()) {
    leaves.push_back(parameter);
  }
  const auto slopes = gradients(function(), leaves);
  for (size_t i = 0; i < leaves.size(); ++i) {
    const Tensor slope = slopes[i].contiguous();
    auto* value = leaves[i].template data_ptr<double>();
    for (int64_t k = 0; k < leaves[i].numel(); ++k) {
      constexpr double kStep = 1e-5;
      const double kept = value[k];
      value[k] = kept + kStep;
      const double above = function().template item<double>();
      value[k] = kept - kStep;
      const double below = function().template item<double>();
      value[k] = kept;
      const double wanted = (above - below) / (2 * kStep);
      const double found = slope.data_ptr<double>()[k];
      if (!(std::abs(wanted - found) <= tol * (1 + std::abs(wanted)))) {
        UNSCOPED_INFO(
            "parameter " << i << ", number " << k << ": " << found
                         << " instead of " << wanted);
        return false;
      }
    }
  }
  return true;
}

/// The numbers of a JSON list; `null` is NaN.
inline Tensor tensor(const json& node) {
  std::vector<double> values;
  std::vector<int64_t> sizes;
  const std::function<void(const json&, size_t)> walk = [&](const json& one,
                                                            size_t depth) {
    if (!one.is_array()) {
      values.push_back(one.is_null() ? kNaN : one.get<double>());
      return;
    }
    if (sizes.size() == depth) {
      sizes.push_back(static_cast<int64_t>(one.size()));
    }
    for (const json& child : one) {
      walk(child, depth + 1);
    }
  };
  walk(node, 0);
  return torch::tensor(values, torch::kDouble).reshape(sizes);
}

inline Tensor integers(const json& node) {
  return tensor(node).to(torch::kLong);
}

/// A file of tests/golden.
inline json golden(const std::string& name) {
  std::ifstream file(std::string(CYBORG_TEST_DIR) + "/golden/" + name);
  REQUIRE(file.good());
  return json::parse(file);
}

/// A network with the four parameters of a JSON list.
inline std::shared_ptr<Net> net_of(const json& parameters) {
  auto net = std::make_shared<Net>(
      static_cast<int64_t>(parameters[3].size()),
      static_cast<int64_t>(parameters[0][0].size()));
  const torch::NoGradGuard no_grad;
  auto all = net->parameters();
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].copy_(tensor(parameters[i]));
  }
  return net;
}

}  // namespace given
