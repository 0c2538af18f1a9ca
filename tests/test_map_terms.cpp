// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/saliency_term.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <cmath>
#include <string>

using cyborg::CamClass;
using cyborg::CamEntropy;
using cyborg::CamEntropyOptions;
using cyborg::Normalizer;
using cyborg::SaliencyTerm;
using cyborg::SaliencyTermOptions;
using given::flags;
using given::pass_of;
using given::term_of;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const std::string kTerm = "cyborg::SaliencyTerm: ";

}  // namespace

TEST_CASE("A sample counts if both of its maps say something", "[term]") {
  const Tensor maps =
      t({0, 1, 2, 3, 0, 1, 2, 3, 5, 5, 5, 5, 0, 1, 2, 3, 0, 1, NAN, 3},
        {5, 2, 2})
          .requires_grad_();
  Tensor people = t({0, 0, 1, 1}, {1, 2, 2}).repeat({5, 1, 1});
  people[1] = 2;  // constant
  people[3][0][1] = given::kNaN;
  const auto found = term_of<cyborg::L1>(pass_of(maps, people));
  CHECK(close(found.usable, flags({1, 0, 0, 0, 0}), 0));
  CHECK(close(found.value, t({1. / 6, 0, 0, 0, 0})));
  found.value.sum().backward();
  CHECK(at::isfinite(maps.grad()).all().item<bool>());
  CHECK(maps.grad()[0].abs().max().item<double>() > 0);
  CHECK(maps.grad().slice(0, 1).abs().max().item<double>() == 0);
  // With human_normalizer kNone a constant map says something.
  CHECK(close(
      term_of<cyborg::L1>(
          pass_of(maps, people),
          SaliencyTermOptions().human_normalizer(Normalizer::kNone))
          .usable,
      flags({1, 1, 0, 0, 0}), 0));
  // Annotated, and the label known.
  auto pass = pass_of(maps, people);
  pass.batch.annotated = flags({0, 1, 1, 1, 1});
  CHECK(close(term_of<cyborg::L1>(pass).usable, flags({0, 0, 0, 0, 0}), 0));
  pass.batch.annotated = Tensor();
  pass.batch.labels = labels({-100, 0, 0, 0, 0});
  CHECK(close(term_of<cyborg::L1>(pass).usable, flags({0, 0, 0, 0, 0}), 0));
  CHECK(close(
      term_of<cyborg::L1>(
          pass, SaliencyTermOptions().cam_class(CamClass::kPredicted))
          .usable,
      flags({1, 0, 0, 0, 0}), 0));
}

TEST_CASE("People's maps that are smaller are enlarged", "[term]") {
  const Tensor maps = torch::rand({1, 2, 4}, torch::kDouble).requires_grad_();
  const Tensor people = t({0, 1}, {1, 1, 2});
  // Bilinear: 0, 1/4, 3/4, 1 in both rows.
  const Tensor large = t({0, .25, .75, 1, 0, .25, .75, 1}, {1, 2, 4});
  CHECK(close(
      term_of<cyborg::L1>(pass_of(maps, people)).value,
      term_of<cyborg::L1>(pass_of(maps, large)).value));
}

TEST_CASE("OutsideSquare reads what is wrong, not people's maps", "[term]") {
  const Tensor maps = t({0, 1, 2, 2}, {1, 2, 2}).requires_grad_();
  const Tensor wrong = t({1, 1, 0, 1}, {1, 2, 2});
  const auto found = term_of<cyborg::OutsideSquare>(pass_of(maps, {}, wrong));
  CHECK(close(found.value, t({1.25})));
  CHECK(
      error_of([&] { term_of<cyborg::OutsideSquare>(pass_of(maps, wrong)); }) ==
      kTerm +
          "expected masks of what is wrong, got none (for a batch that "
          "nobody annotated, give maps of NaN, or annotated with every "
          "entry false)");
}

TEST_CASE("Positions that do not exist are not compared", "[term]") {
  // The first sample has three positions, the second one, the third none.
  const Tensor maps = t({0, 1, 2, 9, 1, 9, 9, 9, 9, 9, 9, 9}, {3, 4});
  const Tensor people = t({0, 0, 1, NAN, 1, 0, 0, 0, 1, 0, 0, 0}, {3, 4});
  auto pass = pass_of(maps.clone().requires_grad_(), people);
  pass.batch.positions =
      flags({1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0}).reshape({3, 4});
  const auto found = term_of<cyborg::L1>(pass);
  CHECK(close(found.usable, flags({1, 0, 0}), 0));
  CHECK(close(found.value, t({.5 / 3, 0, 0})));
  found.value.sum().backward();
  CHECK(pass.maps.grad().select(1, 3).abs().max().item<double>() == 0);
  // The entropy of three positions is over ln 3, whatever the fourth has.
  const Tensor odd = maps.clone();
  odd[0][3] = given::kNaN;
  pass.maps = odd.requires_grad_();
  const auto entropy = CamEntropy()(pass.seen());
  const Tensor p = t({0, 1, 2}).softmax(0);
  CHECK(close(entropy.usable, flags({1, 0, 0}), 0));
  CHECK(close(entropy.value[0], -(p * p.log()).sum() / std::log(3)));
  entropy.value[0].backward();
  CHECK(at::isfinite(odd.grad()).all().item<bool>());
  CHECK(odd.grad()[0][3].item<double>() == 0);
  // All samples without positions still have a gradient path.
  pass.maps = maps.clone().requires_grad_();
  pass.batch.positions = torch::zeros({3, 4}, torch::kBool);
  CHECK(term_of<cyborg::L1>(pass).value.requires_grad());
  pass.batch.positions = torch::ones({3, 3}, torch::kBool);
  CHECK(error_of([&] {
          term_of<cyborg::L1>(pass);
        }) == kTerm + "expected positions [3, 4] of bool, got [3, 3] of Bool");
  CHECK(
      error_of([&] { CamEntropy()(pass.seen()); }) ==
      "cyborg::CamEntropy: expected positions [3, 4] of bool, got [3, 3] of "
      "Bool");
  pass.batch.positions = torch::ones({3, 4}, torch::kBool);
  pass.batch.maps = torch::rand({3, 8});
  CHECK(
      error_of([&] { term_of<cyborg::L1>(pass); }) ==
      kTerm +
          "expected maps of people of the model's size [3, 4] where "
          "positions are given, got [3, 8]");
  // As many numbers in another shape are another map.
  pass.maps = torch::rand({3, 2, 2}, torch::kDouble).requires_grad_();
  pass.batch.positions = torch::ones({3, 2, 2}, torch::kBool);
  pass.batch.maps = torch::rand({3, 1, 2, 2}, torch::kDouble);
  CHECK(term_of<cyborg::L1>(pass).usable.all().item<bool>());
  pass.batch.maps = torch::rand({3, 1, 4}, torch::kDouble);
  CHECK_FALSE(error_of([&] { term_of<cyborg::L1>(pass); }).empty());
  pass.maps = torch::rand({3, 2, 4}, torch::kDouble).requires_grad_();
  pass.batch.positions = torch::ones({3, 2, 4}, torch::kBool);
  pass.batch.maps = torch::rand({3, 4, 2}, torch::kDouble);
  CHECK(
      error_of([&] { term_of<cyborg::L1>(pass); }) ==
      kTerm +
          "expected maps of people of the model's size [3, 2, 4] where "
          "positions are given, got [3, 4, 2]");
}

TEST_CASE("The entropy goes from 0 to 1, with a finite gradient", "[term]") {
  // Min-max maps have a zero, where p ln p has a gradient of NaN.
  const Tensor maps =
      t({0, 0, 0, 0, 900, 0, 0, 0, 0, std::log(3), -900, -900, 1, 2, 3, 4},
        {4, 4})
          .requires_grad_();
  const auto found = CamEntropy()(pass_of(maps, {}).seen());
  const double two = -(.25 * std::log(.25) + .75 * std::log(.75));
  const Tensor p = maps[3].detach().softmax(0);
  CHECK(close(found.value[0], t({1})[0]));
  CHECK(close(found.value[1], t({0})[0]));
  CHECK(close(found.value[2], t({two / std::log(4)})[0]));
  CHECK(close(found.value[3], -(p * p.log()).sum() / std::log(4)));
  CHECK(found.usable.all().item<bool>());
  found.value.sum().backward();
  CHECK(at::isfinite(maps.grad()).all().item<bool>());
  CHECK(maps.grad()[0].abs().max().item<double>() < 1e-15);
  Tensor odd = maps.detach().clone();
  odd[1][2] = given::kNaN;
  odd.requires_grad_();
  auto pass = pass_of(odd, {});
  pass.batch.labels = labels({0, 0, -100, 0});
  const auto some = CamEntropy()(pass.seen());
  CHECK(close(some.usable, flags({1, 0, 0, 1}), 0));
  some.value.masked_fill(some.usable.logical_not(), 0).sum().backward();
  CHECK(at::isfinite(odd.grad()).all().item<bool>());
  CHECK(close(
      CamEntropy{CamEntropyOptions().cam_class(CamClass::kPredicted)}(
          pass.seen())
          .usable,
      flags({1, 0, 1, 1}), 0));
  CHECK(
      error_of(
          [] { CamEntropy()(pass_of(torch::zeros({2, 1}), {}).seen()); }) ==
      "cyborg::CamEntropy: expected a map of more than one position, got "
      "[2, 1]");
}
