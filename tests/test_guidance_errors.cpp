// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/perturb.hpp>
#include <cyborg/guide/right_reasons.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <string>

using cyborg::Blend;
using cyborg::CamEntropy;
using cyborg::Guidance;
using cyborg::GuidanceOptions;
using given::Net;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const std::string kOf = "cyborg::Guidance: ";

/// A term whose values are given.
struct Returns {
  Tensor value, usable;
  cyborg::PerSample operator()(const cyborg::Seen&) const {
    return {value, usable};
  }
};

cyborg::Batch two_samples() {
  cyborg::Batch batch;
  batch.labels = labels({0, 1});
  batch.images = torch::rand({2, 2, 5, 4}, torch::kDouble);
  return batch;
}

std::string error_of_term(const Returns& term) {
  return error_of([&] {
    Guidance guidance;
    guidance.add("mine", .1, term);
    guidance(
        torch::zeros({2, 3}, torch::kDouble).requires_grad_(), Tensor(),
        two_samples());
  });
}

std::string error_of_batch(const cyborg::Batch& batch) {
  return error_of([&] {
    Net net;
    cyborg::CamHook hook(net);
    Guidance guidance;
    guidance.add("reasons", .1, cyborg::RightReasons());
    guidance(hook, net.function(), batch);
  });
}

}  // namespace

TEST_CASE("Shares of a sample that counts are in [0, 1]", "[guidance][error]") {
  const Tensor value = t({1, 2}).requires_grad_();
  for (const Tensor& usable : {t({2, 1}), t({-1, 1}), t({given::kNaN, 1})}) {
    CHECK(support::contains(
        error_of_term({value, usable}),
        "expected usable in [0, 1] from the term mine, got "));
  }
  CHECK(error_of_term({value, t({.5, 1})}).empty());
}

TEST_CASE("A Guidance refuses names and strengths", "[guidance][error]") {
  Guidance guidance;
  guidance.add("a", .5, CamEntropy());
  CHECK(error_of([&] {
          guidance.add("a", .1, CamEntropy());
        }) == kOf + "there is a term a already");
  CHECK(error_of([&] {
          guidance.add("", .1, CamEntropy());
        }) == kOf + "expected a name, got none");
  CHECK(error_of([&] {
          guidance.add("b", -.1, CamEntropy());
        }) == kOf + "expected a strength >= 0 for b, got -0.1");
  CHECK(error_of([&] {
          guidance.add("b", given::kNaN, CamEntropy());
        }) == kOf + "expected a strength >= 0 for b, got nan");
  CHECK(
      error_of([&] { guidance.add("b", .6, CamEntropy()); }) ==
      kOf +
          "with the blend kConvex the strengths add up to at most 1, got 1.1 "
          "with b (kAdditive has no limit)");
  // The term's own options are checked before the first batch.
  CHECK(error_of([&] {
          guidance.add(
              "b", .1,
              cyborg::RightReasons{cyborg::RightReasonsOptions().power(3)});
        }) == "cyborg::RightReasons: expected power 1 or 2, got 3");
  CHECK(error_of([&] {
          guidance.strength("b", .1);
        }) == kOf + "expected the name of a term, got b");
  CHECK(error_of([&] {
          guidance.strength("b");
        }) == kOf + "expected the name of a term, got b");
  CHECK(error_of([] {
          Guidance().strength("b", .1);
        }) == kOf + "expected the name of a term, got b (there are none)");
  // What was refused was not added.
  guidance.add("b", .5, CamEntropy()).strength("a", .25);
  guidance.add("c", .25, CamEntropy());
  guidance.add("d", 7, CamEntropy(), Blend::kAdditive);
  CHECK(guidance.strength("a") == .25);
  CHECK(error_of([&] { guidance.strength("b", .6); }) != "");
  CHECK(guidance.strength("b") == .5);
  CHECK(
      error_of([] { cyborg::GuidanceTerms()["x"]; }) ==
      "cyborg::GuidanceTerms: there is no term x, or its strength is 0, so "
      "that it was not computed");
}

TEST_CASE("A balance takes one term, convex", "[guidance][error]") {
  const auto balance = GuidanceOptions().balance(cyborg::Balance::kTaskShare);
  CHECK(error_of([&] {
          Guidance(GuidanceOptions(balance).blend(Blend::kAdditive));
        }) == kOf + "a balance needs the blend kConvex, got kAdditive");
  Guidance guidance(balance);
  CHECK(error_of([&] {
          guidance.add("a", 0, CamEntropy(), Blend::kAdditive);
        }) == kOf + "a balance needs the blend kConvex, got kAdditive for a");
  guidance.add("a", 0, CamEntropy());
  CHECK(error_of([&] {
          guidance.add("b", 0, CamEntropy());
        }) == kOf + "a balance needs exactly one term, got a second: b");
}

TEST_CASE("A Guidance refuses what a term returns", "[guidance][error]") {
  const Tensor good = t({1, 2}).requires_grad_();
  CHECK(error_of_term({good, {}}).empty());
  CHECK(
      error_of_term({t({1, 2, 3}).requires_grad_(), {}}) ==
      kOf +
          "expected values [2] of floating point from the term mine, got [3]");
  CHECK(
      error_of_term({{}, {}}) ==
      kOf + "expected values [2] of floating point from the term mine, got []");
  CHECK(
      error_of_term({good, torch::ones({2, 1})}) ==
      kOf + "expected usable [2] from the term mine, got [2, 1]");
  CHECK(
      error_of_term({t({1, 2}), {}}) ==
      kOf +
          "the term mine has no gradient path: the task's loss requires a "
          "gradient and the term does not, so it would change nothing. "
          "Compute it in gradient mode from features that are neither "
          "detached nor frozen, or set its strength to 0");
}

TEST_CASE("A Guidance refuses maps without a gradient", "[guidance][error]") {
  Guidance guidance;
  guidance.add("people", .1, cyborg::L2());
  auto batch = two_samples();
  batch.maps = torch::rand({2, 3, 3});
  const Tensor logits = torch::zeros({2, 3}, torch::kDouble).requires_grad_();
  CHECK(support::contains(
      error_of([&] { guidance(logits, torch::rand({2, 3, 3}), batch); }),
      kOf + "the term people has no gradient path: "));
  const torch::NoGradGuard no_grad;
  CHECK(error_of([&] {
          guidance(logits, torch::rand({2, 3, 3}), batch);
        }).empty());
}

TEST_CASE("A Guidance says what a term needs", "[guidance][error]") {
  const Tensor logits = torch::zeros({2, 3}, torch::kDouble).requires_grad_();
  Guidance forward;
  forward.add("perturbed", .1, cyborg::PerturbedReasons());
  CHECK(forward.needs() == cyborg::needs::kForward);
  CHECK(
      error_of([&] { forward(logits, Tensor(), two_samples()); }) ==
      kOf +
          "perturbed runs the network again: call guidance(hook, forward, "
          "batch)");
  Guidance gradient;
  gradient.add("reasons", .1, cyborg::RightReasons());
  CHECK(gradient.needs() == cyborg::needs::kInputGradient);
  CHECK(
      error_of([&] { gradient(logits, Tensor(), two_samples()); }) ==
      kOf +
          "reasons needs the gradient of the pictures: call guidance(hook, "
          "forward, batch), or give images that require a gradient to the "
          "network and to the batch");
  gradient.strength("reasons", 0);
  CHECK(gradient.needs() == cyborg::needs::kNothing);
}

TEST_CASE("A Guidance refuses batches that do not fit", "[guidance][error]") {
  auto batch = two_samples();
  batch.wrong = torch::zeros({2, 5, 4});
  CHECK(error_of_batch(batch).empty());
  batch.weight = t({1, -1});
  CHECK(
      error_of_batch(batch) ==
      kOf + "expected weight of numbers >= 0, got -1 at position 1");
  batch.weight = Tensor();
  batch.annotated = torch::ones({3}, torch::kBool);
  CHECK(error_of_batch(batch) == kOf + "expected annotated [2], got [3]");
  batch.annotated = Tensor();
  // Masks of 0 ... 255 would make the loss 65025 times as large.
  batch.wrong = torch::full({2, 5, 4}, 255, torch::kByte);
  CHECK(
      error_of_batch(batch) ==
      kOf + "expected masks of what is wrong in [0, 1], got 255 for sample 0");
  batch.annotated = torch::tensor({false, false});
  CHECK(error_of_batch(batch).empty());
  batch.annotated = Tensor();
  batch.wrong = -torch::ones({2, 5, 4});
  CHECK(
      error_of_batch(batch) ==
      kOf + "expected masks of what is wrong in [0, 1], got -1 for sample 0");
  batch.wrong = torch::full({2, 5, 4}, given::kNaN);
  CHECK(error_of_batch(batch).empty());
  batch.images = torch::zeros({2, 2, 5, 4}, torch::kByte);
  CHECK(
      error_of_batch(batch) ==
      kOf +
          "a term needs the gradient of the pictures: expected images of "
          "floating point, got Byte");
  batch.images = Tensor();
  CHECK(error_of_batch(batch) == kOf + "expected images, got none");
}
