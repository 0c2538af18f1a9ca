// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/harmonize.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/ternary.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <cmath>
#include <string>

using cyborg::GradientScore;
using cyborg::Guidance;
using cyborg::Harmonize;
using cyborg::HarmonizeOptions;
using cyborg::RightReasons;
using cyborg::RightReasonsOptions;
using cyborg::Task;
using cyborg::TaskOptions;
using given::linear;
using given::Net;
using given::Shown;
using given::three_pictures;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

TEST_CASE(
    "The gradient of a linear network gives the numbers worked out by hand",
    "[right_reasons]") {
  // Class 0 weighs the pixels with 1, -2; class 1 with 0, 3.
  const Tensor w = t({1, -2, 0, 3}, {2, 1, 1, 2});
  Shown shown;
  shown.batch.images = torch::zeros({2, 1, 1, 2}, torch::kDouble);
  shown.batch.labels = labels({0, 1});
  shown.batch.wrong = t({1, .5, 0, 1}, {2, 1, 2});
  const auto of = [&](GradientScore score, int64_t power) {
    return shown(
               RightReasons{RightReasonsOptions().score(score).power(power)},
               linear(w))
        .value;
  };
  // Of the label's logit: a g is (1, -1) and (0, 3).
  CHECK(close(of(GradientScore::kLogit, 2), t({2, 9})));
  CHECK(close(of(GradientScore::kLogit, 1), t({2, 3})));
  // p is 1/2, so that the loss's gradient is half the rows' difference.
  CHECK(close(of(GradientScore::kLoss, 1), t({.5 + 1.25, 2.5})));
  // sum ln p_k: the sum of the rows minus twice their mean, which is 0.
  CHECK(close(of(GradientScore::kLogProbabilities, 2), t({0, 0})));
  shown.batch.images[0][0][0][0] = std::log(3);  // p is 3/4, 1/4
  // (1, -2) + (0, 3) - 2 (3/4 (1, -2) + 1/4 (0, 3)) = (-1/2, 5/2)
  CHECK(close(
      of(GradientScore::kLogProbabilities, 2), t({.25 + 1.25 * 1.25, 0})));
  // The class's weight is a factor of its loss.
  shown.task.class_weight(t({2, 1}));
  const Tensor weighted = of(GradientScore::kLoss, 1);
  shown.task = TaskOptions();
  CHECK(close(weighted, of(GradientScore::kLoss, 1) * t({2, 1})));
}

TEST_CASE(
    "The gradient of one logit is that of both probabilities",
    "[right_reasons]") {
  const Tensor w = t({2, -1}, {1, 1, 1, 2});
  Shown shown;
  shown.batch.images = t({std::log(3) / 2, 0}, {1, 1, 1, 2});
  shown.batch.wrong = torch::ones({1, 1, 2});
  shown.batch.labels = labels({0});
  // p is 3/4: (1 - p) - p = -1/2 times (2, -1).
  CHECK(close(shown(RightReasons(), linear(w)).value, t({1.25})));
  shown.task.task(Task::kMultiLabel);
  shown.batch.labels = t({1}, {1, 1});
  CHECK(close(shown(RightReasons(), linear(w)).value, t({1.25})));
}

TEST_CASE(
    "Right reasons have the second-order gradient of finite differences",
    "[right_reasons][gradient]") {
  Net net;
  const Shown shown = three_pictures();
  for (const auto score :
       {GradientScore::kLogProbabilities, GradientScore::kLoss,
        GradientScore::kLogit}) {
    CHECK(given::parameters_agree(net, [&] {
      return shown(
                 RightReasons{RightReasonsOptions().score(score)},
                 net.function())
          .value.mean();
    }));
  }
}

TEST_CASE(
    "Where nothing is wrong, or nobody said so, right reasons cost nothing",
    "[right_reasons]") {
  Net net;
  Shown shown = three_pictures();
  shown.batch.wrong[0] = 0;
  shown.batch.wrong[1][0][0] = given::kNaN;
  const auto found = shown(RightReasons(), net.function());
  CHECK(close(found.usable, torch::tensor({true, false, true}), 0));
  CHECK(found.value[0].item<double>() == 0);
  CHECK(found.value[1].item<double>() == 0);
  for (const Tensor& slope :
       given::gradients(found.value.slice(0, 0, 2).sum(), net.parameters())) {
    CHECK(slope.abs().max().item<double>() == 0);
  }
  shown.batch.annotated = torch::tensor({false, true, false});
  CHECK_FALSE(shown(RightReasons(), net.function()).usable.any().item<bool>());
  // The probabilities of all classes need no label, the others do.
  shown.batch.annotated = Tensor();
  shown.batch.labels = labels({0, 0, -100});
  CHECK(shown(RightReasons(), net.function()).usable[2].item<bool>());
  for (const auto score : {GradientScore::kLoss, GradientScore::kLogit}) {
    CHECK_FALSE(
        shown(RightReasons{RightReasonsOptions().score(score)}, net.function())
            .usable[2]
            .item<bool>());
  }
}

TEST_CASE(
    "A mask of another size is resized to the pictures", "[right_reasons]") {
  Net net;
  Shown shown = three_pictures(4, 6);
  shown.batch.wrong = torch::rand({3, 1, 8, 12}, torch::kDouble);
  const Tensor large = shown(RightReasons(), net.function()).value;
  shown.batch.wrong =
      cyborg::maps::resize(shown.batch.wrong.squeeze(1), {4, 6});
  CHECK(close(shown(RightReasons(), net.function()).value, large));
}

TEST_CASE(
    "Terms of input gradients refuse what does not fit",
    "[right_reasons][error]") {
  Net net;
  Shown shown = three_pictures();
  const std::string name = "cyborg::RightReasons: ";
  const auto refused = [&](const auto& term) {
    return error_of([&] { shown(term, net.function()); });
  };
  CHECK(
      refused(RightReasons{RightReasonsOptions().power(3)}) ==
      name + "expected power 1 or 2, got 3");
  CHECK(
      refused(Harmonize{HarmonizeOptions().levels(0)}) ==
      "cyborg::Harmonize: expected levels >= 1, got 0");
  CHECK(
      error_of([&] {
        shown(RightReasons(), [](const Tensor& x) {
          return torch::zeros({3, 3}, torch::kDouble).requires_grad_() +
                 0 * x.detach().sum();
        });
      }) == name +
                "the logits do not depend on the pictures (a frozen or "
                "detached first part of the network, or other pictures than "
                "those of the batch)");
  shown.batch.wrong = torch::zeros({3, 2, 4, 3});
  CHECK(
      refused(RightReasons()) ==
      name +
          "expected masks of what is wrong [B, *S] or [B, 1, *S] for a map "
          "of the model [3, 4, 3], got [3, 2, 4, 3]");
  shown.batch.wrong = Tensor();
  CHECK(
      refused(RightReasons()) ==
      name +
          "expected masks of what is wrong, got none (for a batch that "
          "nobody annotated, give maps of NaN, or annotated with every "
          "entry false)");
  shown.batch.wrong = torch::zeros({3, 4, 3});
  shown.task.task(Task::kRegression);
  shown.batch.labels = torch::zeros({3, 3});
  CHECK(
      refused(RightReasons()) ==
      name + "a regression has no probabilities; use GradientScore::kLogit");
  shown.batch.images = torch::rand({3, 2, 4}, torch::kDouble);
  CHECK(error_of([&] {
          shown(Harmonize(), linear(torch::rand({3, 2, 4}, torch::kDouble)));
        }) == "cyborg::Harmonize: expected images [B, C, H, W], got [3, 2, 4]");
}

TEST_CASE(
    "An operator without a second derivative is named",
    "[right_reasons][error]") {
  const Tensor w = torch::rand({2, 2}, torch::kDouble).requires_grad_();
  Shown shown;
  shown.batch.images = torch::rand({2, 2, 1}, torch::kDouble);
  shown.batch.wrong = torch::ones({2, 1});
  shown.batch.labels = labels({0, 1});
  const std::string text = error_of([&] {
    shown(RightReasons(), [&](const Tensor& x) {
      return torch::cdist(x.squeeze(2), w);
    });
  });
  CHECK(
      text ==
      "cyborg::RightReasons: a loss of the input gradient cannot be "
      "differentiated, because LibTorch has no second derivative of an "
      "operator (cdist)");
}

TEST_CASE(
    "A forward that you ran yourself gives the same terms", "[guidance]") {
  Net net;
  cyborg::CamHook hook(net);
  Guidance guidance;
  guidance.add("reasons", .2, RightReasons());
  guidance.add("harmonize", .2, Harmonize());
  auto batch = three_pictures(6, 5).batch;
  const auto wanted = guidance(hook, net.function(), batch);
  const auto slopes = given::gradients(wanted.total, net.parameters());
  batch.images = batch.images.clone().requires_grad_();
  const Tensor logits = hook.forward([&] { return net.forward(batch.images); });
  const cyborg::Observation seen = hook.observation();
  for (const auto& found :
       {guidance(logits, hook, batch), guidance(logits, seen, batch)}) {
    CHECK(close(found.total, wanted.total));
    const auto others = given::gradients(found.total, net.parameters());
    for (size_t i = 0; i < slopes.size(); ++i) {
      CHECK(close(others[i], slopes[i]));
    }
  }
  // Pictures that the logits do not come from are refused.
  batch.images = batch.images.detach().clone().requires_grad_();
  CHECK(support::contains(
      error_of([&] { guidance(logits, hook, batch); }),
      "cyborg::RightReasons: the logits do not depend on the pictures"));
}

TEST_CASE("Terms work under autocast, in float", "[guidance]") {
  Net net;
  net.to(torch::kFloat);
  cyborg::CamHook hook(net);
  Guidance guidance;
  guidance.add("people", .2, cyborg::L2());
  guidance.add("focus", .1, cyborg::CamEntropy());
  guidance.add("reasons", .1, RightReasons());
  guidance.add("harmonize", .1, Harmonize());
  guidance.add("perturbed", .1, cyborg::PerturbedReasons());
  guidance.add("ternary", .1, cyborg::Ternary());
  auto batch = three_pictures(6, 5).batch;
  batch.images = batch.images.to(torch::kFloat);
  const auto wanted = guidance(hook, net.function(), batch);
  const support::CpuAutocast autocast;
  const auto found = guidance(hook, net.function(), batch);
  CHECK(found.total.scalar_type() == torch::kFloat);
  for (size_t i = 0; i < found.parts.size(); ++i) {
    INFO(found.parts[i].name);
    CHECK(found.parts[i].value.scalar_type() == torch::kFloat);
    const auto exact = wanted.parts[i].value.item<double>();
    CHECK(
        found.parts[i].value.item<double>() ==
        Approx(exact).epsilon(.1).margin(.02));
  }
  found.total.backward();
  CHECK(at::isfinite(net.conv->weight.grad()).all().item<bool>());
}
