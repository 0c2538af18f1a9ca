// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/entropy.hpp>
#include <cyborg/guide/saliency_term.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <string>
#include <vector>

using cyborg::CamClass;
using cyborg::CamEntropy;
using cyborg::SaliencyTerm;
using cyborg::SaliencyTermOptions;
using cyborg::Task;
using cyborg::TaskOptions;
using given::flags;
using given::pass_of;
using given::term_of;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const std::string kSaliencyTerm = "cyborg::SaliencyTerm: ";

/// A pass of a network whose maps are features times a head.
struct Headed {
  explicit Headed(int64_t classes) {
    torch::manual_seed(8);
    features = torch::randn({3, 4, 2, 3}, torch::kDouble).requires_grad_();
    weight = torch::randn({classes, 4}, torch::kDouble).requires_grad_();
    batch.maps = torch::rand({3, 2, 3}, torch::kDouble);
    batch.labels = labels({0, classes > 2 ? 2 : 1, 1});
    logits = torch::matmul(features.flatten(2).mean(2), weight.t());
  }
  cyborg::Seen seen() const {
    return cyborg::Seen{
        batch, {}, logits, nothing, {}, task, [this](const Tensor& classes) {
          return cyborg::detail::map_of(*this, logits, classes);
        }};
  }
  Tensor cam(const Tensor&, const Tensor& which) const {
    return cyborg::functional::cam(features, weight, which);
  }
  Tensor cam(const Tensor& scores, CamClass) const {
    return cam(scores, cyborg::detail::predicted_classes(scores));
  }

  Tensor features, weight, logits;
  cyborg::Batch batch;
  cyborg::Observation nothing;
  TaskOptions task;
};

}  // namespace

TEST_CASE("Maps that are given are those of the wanted class", "[term]") {
  const Tensor maps = torch::rand({2, 2, 3}, torch::kDouble).requires_grad_();
  const auto pass = pass_of(maps, torch::rand({2, 2, 3}, torch::kDouble));
  const auto label = term_of<cyborg::L2>(pass);
  CHECK(label.usable.all().item<bool>());
  for (const auto which :
       {CamClass::kDifference, CamClass::kPredicted, CamClass::kFixed}) {
    const auto other =
        term_of<cyborg::L2>(pass, SaliencyTermOptions().cam_class(which));
    CHECK(close(other.value, label.value));
    CHECK(close(other.usable, label.usable, 0));
  }
}

TEST_CASE(
    "The difference is the label's map minus its strongest rival's", "[term]") {
  Headed one(3);
  const Tensor found = one.seen().map(CamClass::kDifference);
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t label = one.batch.labels[b].item<int64_t>();
    Tensor others = one.logits[b].detach().clone();
    others[label] = -INFINITY;
    const Tensor rows =
        one.weight[label] - one.weight[others.argmax().item<int64_t>()];
    CHECK(close(found[b], torch::einsum("c,chw->hw", {rows, one.features[b]})));
  }
  CHECK(support::gradcheck(
      [&](std::vector<Tensor> in) {
        Headed now(3);
        now.features = in[0];
        now.weight = in[1];
        return SaliencyTerm<cyborg::L2>(SaliencyTermOptions().cam_class(
            CamClass::kDifference))(now.seen())
            .value;
      },
      {one.features, one.weight}));
  // One logit is a difference already.
  Headed single(1);
  CHECK(close(single.seen().map(CamClass::kDifference), single.seen().map()));
}

TEST_CASE("The one number of a regression has one map", "[term]") {
  Headed one(1);
  one.task.task(Task::kRegression);
  one.batch.labels = t({-3, 0, 3});
  const Tensor all =
      torch::einsum("c,bchw->bhw", {one.weight[0], one.features});
  for (const auto which :
       {CamClass::kLabel, CamClass::kPredicted, CamClass::kFixed,
        CamClass::kDifference}) {
    CHECK(close(one.seen().map(which), all));
  }
  CHECK(close(one.seen().score(), one.logits.squeeze(1)));
  Headed several(3);
  several.task.task(Task::kRegression);
  several.batch.labels = torch::zeros({3, 3});
  CHECK(
      error_of([&] { several.seen().map(); }) ==
      "cyborg::Seen: a regression of 3 numbers has as many maps; choose one "
      "with CamClass::kFixed");
  CHECK(close(
      several.seen().map(CamClass::kFixed, 2),
      torch::einsum("c,bchw->bhw", {several.weight[2], several.features})));
}

TEST_CASE("Scores and classes of labels of every form", "[term]") {
  Headed one(3);
  const Tensor z = one.logits;
  CHECK(close(one.seen().score(), torch::stack({z[0][0], z[1][2], z[2][1]})));
  one.batch.labels = labels({0, -100, 1});
  CHECK(close(one.seen().known(), flags({1, 0, 1}), 0));
  CHECK(close(one.seen().classes(), labels({0, 0, 1}), 0));
  one.batch.labels = t({.2, .5, .3, 1, 0, 0, 0, 0, 1}, {3, 3});
  CHECK(close(one.seen().classes(), labels({1, 0, 2}), 0));
  CHECK(close(one.seen().score(), (z * one.batch.labels).sum(1)));
  Headed single(1);
  single.batch.labels = labels({0, 1, -100});
  const Tensor x = single.logits.squeeze(1);
  // -100 is no factor: the logit of an unknown label is that of class 0.
  CHECK(close(single.seen().score(), torch::stack({-x[0], x[1], -x[2]})));
  single.batch.labels = t({.25, .75, 0});
  CHECK(close(single.seen().classes(), labels({0, 1, 0}), 0));
  CHECK(close(
      single.seen().score(), torch::stack({-.5 * x[0], .5 * x[1], -x[2]})));
}

TEST_CASE(
    "With several labels each positive one with a map is compared", "[term]") {
  Headed one(3);
  one.task.task(Task::kMultiLabel);
  // Two labels, both with maps; two, of which one has a map; none.
  one.batch.labels = t({1, 1, 0, 0, 1, 1, 0, 0, 0}, {3, 3});
  one.batch.maps = torch::rand({3, 3, 2, 3}, torch::kDouble);
  one.batch.maps[1][2] = given::kNaN;
  one.batch.maps[0][2] = given::kNaN;  // of a label that is not there
  const auto found = SaliencyTerm<cyborg::L2>()(one.seen());
  CHECK(close(found.usable, t({1, .5, 0})));
  const auto of = [&](int64_t b, int64_t k) {
    const auto scaled = [](const Tensor& x) {
      return (x - x.min()) / (x.max() - x.min());
    };
    const Tensor map =
        torch::einsum("c,chw->hw", {one.weight[k], one.features[b]});
    return (scaled(map) - scaled(one.batch.maps[b][k])).square().mean();
  };
  CHECK(close(found.value[0], (of(0, 0) + of(0, 1)) / 2));
  CHECK(close(found.value[1], of(1, 1)));
  CHECK(found.value[2].item<double>() == 0);
  found.value.sum().backward();
  CHECK(at::isfinite(one.features.grad()).all().item<bool>());
  CHECK(one.features.grad()[2].abs().max().item<double>() == 0);
  one.batch.annotated = flags({0, 1, 1});
  CHECK(close(SaliencyTerm<cyborg::L2>()(one.seen()).usable, t({0, .5, 0})));
  // One map that is given cannot be that of each class.
  auto given_pass = given::pass_of(
      torch::rand({3, 2, 3}, torch::kDouble).requires_grad_(), one.batch.maps);
  given_pass.batch = one.batch;
  given_pass.task = one.task;
  given_pass.logits = torch::zeros({3, 3}, torch::kDouble);
  CHECK(
      error_of([&] { SaliencyTerm<cyborg::L2>()(given_pass.seen()); }) ==
      kSaliencyTerm +
          "with several labels a sample, expected maps of the model [B, 3, "
          "*S], one for each class, got [3, 2, 3]");
  one.batch.maps = torch::rand({3, 2, 3});
  CHECK(
      error_of([&] { SaliencyTerm<cyborg::L2>()(one.seen()); }) ==
      kSaliencyTerm +
          "with several labels a sample, expected maps of people [B, 3, "
          "*S], one for each class, got [3, 2, 3] (one map a sample needs "
          "CamClass::kFixed or kPredicted)");
  CHECK(
      error_of([&] { CamEntropy()(one.seen()); }) ==
      "cyborg::Seen: with several labels a sample there is no single class; "
      "choose one with CamClass::kFixed or kPredicted, or give maps [B, K, "
      "*S], one for each class");
}

TEST_CASE("Terms of maps refuse what does not fit", "[term][error]") {
  CHECK(
      error_of([] {
        SaliencyTerm<cyborg::L2>(
            SaliencyTermOptions().cam_class(CamClass::kAll));
      }) == kSaliencyTerm +
                "expected the map of one class a sample, got CamClass::kAll");
  Headed one(3);
  CHECK(error_of([&] {
          one.seen().map(CamClass::kFixed, 3);
        }) == "cyborg::Seen: expected fixed_class in [0, 2], got 3");
  CHECK(
      error_of([&] { one.seen().map(CamClass::kAll); }) ==
      "cyborg::Seen: expected the map of one class a sample, got "
      "CamClass::kAll");
  const Tensor people = torch::rand({2, 3});
  CHECK(
      error_of(
          [&] { term_of<cyborg::L2>(pass_of(torch::rand({2, 1}), people)); }) ==
      kSaliencyTerm +
          "expected a map of the model of more than one position, got [2, "
          "1], which is always flat: use an earlier layer or larger "
          "pictures");
  auto pass = pass_of(torch::rand({2, 3}), people);
  pass.maps = Tensor();
  CHECK(error_of([&] {
          term_of<cyborg::L2>(pass);
        }) == kSaliencyTerm + "expected a map of the model, got none");
  CHECK(error_of([&] {
          CamEntropy()(pass.seen());
        }) == "cyborg::Seen: expected a map of the model, got none");
  pass.maps = torch::rand({3, 3});
  CHECK(
      error_of([&] { term_of<cyborg::L2>(pass); }) ==
      kSaliencyTerm +
          "expected a map of the model [B, *S] of floating point for a "
          "batch of 2, got [3, 3] of Float");
}
