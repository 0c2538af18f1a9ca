// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>
#include <cyborg/guide/saliency_guided.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <vector>

using cyborg::Balance;
using cyborg::Blend;
using cyborg::CamEntropy;
using cyborg::CamHook;
using cyborg::Guidance;
using cyborg::GuidanceOptions;
using cyborg::Reduction;
using given::Net;
using support::close;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

/// A term whose values are given.
struct Values {
  Tensor value, usable;
  cyborg::PerSample operator()(const cyborg::Seen&) const {
    return {value, usable};
  }
};

/// Four samples for a `Net`.
cyborg::Batch four() {
  torch::manual_seed(21);
  cyborg::Batch batch;
  batch.images = torch::rand({4, 2, 5, 4}, torch::kDouble);
  batch.labels = labels({2, 0, 1, 0});
  batch.maps = torch::rand({4, 10, 8}, torch::kDouble);
  batch.wrong = torch::rand({4, 5, 4}, torch::kDouble).gt(.5);
  return batch;
}

/// A task of four samples whose losses are 1, 2, 3 and 4: with logits (0, z),
/// the loss of class 0 is ln(1 + e^z).
Tensor known_logits() {
  const Tensor loss = t({1, 2, 3, 4});
  return torch::stack(
             {torch::zeros({4}, torch::kDouble), (loss.exp() - 1).log()}, 1)
      .requires_grad_();
}

cyborg::GuidanceTerms with_values(
    const GuidanceOptions& options, double strength, const Values& term,
    const Tensor& weight = {}) {
  cyborg::Batch batch;
  batch.labels = labels({0, 0, 0, 0});
  batch.weight = weight;
  Guidance guidance(options);
  guidance.add("term", strength, term);
  return guidance(known_logits(), Tensor(), batch);
}

double number(const Tensor& value) {
  return value.item<double>();
}

}  // namespace

TEST_CASE("Task and terms are blended as worked out by hand", "[guidance]") {
  // The task is (1 + 2 + 3 + 4) / 4; the term counts two of the four samples.
  const Values term{
      t({10, 20, given::kNaN, 7}).requires_grad_(),
      torch::tensor({true, true, false, false})};
  const auto convex = with_values({}, .4, term);
  CHECK(number(convex.task) == Approx(2.5).epsilon(1e-12));
  CHECK(number(convex.task_count) == 4);
  CHECK(number(convex["term"].value) == Approx(15));
  CHECK(number(convex["term"].count) == 2);
  CHECK(convex["term"].strength == .4);
  CHECK(number(convex.total) == Approx(.8 * 2.5 + .2 * 15).epsilon(1e-12));
  const auto additive_options = GuidanceOptions().blend(Blend::kAdditive);
  const auto additive = with_values(additive_options, 4, term);
  CHECK(number(additive.total) == Approx(2.5 + 2 * 15).epsilon(1e-12));
  CHECK(additive["term"].blend == Blend::kAdditive);
  CHECK(convex["term"].blend == Blend::kConvex);
  // A sum is four times the mean.
  const auto sum =
      with_values(GuidanceOptions().reduction(Reduction::kSum), .4, term);
  CHECK(number(sum.total) == Approx(4 * number(convex.total)).epsilon(1e-12));
  CHECK(number(sum["term"].value) == Approx(30));
  // Weights multiply a sample's whole loss; weight 0 hides an infinity.
  const auto weighted = with_values(
      {}, .4, {t({10, INFINITY, 0, 0}).requires_grad_(), term.usable},
      t({3, 0, 1, 1}));
  CHECK(number(weighted.task) == Approx((3 + 3 + 4) / 4.).epsilon(1e-12));
  CHECK(number(weighted["term"].value) == Approx(15));
  // Shares count as shares: (1/2 10 + 20) / 1.5 of 1.5 samples.
  const auto shares = with_values(
      {}, .4, {term.value.detach().requires_grad_(), t({.5, 1, 0, 0})});
  CHECK(number(shares["term"].value) == Approx(25 / 1.5).epsilon(1e-12));
  CHECK(
      number(shares.total) ==
      Approx((1 - .4 * 1.5 / 4) * 2.5 + .4 * 25 / 4).epsilon(1e-12));
}

TEST_CASE("One term may be added to a convex blend", "[guidance]") {
  cyborg::Batch batch;
  batch.labels = labels({0, 0, 0, 0});
  Guidance guidance;
  const Values five{torch::full({4}, 5., torch::kDouble).requires_grad_(), {}};
  guidance.add("a", .4, five).add("b", 3, five, Blend::kAdditive);
  const auto found = guidance(known_logits(), Tensor(), batch);
  CHECK(number(found.total) == Approx(.6 * 2.5 + .4 * 5 + 15).epsilon(1e-12));
  CHECK(found["a"].blend == Blend::kConvex);
  CHECK(found["b"].blend == Blend::kAdditive);
}

TEST_CASE("Balances have the published derivatives", "[guidance]") {
  // VISER: task .69, S .15, every sample counts.
  const auto slope = [](Balance balance, bool half) {
    const Tensor z = t({std::log(std::exp(.69) - 1)}).requires_grad_();
    const Tensor logits =
        torch::stack({torch::zeros({1}, torch::kDouble), z}, 1).repeat({4, 1});
    const Tensor s = torch::full({4}, .15, torch::kDouble).requires_grad_();
    cyborg::Batch batch;
    batch.labels = labels({0, 0, 0, 0});
    Guidance guidance(GuidanceOptions().balance(balance));
    guidance.add(
        "s", 0,
        Values{s, half ? torch::tensor({true, true, false, false}) : Tensor()});
    const auto found = guidance(logits, Tensor(), batch);
    return number(given::gradients(found.total, {s})[0].sum());
  };
  const double alpha = .69 / .84;
  CHECK(
      slope(Balance::kTaskShareAttached, false) ==
      Approx((.15 * .15 + 2 * .15 * .69 - .69 * .69) / (.84 * .84))
          .epsilon(1e-6));
  CHECK(slope(Balance::kTaskShareAttached, false) == Approx(-.35).margin(.005));
  CHECK(slope(Balance::kTaskShare, false) == Approx(1 - alpha).epsilon(1e-6));
  CHECK(
      slope(Balance::kTaskShare, true) ==
      Approx((1 - alpha) / 2).epsilon(1e-6));
}

TEST_CASE(
    "A balance runs a term of strength 0 with all that it needs",
    "[guidance]") {
  Net net;
  CamHook hook(net);
  Guidance guidance(GuidanceOptions().balance(Balance::kTaskShare));
  guidance.add("reasons", 0, cyborg::RightReasons());
  CHECK(guidance.needs() == cyborg::needs::kInputGradient);
  const auto found = guidance(hook, net.function(), four());
  CHECK(found.parts.size() == 1);
}

TEST_CASE("Guidance with one distance is the guided loss", "[guidance]") {
  const auto check = [](auto distance, cyborg::Batch batch, Reduction reduction,
                        double count) {
    using Distance = decltype(distance);
    torch::manual_seed(5);
    Net one;
    CamHook hook(one);
    const auto parameters = one.parameters();
    Guidance guidance(GuidanceOptions().reduction(reduction));
    guidance.add("people", .3, distance);
    const auto found = guidance(hook, one.function(), batch);
    const auto slopes = given::gradients(found.total, parameters);
    const Tensor logits =
        hook.forward([&] { return one.forward(batch.images); });
    const cyborg::LossTerms wanted = cyborg::SaliencyGuidedLoss<Distance>(
        cyborg::SaliencyGuidedLossOptions().alpha(.7).reduction(reduction))(
        logits, batch.labels, hook, batch.maps, batch.annotated, batch.weight);
    CHECK(close(found.total, wanted.total));
    CHECK(close(found.task, wanted.classification));
    CHECK(close(found["people"].value, wanted.saliency));
    CHECK(number(found["people"].count) == count);
    CHECK(number(wanted.annotated_count) == count);
    const auto others = given::gradients(wanted.total, parameters);
    for (size_t i = 0; i < slopes.size(); ++i) {
      CHECK(close(slopes[i], others[i]));
    }
  };
  for (const auto reduction : {Reduction::kMean, Reduction::kSum}) {
    cyborg::Batch batch = four();
    check(cyborg::L1(), batch, reduction, 4);
    check(cyborg::L2(), batch, reduction, 4);
    check(cyborg::KL(), batch, reduction, 4);
    check(cyborg::Pearson(), batch, reduction, 4);
    batch.weight = t({2, 0, .5, 1});
    check(cyborg::L2(), batch, reduction, 4);
    batch.annotated = torch::tensor({true, false, true, true});
    batch.maps[3] = 1;                  // constant
    batch.maps[1][0][0] = given::kNaN;  // and not annotated
    check(cyborg::L1(), batch, reduction, 2);
    check(cyborg::KL(), batch, reduction, 2);
    batch.annotated = torch::zeros({4}, torch::kBool);
    check(cyborg::L2(), batch, reduction, 0);
  }
}

TEST_CASE(
    "Samples that nobody annotated change neither value nor gradient",
    "[guidance]") {
  const auto run = [](const cyborg::Batch& batch) {
    torch::manual_seed(6);
    Net net;
    CamHook hook(net);
    Guidance guidance;
    guidance.add("people", .3, cyborg::L2());
    guidance.add("outside", .2, cyborg::OutsideSquare());
    guidance.add("reasons", .1, cyborg::RightReasons());
    guidance.add("perturbed", .1, cyborg::PerturbedReasons());
    const auto found = guidance(hook, net.function(), batch);
    auto all = given::gradients(found.total, net.parameters());
    all.push_back(found.total);
    all.push_back(found.task);
    return all;
  };
  cyborg::Batch batch = four();
  batch.wrong = batch.wrong.to(torch::kDouble);
  batch.annotated = torch::tensor({true, false, true, false});
  const auto first = run(batch);
  batch.maps[1] = given::kNaN;
  batch.maps[3] = 1e9;
  batch.wrong[1] = 255;
  batch.wrong[3] = given::kNaN;
  const auto second = run(batch);
  for (size_t i = 0; i < first.size(); ++i) {
    CHECK(close(first[i], second[i]));
  }
  // A batch that nobody annotated has the task's loss.
  batch.annotated = torch::zeros({4}, torch::kBool);
  const auto none = run(batch);
  CHECK(close(none[none.size() - 2], none.back()));
}

TEST_CASE("Pictures get their gradient in the same forward", "[guidance]") {
  Net net;
  CamHook hook(net);
  Guidance guidance;
  guidance.add("reasons", .1, cyborg::RightReasons());
  guidance.add("people", .3, cyborg::L2());
  const auto batch = four();
  auto found = guidance(hook, net.function(), batch);
  CHECK(net.runs == 1);
  CHECK_FALSE(batch.images.requires_grad());
  found.total.backward();
  CHECK(net.conv->weight.grad().abs().max().item<double>() > 0);
  // What made the pictures learns, too.
  const Tensor brightness = torch::ones({1}, torch::kDouble).requires_grad_();
  auto made = batch;
  made.images = batch.images * brightness;
  guidance(hook, net.function(), made).total.backward();
  CHECK(brightness.grad().abs().item<double>() > 0);
  // Three steps of the attack, and the changed pictures.
  guidance.add("perturbed", .1, cyborg::PerturbedReasons());
  net.runs = 0;
  guidance(hook, net.function(), batch);
  CHECK(net.runs == 5);
  // With strength 0 it is not run.
  guidance.strength("perturbed", 0);
  net.runs = 0;
  CHECK(guidance(hook, net.function(), batch).parts.size() == 2);
  CHECK(net.runs == 1);
}

TEST_CASE("Terms may run a network whose forward was yours", "[guidance]") {
  Net net;
  CamHook hook(net);
  Guidance guidance;
  guidance.add("people", .3, cyborg::L2());
  guidance.add("perturbed", .1, cyborg::PerturbedReasons());
  const auto batch = four();
  const auto wanted = guidance(hook, net.function(), batch);
  const Tensor logits =
      hook.forward([&] { return net.function()(batch.images); });
  const auto found = guidance(logits, hook, batch, net.function());
  CHECK(close(found.total, wanted.total));
  CHECK(close(found["perturbed"].value, wanted["perturbed"].value));
  // Maps and observations are sources, too.
  const auto seen = hook.observation();
  CHECK(
      close(guidance(logits, seen, batch, net.function()).total, wanted.total));
}

TEST_CASE("With gradients off the values are the same", "[guidance]") {
  Net net;
  CamHook hook(net);
  Guidance guidance;
  guidance.add("people", .3, cyborg::L2());
  guidance.add("focus", .1, CamEntropy());
  const auto compare = [&] {
    const auto with = guidance(hook, net.function(), four());
    const torch::NoGradGuard no_grad;
    const auto without = guidance(hook, net.function(), four());
    CHECK(close(with.total, without.total));
    CHECK(close(with.task, without.task));
    CHECK_FALSE(without.total.requires_grad());
    CHECK_FALSE(without.task.requires_grad());
    for (size_t i = 0; i < with.parts.size(); ++i) {
      CHECK(close(with.parts[i].value, without.parts[i].value));
      CHECK_FALSE(without.parts[i].value.requires_grad());
    }
  };
  compare();
  guidance.add("reasons", .1, cyborg::RightReasons());
  guidance.add("perturbed", .1, cyborg::PerturbedReasons());
  compare();
}
