// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/evaluation_norms.hpp>
#include <cyborg/guide/perturb.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <cmath>
#include <memory>
#include <string>
#include <vector>

using cyborg::PerturbedReasons;
using cyborg::PerturbedReasonsOptions;
using given::linear;
using given::Net;
using given::Shown;
using given::three_pictures;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

/// One picture of two pixels; class 1 has the logit `slope` times the first.
Shown two_pixels(double first, double second) {
  Shown shown;
  shown.batch.images = t({first, second}, {1, 1, 1, 2});
  shown.batch.labels = labels({1});
  shown.batch.wrong = torch::ones({1, 1, 2});
  return shown;
}

/// The cross entropy of class 1 with logits (0, z).
double loss_at(double z) {
  return std::log1p(std::exp(-z));
}

}  // namespace

TEST_CASE("A picture is changed as the network likes it least", "[perturb]") {
  // The logit of class 1 is 2 x_0 - x_1: the attack goes to (0, 1).
  const Tensor w = t({0, 0, 2, -1}, {2, 1, 1, 2});
  Shown shown = two_pixels(.9, .2);
  CHECK(close(shown(PerturbedReasons(), linear(w)).value, t({loss_at(-1)})));
  // A tenth of the range, in one step or in several.
  for (const int64_t steps : {1, 2, 5}) {
    const PerturbedReasons small{
        PerturbedReasonsOptions().epsilon(.1).steps(steps)};
    CHECK(close(shown(small, linear(w)).value, t({loss_at(1.6 - .3)})));
  }
  // Only where something is wrong.
  shown.batch.wrong = t({0, 1}, {1, 1, 2});
  CHECK(
      close(shown(PerturbedReasons(), linear(w)).value, t({loss_at(1.8 - 1)})));
  // A mask of 1/2 moves a pixel by half.
  shown.batch.wrong = t({.5, 0}, {1, 1, 2});
  CHECK(
      close(shown(PerturbedReasons(), linear(w)).value, t({loss_at(.9 - .2)})));
  // The range may be that of standardised pictures.
  shown.batch.wrong = torch::ones({1, 1, 2});
  const PerturbedReasons standardised{
      PerturbedReasonsOptions().low({-2}).high({3})};
  CHECK(close(shown(standardised, linear(w)).value, t({loss_at(-7)})));
}

TEST_CASE("A pixel comes back from the end of the range", "[perturb]") {
  // The logit is (x - .9)^2: the first step moves x from .8 up to 1, where the
  // logit grows again. Clipped inside the graph, x would stay at 1.
  Shown shown = two_pixels(.8, 0);
  shown.batch.wrong = t({1, 0}, {1, 1, 2});
  std::vector<double> seen;
  const auto net = [&](const Tensor& x) {
    const Tensor z = (x.select(3, 0).flatten(1) - .9).square() * 10;
    seen.push_back(x.detach()[0][0][0][0].item<double>());
    return torch::cat({torch::zeros_like(z), z}, 1);
  };
  const auto found = shown(PerturbedReasons(), net);
  const std::vector<double> wanted{.8, .8, 1, 1 - 1. / 3, 1};
  REQUIRE(seen.size() == wanted.size());
  for (size_t i = 0; i < seen.size(); ++i) {
    CHECK(seen[i] == Approx(wanted[i]).epsilon(1e-12));
  }
  CHECK(close(found.value, t({loss_at(.1)})));
}

TEST_CASE("Changed pictures stay in the range", "[perturb]") {
  Net net;
  Shown shown = three_pictures();
  shown.batch.wrong = torch::ones({3, 4, 3}, torch::kDouble);
  shown.batch.images[0][0][0][0] = 1;
  shown.batch.images[0][0][0][1] = 0;
  shown.batch.images[0][0][0][2] = 1.0005;  // rounding: it is not moved inside
  Tensor last;
  const auto found = shown(PerturbedReasons(), [&](const Tensor& x) {
    last = x.detach();
    return net.forward(x);
  });
  CHECK(last.min().item<double>() == 0);
  CHECK(last.max().item<double>() <= 1.0005);
  CHECK(last.gt(1).sum().item<int64_t>() <= 1);
  CHECK(net.runs == 5);
  // First order: the changed pictures are constants.
  CHECK(given::parameters_agree(net, [&] {
    return cyborg::functional::task_loss(net.forward(last), shown.batch.labels)
        .value.sum();
  }));
  const auto slopes = given::gradients(found.value.sum(), net.parameters());
  const auto others = given::gradients(
      cyborg::functional::task_loss(net.forward(last), shown.batch.labels)
          .value.sum(),
      net.parameters());
  for (size_t i = 0; i < slopes.size(); ++i) {
    CHECK(close(slopes[i], others[i]));
  }
}

TEST_CASE("A sample counts where something is wrong and known", "[perturb]") {
  Net net;
  Shown shown = three_pictures();
  shown.batch.wrong[0] = 0;
  shown.batch.wrong[1][0][0] = given::kNaN;
  CHECK(close(
      shown(PerturbedReasons(), net.function()).usable,
      torch::tensor({false, false, true}), 0));
  shown.batch.labels = labels({0, 0, -100});
  const auto none = shown(PerturbedReasons(), net.function());
  CHECK_FALSE(none.usable.any().item<bool>());
  CHECK(at::isfinite(none.value).all().item<bool>());
  shown = three_pictures();
  shown.batch.annotated = torch::tensor({true, false, true});
  CHECK(close(
      shown(PerturbedReasons(), net.function()).usable, shown.batch.annotated,
      0));
  // The class's weight is a factor, as in the task's own loss.
  const Tensor plain = shown(PerturbedReasons(), net.function()).value;
  shown.task.class_weight(t({2, 1, .5}));
  CHECK(close(
      shown(PerturbedReasons(), net.function()).value, plain * t({2, .5, 1})));
}

TEST_CASE("Batch norms may be frozen while pictures are changed", "[perturb]") {
  torch::nn::Sequential net(
      torch::nn::Conv2d(2, 3, 1), torch::nn::BatchNorm2d(3),
      torch::nn::Flatten(), torch::nn::Linear(36, 3));
  net->to(torch::kDouble);
  const auto forward = [&](const Tensor& x) { return net->forward(x); };
  const Shown shown = three_pictures();
  const Tensor images = shown.batch.images;
  const auto& norm = net[1]->as<torch::nn::BatchNorm2d>();
  PerturbedReasons term;
  forward(images);
  const Tensor kept = norm->running_mean.clone();
  shown(term, forward);
  CHECK_FALSE(close(norm->running_mean, kept));
  const Tensor before = norm->running_mean.clone();
  term.while_attacking = [&] {
    return std::make_shared<cyborg::EvaluationNorms>(*net);
  };
  const auto seen_before = norm->num_batches_tracked.item<int64_t>();
  shown(term, forward);
  // The first forward is the training's own.
  CHECK(norm->num_batches_tracked.item<int64_t>() == seen_before + 1);
  CHECK(norm->is_training());
  CHECK_FALSE(close(norm->running_mean, before));
}

TEST_CASE("PerturbedReasons say what they expect", "[perturb][error]") {
  Net net;
  Shown shown = three_pictures();
  const std::string name = "cyborg::PerturbedReasons: ";
  const auto refused = [&](const PerturbedReasonsOptions& options) {
    return error_of([&] { shown(PerturbedReasons{options}, net.function()); });
  };
  using Options = PerturbedReasonsOptions;
  CHECK(
      refused(Options().steps(0)) ==
      name + "expected steps >= 1 and epsilon > 0, got 0 and 1");
  CHECK(
      refused(Options().epsilon(0)) ==
      name + "expected steps >= 1 and epsilon > 0, got 3 and 0");
  CHECK(
      refused(Options().low({0, 0, 0})) ==
      name + "expected one number, or 2, in low, got 3");
  CHECK(
      refused(Options().low({1})) ==
      name + "expected low below high for every channel, got 1 and 1");
  shown.batch.images[0][0][0][0] = 200;
  const std::string range = refused(Options());
  CHECK(support::contains(
      range, name + "expected pixels in the range of low and high, got "));
  CHECK(support::contains(
      range,
      " ... 200 (of standardised pictures, low is (0 - mean) / "
      "deviation and high is (1 - mean) / deviation, for each "
      "channel)"));
}
