// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/cam/methods.hpp>
#include <cyborg/guide/saliency_guided.hpp>

#include <torch/nn/functional/loss.h>

#include "catch.hpp"
#include "support.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

using cyborg::CamClass;
using cyborg::CyborgKLLoss;
using cyborg::CyborgL1Loss;
using cyborg::CyborgL2Loss;
using cyborg::LossTerms;
using cyborg::Normalizer;
using cyborg::Reduction;
using cyborg::SaliencyGuidedLoss;
using cyborg::SaliencyGuidedLossOptions;
using support::close;
using support::contains;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kInf = std::numeric_limits<double>::infinity();

/// Four samples, three classes, maps of 3 x 2 against maps of 6 x 8.
struct Batch {
  explicit Batch(at::ScalarType type = at::kDouble, int64_t classes = 3) {
    torch::manual_seed(11);
    const auto make = [&](std::vector<int64_t> sizes) {
      return torch::randn(sizes, torch::kDouble).to(type).requires_grad_();
    };
    features = make({4, 5, 3, 2});
    weight = make({classes, 5});
    bias = make({classes});
    maps = torch::rand({4, 6, 8}, torch::kDouble).to(type);
    target = classes == 1 ? labels({0, 1, 1, 0}) : labels({2, 0, 1, 0});
  }

  Tensor logits() const {
    return torch::matmul(features.flatten(2).mean(2), weight.t()) + bias;
  }

  // A source of maps, as a CamHook is.
  Tensor cam(const Tensor&, const Tensor& which) const {
    return cyborg::functional::cam(features, weight, which);
  }
  Tensor cam(const Tensor& scores, CamClass which) const {
    REQUIRE(which == CamClass::kPredicted);
    return cam(
        scores, scores.size(1) == 1 ? scores.squeeze(1).gt(0).to(at::kLong)
                                    : scores.argmax(1));
  }

  std::vector<Tensor> gradients(const Tensor& of) const {
    auto all = torch::autograd::grad(
        {of}, {features, weight, bias}, {}, true, false, true);
    for (Tensor& one : all) {
      if (!one.defined()) {
        one = torch::zeros({1});
      }
    }
    return all;
  }

  Tensor features, weight, bias, maps, target;
};

Tensor cross_entropy(const Tensor& logits, const Tensor& target) {
  return torch::nn::functional::cross_entropy(logits, target);
}

int64_t count(const LossTerms& terms) {
  return terms.annotated_count.item<int64_t>();
}

bool finite(const Tensor& tensor) {
  return at::isfinite(tensor).all().item<bool>();
}

/// The mean squared difference of one sample, written as a loop.
Tensor one_distance(const Batch& b, int64_t i) {
  const Tensor cam = b.cam(b.logits(), b.target)[i];
  const Tensor shifted = cam - cam.min();
  const Tensor human =
      cyborg::maps::resize(b.maps.slice(0, i, i + 1), {3, 2})[0];
  const Tensor h = (human - human.min()) / (human.max() - human.min());
  return (shifted / shifted.max() - h).square().mean();
}

/// A distance that is 0 / 0 for a map of zeros.
struct OneMinusCosine {
  static constexpr auto map_normalizer = Normalizer::kMinMax;
  static constexpr auto human_normalizer = Normalizer::kMinMax;
  Tensor operator()(const Tensor& model, const Tensor& human) const {
    return 1 - (model * human).sum(1) / (model.norm(2, 1) * human.norm(2, 1));
  }
};

/// The distance of the first sample is infinite, those of the others are 1.
struct InfiniteFirst {
  static constexpr auto map_normalizer = Normalizer::kMinMax;
  static constexpr auto human_normalizer = Normalizer::kMinMax;
  Tensor operator()(const Tensor& model, const Tensor&) const {
    Tensor each = torch::ones({model.size(0)}, model.options());
    each[0] = kInf;
    return each;
  }
};

/// A distance: the share of the model's map that is outside.
struct Outside {
  static constexpr Normalizer map_normalizer = Normalizer::kSum;
  static constexpr Normalizer human_normalizer = Normalizer::kMax;
  double scale = 1;
  Tensor operator()(const Tensor& model, const Tensor& human) const {
    return scale * (model * (1 - human)).sum(1);
  }
};

/// A wrong distance: it does not return one number a sample.
struct Wrong : Outside {
  Tensor operator()(const Tensor& model, const Tensor&) const {
    return model.mean();
  }
};

auto options() {
  return SaliencyGuidedLossOptions();
}

/// Options that make distances easy to work out: maps are not normalised.
auto plain() {
  return options()
      .map_normalizer(Normalizer::kNone)
      .human_normalizer(Normalizer::kNone);
}

}  // namespace

// ------------------------------------------------------------------- values

TEST_CASE("The loss gives the numbers worked out by hand", "[loss]") {
  const Tensor logits = t({0, 0, std::log(3), 0}, {2, 2});
  const Tensor cam = t({0, 1, 2, 4, 1, 3, 5, 9}, {2, 2, 2});
  const Tensor maps = t({0, 0, 5, 10, 2, 2, 2, 4}, {2, 2, 2});
  // Cross entropy: ln 2, ln 4 - ln 3. Maps: 0 1/4 1/2 1 and 0 1/4 1/2 1
  // against 0 0 1/2 1 and 0 0 0 1.
  const double task = (std::log(2) + std::log(4. / 3)) / 2;
  const Tensor target = labels({0, 0});
  const auto l1 = CyborgL1Loss(options().alpha(.25))(logits, target, cam, maps);
  CHECK(close(l1.classification, t({task}, {})));
  CHECK(close(l1.saliency, t({(.25 + .75) / 8}, {})));
  CHECK(close(l1.total, t({.25 * task + .75 * .125}, {})));
  CHECK(count(l1) == 2);
  const auto l2 = CyborgL2Loss(options().alpha(.25))(logits, target, cam, maps);
  CHECK(close(l2.saliency, t({(.0625 + .0625 + .25) / 8}, {})));
  // Divergence: people's maps are 0 0 1/3 2/3 and .2 .2 .2 .4, the model's are
  // a softmax.
  const double z0 = std::exp(0) + std::exp(1) + std::exp(2) + std::exp(4);
  const double z1 = std::exp(1) + std::exp(3) + std::exp(5) + std::exp(9);
  const double d0 = std::log(1. / 3) / 3 + 2 * std::log(2. / 3) / 3 -
                    (2. / 3 + 4 * 2. / 3 - std::log(z0));
  const double d1 =
      .6 * std::log(.2) + .4 * std::log(.4) - (.2 * 9 + .4 * 9 - std::log(z1));
  const auto kl = CyborgKLLoss(options().alpha(.25))(logits, target, cam, maps);
  CHECK(close(kl.saliency, t({(d0 + d1) / 2}, {})));
}

TEST_CASE("By default both terms weigh one half", "[loss]") {
  CHECK(CyborgL2Loss().alpha() == 0.5);
  const Batch b;
  const auto terms = CyborgL2Loss()(b.logits(), b.target, b, b.maps);
  CHECK(close(terms.total, 0.5 * terms.classification + 0.5 * terms.saliency));
}

TEST_CASE(
    "The loss has the gradient of finite differences", "[loss][gradient]") {
  const Batch b;
  const Tensor annotated = torch::tensor({true, true, false, true});
  const Tensor weight = t({1, 0.5, 2, 3});
  const auto check = [&](const auto& criterion) {
    return support::gradcheck(
        [&](std::vector<Tensor> in) {
          const Tensor maps = cyborg::functional::cam(in[0], in[1], b.target);
          return criterion(in[2], b.target, maps, b.maps, annotated, weight)
              .total;
        },
        {b.features, b.weight, b.logits()});
  };
  CHECK(check(CyborgL1Loss(options().alpha(.3))));
  CHECK(check(CyborgL2Loss(options().alpha(.3))));
  CHECK(check(CyborgKLLoss(options().alpha(.3))));
  CHECK(check(CyborgKLLoss(options().reduction(Reduction::kSum))));
  for (const auto normalizer :
       {Normalizer::kNone, Normalizer::kMax, Normalizer::kSum,
        Normalizer::kSoftmax, Normalizer::kMinMax}) {
    CHECK(check(CyborgL2Loss(options().map_normalizer(normalizer))));
  }
  CHECK(check(CyborgKLLoss(options().map_normalizer(Normalizer::kSum))));
}

TEST_CASE(
    "The normalisers are the distance's unless the options name others",
    "[loss]") {
  const Batch b;
  const Tensor cam = b.cam(b.logits(), b.target);
  const Tensor human = cyborg::maps::resize(b.maps, {3, 2});
  const auto all = {
      Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax,
      Normalizer::kSum, Normalizer::kSoftmax};
  for (const auto model : all) {
    for (const auto people : all) {
      const auto terms = CyborgL1Loss(
          options().map_normalizer(model).human_normalizer(people))(
          b.logits(), b.target, cam, b.maps);
      const auto expected = (cyborg::functional::normalize(cam, model) -
                             cyborg::functional::normalize(human, people))
                                .abs()
                                .mean();
      CHECK(close(terms.saliency, expected));
    }
  }
  const auto own = CyborgKLLoss()(b.logits(), b.target, cam, b.maps);
  const auto said = CyborgKLLoss(options()
                                     .map_normalizer(Normalizer::kSoftmax)
                                     .human_normalizer(Normalizer::kSum))(
      b.logits(), b.target, cam, b.maps);
  CHECK(close(own.total, said.total, 0));
}

// -------------------------------------------- samples that are not guided

TEST_CASE(
    "In a batch that is partly annotated, the mean is over that part",
    "[loss][missing]") {
  const Batch b;
  const auto check = [&](const LossTerms& terms,
                         const std::vector<int64_t>& guided) {
    const double n = static_cast<double>(guided.size());
    Tensor saliency = torch::zeros({}, torch::kDouble);
    for (const int64_t i : guided) {
      saliency = saliency + one_distance(b, i) / n;
    }
    const double a = 1 - (1 - .3) * n / 4;
    const Tensor task = cross_entropy(b.logits(), b.target);
    const Tensor total = a * task + (1 - a) * saliency;
    CHECK(count(terms) == static_cast<int64_t>(n));
    CHECK(close(terms.classification, task));
    CHECK(close(terms.saliency, saliency));
    CHECK(close(terms.total, total));
    const auto ours = b.gradients(terms.total);
    const auto expected = b.gradients(total);
    for (size_t i = 0; i < ours.size(); ++i) {
      CHECK(close(ours[i], expected[i]));
    }
  };
  const CyborgL2Loss criterion(options().alpha(.3));
  const auto run = [&](const Tensor& maps, const Tensor& annotated = {}) {
    return criterion(b.logits(), b.target, b, maps, annotated);
  };
  SECTION("all") {
    check(run(b.maps), {0, 1, 2, 3});
  }
  SECTION("a NaN") {
    Tensor maps = b.maps.clone();
    maps[1][0][0] = kNaN;
    check(run(maps), {0, 2, 3});
  }
  SECTION("an infinity") {
    Tensor maps = b.maps.clone();
    maps[1][5][7] = -kInf;
    maps[2][0][0] = kInf;
    check(run(maps), {0, 3});
  }
  SECTION("all black, all white, all grey") {
    Tensor maps = b.maps.clone();
    maps[0].fill_(0);
    maps[1].fill_(1);
    maps[3].fill_(0.3);
    check(run(maps), {2});
  }
  SECTION("not annotated") {
    check(run(b.maps, torch::tensor({true, false, false, true})), {0, 3});
    check(run(b.maps, torch::tensor({1, 0, 0, 2})), {0, 3});
  }
  SECTION("several reasons") {
    Tensor maps = b.maps.clone();
    maps[0].fill_(1);
    maps[1].fill_(kNaN);
    check(run(maps, torch::tensor({true, true, false, true})), {3});
    check(run(maps, torch::tensor({false, false, true, true})), {2, 3});
  }
}

TEST_CASE(
    "Without annotations the loss is the task's, in value and gradient",
    "[loss][missing][gradient]") {
  const auto check = [](const auto& criterion, at::ScalarType type) {
    const Batch b(type);
    const Tensor logits = b.logits();
    const Tensor task = cross_entropy(logits, b.target);
    for (const Tensor& maps :
         {torch::full_like(b.maps, kNaN), torch::zeros_like(b.maps)}) {
      const auto terms = criterion(logits, b.target, b, maps);
      CHECK(count(terms) == 0);
      CHECK(close(terms.total, task, 0));
      CHECK(close(terms.saliency, torch::zeros({}), 0));
      const auto ours = b.gradients(terms.total);
      const auto expected = b.gradients(task);
      for (size_t i = 0; i < ours.size(); ++i) {
        CHECK(close(ours[i], expected[i], 0));
      }
    }
    const auto terms =
        criterion(logits, b.target, b, b.maps, torch::zeros({4}, torch::kBool));
    CHECK(close(terms.total, task, 0));
  };
  for (const auto type : {at::kDouble, at::kFloat}) {
    check(CyborgL1Loss(), type);
    check(CyborgL2Loss(options().alpha(0)), type);
    check(CyborgKLLoss(options().alpha(.1)), type);
  }
}

TEST_CASE(
    "A constant map of the model is left out, without a NaN",
    "[loss][missing][gradient]") {
  const auto check = [](const auto& criterion) {
    const Batch b;
    Tensor values = b.features.detach().clone();
    values[1].fill_(0.7);
    const Tensor features = values.requires_grad_();
    const Tensor cam = cyborg::functional::cam(features, b.weight, b.target);
    const Tensor logits =
        torch::matmul(features.flatten(2).mean(2), b.weight.t());
    const auto terms = criterion(logits, b.target, cam, b.maps);
    CHECK(count(terms) == 3);
    CHECK(finite(terms.total));
    const Tensor gradient =
        torch::autograd::grad({terms.saliency}, {features}, {}, true)[0];
    CHECK(finite(gradient));
    CHECK(close(gradient[1], torch::zeros({5, 3, 2}), 0));
    CHECK(gradient[0].abs().max().item<double>() > 1e-4);
    CHECK(finite(torch::autograd::grad({terms.total}, {b.weight})[0]));
  };
  check(CyborgL1Loss());
  check(CyborgL2Loss());
  check(CyborgKLLoss());
  check(CyborgL2Loss(options().map_normalizer(Normalizer::kMax)));
  check(CyborgL2Loss(options().map_normalizer(Normalizer::kSum)));
}

TEST_CASE(
    "A constant map of the model guides when it is not normalised",
    "[loss][missing]") {
  const Tensor cam = torch::ones({1, 2, 2}, torch::kDouble);
  const Tensor maps = t({0, 1, 1, 1}, {1, 2, 2});
  const auto terms = CyborgL1Loss(plain()).combine(t({1}), cam, maps);
  CHECK(count(terms) == 1);
  CHECK(close(terms.saliency, t({.25}, {})));
}

TEST_CASE(
    "A map of the model that is not finite is left out",
    "[loss][missing][gradient]") {
  const Batch b;
  for (const double bad : {kNaN, kInf, -kInf}) {
    for (const auto normalizer :
         {Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax,
          Normalizer::kSum, Normalizer::kSoftmax}) {
      Tensor values = b.cam(b.logits(), b.target).detach().clone();
      values[2][0][1] = bad;
      const Tensor cam = values.requires_grad_();
      const auto check = [&](const LossTerms& terms) {
        CHECK(count(terms) == 3);
        CHECK(finite(terms.total));
        const Tensor gradient = torch::autograd::grad({terms.total}, {cam})[0];
        CHECK(finite(gradient));
        CHECK(close(gradient[2], torch::zeros({3, 2}), 0));
      };
      const auto o = options().map_normalizer(normalizer);
      check(CyborgL1Loss(o).combine(t({1}), cam, b.maps));
      check(CyborgL2Loss(o).combine(t({1}), cam, b.maps));
      check(CyborgKLLoss(o).combine(t({1}), cam, b.maps));
    }
  }
}

TEST_CASE("A uniform control guides with kNone", "[loss][missing]") {
  const Batch b;
  const Tensor uniform = torch::full_like(b.maps, 1. / 6);
  const auto o = options().human_normalizer(Normalizer::kNone);
  const auto terms = CyborgKLLoss(o)(b.logits(), b.target, b, uniform);
  CHECK(count(terms) == 4);
  const Tensor log_p = b.cam(b.logits(), b.target).flatten(1).log_softmax(1);
  CHECK(close(terms.saliency, (std::log(1. / 6) - log_p).mean()));
  CHECK(count(CyborgKLLoss()(b.logits(), b.target, b, uniform)) == 0);
  Tensor maps = uniform.clone();
  maps[0][0][0] = kNaN;
  CHECK(count(CyborgKLLoss(o)(b.logits(), b.target, b, maps)) == 3);
}

TEST_CASE(
    "Detail that averages out at the model's size guides nothing",
    "[loss][missing]") {
  Tensor stripes = torch::zeros({1, 8}, torch::kDouble);
  stripes.slice(1, 0, 8, 2).fill_(1);
  const Tensor cam = t({0, 1, 2, 3}, {1, 4});
  CHECK(count(CyborgL2Loss().combine(t({1}), cam, stripes)) == 0);
  CHECK(count(CyborgL2Loss().combine(t({1}), cam, cam)) == 1);
}

TEST_CASE(
    "A large constant map stays constant when resized", "[loss][missing]") {
  // The resize sums hundreds of rounded weights. The range of the result is
  // then 9e-6 of this map's value, which is more than what counts as rounding.
  const Tensor maps = torch::full({1, 1001, 400}, 0.9f);
  const Tensor cam = torch::rand({1, 3, 3});
  CHECK(count(CyborgL2Loss().combine(torch::ones({}), cam, maps)) == 0);
}

TEST_CASE(
    "A distance that is not defined for zeros may be used",
    "[loss][missing][gradient]") {
  const Batch b;
  Tensor maps = b.maps.clone();
  maps[1].fill_(kNaN);
  const auto terms =
      SaliencyGuidedLoss<OneMinusCosine>()(b.logits(), b.target, b, maps);
  CHECK(count(terms) == 3);
  CHECK(finite(terms.total));
  for (const Tensor& gradient : b.gradients(terms.total)) {
    CHECK(finite(gradient));
  }
}

// -------------------------------------------------------------- human maps

TEST_CASE("People's maps are resized, then normalised", "[loss][maps]") {
  const Batch b;
  const Tensor small = cyborg::maps::resize(b.maps, {3, 2});
  const Tensor scaled =
      cyborg::functional::normalize(small, Normalizer::kMinMax);
  const CyborgL2Loss criterion;
  const Tensor expected = criterion(b.logits(), b.target, b, scaled).total;
  CHECK(close(criterion(b.logits(), b.target, b, b.maps).total, expected));
  CHECK(close(
      criterion(b.logits(), b.target, b, b.maps.unsqueeze(1)).total, expected));
  CHECK(close(
      criterion(b.logits(), b.target, b, b.maps * 255 - 3).total, expected));
}

TEST_CASE("Maps may have one or three dimensions", "[loss][maps]") {
  torch::manual_seed(5);
  for (const auto& sizes :
       std::vector<std::vector<int64_t>>{{2, 3}, {2, 3, 2}, {2, 2, 3, 2}}) {
    std::vector<int64_t> larger = sizes;
    for (size_t i = 1; i < larger.size(); ++i) {
      larger[i] *= 2;
    }
    const Tensor cam = torch::randn(sizes, torch::kDouble);
    const Tensor maps = torch::rand(larger, torch::kDouble);
    const Tensor human = cyborg::functional::normalize(
        cyborg::maps::resize(maps, cam.sizes().slice(1)), Normalizer::kMinMax);
    const Tensor expected =
        (cyborg::functional::normalize(cam, Normalizer::kMinMax) - human)
            .square()
            .mean();
    for (const Tensor& given : {maps, maps.unsqueeze(1)}) {
      const auto terms = CyborgL2Loss().combine(t({1}), cam, given);
      CHECK(close(terms.saliency, expected));
      CHECK(count(terms) == 2);
    }
  }
  // One dimension that is halved gives the mean of pairs.
  const auto terms = CyborgL1Loss(plain()).combine(
      t({1}), t({0, 0}, {1, 2}), t({1, 3, 5, 9}, {1, 4}));
  CHECK(close(terms.saliency, t({4.5}, {})));
}

TEST_CASE(
    "The rank separates a map of one channel from a batch of rows",
    "[loss][maps]") {
  // [B, 1, S] is a one-channel map for a model's map [B, S], and a map of one
  // row for a model's map [B, 1, S].
  const Tensor cam = t({0, 1, 2, 4}, {1, 4});
  const Tensor maps = t({0, 1, 1, 4}, {1, 1, 4});
  const Tensor one = CyborgL2Loss().combine(t({1}), cam, maps).saliency;
  CHECK(close(
      CyborgL2Loss().combine(t({1}), cam.unsqueeze(1), maps).saliency, one));
  CHECK(close(one, t({.0625 / 4}, {})));
}

TEST_CASE("People's maps may be of any type", "[loss][maps][dtype]") {
  const Tensor cam = t({0, 1, 2, 4}, {1, 2, 2});
  const Tensor maps = t({0, 1, 1, 0}, {1, 2, 2});
  const Tensor expected = CyborgL2Loss().combine(t({1}), cam, maps).total;
  for (const auto type :
       {at::kBool, at::kByte, at::kShort, at::kLong, at::kHalf, at::kBFloat16,
        at::kFloat, at::kDouble}) {
    CHECK(close(
        CyborgL2Loss().combine(t({1}), cam, maps.to(type)).total, expected));
  }
  // The bytes of a picture: their range does not matter.
  CHECK(close(
      CyborgL2Loss().combine(t({1}), cam, (maps * 255).to(at::kByte)).total,
      expected));
}

TEST_CASE("People's maps are targets and get no gradient", "[loss][maps]") {
  const Batch b;
  const Tensor maps = b.maps.clone().requires_grad_();
  const auto terms = CyborgL2Loss()(b.logits(), b.target, b, maps);
  CHECK_FALSE(
      torch::autograd::grad({terms.total}, {maps}, {}, false, false, true)[0]
          .defined());
  // They are not written to.
  const Tensor before = b.maps.clone();
  before[0].fill_(kNaN);
  const Tensor given = before.clone();
  CyborgKLLoss()(b.logits(), b.target, b, given);
  CHECK(given.nan_to_num(7).equal(before.nan_to_num(7)));
}

// ----------------------------------------------------------------- options

TEST_CASE("With alpha = 1 the source is not read", "[loss][alpha]") {
  struct Never {
    Tensor cam(const Tensor&, const Tensor&) const {
      throw std::logic_error("asked");
    }
    Tensor cam(const Tensor&, CamClass) const {
      throw std::logic_error("asked");
    }
  };
  const Batch b;
  const Tensor task = cross_entropy(b.logits(), b.target);
  const CyborgL2Loss criterion(options().alpha(1));
  const auto terms = criterion(b.logits(), b.target, Never(), Tensor());
  CHECK(close(terms.total, task, 0));
  CHECK(close(terms.classification, task, 0));
  CHECK(close(terms.saliency, torch::zeros({}), 0));
  CHECK(count(terms) == 0);
  const auto ours = b.gradients(terms.total);
  const auto expected = b.gradients(task);
  CHECK(close(ours[0], expected[0], 0));
  CHECK(close(criterion.combine(task, {}, {}).total, task, 0));
  CHECK(error_of([&] {
          CyborgL2Loss()(b.logits(), b.target, Never(), b.maps);
        }) == "asked");
}

TEST_CASE("alpha can be set before every step", "[loss][alpha]") {
  const Batch b;
  CyborgL2Loss criterion;
  for (const double alpha : {0.0, 0.25, 1.0, 0.5}) {
    criterion.alpha(alpha);
    CHECK(criterion.alpha() == alpha);
    CHECK(criterion.options().alpha() == alpha);
    const auto terms = criterion(b.logits(), b.target, b, b.maps);
    CHECK(close(
        terms.total,
        alpha * terms.classification + (1 - alpha) * terms.saliency));
  }
}

TEST_CASE("Invalid options throw", "[loss][alpha][error]") {
  CHECK(error_of([] {
          CyborgL2Loss(options().alpha(1.5));
        }) == "cyborg::SaliencyGuidedLoss: expected alpha in [0, 1], got 1.5");
  CHECK(error_of([] {
          CyborgL2Loss(options().alpha(kNaN));
        }) == "cyborg::SaliencyGuidedLoss: expected alpha in [0, 1], got nan");
  CyborgL2Loss criterion;
  CHECK(
      error_of([&] { criterion.alpha(-.25); }) ==
      "cyborg::SaliencyGuidedLoss: expected alpha in [0, 1], got -0.25");
  CHECK(criterion.alpha() == 0.5);
  CHECK(
      error_of([] { CyborgL2Loss(options().cam_class(CamClass::kAll)); }) ==
      "cyborg::SaliencyGuidedLoss: expected cam_class kLabel, kPredicted, "
      "kDifference or kFixed, got kAll (one map a sample is compared)");
}

TEST_CASE(
    "The map of the predicted class is compared with CamClass::kPredicted",
    "[loss]") {
  const Batch b;
  const Tensor predicted = b.logits().argmax(1);
  REQUIRE_FALSE(predicted.equal(b.target));
  const Tensor cam = b.cam(b.logits(), predicted);
  const auto o = options().cam_class(CamClass::kPredicted);
  CHECK(close(
      CyborgL2Loss(o)(b.logits(), b.target, b, b.maps).total,
      CyborgL2Loss()(b.logits(), b.target, cam, b.maps).total, 0));
  CHECK_FALSE(close(
      CyborgL2Loss(o)(b.logits(), b.target, b, b.maps).total,
      CyborgL2Loss()(b.logits(), b.target, b, b.maps).total, 1e-6));
}

TEST_CASE("A sum is B times the mean", "[loss][reduction]") {
  const Batch b;
  Tensor maps = b.maps.clone();
  const Tensor weight = t({1, 0, 2, .5});
  for (int missing = 0; missing < 5; ++missing) {
    if (missing > 0) {
      maps[missing - 1].fill_(kNaN);
    }
    for (const Tensor& w : {Tensor(), weight}) {
      const auto mean = CyborgL2Loss(options().alpha(.2))(
          b.logits(), b.target, b, maps, {}, w);
      const auto sum =
          CyborgL2Loss(options().alpha(.2).reduction(Reduction::kSum))(
              b.logits(), b.target, b, maps, {}, w);
      CHECK(close(sum.total, 4 * mean.total));
      CHECK(close(sum.classification, 4 * mean.classification));
      CHECK(close(sum.saliency, (4 - missing) * mean.saliency));
      const auto from_sum = b.gradients(sum.total);
      const auto from_mean = b.gradients(mean.total);
      for (size_t i = 0; i < from_sum.size(); ++i) {
        CHECK(close(from_sum[i], 4 * from_mean[i]));
      }
    }
  }
  // LibTorch's own names are valid too.
  const Tensor ours = CyborgL2Loss(options().reduction(Reduction::kSum))(
                          b.logits(), b.target, b, b.maps)
                          .total;
  CHECK(close(
      CyborgL2Loss(options().reduction(torch::kSum))(
          b.logits(), b.target, b, b.maps)
          .total,
      ours, 0));
  CHECK(close(
      CyborgL2Loss(options().reduction(torch::kMean))(
          b.logits(), b.target, b, b.maps)
          .total,
      CyborgL2Loss()(b.logits(), b.target, b, b.maps).total, 0));
}

TEST_CASE("A weight multiplies a sample's whole loss", "[loss][weight]") {
  const Batch b;
  const Tensor annotated = torch::tensor({true, false, true, true});
  const Tensor weight = t({1, 2, 0, .5});
  const auto terms = CyborgL2Loss(options().alpha(.4))(
      b.logits(), b.target, b, b.maps, annotated, weight);
  const Tensor each = torch::nn::functional::cross_entropy(
      b.logits(), b.target,
      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kNone));
  CHECK(close(terms.classification, (each * weight).sum() / 4));
  const Tensor saliency = (one_distance(b, 0) + .5 * one_distance(b, 3)) / 3;
  CHECK(close(terms.saliency, saliency));
  CHECK(count(terms) == 3);
  const double a = 1 - .6 * 3 / 4;
  CHECK(close(terms.total, a * terms.classification + (1 - a) * saliency));
  // Weights of one change nothing; float weights may be given to double logits.
  CHECK(close(
      CyborgL2Loss()(b.logits(), b.target, b, b.maps, {}, torch::ones({4}))
          .total,
      CyborgL2Loss()(b.logits(), b.target, b, b.maps).total));
}

TEST_CASE(
    "A weight of zero leaves out an infinite distance", "[loss][weight]") {
  const Batch b;
  const cyborg::SaliencyGuidedLoss<InfiniteFirst> criterion;
  const auto saliency = [&](const Tensor& weight) {
    return criterion(b.logits(), b.target, b, b.maps, {}, weight).saliency;
  };
  CHECK(close(saliency(t({0, 1, 2, 3})), t({1.5}).squeeze()));
  CHECK(saliency(t({1, 1, 2, 3})).item<double>() == kInf);
}

TEST_CASE(
    "One logit has the binary cross entropy, and its map is negated "
    "for label 0",
    "[loss]") {
  const Batch b(at::kDouble, 1);
  const Tensor task = torch::nn::functional::binary_cross_entropy_with_logits(
      b.logits().squeeze(1), b.target.to(at::kDouble));
  const auto terms = CyborgL2Loss()(b.logits(), b.target, b, b.maps);
  CHECK(close(terms.classification, task));
  CHECK(close(
      terms.saliency, (one_distance(b, 0) + one_distance(b, 1) +
                       one_distance(b, 2) + one_distance(b, 3)) /
                          4));
  CHECK(terms.classification.item<double>() > 0.1);
  // [B] means [B, 1]; labels may be bool.
  const auto flat =
      CyborgL2Loss()(b.logits().squeeze(1), b.target.to(at::kBool), b, b.maps);
  CHECK(close(flat.total, terms.total, 0));
  const auto predicted =
      CyborgL2Loss(options().cam_class(CamClass::kPredicted))(
          b.logits(), b.target, b, b.maps);
  CHECK(finite(predicted.total));
  const Tensor weight = t({1, 2, 3, 4});
  const Tensor each = torch::nn::functional::binary_cross_entropy_with_logits(
      b.logits().squeeze(1), b.target.to(at::kDouble),
      torch::nn::functional::BinaryCrossEntropyWithLogitsFuncOptions()
          .reduction(torch::kNone));
  CHECK(close(
      CyborgL2Loss()(b.logits(), b.target, b, b.maps, {}, weight)
          .classification,
      (each * weight).sum() / 4));
}

TEST_CASE(
    "combine joins any task's loss with the saliency", "[loss][combine]") {
  const Batch b;
  const Tensor cam = b.cam(b.logits(), b.target);
  const Tensor annotated = torch::tensor({true, true, false, true});
  const Tensor task = cross_entropy(b.logits(), b.target);
  const CyborgL2Loss criterion(options().alpha(.3));
  const auto one = criterion(b.logits(), b.target, b, b.maps, annotated);
  const auto two = criterion.combine(task, cam, b.maps, annotated);
  CHECK(close(one.total, two.total));
  CHECK(close(one.saliency, two.saliency, 0));
  CHECK(close(two.classification, task, 0));
  const auto first = b.gradients(one.total);
  const auto second = b.gradients(two.total);
  for (size_t i = 0; i < first.size(); ++i) {
    CHECK(close(first[i], second[i]));
  }
  // A regression, with its saliency weighted.
  const Tensor regression = b.features.square().mean().reshape({1});
  const auto terms =
      criterion.combine(regression, cam, b.maps, {}, t({0, 0, 4, 0}));
  CHECK(close(terms.saliency, one_distance(b, 2)));
  CHECK(close(
      terms.total, .3 * regression.reshape({}) + .7 * one_distance(b, 2)));
  CHECK(terms.total.dim() == 0);
}

TEST_CASE(
    "A custom distance and its normalisers are used", "[loss][distance]") {
  const Tensor cam = t({1, 2, 3, 4}, {1, 4});
  const Tensor maps = t({0, 0, 2, 1}, {1, 4});
  CHECK(close(
      SaliencyGuidedLoss<Outside>().combine(t({1}), cam, maps).saliency,
      t({.1 + .2 + .2}, {})));
  CHECK(close(
      SaliencyGuidedLoss<Outside>(options(), Outside{3})
          .combine(t({1}), cam, maps)
          .saliency,
      t({1.5}, {})));
  CHECK(
      error_of(
          [&] { SaliencyGuidedLoss<Wrong>().combine(t({1}), cam, maps); }) ==
      "cyborg::SaliencyGuidedLoss: expected distances [1] from the distance, "
      "got []");
}

TEST_CASE("With kSoftmax the divergence is taken of the scores", "[loss]") {
  // In float32 the softmax of the first position is exp(-200) = 0.
  const Tensor cam = torch::tensor({{0.f, 200.f}}).requires_grad_();
  const Tensor maps = torch::tensor({{1.f, 0.f}});
  const auto terms =
      CyborgKLLoss(options().alpha(0)).combine(torch::ones({}), cam, maps);
  CHECK(close(terms.saliency, t({200}, {}), 1e-4));
  terms.total.backward();
  CHECK(close(cam.grad(), t({-1, 1}, {1, 2}), 1e-6));
}

// -------------------------------------------------- gradients and precision

TEST_CASE("With gradient mode off the value is the same", "[loss][gradient]") {
  const Batch b;
  const auto check = [&](const auto& criterion) {
    const auto terms = criterion(b.logits(), b.target, b, b.maps);
    const torch::NoGradGuard no_grad;
    const auto off = criterion(b.logits(), b.target, b, b.maps);
    CHECK(close(off.total, terms.total, 0));
    CHECK(close(off.saliency, terms.saliency, 0));
    CHECK_FALSE(off.total.requires_grad());
  };
  check(CyborgL1Loss());
  check(CyborgL2Loss());
  check(CyborgKLLoss());
}

TEST_CASE(
    "A saliency term that can change nothing throws",
    "[loss][gradient][error]") {
  const Batch b;
  const Tensor cam = b.cam(b.logits(), b.target).detach();
  const std::string expected =
      "cyborg::SaliencyGuidedLoss: the saliency term has no gradient path: "
      "the task's loss requires a gradient and the model's map does not, so "
      "guidance would change nothing. Compute the map in gradient mode from "
      "features that are neither detached nor frozen, or set alpha to 1";
  const CyborgL2Loss criterion;
  CHECK(error_of([&] {
          criterion(b.logits(), b.target, cam, b.maps);
        }) == expected);
  const Tensor task = cross_entropy(b.logits(), b.target);
  CHECK(error_of([&] { criterion.combine(task, cam, b.maps); }) == expected);
  // Without anything to train, or anything to guide, there is no error.
  const Tensor fixed = b.logits().detach();
  CHECK(error_of([&] { criterion(fixed, b.target, cam, b.maps); }).empty());
  CHECK(error_of([&] {
          CyborgL2Loss(options().alpha(1))(b.logits(), b.target, cam, b.maps);
        }).empty());
  const torch::NoGradGuard no_grad;
  CHECK(
      error_of([&] { criterion(b.logits(), b.target, cam, b.maps); }).empty());
}

TEST_CASE("A step reads nothing back from the device", "[loss][sync]") {
  const auto check = [](const auto& criterion) {
    const Batch b(at::kFloat);
    const Tensor annotated = torch::tensor({true, true, false, true});
    const Tensor weight = torch::ones({4});
    const Tensor logits = b.logits();
    const auto names = support::operators_of([&] {
      criterion(logits, b.target, b, b.maps, annotated, weight)
          .total.backward();
    });
    CHECK(names.size() > 50);
    CHECK(support::host_reads(names) == 0);
  };
  check(CyborgL1Loss());
  check(CyborgL2Loss(options().reduction(Reduction::kSum)));
  check(CyborgKLLoss());
  // The counter of reads does count one.
  CHECK(support::host_reads(support::operators_of([] {
          torch::ones({1}).item<float>();
        })) > 0);
}

TEST_CASE(
    "Maps and distances are computed in float32 at least", "[loss][dtype]") {
  for (const auto type : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const Batch rounded(type);
    // The same rounded numbers in float64.
    Batch exact;
    exact.features = rounded.features.detach().to(at::kDouble);
    exact.weight = rounded.weight.detach().to(at::kDouble);
    const Tensor logits = exact.logits().to(type).requires_grad_();
    const auto check = [&](const auto& criterion) {
      const auto terms =
          criterion(logits, rounded.target, rounded, rounded.maps);
      CHECK(terms.total.scalar_type() == at::kFloat);
      const torch::NoGradGuard no_grad;
      const auto expected = criterion(
          logits.detach().to(at::kDouble), exact.target, exact,
          rounded.maps.to(at::kDouble));
      CHECK(close(terms.total, expected.total, 2e-6));
      at::AutoGradMode on(true);
      const auto gradients = torch::autograd::grad(
          {terms.total}, {rounded.features, rounded.weight, logits});
      for (const Tensor& gradient : gradients) {
        CHECK(gradient.scalar_type() == type);
        CHECK(finite(gradient));
      }
    };
    check(CyborgL1Loss());
    check(CyborgL2Loss());
    check(CyborgKLLoss());
  }
  const Batch b;
  CHECK(
      CyborgL2Loss()(b.logits(), b.target, b, b.maps).total.scalar_type() ==
      at::kDouble);
}

TEST_CASE("Autocast does not round the loss", "[loss][dtype]") {
  const Batch b(at::kFloat);
  const Tensor logits = b.logits();
  const auto check = [&](const auto& criterion) {
    const auto expected = criterion(logits, b.target, b, b.maps);
    const support::CpuAutocast autocast;
    const auto terms = criterion(logits, b.target, b, b.maps);
    CHECK(terms.total.scalar_type() == at::kFloat);
    CHECK(close(terms.total, expected.total, 0));
  };
  check(CyborgL1Loss());
  check(CyborgL2Loss());
  check(CyborgKLLoss());
}

TEST_CASE("A batch may have one sample", "[loss]") {
  const Batch b;
  const auto whole = CyborgL2Loss()(
      b.logits().narrow(0, 2, 1), b.target.narrow(0, 2, 1),
      b.cam(b.logits(), b.target).narrow(0, 2, 1), b.maps.narrow(0, 2, 1));
  CHECK(close(whole.saliency, one_distance(b, 2)));
  CHECK(count(whole) == 1);
}

// ------------------------------------------------------------------ errors

TEST_CASE("The loss says what it expected", "[loss][error]") {
  const Batch b;
  const Tensor l = b.logits();
  const Tensor cam = b.cam(l, b.target);
  const CyborgL2Loss criterion;
  const std::string name = "cyborg::SaliencyGuidedLoss: expected ";
  const auto fails = [&](const Tensor& logits, const Tensor& target,
                         const Tensor& map, const Tensor& maps,
                         const Tensor& annotated = {},
                         const Tensor& weight = {}) {
    return error_of(
        [&] { criterion(logits, target, map, maps, annotated, weight); });
  };
  const Tensor& y = b.target;
  const Tensor& h = b.maps;
  REQUIRE(fails(l, y, cam, h).empty());
  SECTION("logits") {
    CHECK(fails({}, y, cam, h) == name + "logits [B, K], got none");
    CHECK(
        fails(torch::rand({4, 3, 2}), y, cam, h) ==
        name +
            "logits [B, K] of floating point, got [4, 3, 2] of Float "
            "(combine() takes any other task)");
    CHECK(
        fails(y.unsqueeze(1), y, cam, h) ==
        name +
            "logits [B, K] of floating point, got [4, 1] of Long "
            "(combine() takes any other task)");
    CHECK(
        contains(fails(torch::rand({0, 3}), y, cam, h), "got [0, 3] of Float"));
  }
  SECTION("labels") {
    CHECK(fails(l, {}, cam, h) == name + "labels [4], got none");
    CHECK(fails(l, labels({0, 1}), cam, h) == name + "labels [4], got [2]");
    CHECK(fails(l, y.unsqueeze(1), cam, h) == name + "labels [4], got [4, 1]");
    CHECK(
        fails(l, t({0, 1, 0, 1}), cam, h) ==
        name +
            "labels of integers, got Double "
            "(labels.to(torch::kLong) makes them)");
    CHECK(
        fails(l, labels({0, 1, 3, 0}), cam, h) ==
        name + "labels in [0, 2], got 3 at position 2");
    CHECK(
        fails(l, labels({-100, 1, 2, 0}), cam, h) ==
        name + "labels in [0, 2], got -100 at position 0");
    CHECK(
        fails(l.narrow(1, 0, 1), labels({0, 1, 2, 0}), cam, h) ==
        name + "labels in [0, 1], got 2 at position 2");
  }
  SECTION("the model's map") {
    CHECK(fails(l, y, {}, h) == name + "a map of the model, got none");
    CHECK(
        fails(l, y, cam.narrow(0, 0, 2), h) ==
        name +
            "a map of the model [B, *S] of floating point for a batch of "
            "4, got [2, 3, 2] of Double");
    CHECK(contains(fails(l, y, y, h), "for a batch of 4, got [4] of Long"));
    CHECK(error_of([&] {
            criterion.combine(l.sum(), {}, h);
          }) == name + "a map of the model, got none");
    CHECK(
        error_of([&] { criterion.combine(l.sum(), l.sum(), h); }) ==
        name +
            "a map of the model [B, *S] of floating point for a batch of "
            "0, got [] of Double");
  }
  SECTION("a map of one position") {
    const Tensor one = torch::ones({4, 1, 1}, torch::kDouble);
    CHECK(
        fails(l.detach(), y, one, h) ==
        name +
            "a map of the model of more than one position, got [4, 1, 1], "
            "which is always flat: use an earlier layer or larger pictures");
    CHECK(count(CyborgL1Loss(plain()).combine(t({1}), one, h)) == 4);
  }
  SECTION("people's maps") {
    CHECK(
        fails(l, y, cam, {}) ==
        name +
            "maps of people, got none (for a batch that nobody annotated, "
            "give maps of NaN, or annotated with every entry false)");
    CHECK(
        fails(l, y, cam, h.unsqueeze(1).expand({4, 3, 6, 8})) ==
        name +
            "maps of people [B, *S] or [B, 1, *S] for a map of the model "
            "[4, 3, 2], got [4, 3, 6, 8]");
    CHECK(contains(fails(l, y, cam, h.flatten(1)), "got [4, 48]"));
    CHECK(contains(fails(l, y, cam, h.narrow(0, 0, 3)), "got [3, 6, 8]"));
    CHECK(
        fails(l, y, cam, h.narrow(2, 0, 1)) ==
        name +
            "maps of people no smaller than the model's [4, 3, 2], got "
            "[4, 6, 1]");
    CHECK(
        fails(l, y, cam, h.to(at::kComplexDouble)) ==
        name + "maps of people of real numbers, got ComplexDouble");
    CHECK(
        fails(l, y, cam, h.to(at::kMeta)) ==
        name + "maps of people on cpu, got meta");
  }
  SECTION("which are annotated") {
    CHECK(
        fails(l, y, cam, h, torch::ones({3}, at::kBool)) ==
        name + "annotated [4], got [3]");
    CHECK(
        fails(l, y, cam, h, torch::rand({4})) ==
        name + "annotated of bool, got Float");
  }
  SECTION("weights") {
    CHECK(
        fails(l, y, cam, h, {}, torch::ones({4, 1})) ==
        name + "weight [4], got [4, 1]");
    CHECK(
        fails(l, y, cam, h, {}, t({1, 0, -2, 1})) ==
        name + "weight of numbers >= 0, got -2 at position 2");
    CHECK(contains(fails(l, y, cam, h, {}, t({1, 0, 1, kNaN})), "got nan"));
    CHECK(error_of([&] {
            criterion.combine(l.sum(), cam, h, {}, t({1, 2}));
          }) == name + "weight [4], got [2]");
  }
  SECTION("the task's loss") {
    CHECK(error_of([&] {
            criterion.combine({}, cam, h);
          }) == name + "task_loss, got none");
    CHECK(
        error_of([&] { criterion.combine(t({1, 2}), cam, h); }) ==
        name + "task_loss of one floating-point number, got [2] of Double");
  }
}
