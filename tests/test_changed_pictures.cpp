// SPDX-License-Identifier: BSD-3-Clause
// Counter-examples, and pictures that are blurred outside.
#include <cyborg/human/changed_pictures.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <limits>

namespace {

using support::close;
using support::contains;
using support::error_of;

at::Generator seven() {
  return at::make_generator<at::CPUGeneratorImpl>(7);
}

}  // namespace

TEST_CASE(
    "Counter-examples change what is wrong, and nothing else", "[human]") {
  torch::manual_seed(1);
  const auto images = torch::rand({3, 2, 4, 6});
  auto wrong = torch::zeros({3, 4, 6});
  wrong[0].narrow(0, 1, 2).narrow(1, 2, 3).fill_(1);
  wrong[2].fill_(std::numeric_limits<float>::quiet_NaN());  // nobody drew one
  const auto changed = cyborg::human::refilled(images, wrong, 2, 3, seven());
  const auto moved = changed.ne(images);
  CHECK(moved[0].any(0).to(torch::kFloat).equal(wrong[0]));
  CHECK(changed[0].masked_select(wrong[0].gt(0)).ge(2).all().item<bool>());
  CHECK(changed[0].masked_select(wrong[0].gt(0)).lt(3).all().item<bool>());
  CHECK(changed[1].equal(images[1]));
  CHECK(changed[2].equal(images[2]));
  CHECK(changed.equal(
      cyborg::human::refilled(images, wrong.unsqueeze(1), 2, 3, seven())));
  // Half wrong is half way to the random value.
  const auto half =
      cyborg::human::refilled(images, wrong.nan_to_num(0) / 2, 2, 3, seven());
  CHECK(close(half[0], (images[0] + changed[0]) / 2, 1e-6));
  CHECK(contains(
      error_of([&] { cyborg::human::refilled(images, wrong, 1, 1, seven()); }),
      "expected low < high, got 1 and 1"));
  CHECK(contains(
      error_of(
          [&] { cyborg::human::refilled(images, wrong[0], 0, 1, seven()); }),
      "expected maps [B, *S] or [B, 1, *S] for images [3, 2, 4, 6], got [4, "
      "6]"));
}

TEST_CASE("Pictures are blurred where people do not look", "[human]") {
  torch::manual_seed(2);
  const auto images = torch::rand({3, 1, 8, 8});
  auto maps = torch::zeros({3, 8, 8});
  maps[0].narrow(0, 0, 4).fill_(5);  // any range
  maps[1].fill_(1);                  // says nothing
  maps[2].fill_(std::numeric_limits<float>::quiet_NaN());
  const auto changed = cyborg::human::blurred_outside(images, maps, 2);
  const auto soft = cyborg::human::blur(images, 2);
  CHECK(
      close(changed[0][0].narrow(0, 0, 4), images[0][0].narrow(0, 0, 4), 1e-6));
  CHECK(close(changed[0][0].narrow(0, 4, 4), soft[0][0].narrow(0, 4, 4), 1e-6));
  CHECK(changed[1].equal(images[1]));
  CHECK(changed[2].equal(images[2]));
  CHECK(contains(
      error_of([&] { cyborg::human::blurred_outside(images, maps, 0); }),
      "expected sigma > 0, got 0"));
}
