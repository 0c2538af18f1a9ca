// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/human/annotations.hpp>
#include <cyborg/human/granularity.hpp>

#include <cmath>
#include <limits>

namespace human = cyborg::human;
using support::close;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

const double kNothing = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE(
    "The mean over annotators is the mean of their maps",
    "[human][annotations]") {
  const auto mean =
      human::mean_of({t({0, 1, 2, 3}, {2, 2}), t({4, 1, 0, 5}, {2, 2})});
  CHECK(close(mean, t({2, 1, 1, 4}, {2, 2})));
}

TEST_CASE(
    "An annotator who left a picture out does not count for it",
    "[human][annotations]") {
  // Three pictures [1, 2]; the second annotator has only the first one.
  const auto anna = t({1, 3, 5, 7, kNothing, kNothing}, {3, 1, 2});
  const auto ben = t({3, 5, kNothing, kNothing, kNothing, 1}, {3, 1, 2});
  const auto mean = human::mean_of({anna, ben, Tensor()});
  CHECK(close(mean[0], t({2, 4}, {1, 2})));
  CHECK(close(mean[1], t({5, 7}, {1, 2})));
  CHECK(mean[2].isnan().all().item<bool>());  // half a map does not count
}

TEST_CASE(
    "One NaN makes a picture's map missing, also without a batch",
    "[human][annotations]") {
  const auto mean =
      human::mean_of({t({kNothing, 1, 2, 3}, {2, 2}), t({4, 1, 0, 5}, {2, 2})});
  CHECK(close(mean, t({4, 1, 0, 5}, {2, 2})));
  // So does one infinity.
  const double infinity = std::numeric_limits<double>::infinity();
  const auto a = t({infinity, 1, 2, -infinity}, {2, 1, 2});
  const auto b = t({3, 4, 0, 6}, {2, 1, 2});
  CHECK(close(human::mean_of({a, b}), b));
  CHECK(close(human::union_of({a, b}), t({1, 1, 0, 1}, {2, 1, 2})));
}

TEST_CASE(
    "The union is 1 where anybody marked something", "[human][annotations]") {
  const auto a = t({0, .4, 0, 1, kNothing, kNothing}, {3, 1, 2});
  const auto b = t({0, 0, .2, 0, kNothing, kNothing}, {3, 1, 2});
  const auto any = human::union_of({a, b});
  CHECK(close(any.narrow(0, 0, 2), t({0, 1, 1, 1}, {2, 1, 2})));
  CHECK(any[2].isnan().all().item<bool>());
  CHECK(close(
      human::union_of({a, b}, /*threshold=*/.4).narrow(0, 0, 2),
      t({0, 0, 0, 1}, {2, 1, 2})));

  SECTION("the values of a missing map do not count") {
    CHECK(close(
        human::union_of({t({1, kNothing}, {1, 2}), t({0, 0}, {1, 2})}),
        t({0, 0}, {1, 2})));
  }
}

TEST_CASE(
    "Whole numbers become float32, double stays double",
    "[human][annotations]") {
  const auto bytes = at::tensor({0, 255}, at::kByte).view({1, 2});
  CHECK(human::mean_of({bytes, bytes}).scalar_type() == at::kFloat);
  CHECK(human::union_of({bytes}).scalar_type() == at::kFloat);
  CHECK(human::mean_of({t({1, 2}, {1, 2})}).scalar_type() == at::kDouble);
}

TEST_CASE(
    "Annotators' maps that do not fit together are refused",
    "[human][annotations][error]") {
  CHECK(
      error_of([] { human::mean_of({at::rand({2, 2}), at::rand({2, 3})}); }) ==
      "cyborg::human::mean_of: expected maps [H, W] or [B, *S] of one shape, "
      "got [2, 2] and [2, 3]");
  CHECK(
      error_of([] { human::union_of({Tensor(), Tensor()}); }) ==
      "cyborg::human::union_of: expected the map of at least one annotator, "
      "got 2 undefined tensors");
  CHECK(
      error_of([] { human::mean_of({}); }) ==
      "cyborg::human::mean_of: expected the map of at least one annotator, "
      "got 0 undefined tensors");
  CHECK(
      error_of([] { human::mean_of({Tensor(), at::rand({4})}); }) ==
      "cyborg::human::mean_of: expected maps [H, W] or [B, *S] of one shape, "
      "got [4] and [4]");
}

TEST_CASE(
    "An annotator who disagrees with the others counts less",
    "[human][annotations]") {
  const auto a = t({1, 0, 0, 0}, {2, 2});
  const auto b = t({1, 0, 0, 0}, {2, 2});
  const auto c = t({0, 0, 0, 1}, {2, 2});  // marks another place
  // Correlations with the others: a and b with (1, 0, 0, 1) / 2: 1 / sqrt(3);
  // c with (1, 0, 0, 0): -1/3, which counts as 0.
  CHECK(close(
      human::agreement_weighted_of({a, b, c}), t({1, 0, 0, 0}, {2, 2}), 1e-12));

  SECTION("weights are the correlations") {
    // Correlation of (1, 1, 0, 0) with the others' mean (1, 0, 0, 0): 1/sqrt 3;
    // of (1, 0, 0, 0) with (2, 1, 0, 0) / 2: 5 / sqrt(33).
    const auto wide = t({1, 1, 0, 0}, {2, 2});
    const double w1 = 1 / std::sqrt(3.0), w2 = 5 / std::sqrt(33.0);
    const double share = w1 / (w1 + 2 * w2);
    CHECK(close(
        human::agreement_weighted_of({wide, a, b}), t({1, share, 0, 0}, {2, 2}),
        1e-12));
  }
  SECTION("one annotator, or no agreement, is the mean") {
    CHECK(close(human::agreement_weighted_of({c}), c));
    CHECK(
        close(human::agreement_weighted_of({a, c}), t({.5, 0, 0, .5}, {2, 2})));
    CHECK(close(
        human::agreement_weighted_of({a, t({0, 0, 0, 0}, {2, 2})}),
        t({.5, 0, 0, 0}, {2, 2})));
  }
  SECTION("missing maps do not count, and nobody is missing") {
    const auto x = t({1, 0, 2, 0, kNothing, 1}, {3, 1, 2});
    const auto y = t({1, 0, kNothing, 0, kNothing, 1}, {3, 1, 2});
    const auto map = human::agreement_weighted_of({x, y});
    CHECK(close(map[0], t({1, 0}, {1, 2})));
    CHECK(close(map[1], t({2, 0}, {1, 2})));
    CHECK(map[2].isnan().all().item<bool>());
  }
}

TEST_CASE(
    "Leaving one annotator out leaves the mean of the others",
    "[human][annotations]") {
  const auto a = t({1, 3}, {1, 2});
  const auto b = t({5, 7}, {1, 2});
  const auto c = t({kNothing, 7}, {1, 2});
  const auto others = human::leave_one_out_of({a, b, c});
  REQUIRE(others.size() == 3);
  CHECK(close(others[0], b));
  CHECK(close(others[1], a));
  CHECK(close(others[2], t({3, 5}, {1, 2})));
  CHECK(human::leave_one_out_of({c, b})[1].isnan().all().item<bool>());
  CHECK(
      error_of([&] { human::leave_one_out_of({a, Tensor()}); }) ==
      "cyborg::human::leave_one_out_of: expected the maps of at least two "
      "annotators, got 1");
}

TEST_CASE(
    "Features, area and box of interest are ever coarser",
    "[human][annotations]") {
  const auto a = t({0, .2, 0, 0, 0, .9, 0, 0, 0, 0, 0, 0}, {3, 4});
  const auto b = t({0, 0, 0, 0, 0, .8, 0, 0, 0, 0, .6, 0}, {3, 4});
  CHECK(close(
      human::features_of_interest({a, b}),
      t({0, .5, 0, 0, 0, 1, 0, 0, 0, 0, .5, 0}, {3, 4})));
  CHECK(close(
      human::features_of_interest({a, b}, /*threshold=*/.5),
      t({0, 0, 0, 0, 0, 1, 0, 0, 0, 0, .5, 0}, {3, 4})));
  CHECK(close(
      human::area_of_interest({a, b}),
      t({0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}, {3, 4})));
  CHECK(close(
      human::area_of_interest({a, b}, /*threshold=*/0, /*share=*/.5),
      t({0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, {3, 4})));
  CHECK(close(human::area_of_interest({a, b}), human::union_of({a, b})));
  CHECK(close(
      human::box_of_interest({a, b}),
      t({0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0}, {3, 4})));

  SECTION("in a batch, with an empty picture and one that nobody saw") {
    const auto nothing = torch::full({3, 4}, kNothing, torch::kDouble);
    const auto stack =
        at::stack({a, torch::zeros({3, 4}, torch::kDouble), nothing});
    const auto box = human::box_of_interest({stack});
    CHECK(close(box[0], t({0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, {3, 4})));
    CHECK(box[1].abs().max().item<double>() == 0);
    CHECK(box[2].isnan().all().item<bool>());
    CHECK(human::features_of_interest({stack})[2].isnan().all().item<bool>());
  }
  CHECK(
      error_of([] { human::box_of_interest({at::rand({2, 2, 2, 2})}); }) ==
      "cyborg::human::box_of_interest: expected maps [H, W] or [B, H, W], got "
      "[2, 2, 2, 2]");
}
