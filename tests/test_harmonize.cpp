// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/evaluation_norms.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/harmonize.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <memory>
#include <stdexcept>
#include <vector>

using cyborg::EvaluationNorms;
using cyborg::Guidance;
using cyborg::GuidanceOptions;
using cyborg::Harmonize;
using given::linear;
using given::Net;
using given::Shown;
using given::three_pictures;
using support::close;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

/// A block that has batch norm in its name, but is none.
struct BatchNormAndDropout : torch::nn::Module {
  BatchNormAndDropout() {
    register_module("norm", torch::nn::BatchNorm1d(3));
    register_module("off", torch::nn::Dropout(.5))->eval();
    register_module("on", torch::nn::Dropout(.5));
  }
};

/// A network with batch norm and dropout.
struct Normed : torch::nn::Module {
  Normed() {
    inner = register_module(
        "inner",
        torch::nn::Sequential(
            torch::nn::Conv2d(torch::nn::Conv2dOptions(2, 3, 3).padding(1)),
            torch::nn::BatchNorm2d(3), torch::nn::Tanh()));
    norm = register_module("norm", torch::nn::BatchNorm1d(3));
    drop = register_module("drop", torch::nn::Dropout(.5));
    register_module("block", std::make_shared<BatchNormAndDropout>());
    fc = register_module("fc", torch::nn::Linear(3, 3));
    to(torch::kDouble);
  }
  Tensor features(const Tensor& x) { return inner->forward(x).mean({2, 3}); }
  Tensor forward(const Tensor& x) { return fc(norm(features(x))); }
  std::vector<bool> modes() {
    std::vector<bool> all{is_training()};
    for (const auto& one : modules(/*include_self=*/false)) {
      all.push_back(one->is_training());
    }
    return all;
  }
  std::vector<Tensor> statistics() {
    std::vector<Tensor> all;
    for (const auto& buffer : buffers()) {
      all.push_back(buffer.clone());
    }
    return all;
  }

  torch::nn::Sequential inner{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout drop{nullptr};
  torch::nn::Linear fc{nullptr};
};

}  // namespace

TEST_CASE(
    "Batch norm mixes samples unless its statistics are frozen", "[norms]") {
  // In training mode the gradient of the batch's sum is not a sample's own.
  torch::manual_seed(2);
  Normed net;
  const auto first_row = [&](bool alone) {
    const Tensor x = three_pictures().batch.images.clone().requires_grad_();
    const Tensor score = net.forward(x).select(1, 0);
    return given::gradients(alone ? score[0] : score.sum(), {x})[0][0];
  };
  const auto differ = [&] {
    const Tensor own = first_row(true);
    return (first_row(false) - own).norm().item<double>() /
           own.norm().item<double>();
  };
  CHECK(differ() > .1);
  const EvaluationNorms frozen(net);
  CHECK(differ() < 1e-12);
}

TEST_CASE(
    "EvaluationNorms set batch norms alone, and set them back", "[norms]") {
  Normed net;
  const auto before = net.modes();
  const auto kept = net.statistics();
  const auto same = [&] {
    const auto now = net.statistics();
    bool equal = true;
    for (size_t i = 0; i < now.size(); ++i) {
      equal = equal && close(now[i], kept[i], 0);
    }
    return equal;
  };
  {
    const EvaluationNorms frozen(net);
    CHECK(net.is_training());
    CHECK(net.drop->is_training());
    CHECK(net.inner->is_training());
    CHECK_FALSE(net.norm->is_training());
    CHECK_FALSE(net.inner->ptr(1)->is_training());
    const auto block = net.named_children()["block"]->named_children();
    CHECK_FALSE(block["norm"]->is_training());
    CHECK_FALSE(block["off"]->is_training());
    CHECK(block["on"]->is_training());
    net.forward(torch::rand({3, 2, 4, 3}, torch::kDouble));
    CHECK(same());
  }
  CHECK(net.modes() == before);
  try {
    const EvaluationNorms frozen(net);
    throw std::runtime_error("an error");
  } catch (const std::runtime_error&) {
  }
  CHECK(net.modes() == before);
  // Those that were in evaluation mode stay there.
  net.norm->eval();
  const auto mixed = net.modes();
  { const EvaluationNorms frozen(net); }
  CHECK(net.modes() == mixed);
  net.norm->train();
  net.forward(torch::rand({3, 2, 4, 3}, torch::kDouble));
  CHECK_FALSE(same());
}

TEST_CASE(
    "Harmonize is zero for a gradient that is people's map, times any",
    "[harmonize]") {
  // The gradient of a linear network is its weight, for every picture.
  torch::manual_seed(4);
  const Tensor people = torch::rand({1, 6, 5}, torch::kDouble);
  const Tensor w = (3 * people - 1).unsqueeze(1).repeat({2, 2, 1, 1});
  Shown shown;
  shown.batch.images = torch::zeros({1, 2, 6, 5}, torch::kDouble);
  shown.batch.labels = labels({0});
  shown.batch.maps = people;
  // 1e-5 is added to both deviations, which are 1 and 3 of the same map.
  CHECK(shown(Harmonize(), linear(w)).value.item<double>() < 1e-8);
  shown.batch.maps = 255 * people;  // the scale does not matter
  CHECK(shown(Harmonize(), linear(w)).value.item<double>() < 1e-8);
  shown.batch.maps = 1 - people;
  CHECK(shown(Harmonize(), linear(w)).value.item<double>() > .1);
}

TEST_CASE("The pyramid pads as TensorFlow does", "[harmonize]") {
  // A single one at row 0, column 0. With 1 before, the first window is rows
  // -1 ... 3, so that the one meets the filter's second row; with PyTorch's
  // padding of 2 it would meet the third.
  Tensor even = torch::zeros({1, 1, 4, 4}, torch::kDouble);
  even[0][0][0][0] = 256;
  const Tensor filter = cyborg::detail::binomial_filter(even);
  CHECK(close(filter.sum(), t({1})[0]));
  CHECK(close(
      cyborg::detail::next_level(even, filter),
      t({16, 0, 0, 0}, {1, 1, 2, 2})));
  Tensor odd = torch::zeros({1, 1, 5, 5}, torch::kDouble);
  odd[0][0][0][0] = 256;
  CHECK(close(
      cyborg::detail::next_level(odd, filter),
      t({36, 6, 0, 6, 1, 0, 0, 0, 0}, {1, 1, 3, 3})));
  // 224 -> 112 -> 56, 7 -> 4 -> 2 -> 1 -> 1.
  Tensor level = torch::zeros({1, 1, 224, 7}, torch::kDouble);
  for (const int64_t width : {4, 2, 1, 1}) {
    level = cyborg::detail::next_level(level, filter);
    CHECK(level.size(3) == width);
  }
  CHECK(level.size(2) == 14);
}

TEST_CASE(
    "Harmonize has the second-order gradient of finite differences",
    "[harmonize][gradient]") {
  Net net;
  const Shown shown = three_pictures(6, 5);
  // The highest value of the gradient's map is a constant: it is kept apart by
  // a map of people that says where it is.
  Shown one = shown;
  one.batch.maps = torch::zeros({3, 6, 5}, torch::kDouble);
  one.batch.maps.select(1, 0).fill_(1);
  const auto slopes = given::gradients(
      shown(Harmonize(), net.function()).value.mean(), net.parameters());
  CHECK(slopes[0].abs().max().item<double>() > 0);
  const auto frozen = [&] {
    // The formula with this constant at the point of the test.
    const Tensor images = shown.batch.images.detach().requires_grad_();
    const Tensor z = net.forward(images);
    const Tensor g = torch::autograd::grad(
        {z[0][0] + z[1][2] + z[2][1]}, {images}, {}, true, true)[0];
    return cyborg::detail::standardize_and_cut(g.mean(1, true));
  };
  const Tensor highest = frozen().detach().amax({1, 2, 3}, true) + 1e-6;
  const auto value = [&] {
    Tensor ours = frozen();
    const Tensor h = shown.batch.maps.unsqueeze(1);
    const Tensor scaled = (h - h.amin({2, 3}, true)) /
                          (h.amax({2, 3}, true) - h.amin({2, 3}, true));
    const Tensor cut = cyborg::detail::standardize_and_cut(scaled);
    Tensor theirs = cut / (cut.amax({1, 2, 3}, true) + 1e-6) * highest;
    const Tensor filter = cyborg::detail::binomial_filter(ours);
    Tensor sum = torch::zeros({}, torch::kDouble);
    for (int level = 0; level < 5; ++level) {
      sum = sum + (theirs - ours).square().mean({1, 2, 3}).mean();
      ours = cyborg::detail::next_level(ours, filter);
      theirs = cyborg::detail::next_level(theirs, filter);
    }
    return sum / 5;
  };
  const auto others = given::gradients(value(), net.parameters());
  for (size_t i = 0; i < slopes.size(); ++i) {
    CHECK(close(slopes[i], others[i]));
  }
  CHECK(given::parameters_agree(net, value, 1e-5));
}

TEST_CASE("A constant gradient is not harmonized", "[harmonize]") {
  const Tensor w = torch::ones({2, 2, 4, 4}, torch::kDouble).requires_grad_();
  Shown shown;
  shown.batch.images = torch::rand({3, 2, 4, 4}, torch::kDouble);
  shown.batch.labels = labels({0, -100, 1});
  shown.batch.maps = torch::rand({3, 4, 4}, torch::kDouble);
  shown.batch.maps[2] = 1;
  const auto found = shown(Harmonize(), linear(w));
  CHECK(close(found.usable, torch::tensor({true, false, false}), 0));
  CHECK(found.value.max().item<double>() < 1e-11);
  const Tensor slope = given::gradients(found.value[0], {w})[0];
  CHECK(slope.abs().max().item<double>() == 0);
}

TEST_CASE(
    "Added, harmonize is a mean over all samples, as published",
    "[harmonize]") {
  Net net;
  cyborg::CamHook hook(net);
  Shown shown = three_pictures(6, 5);
  shown.batch.annotated = torch::tensor({true, false, true});
  const Tensor value = shown(Harmonize(), net.function()).value;
  Guidance guidance(GuidanceOptions().blend(cyborg::Blend::kAdditive));
  guidance.add("harmonize", 1, Harmonize());
  const auto found = guidance(hook, net.function(), shown.batch);
  CHECK(close(found.total, found.task + (value[0] + value[2]) / 3));
}
