// SPDX-License-Identifier: BSD-3-Clause
// Sample weights from reaction times and from the accuracy of people.
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/sample_weights.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>
#include <limits>

namespace {

using cyborg::Quartiles;
using cyborg::ReactionTimeOptions;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("Quartiles are those of NumPy, without missing numbers", "[guide]") {
  const auto four = cyborg::quartiles_of(t({4, 1, kNone, 3, 2}));
  CHECK(four.first == Approx(1.75));
  CHECK(four.third == Approx(3.25));
  const auto five = cyborg::quartiles_of(t({10, 20, 30, 40, 50}));
  CHECK(five.first == 20);
  CHECK(five.third == 40);
  CHECK(error_of([] {
          cyborg::quartiles_of(t({1, kNone}));
        }) == "cyborg::quartiles_of: expected two numbers or more, got 1");
  CHECK(error_of([] {
          cyborg::quartiles_of(t({1, std::numeric_limits<double>::infinity()}));
        }) == "cyborg::quartiles_of: expected numbers, got inf at position 1");
}

TEST_CASE("Slow answers weigh more, and are cut at the quartiles", "[guide]") {
  const auto times = t({1, 2, 3, 4, 9, kNone});
  const Quartiles quartiles{2, 4};
  CHECK(close(
      cyborg::functional::reaction_time_weight(
          times, quartiles, ReactionTimeOptions().strength(2)),
      t({1, 1, 2, 3, 3, 1})));
  CHECK(close(
      cyborg::functional::reaction_time_weight(
          times, quartiles, ReactionTimeOptions().quick(true)),
      t({2, 2, 1.5, 1, 1, 1})));
  CHECK(close(
      cyborg::functional::reaction_time_weight(t({1, 2, 3}), {2, 2}),
      t({1, 1, 2})));
  CHECK(
      error_of(
          [&] { cyborg::functional::reaction_time_weight(times, {4, 2}); }) ==
      "cyborg::functional::reaction_time_weight: expected quartiles in order, "
      "got 4 and 2");
  CHECK(
      error_of([&] {
        cyborg::functional::reaction_time_weight(t({1, -5, kNone}), {2, 4});
      }) ==
      "cyborg::functional::reaction_time_weight: expected times above 0, or "
      "NaN where one is missing, got -5 ... 1");
  CHECK(
      error_of(
          [] { cyborg::functional::accuracy_weight(t({85, 40, kNone})); }) ==
      "cyborg::functional::accuracy_weight: expected accuracy in [0, 1] (not "
      "per cent), or NaN where it is missing, got 0 ... 85");
}

TEST_CASE("Pictures that people judge wrongly weigh more", "[guide]") {
  CHECK(close(
      cyborg::functional::accuracy_weight(t({1, 0.25, 0, kNone}), 2),
      t({1, 2.5, 3, 1})));
}

TEST_CASE(
    "A number that is added changes no gradient, a weight does", "[guide]") {
  torch::manual_seed(1);
  const auto logits = torch::randn({3, 4}, torch::kDouble);
  const auto target = labels({0, 3, 1});
  const auto times = t({1, 5, 9});
  const auto gradient = [&](const Tensor& added, const Tensor& weight) {
    const auto z = logits.clone().requires_grad_();
    const cyborg::Guidance guidance;
    cyborg::Batch batch;
    batch.labels = target;
    batch.weight = weight;
    // The published code adds the same number to the logits of all classes.
    guidance(z + added.unsqueeze(1), cyborg::Observation(), batch)
        .total.backward();
    return z.grad();
  };
  const auto plain = gradient(t({0, 0, 0}), {});
  CHECK(close(gradient(times / 30, {}), plain, 1e-12));
  CHECK_FALSE(close(
      gradient(
          t({0, 0, 0}), cyborg::functional::reaction_time_weight(
                            times, cyborg::quartiles_of(times))),
      plain, 1e-3));
}
