// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/ternary.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <cmath>
#include <string>
#include <vector>

using cyborg::PerSample;
using cyborg::Ternary;
using cyborg::TernaryForm;
using cyborg::TernaryOptions;
using given::pass_of;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

PerSample ternary(
    const given::Pass& pass, TernaryForm form, double slack = .1) {
  return Ternary{TernaryOptions().form(form).slack(slack)}(pass.seen());
}

const std::vector<TernaryForm> kForms{
    TernaryForm::kGradia, TernaryForm::kHaics, TernaryForm::kResG};

/// The map 0, 1/4, 1/2, 1; wanted are the first and last position, unwanted is
/// the second.
given::Pass four_positions() {
  return pass_of(
      t({0, 1, 2, 4}, {1, 2, 2}), t({1, 0, 0, 1}, {1, 2, 2}),
      t({0, 1, 0, 0}, {1, 2, 2}));
}

}  // namespace

TEST_CASE("Ternary forms give the numbers worked out by hand", "[ternary]") {
  const auto pass = four_positions();
  CHECK(close(ternary(pass, TernaryForm::kGradia).value, t({1.75 / 4})));
  // A mean over the three positions with feedback. The published code has the
  // mean over all four, times 3/4, with f+ = 0 where nobody said anything.
  const double sum = -std::log(1e-4) - std::log(.75) - std::log(1 - 1e-4);
  CHECK(close(ternary(pass, TernaryForm::kHaics).value, t({sum / 3})));
  // Reflected, the blur of a 2 x 2 map is its mean: b = 1 everywhere.
  const double hinge = (3 - std::tanh(1.25)) / 3 - .1;
  CHECK(close(ternary(pass, TernaryForm::kResG).value, t({2.25 / 4 + hinge})));
  CHECK(close(ternary(pass, TernaryForm::kResG, 2).value, t({2.25 / 4})));
  // A map of one axis is not blurred.
  CHECK(close(
      ternary(
          pass_of(
              t({0, 1, 2, 4}, {1, 4}), t({1, 0, 0, 1}, {1, 4}),
              t({0, 1, 0, 0}, {1, 4})),
          TernaryForm::kResG)
          .value,
      t({1.75 / 4 + hinge})));
}

TEST_CASE("Either kind of feedback is enough", "[ternary]") {
  auto pass = four_positions();
  const Tensor people = pass.batch.maps, wrong = pass.batch.wrong;
  pass.batch.wrong = Tensor();
  const double two = -std::log(1e-4) - std::log(1 - 1e-4);
  CHECK(close(ternary(pass, TernaryForm::kHaics).value, t({two / 2})));
  pass.batch.maps = Tensor();
  pass.batch.wrong = wrong;
  CHECK(close(ternary(pass, TernaryForm::kGradia).value, t({1.75 / 4})));
  CHECK(close(ternary(pass, TernaryForm::kHaics).value, t({-std::log(.75)})));
  // Wanted and unwanted at once is unknown.
  pass.batch.maps = people;
  pass.batch.wrong = t({1, 1, 0, 0}, {1, 2, 2});
  CHECK(close(
      ternary(pass, TernaryForm::kHaics).value,
      t({(-std::log(.75) - std::log(1 - 1e-4)) / 2})));
  // People's maps are cut at the middle of their range, masks at 1/2.
  pass.batch.maps = t({9, 4, 5, 7}, {1, 2, 2});
  pass.batch.wrong = t({.2, .6, 0, .5}, {1, 2, 2});
  CHECK(close(
      ternary(pass, TernaryForm::kHaics).value,
      ternary(four_positions(), TernaryForm::kHaics).value));
}

TEST_CASE("Masks are resized by the nearest value", "[ternary]") {
  const Tensor people = torch::zeros({1, 4, 4}, torch::kDouble);
  people[0][0][0] = 1;
  people[0][2][2] = 1;
  people[0][3].fill_(1);  // between the positions: not read
  auto pass = four_positions();
  pass.batch.maps = people;
  CHECK(close(
      ternary(pass, TernaryForm::kGradia).value,
      ternary(four_positions(), TernaryForm::kGradia).value));
}

TEST_CASE("A sample counts if somebody said something of it", "[ternary]") {
  const Tensor maps =
      four_positions().maps.repeat({6, 1, 1}).contiguous().requires_grad_();
  Tensor people = four_positions().batch.maps.repeat({6, 1, 1});
  Tensor wrong = torch::zeros({6, 2, 2}, torch::kDouble);
  people[1] = 1;                  // constant
  people[2][0][0] = given::kNaN;  // missing
  wrong[2][0][1] = 1;             // but something is wrong
  people[3] = 0;
  wrong[3] = given::kNaN;
  auto pass = pass_of(maps, people, wrong);
  pass.batch.labels = labels({0, 0, 0, 0, -100, 0});
  pass.batch.annotated = torch::tensor({true, true, true, true, true, false});
  for (const auto form : kForms) {
    const auto found = ternary(pass, form);
    CHECK(close(
        found.usable, torch::tensor({true, false, true, false, false, false}),
        0));
    CHECK(at::isfinite(found.value).all().item<bool>());
  }
}

TEST_CASE("A flat map has no gradient", "[ternary]") {
  Tensor maps = four_positions().maps.repeat({4, 1, 1});
  maps[1] = 3;
  maps[2] *= 1e-7;
  maps[3][1][1] = given::kNaN;
  maps.requires_grad_();
  const auto pass = pass_of(
      maps, four_positions().batch.maps.repeat({4, 1, 1}),
      four_positions().batch.wrong.repeat({4, 1, 1}));
  for (const auto form : kForms) {
    const auto found = ternary(pass, form);
    CHECK(close(found.usable, torch::tensor({true, false, false, false}), 0));
    const Tensor slope = given::gradients(
        found.value.masked_fill(found.usable.logical_not(), 0).sum(),
        {maps})[0];
    CHECK(slope[0].abs().max().item<double>() > 0);
    CHECK(close(slope.slice(0, 1), torch::zeros({3, 2, 2}), 0));
  }
}

TEST_CASE(
    "Ternary forms have the gradient of finite differences",
    "[ternary][gradient]") {
  torch::manual_seed(7);
  const Tensor people = torch::rand({2, 3, 4}, torch::kDouble);
  const Tensor wrong = torch::rand({2, 3, 4}, torch::kDouble);
  for (const auto form : kForms) {
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) {
          return ternary(pass_of(in[0], people, wrong), form).value;
        },
        {torch::randn({2, 3, 4}, torch::kDouble)}));
  }
  // Where everything that people said is right, the hinge costs nothing.
  const Tensor agrees = t({1, .9, -1, -.9}, {1, 4}).requires_grad_();
  const auto found = ternary(
      pass_of(agrees, t({1, 1, 0, 0}, {1, 4}), t({0, 0, 1, 1}, {1, 4})),
      TernaryForm::kResG, .5);
  CHECK(close(found.value, t({.05 / 2})));
}

TEST_CASE("Ternary says what it expects", "[ternary][error]") {
  const std::string name = "cyborg::Ternary: ";
  auto pass = four_positions();
  const auto refused = [&](const TernaryOptions& options) {
    return error_of([&] { Ternary{options}(pass.seen()); });
  };
  CHECK(
      refused(TernaryOptions().threshold(1)) ==
      name + "expected threshold in (0, 1) and slack >= 0, got 1 and 0.1");
  CHECK(
      refused(TernaryOptions().slack(-1)) ==
      name + "expected threshold in (0, 1) and slack >= 0, got 0.5 and -1");
  pass.batch.positions = torch::ones({1, 2, 2}, torch::kBool);
  CHECK(
      refused({}) ==
      name + "the positions of samples of different sizes are not supported");
  pass.batch.positions = Tensor();
  pass.batch.maps = torch::rand({2, 2, 2});
  CHECK(
      refused({}) ==
      name +
          "expected maps of people [B, *S] or [B, 1, *S] for a map of the "
          "model [1, 2, 2], got [2, 2, 2]");
  pass.batch.maps = Tensor();
  pass.batch.wrong = Tensor();
  CHECK(
      refused({}) ==
      name + "expected maps, or masks of what is wrong, got neither");
}
