// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/perturb.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <string>

using cyborg::SaliencyGuidedTraining;
using cyborg::SaliencyGuidedTrainingOptions;
using cyborg::Task;
using given::Net;
using given::Shown;
using given::three_pictures;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

TEST_CASE("The divergence is that of f(x) from the masked one", "[sgt]") {
  // f(x) = (.9, .1), f of the masked picture = (.5, .5): the published code's
  // KLDivLoss(log f(masked), f(x)) is .3681; the other way it is .5108.
  int run = 0;
  const auto net = [&](const Tensor& x) {
    const Tensor z = ++run == 1 ? t({std::log(.9), std::log(.1)}, {1, 2})
                                : t({0, 0}, {1, 2});
    return z + 0 * x.flatten(1).sum(1, true);
  };
  Shown shown;
  shown.batch.images = t({.2, .7}, {1, 1, 1, 2});
  shown.batch.labels = labels({1});
  const auto found = shown(SaliencyGuidedTraining(), net);
  CHECK(
      close(found.value, t({.9 * std::log(.9 / .5) + .1 * std::log(.1 / .5)})));
  // Several labels: the sum of both probabilities of each.
  run = 0;
  shown.task.task(Task::kMultiLabel);
  shown.batch.labels = t({1, 0}, {1, 2});
  const auto divergence = [](double p) {
    return p * std::log(p / .5) + (1 - p) * std::log((1 - p) / .5);
  };
  CHECK(close(
      shown(SaliencyGuidedTraining(), net).value,
      t({divergence(.9 / 1.9) + divergence(.1 / 1.1)})));
}

TEST_CASE(
    "The positions whose gradient is smallest get random values", "[sgt]") {
  Net net;
  Shown shown = three_pictures();
  const Tensor images = shown.batch.images;
  Tensor masked;
  int run = 0;
  const auto spy = [&](const Tensor& x) {
    if (++run == 2) {
      masked = x;
    }
    return net.forward(x);
  };
  at::Generator random = at::detail::createCPUGenerator(5);
  const auto found = shown(
      SaliencyGuidedTraining{
          SaliencyGuidedTrainingOptions().fraction(.25).generator(random)},
      spy);
  // The same by plain code, sample by sample.
  const Tensor x = images.clone().requires_grad_();
  const Tensor z = net.forward(x);
  const Tensor g =
      given::gradients(z[0][0] + z[1][2] + z[2][1], {x})[0].abs().mean(1);
  at::Generator again = at::detail::createCPUGenerator(5);
  const Tensor uniform =
      torch::rand({3, 2, 12}, again, torch::TensorOptions(torch::kDouble));
  Tensor wanted = images.clone();
  for (int64_t b = 0; b < 3; ++b) {
    const Tensor order = g[b].flatten().argsort();
    for (int64_t i = 0; i < 3; ++i) {
      const auto at = order[i].item<int64_t>();
      for (int64_t c = 0; c < 2; ++c) {
        const Tensor channel = images[b][c];
        wanted[b][c].view({-1})[at] =
            channel.min() + (channel.max() - channel.min()) * uniform[b][c][at];
      }
    }
  }
  CHECK(close(masked, wanted));
  const Tensor p = z.log_softmax(1), q = net.forward(wanted).log_softmax(1);
  const Tensor kl = (p.exp() * (p - q)).sum(1);
  CHECK(close(found.value, kl));
  const auto slopes = given::gradients(found.value.sum(), net.parameters());
  const auto others = given::gradients(kl.sum(), net.parameters());
  for (size_t i = 0; i < slopes.size(); ++i) {
    CHECK(close(slopes[i], others[i]));
  }
  shown.batch.labels = labels({0, -100, 1});
  CHECK(close(
      shown(SaliencyGuidedTraining(), net.function()).usable,
      torch::tensor({true, false, true}), 0));
}

TEST_CASE("A picture of one value is not changed", "[sgt]") {
  Net net;
  Shown shown = three_pictures();
  shown.batch.images = torch::full({3, 2, 4, 3}, .3, torch::kDouble);
  const auto found = shown(SaliencyGuidedTraining(), net.function());
  CHECK(close(found.value, torch::zeros({3}), 1e-15));
  const std::string name = "cyborg::SaliencyGuidedTraining: ";
  CHECK(
      error_of([&] {
        shown(
            SaliencyGuidedTraining{SaliencyGuidedTrainingOptions().fraction(1)},
            net.function());
      }) == name + "expected fraction in (0, 1), got 1");
  shown.task.task(Task::kRegression);
  CHECK(error_of([&] {
          shown(SaliencyGuidedTraining(), net.function());
        }) == name + "a regression has no probabilities to compare");
}
