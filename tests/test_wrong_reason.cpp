// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/measure/wrong_reason.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>

using support::contains;
using support::error_of;
using support::t;

TEST_CASE("The wrong-reason score is the share that is marked", "[measure]") {
  // After the maximum and without negative values: 0, .5, 1, 0 and 0, 0, 0, 1
  // (but for 1e-6). Their mean is 0.3125.
  const auto maps = t({-3, 1, 2, 0, 0, 0, 0, 7}, {2, 4});
  const auto wrong = t({1, 1, 0, 0, 0, 1, 1, 1}, {2, 4});
  const auto found = cyborg::measure::wrong_reason(maps, wrong);
  CHECK(found.limit == Approx(0.3125).epsilon(1e-5));
  CHECK(found.score == Approx((1. / 2 + 1. / 3) / 2));
  CHECK(found.blank == 0);
}

TEST_CASE("Blank maps and masks are left out of the score", "[measure]") {
  const auto maps = t({-1, -2, 0, 4, 1, 0}, {3, 2});
  const auto wrong = t({1, 0, 1, 0, 0, 0}, {3, 2});
  const auto found = cyborg::measure::wrong_reason(maps, wrong);
  CHECK(found.blank == 1);
  CHECK(found.score == 0);  // the second picture alone
  CHECK(std::isnan(
      cyborg::measure::wrong_reason(maps, torch::zeros_like(wrong)).score));
  CHECK(contains(
      error_of([&] { cyborg::measure::wrong_reason(maps, wrong[0]); }),
      "expected wrong [3, 2], got [2]"));
  CHECK(contains(
      error_of([&] { cyborg::measure::wrong_reason(maps.log(), wrong); }),
      "expected maps that are finite"));
}
