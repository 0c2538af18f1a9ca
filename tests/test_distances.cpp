// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/distances.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>
#include <vector>

using cyborg::KL;
using cyborg::L1;
using cyborg::L2;
using cyborg::Normalizer;
using support::close;
using support::t;
using torch::Tensor;

TEST_CASE("Distances give the numbers worked out by hand", "[distance]") {
  const Tensor model = t({0, .5, 1, .25, .25, .5}, {2, 3});
  const Tensor human = t({1, .5, .5, .25, 0, .75}, {2, 3});
  CHECK(close(L1()(model, human), t({1.5 / 3, .5 / 3})));
  CHECK(close(L2()(model, human), t({1.25 / 3, .125 / 3})));
  // sum h ln(h / m); the zero of h adds nothing.
  const Tensor q = t({.5, .5, 0, .25, 0, .75}, {2, 3});
  const Tensor p = t({.25, .25, .5, .25, .25, .5}, {2, 3});
  CHECK(close(KL()(p, q), t({std::log(2), .75 * std::log(1.5)})));
}

TEST_CASE("The distance of a map from itself is zero", "[distance]") {
  torch::manual_seed(1);
  const Tensor maps = torch::rand({3, 6}, torch::kDouble).softmax(1);
  const Tensor zero = torch::zeros({3}, torch::kDouble);
  CHECK(close(L1()(maps, maps), zero, 0));
  CHECK(close(L2()(maps, maps), zero, 0));
  CHECK(close(KL()(maps, maps), zero));
  CHECK(close(KL::from_scores(maps.log() + 3, maps), zero));
}

TEST_CASE("The divergence is never negative", "[distance]") {
  torch::manual_seed(2);
  const Tensor p = torch::randn({50, 6}, torch::kDouble).softmax(1);
  const Tensor q = torch::randn({50, 6}, torch::kDouble).softmax(1);
  CHECK(KL()(p, q).min().item<double>() > 0);
}

TEST_CASE(
    "Distances have the gradient of finite differences",
    "[distance][gradient]") {
  torch::manual_seed(3);
  const Tensor human = torch::rand({2, 5}, torch::kDouble);
  const Tensor q = human / human.sum(1, true);
  const Tensor model = torch::rand({2, 5}, torch::kDouble) + 0.1;
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return L1()(in[0], human); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return L2()(in[0], human); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return KL()(in[0], q); }, {model}));
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) { return KL::from_scores(in[0], q); },
      {model}));
}

TEST_CASE("The divergence of scores is that of their softmax", "[distance]") {
  torch::manual_seed(4);
  const Tensor scores = torch::randn({4, 7}, torch::kDouble);
  const Tensor q = torch::rand({4, 7}, torch::kDouble).softmax(1);
  CHECK(close(KL::from_scores(scores, q), KL()(scores.softmax(1), q)));
}

TEST_CASE(
    "The divergence stays finite where a softmax underflows", "[distance]") {
  const Tensor q = torch::tensor({{1.f, 0.f}});
  const Tensor scores = torch::tensor({{0.f, 1000.f}}).requires_grad_();
  const Tensor exact = KL::from_scores(scores, q);
  CHECK(close(exact, t({1000})));
  exact.sum().backward();
  CHECK(close(scores.grad(), t({-1, 1}, {1, 2})));
  // From probabilities it is finite too, but not exact any more.
  const Tensor p = torch::tensor({{0.f, 1.f}}).requires_grad_();
  const Tensor clamped = KL()(p, q);
  CHECK(close(clamped, t({-std::log(1.1754943508222875e-38)}), 1e-4));
  clamped.sum().backward();
  CHECK(at::isfinite(p.grad()).all().item<bool>());
  CHECK(close(
      KL()(t({0, 1}, {1, 2}), t({1, 0}, {1, 2})),
      t({-std::log(2.2250738585072014e-308)})));
}

TEST_CASE("Distances name their normalisers", "[distance]") {
  CHECK(L1::map_normalizer == Normalizer::kMinMax);
  CHECK(L1::human_normalizer == Normalizer::kMinMax);
  CHECK(L2::map_normalizer == Normalizer::kMinMax);
  CHECK(L2::human_normalizer == Normalizer::kMinMax);
  CHECK(KL::map_normalizer == Normalizer::kSoftmax);
  CHECK(KL::human_normalizer == Normalizer::kSum);
}
