// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/human/annotations.hpp>

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
