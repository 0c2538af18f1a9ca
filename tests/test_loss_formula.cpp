// SPDX-License-Identifier: BSD-3-Clause
//
// The guided loss against its formula, written sample by sample in float64:
// every normaliser, distance and option, by kernels and by operators.
#include <cyborg/loss.hpp>

#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

using cyborg::Normalizer;
using cyborg::SaliencyGuidedLossOptions;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using support::close;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const std::vector<Normalizer> kNormalizers = {
    Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax, Normalizer::kSum,
    Normalizer::kSoftmax};

/// With the kernels of this machine, and with ATen's operators alone.
const std::vector<InstructionSet> kFormulaPaths = {
    InstructionSet::kAvx2, InstructionSet::kPortable, InstructionSet::kNone};

/// The arguments of a criterion: five samples of 3 x 2 positions.
struct FormulaBatch {
  Tensor features, weight, bias, target, human, annotated, sample_weight;

  explicit FormulaBatch(int64_t classes) {
    torch::manual_seed(21);
    const auto options = torch::dtype(torch::kDouble).requires_grad(true);
    features = torch::randn({5, 4, 3, 2}, options);
    weight = torch::randn({classes, 4}, options);
    bias = torch::randn({classes}, options);
    target = classes == 1 ? labels({0, 1, 1, 0, 1}) : labels({2, 0, 1, 2, 2});
    human = torch::rand({5, 3, 2}, torch::kDouble) + 0.1;
    human[2].fill_(std::numeric_limits<double>::quiet_NaN());
  }

  std::vector<Tensor> leaves() const { return {features, weight, bias}; }

  Tensor logits() const {
    return torch::matmul(features.flatten(2).mean(2), weight.t()) + bias;
  }

  cyborg::Observation seen() const {
    cyborg::Observation observation;
    observation.features = features;
    observation.features = features;
    observation.weight = weight;
    observation.exact = true;
    return observation;
  }

  /// The map [P] of one sample.
  Tensor map(int64_t b) const {
    const auto label = target[b].item<int64_t>();
    const bool one = weight.size(0) == 1;
    const Tensor row = weight[one ? 0 : label];
    const Tensor sum = torch::matmul(row, features[b].flatten(1));
    return one && label == 0 ? -sum : sum;
  }
};

Tensor normalized(const Tensor& x, Normalizer how) {
  switch (how) {
    case Normalizer::kMinMax:
      return (x - x.min()) / (x.max() - x.min());
    case Normalizer::kMax:
      return x / x.max();
    case Normalizer::kSum: {
      const Tensor y = x.min().item<double>() < 0 ? x - x.min() : x;
      return y / y.sum();
    }
    case Normalizer::kSoftmax:
      return x.exp() / x.exp().sum();
    default:
      return x;
  }
}

Tensor distance(const cyborg::L1&, const Tensor& m, const Tensor& h) {
  return (m - h).abs().mean();
}
Tensor distance(const cyborg::L2&, const Tensor& m, const Tensor& h) {
  return (m - h).pow(2).mean();
}
Tensor distance(const cyborg::KL&, const Tensor& m, const Tensor& h) {
  const Tensor log_m = m.clamp_min(std::numeric_limits<double>::min()).log();
  Tensor sum = torch::zeros({}, torch::kDouble);
  for (int64_t i = 0; i < h.numel(); ++i) {
    if (h[i].item<double>() != 0) {
      sum = sum + h[i] * (h[i].log() - log_m[i]);
    }
  }
  return sum;
}

/// Total, classification and saliency, by the documentation's formulas.
template <class Distance>
std::vector<Tensor> by_formula(
    const FormulaBatch& b, const SaliencyGuidedLossOptions& options) {
  const auto model =
      options.map_normalizer().value_or(Distance::map_normalizer);
  const auto people =
      options.human_normalizer().value_or(Distance::human_normalizer);
  Tensor saliency = 0 * b.features.sum();  // always on the graph
  Tensor task = torch::zeros({}, torch::kDouble);
  double guided = 0;
  const Tensor logits = b.logits();
  for (int64_t i = 0; i < 5; ++i) {
    const auto label = b.target[i].item<int64_t>();
    const Tensor entropy =
        logits.size(1) == 1
            ? -torch::log_sigmoid(logits[i][0] * (label == 1 ? 1 : -1))
            : -logits[i].log_softmax(0)[label];
    const Tensor w = b.sample_weight.defined()
                         ? b.sample_weight[i]
                         : torch::ones({}, torch::kDouble);
    task = task + w * entropy;
    const Tensor map = b.map(i);
    const bool usable =
        at::isfinite(b.human[i]).all().item<bool>() &&
        (model != Normalizer::kMax || map.max().item<double>() > 0) &&
        !(b.annotated.defined() && !b.annotated[i].item<bool>());
    if (usable) {
      saliency = saliency + w * distance(
                                    Distance(), normalized(map, model),
                                    normalized(b.human[i].flatten(), people));
      guided += 1;
    }
  }
  const double share = (1 - options.alpha()) * guided / 5;
  const bool sums =
      cyborg::Reduction(options.reduction()) == cyborg::Reduction::kSum;
  if (sums) {
    return {
        (1 - share) * task + (1 - options.alpha()) * saliency, task, saliency};
  }
  task = task / 5;
  saliency = saliency / std::max(guided, 1.0);
  return {(1 - share) * task + share * saliency, task, saliency};
}

/// `terms` and their derivatives: of each term by itself, and of all together.
std::vector<Tensor> derivatives(
    const std::vector<Tensor>& terms, const std::vector<Tensor>& leaves) {
  std::vector<Tensor> all = terms;
  const auto add = [&](const Tensor& of) {
    const auto grads =
        torch::autograd::grad({of}, leaves, {}, true, false, true);
    for (size_t i = 0; i < leaves.size(); ++i) {
      all.push_back(
          grads[i].defined() ? grads[i] : torch::zeros_like(leaves[i]));
    }
  };
  for (const Tensor& term : terms) {
    add(term);
  }
  add(2 * terms[0] - 3 * terms[1] + 0.5 * terms[2]);
  return all;
}

/// Checks that the loss of a batch follows the formula, on every path.
template <class Distance>
void check_formula(
    const FormulaBatch& b, const SaliencyGuidedLossOptions& options) {
  const auto expected =
      derivatives(by_formula<Distance>(b, options), b.leaves());
  for (const auto path : kFormulaPaths) {
    const InstructionSetGuard guard(path);
    const auto terms = cyborg::SaliencyGuidedLoss<Distance>(options)(
        b.logits(), b.target, b.seen(), b.human, b.annotated, b.sample_weight);
    const auto found = derivatives(
        {terms.total, terms.classification, terms.saliency}, b.leaves());
    bool all = true;
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO(
          "path " << static_cast<int>(path) << ", number " << i << ": off "
                  << support::distance(found[i], expected[i]));
      const bool near = close(found[i], expected[i], 1e-10);
      all &= near;
      if (!near) {
        CHECK(near);
      }
    }
    CHECK(all);
  }
}

template <class Check>
void for_each_distance(const Check& check) {
  check(cyborg::L1());
  check(cyborg::L2());
  check(cyborg::KL());
}

}  // namespace

TEST_CASE("Every normaliser and distance follows the formula", "[loss]") {
  for (const int64_t classes : {3, 1}) {
    const FormulaBatch b(classes);
    for (const auto model : kNormalizers) {
      for (const auto people : kNormalizers) {
        INFO(
            classes << " classes, model " << static_cast<int>(model)
                    << ", people " << static_cast<int>(people));
        for_each_distance([&](const auto& distance) {
          check_formula<std::decay_t<decltype(distance)>>(
              b, SaliencyGuidedLossOptions()
                     .alpha(0.3)
                     .map_normalizer(model)
                     .human_normalizer(people));
        });
      }
    }
  }
}

TEST_CASE("Every option of the loss follows the formula", "[loss]") {
  for (const int64_t classes : {3, 1}) {
    for (int kind = 0; kind < 16; ++kind) {
      const bool sums = (kind & 1) != 0, weighted = (kind & 2) != 0,
                 annotated = (kind & 4) != 0, nothing = (kind & 8) != 0;
      INFO(
          classes << " classes, sum " << sums << ", weights " << weighted
                  << ", annotated " << annotated << ", nobody " << nothing);
      FormulaBatch b(classes);
      if (weighted) {
        b.sample_weight = t({1, 0.25, 2, 0, 3});
      }
      if (annotated) {
        b.annotated = torch::tensor({1, 0, 1, 1, 1}).to(torch::kBool);
      }
      if (nothing) {
        b.annotated = torch::zeros({5}, torch::kBool);
      }
      const auto options =
          SaliencyGuidedLossOptions()
              .alpha(annotated ? 0 : 0.7)
              .reduction(
                  sums ? cyborg::Reduction::kSum : cyborg::Reduction::kMean);
      for_each_distance([&](const auto& distance) {
        check_formula<std::decay_t<decltype(distance)>>(b, options);
      });
    }
  }
}

TEST_CASE(
    "Ties of a map, and with the other map, follow the formula", "[loss]") {
  // The lowest and highest values of both maps are at the same positions, some
  // of them twice.
  FormulaBatch b(3);
  b.weight = torch::eye(4, torch::kDouble).narrow(0, 0, 3).clone();
  b.weight.requires_grad_();
  const Tensor values = torch::randn({5, 4, 3, 2}, torch::kDouble);
  const Tensor map = t({-1, 0.5, 2, 2, -1, 0}, {3, 2});
  for (int64_t i = 0; i < 5; ++i) {
    values[i][b.target[i].item<int64_t>()].copy_(map + static_cast<double>(i));
    b.human[i].copy_(t({0, 0.25, 1, 1, 0, 0.5}, {3, 2}));
  }
  b.features = values.requires_grad_();
  for (const auto model :
       {Normalizer::kMinMax, Normalizer::kMax, Normalizer::kSoftmax}) {
    CAPTURE(static_cast<int>(model));
    for_each_distance([&](const auto& distance) {
      check_formula<std::decay_t<decltype(distance)>>(
          b, SaliencyGuidedLossOptions().map_normalizer(model));
    });
  }
}

TEST_CASE("Only what requires a gradient has one", "[loss][gradient]") {
  for (int kind = 1; kind < 8; ++kind) {
    CAPTURE(kind);
    FormulaBatch b(3);
    const auto expected = torch::autograd::grad(
        {by_formula<cyborg::L2>(b, SaliencyGuidedLossOptions())[0]},
        b.leaves());
    const auto leaves = b.leaves();
    for (size_t i = 0; i < 3; ++i) {
      leaves[i].requires_grad_((kind >> i & 1) != 0);
    }
    if (kind == 4) {
      continue;  // the bias alone does not change a map
    }
    for (const auto path : kFormulaPaths) {
      const InstructionSetGuard guard(path);
      for (const Tensor& leaf : leaves) {
        leaf.mutable_grad() = Tensor();
      }
      cyborg::CyborgL2Loss()(b.logits(), b.target, b.seen(), b.human)
          .total.backward();
      for (size_t i = 0; i < 3; ++i) {
        const Tensor& leaf = leaves[i];
        CHECK(leaf.grad().defined() == leaf.requires_grad());
        if (leaf.grad().defined()) {
          CHECK(close(leaf.grad(), expected[i], 1e-10));
        }
      }
    }
  }
}

TEST_CASE("Derivatives of the derivative agree on every path", "[loss]") {
  FormulaBatch b(3);
  b.sample_weight = t({1, 0.25, 2, 0.5, 3});
  b.annotated = torch::tensor({1, 0, 1, 1, 1}).to(torch::kBool);
  for (const bool sums : {false, true}) {
    const auto options = SaliencyGuidedLossOptions().alpha(0.3).reduction(
        sums ? cyborg::Reduction::kSum : cyborg::Reduction::kMean);
    for_each_distance([&](const auto& distance) {
      using Distance = std::decay_t<decltype(distance)>;
      const auto twice = [&](const Tensor& total) {
        const auto slopes =
            torch::autograd::grad({total}, b.leaves(), {}, true, true);
        Tensor sum = torch::zeros({}, torch::kDouble);
        for (const Tensor& slope : slopes) {
          sum = sum + slope.pow(2).sum();
        }
        return derivatives({sum, sum, sum}, b.leaves());
      };
      const auto expected = twice(by_formula<Distance>(b, options)[0]);
      for (const auto path : kFormulaPaths) {
        const InstructionSetGuard guard(path);
        const auto found = twice(cyborg::SaliencyGuidedLoss<Distance>(options)(
                                     b.logits(), b.target, b.seen(), b.human,
                                     b.annotated, b.sample_weight)
                                     .total);
        for (size_t i = 0; i < found.size(); ++i) {
          CAPTURE(static_cast<int>(path), i);
          CHECK(close(found[i], expected[i], 1e-9));
        }
      }
    });
  }
}

TEST_CASE("The loss of an observation is that of its map", "[loss][hook]") {
  for (const int64_t classes : {3, 1}) {
    const FormulaBatch b(classes);
    const Tensor logits = b.logits();
    for (const auto which :
         {cyborg::CamClass::kLabel, cyborg::CamClass::kPredicted}) {
      for (const auto method :
           {cyborg::CamMethod::kAuto, cyborg::CamMethod::kCam,
            cyborg::CamMethod::kGradCam, cyborg::CamMethod::kHiResCam}) {
        CAPTURE(classes, static_cast<int>(which), static_cast<int>(method));
        cyborg::Observation seen = b.seen();
        seen.method = method;
        const Tensor classes_of = which == cyborg::CamClass::kLabel ? b.target
                                  : classes == 1
                                      ? logits.squeeze(1).gt(0).to(torch::kLong)
                                      : logits.argmax(1);
        const Tensor map = seen.cam(logits, classes_of) * seen.logit_scale();
        const auto options = SaliencyGuidedLossOptions().cam_class(which);
        const cyborg::CyborgKLLoss criterion(options);
        const auto found = criterion(logits, b.target, seen, b.human);
        const auto expected = criterion(logits, b.target, map, b.human);
        CHECK(close(found.total, expected.total, 1e-10));
        // For a linear head all methods give the same map.
        FormulaBatch same = b;
        same.target = classes_of;
        CHECK(close(
            found.saliency, by_formula<cyborg::KL>(same, options)[2], 1e-10));
        const auto ours = derivatives(
            {found.total, found.saliency, found.saliency}, b.leaves());
        const auto theirs = derivatives(
            {expected.total, expected.saliency, expected.saliency}, b.leaves());
        for (size_t i = 0; i < ours.size(); ++i) {
          CHECK(close(ours[i], theirs[i], 1e-10));
        }
      }
    }
  }
}
