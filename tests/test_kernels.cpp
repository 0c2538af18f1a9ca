// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels against ATen's operators: the same values and gradients. This
// file is also compiled with other flags (see CMakeLists.txt), so it names the
// headers that it needs and uses no precompiled one.
#include <cyborg/cam/head.hpp>
#include <cyborg/loss.hpp>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using cyborg::Normalizer;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using support::close;
using support::labels;
using torch::Tensor;

namespace {

double tolerance(torch::Dtype type, double scale = 1) {
  return (type == torch::kDouble ? 1e-12 : 2e-5) * scale;
}

std::string named(at::IntArrayRef sizes, torch::Dtype type) {
  return c10::str(sizes, " of ", type);
}

/// What `run` returns, and the gradients that it writes to `leaves`.
std::vector<Tensor> with(
    InstructionSet limit, const std::vector<Tensor>& leaves,
    const std::function<std::vector<Tensor>()>& run) {
  const InstructionSetGuard guard(limit);
  for (const Tensor& leaf : leaves) {
    leaf.mutable_grad() = Tensor();
  }
  std::vector<Tensor> all = run();
  for (Tensor& value : all) {
    value = value.detach();
  }
  for (const Tensor& leaf : leaves) {
    if (leaf.defined() && leaf.requires_grad()) {
      all.push_back(
          leaf.grad().defined() ? leaf.grad() : torch::zeros_like(leaf));
    }
  }
  return all;
}

/// While it lives, every gradient is written past the caches, or none is.
struct Streaming {
  int64_t before = cyborg::detail::cache_bytes();

  explicit Streaming(bool always) {
    cyborg::detail::cache_bytes() =
        always ? 0 : std::numeric_limits<int64_t>::max();
  }
  ~Streaming() { cyborg::detail::cache_bytes() = before; }
  Streaming(const Streaming&) = delete;
  Streaming& operator=(const Streaming&) = delete;
};

/// Whether the kernels would write a gradient of one number past the caches.
bool streams() {
  cyborg::detail::HeadPass<float> pass;
  pass.batch = pass.channels = pass.positions = 1;
  float gradient = 0;
  pass.write_to(&gradient);
  return pass.streams;
}

/// How many threads work on features of these sizes.
size_t threads_on(const std::vector<int64_t>& sizes) {
  std::set<std::thread::id> threads;
  std::mutex mutex;
  cyborg::detail::Slices(sizes[0], sizes[1], sizes[2] * sizes[3])
      .run([&](int64_t, int64_t, int64_t, int64_t) {
        const std::lock_guard<std::mutex> lock(mutex);
        threads.insert(std::this_thread::get_id());
      });
  return threads.size();
}

/// Checks that the kernels of each kind and the operators agree. `within` is
/// the tolerance for numbers of about 1.
void check_agree(
    const std::vector<Tensor>& leaves,
    const std::function<std::vector<Tensor>()>& run, double within) {
  const auto expected = with(InstructionSet::kNone, leaves, run);
  for (const auto& [kind, past_caches] :
       {std::tuple(InstructionSet::kPortable, false),
        {InstructionSet::kPortable, true},
        {InstructionSet::kAvx2, false},
        {InstructionSet::kAvx2, true}}) {
    const Streaming streaming(past_caches);
    REQUIRE(streams() == past_caches);
    const auto found = with(kind, leaves, run);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      const double size =
          expected[i].numel() == 0
              ? 1
              : std::max(1.0, expected[i].abs().max().item<double>());
      INFO(
          "kernels " << static_cast<int>(kind) << ", past the caches "
                     << past_caches << ", result " << i << ": off "
                     << support::distance(found[i], expected[i]));
      CHECK(close(found[i], expected[i], within * size));
    }
  }
}

/// Features, head, labels and people's maps of one case.
struct Case {
  Tensor features, weight, bias, target, human;

  Case(
      std::vector<int64_t> sizes, int64_t classes, torch::Dtype type,
      uint64_t seed = 7) {
    torch::manual_seed(seed);
    const auto options = torch::dtype(type);
    features = torch::randn(sizes, options).requires_grad_();
    weight = torch::randn({classes, sizes[1]}, options).requires_grad_();
    bias = torch::randn({classes}, options).requires_grad_();
    target = torch::randint(
        0, std::max<int64_t>(classes, 2), {sizes[0]}, torch::kLong);
    sizes.erase(sizes.begin() + 1);
    human = torch::rand(sizes, options);
  }

  std::vector<Tensor> leaves() const { return {features, weight, bias}; }

  /// A head with these parameters.
  cyborg::GuidedHead head() const {
    cyborg::GuidedHead made(weight.size(1), weight.size(0));
    made->weight = weight;
    made->bias = bias;
    return made;
  }

  /// The observation that a hook would have made.
  cyborg::Observation seen() const {
    cyborg::Observation observation;
    observation.features = features;
    observation.weight = weight;
    observation.bias = bias;
    observation.exact = true;
    return observation;
  }

  Tensor logits() const {
    return torch::linear(features.flatten(2).mean(2), weight, bias);
  }
};

const std::vector<std::vector<int64_t>> kShapes = {
    {0, 3, 7, 7},     {1, 1, 1},     {1, 17, 7, 7}, {33, 3, 5, 10},
    {2, 17, 56, 56},  {33, 1, 7, 7}, {3, 64, 7, 7}, {2, 96, 5},
    {2, 24, 2, 3, 4}, {1, 3, 1, 1},  {2, 40, 8, 8}, {2, 33, 8, 9}};

template <class Loss>
std::vector<Tensor> loss_of(const Case& given, const Loss& criterion) {
  const auto terms =
      criterion(given.logits(), given.target, given.seen(), given.human);
  terms.total.backward();
  return {terms.total, terms.saliency, terms.annotated_count};
}

}  // namespace

TEST_CASE(
    "Kernels and operators give the same guided head", "[kernels][head]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& sizes : kShapes) {
      for (const int64_t classes : {1, 2, 9}) {
        INFO(named(sizes, type) << ", " << classes << " classes");
        const Case given(sizes, classes, type);
        check_agree(
            given.leaves(),
            [&] {
              const auto out =
                  given.head()->guided(given.features, given.target);
              (out.logits.square().sum() + (out.cam * given.human).sum())
                  .backward();
              return std::vector<Tensor>{out.logits, out.cam};
            },
            tolerance(type, 10));
      }
    }
  }
}

TEST_CASE(
    "Kernels and operators give the same maps of all classes",
    "[kernels][head]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& sizes : kShapes) {
      for (const int64_t classes : {1, 3, 8, 9}) {
        INFO(named(sizes, type) << ", " << classes << " classes");
        const Case given(sizes, classes, type);
        check_agree(
            given.leaves(),
            [&] {
              const auto out =
                  given.head()->guided(given.features, cyborg::CamClass::kAll);
              (out.logits.square().sum() + out.cam.square().sum()).backward();
              return std::vector<Tensor>{out.logits, out.cam};
            },
            tolerance(type, 10));
      }
    }
  }
}

TEST_CASE("Means are equal to the bit with and without maps", "[kernels]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& sizes : kShapes) {
      INFO(named(sizes, type));
      const Case given(sizes, 2, type);
      const auto plain = given.head()->forward(given.features);
      const auto beside =
          given.head()->guided(given.features, given.target).logits;
#ifdef __FAST_MATH__  // sums in any order
      CHECK(close(plain, beside, tolerance(type, 10)));
#else
      CHECK(torch::equal(plain, beside));
#endif
      check_agree(
          given.leaves(),
          [&] {
            const auto out = given.head()->forward(given.features);
            out.square().sum().backward();
            return std::vector<Tensor>{out};
          },
          tolerance(type, 10));
    }
  }
}

TEST_CASE(
    "Means alone keep no features and have all derivatives", "[kernels]") {
  Case given({2, 17, 5, 10}, 3, torch::kDouble);
  const auto twice = [&] {
    const auto values = given.features.tanh();
    const auto out = given.head()->forward(values).pow(3).sum();
    const auto slopes = torch::autograd::grad(
        {out}, {given.features, given.weight}, {}, /*retain_graph=*/true,
        /*create_graph=*/true);
    (slopes[0].square().sum() + slopes[1].square().sum()).backward();
    return std::vector<Tensor>{out};
  };
  check_agree(given.leaves(), twice, 1e-12);

  // Its gradient has its own memory, which may be changed in place.
  auto values = given.features * 1;
  const auto out = given.head()->forward(values);
  auto slope = torch::autograd::grad(
      {out.sum()}, {values}, {}, /*retain_graph=*/true)[0];
  CHECK(slope.is_contiguous());
  CHECK_NOTHROW(slope.mul_(2));

  // Autograd refuses a backward when a tensor that it kept was changed.
  {
    const torch::NoGradGuard no_grad;
    values.zero_();
  }
  CHECK_NOTHROW(out.sum().backward());
}

TEST_CASE("The fused loss equals the loss by operators", "[kernels][loss]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const auto& sizes : kShapes) {
      int64_t positions = 1;
      for (size_t i = 2; i < sizes.size(); ++i) {
        positions *= sizes[i];
      }
      if (sizes[0] == 0 || positions == 1) {
        continue;  // the loss throws for those
      }
      for (const int64_t classes : {1, 2, 9}) {
        INFO(named(sizes, type) << ", " << classes << " classes");
        const Case given(sizes, classes, type);
        const auto all = [&](const auto& criterion) {
          check_agree(
              given.leaves(), [&] { return loss_of(given, criterion); },
              tolerance(type, 10));
        };
        all(cyborg::CyborgL1Loss());
        all(cyborg::CyborgL2Loss());
        all(cyborg::CyborgKLLoss());
      }
    }
  }
}

TEST_CASE("Every normaliser has its derivative", "[kernels][loss]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const Case given({5, 17, 7, 7}, 2, type);
    for (const auto model :
         {Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax,
          Normalizer::kSum, Normalizer::kSoftmax}) {
      for (const auto human :
           {Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax,
            Normalizer::kSum, Normalizer::kSoftmax}) {
        INFO(
            "model " << static_cast<int>(model) << ", people "
                     << static_cast<int>(human));
        const auto options = cyborg::SaliencyGuidedLossOptions()
                                 .map_normalizer(model)
                                 .human_normalizer(human);
        const auto all = [&](const auto& criterion) {
          check_agree(
              given.leaves(), [&] { return loss_of(given, criterion); },
              tolerance(type, 30));
        };
        all(cyborg::CyborgL1Loss(options));
        all(cyborg::CyborgL2Loss(options));
        if (model != Normalizer::kNone) {  // logarithms of negative numbers
          all(cyborg::CyborgKLLoss(options));
        }
      }
    }
  }
}

TEST_CASE("Ties share the gradient in the fused loss", "[kernels][loss]") {
  Case given({4, 3, 7, 7}, 2, torch::kDouble);
  given.features =
      torch::randint(0, 3, {4, 3, 7, 7}).to(torch::kDouble).requires_grad_();
  given.weight =
      torch::randint(-1, 2, {2, 3}).to(torch::kDouble).requires_grad_();
  for (const auto model :
       {Normalizer::kMinMax, Normalizer::kMax, Normalizer::kSum}) {
    check_agree(
        given.leaves(),
        [&] {
          return loss_of(
              given,
              cyborg::CyborgL2Loss(
                  cyborg::SaliencyGuidedLossOptions().map_normalizer(model)));
        },
        1e-12);
  }
}

TEST_CASE(
    "Samples that do not guide do not change the fused loss",
    "[kernels][loss]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    Case given({8, 6, 7, 7}, 2, type);
    given.human[0].fill_(nan);
    given.human[1].fill_(0.5);
    given.human[2][3][3] = infinity;
    {
      const torch::NoGradGuard no_grad;
      given.features[3].fill_(2);  // a constant map of the model
      given.features[4][0][0][0] = 1e30;
      given.features[5].mul_(1e-9);  // flat, except for rounding
    }
    const Tensor annotated =
        torch::tensor({1, 1, 1, 1, 1, 1, 0, 1}).to(torch::kBool);
    const Tensor weight = torch::linspace(0, 2, 8, torch::dtype(type));
    for (const bool sums : {false, true}) {
      const cyborg::CyborgL2Loss criterion(
          cyborg::SaliencyGuidedLossOptions().alpha(0.3).reduction(
              sums ? cyborg::Reduction::kSum : cyborg::Reduction::kMean));
      const auto run = [&] {
        const auto terms = criterion.combine(
            given.logits().slice(0, 7).square().sum() * 1e-60,
            cyborg::functional::cam(given.features, given.weight, given.target),
            given.human, annotated, weight);
        terms.saliency.backward();
        return std::vector<Tensor>{terms.saliency, terms.annotated_count};
      };
      check_agree(given.leaves(), run, tolerance(type, 10));
      const auto found = with(InstructionSet::kAvx2, given.leaves(), run);
      CHECK(found[1].item<int64_t>() == 2);
      for (const int64_t sample : {0, 1, 2, 3, 5, 6}) {
        CHECK(found[2][sample].abs().max().item<double>() == 0);
      }
    }
  }
}

TEST_CASE(
    "A NaN in the model's map changes no other sample", "[kernels][loss]") {
  Case given({3, 6, 7, 7}, 2, torch::kFloat);
  {
    const torch::NoGradGuard no_grad;
    given.features[1][2][3][3] = std::numeric_limits<float>::quiet_NaN();
  }
  const Tensor cam =
      cyborg::functional::cam(given.features, given.weight, given.target);
  const auto terms = cyborg::CyborgKLLoss().combine(
      given.bias.square().sum(), cam, given.human);
  CHECK(terms.annotated_count.item<int64_t>() == 2);
  CHECK(at::isfinite(terms.total).item<bool>());
  terms.total.backward();
  CHECK(at::isfinite(given.weight.grad()).all().item<bool>());
  CHECK(at::isfinite(given.features.grad()).all().item<bool>());
}

TEST_CASE("Sample weights that are learned have a gradient", "[kernels]") {
  torch::manual_seed(3);
  const Tensor maps = torch::randn({3, 9}).requires_grad_();
  const Tensor weight = torch::rand({3}).requires_grad_();
  const Tensor human = torch::rand({3, 9});
  check_agree(
      {maps, weight},
      [&] {
        const auto terms = cyborg::CyborgL2Loss().combine(
            maps.sum() * 0, maps, human, /*annotated=*/{}, weight);
        terms.total.backward();
        return std::vector<Tensor>{terms.total};
      },
      1e-5);
  CHECK(weight.grad().abs().min().item<double>() > 0);
}

TEST_CASE(
    "A gradient whose minus sign is a flag is read correctly",
    "[kernels][head]") {
  const Case given({2, 5, 3, 3}, 2, torch::kFloat);
  check_agree(
      given.leaves(),
      [&] {
        const auto out = given.head()->guided(given.features, given.target);
        torch::autograd::backward(
            {out.cam, out.logits}, {torch::_neg_view(torch::ones({2, 3, 3})),
                                    torch::_neg_view(torch::ones({2, 2}))});
        return std::vector<Tensor>{out.cam};
      },
      1e-5);
}

TEST_CASE(
    "Labels and weights that are negated or zero by a flag are read correctly",
    "[kernels]") {
  const Case given({2, 5, 3, 3}, 2, torch::kFloat);
  const auto guided = [&](const Tensor& target, const Tensor& weight) {
    const auto out = given.head()->guided(given.features, target);
    const auto terms = cyborg::CyborgL2Loss()(
        out.logits, target, out.cam, given.human, /*annotated=*/{}, weight);
    return std::vector<Tensor>{terms.total, terms.saliency};
  };
  const Tensor ones = torch::ones({2});
  const auto expected = guided(given.target, ones);
  const auto found =
      guided(torch::_neg_view(-given.target), torch::_neg_view(-ones));
  CHECK(close(found[0], expected[0], 1e-6));
  CHECK(close(found[1], expected[1], 1e-6));

  const Tensor zeros = torch::_efficientzerotensor({2, 5, 3, 3});
  CHECK(torch::equal(
      given.head()->guided(zeros, given.target).cam, torch::zeros({2, 3, 3})));
  check_agree(
      given.leaves(),
      [&] {
        const auto out = given.head()->guided(given.features, given.target);
        torch::autograd::backward(
            {out.cam, out.logits},
            {torch::_efficientzerotensor({2, 3, 3}), torch::ones({2, 2})});
        return std::vector<Tensor>{out.cam};
      },
      1e-5);
}

TEST_CASE(
    "With a weight of zero, an infinite distance counts as zero", "[kernels]") {
  const cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions()
          .map_normalizer(Normalizer::kNone)
          .human_normalizer(Normalizer::kNone));
  const Tensor maps =
      torch::tensor({{1e30F, 0.F}, {1.F, 0.F}}).requires_grad_();
  check_agree(
      {maps},
      [&] {
        const auto terms = criterion.combine(
            torch::ones({}), maps, torch::zeros({2, 2}), /*annotated=*/{},
            torch::tensor({0.F, 1.F}));
        terms.total.backward();
        // a = 0.5; S = (0 + 1 / 2) / 2.
        CHECK(terms.saliency.item<float>() == Approx(0.25));
        return std::vector<Tensor>{terms.total, terms.saliency};
      },
      1e-6);
}

TEST_CASE(
    "An infinity at the end of a row stays an infinity", "[kernels][head]") {
  // Rows end in a vector that overlaps the one before: 50 = 6 * 8 + 2.
  Case given({1, 17, 5, 10}, 2, torch::kFloat);
  given.target.zero_();
  {
    const torch::NoGradGuard no_grad;
    given.features.view({17, 50})[3][44] =
        std::numeric_limits<float>::infinity();
    given.weight[0][3] = 0.5;
  }
  check_agree(
      {given.weight},
      [&] {
        const auto out = given.head()->guided(given.features, given.target);
        out.cam.backward(torch::ones_like(out.cam));
        // By an operator: with -ffast-math the compiler may assume that no
        // number here is infinite.
        CHECK(given.weight.grad()[0][3].isinf().item<bool>());
        given.weight.grad().masked_fill_(given.weight.grad().isinf(), 0);
        return std::vector<Tensor>{};
      },
      1e-4);
}

TEST_CASE("Operators compute what kernels cannot read", "[kernels]") {
  const cyborg::CyborgL2Loss criterion;
  const Case plain({4, 16, 6, 6}, 2, torch::kDouble);
  const auto expected = with(InstructionSet::kAvx2, plain.leaves(), [&] {
    return loss_of(plain, criterion);
  });
  const auto check = [&](const Tensor& features) {
    Case other = plain;
    other.features = features.detach().requires_grad_();
    const auto found = with(InstructionSet::kAvx2, other.leaves(), [&] {
      return loss_of(other, criterion);
    });
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(close(found[i], expected[i], 1e-12));
    }
    const auto out = other.head()->guided(other.features, other.target);
    CHECK(close(out.logits, plain.logits(), 1e-12));
  };
  check(plain.features.contiguous(at::MemoryFormat::ChannelsLast));
  check(torch::stack({plain.features, plain.features}, 4).select(4, 1));
  check(plain.features.transpose(2, 3).contiguous().transpose(2, 3));

  // Half types: maps are made in float32.
  Case half = plain;
  half.features = plain.features.detach().to(torch::kBFloat16).requires_grad_();
  half.weight = plain.weight.detach().to(torch::kBFloat16).requires_grad_();
  half.bias = plain.bias.detach().to(torch::kBFloat16).requires_grad_();
  cyborg::GuidedHead head = half.head();
  const auto out = head->guided(half.features, half.target);
  CHECK(out.logits.scalar_type() == torch::kBFloat16);
  CHECK(out.cam.scalar_type() == torch::kFloat);
  CHECK(close(
      out.cam,
      cyborg::functional::cam(plain.features, plain.weight, plain.target),
      0.1));
  const auto terms = criterion(out.logits, half.target, out.cam, half.human);
  terms.total.backward();
  CHECK(half.features.grad().scalar_type() == torch::kBFloat16);
}

TEST_CASE("The derivative can be differentiated", "[kernels][gradient]") {
  const Case given({2, 3, 2, 3}, 2, torch::kDouble);
  const auto slope =
      [&](const std::function<Tensor(const Tensor&, const Tensor&)>& value) {
        return [value](const std::vector<Tensor>& in) {
          const auto slopes = torch::autograd::grad(
              {value(in[0], in[1])}, {in[0], in[1]}, {}, true,
              /*create_graph=*/true);
          return torch::cat({slopes[0].flatten(), slopes[1].flatten()});
        };
      };
  const cyborg::CyborgL2Loss l2;
  const cyborg::CyborgKLLoss kl;
  const auto loss = [&](const auto& criterion) {
    return slope([&](const Tensor& features, const Tensor& weight) {
      Case at = given;
      at.features = features;
      at.weight = weight;
      return criterion(at.logits(), at.target, at.seen(), at.human).total;
    });
  };
  const std::vector<Tensor> at{given.features, given.weight};
  CHECK(support::gradcheck(loss(l2), at));
  CHECK(support::gradcheck(loss(kl), at));
  CHECK(support::gradcheck(
      slope([&](const Tensor& features, const Tensor& weight) {
        Case here = given;
        here.weight = weight;
        const auto out = here.head()->guided(features, given.target);
        return (out.logits.square().sum() + out.cam.pow(3).sum());
      }),
      at));
  // The first derivative is the same when it has a graph.
  given.features.mutable_grad() = Tensor();
  const auto terms =
      l2(given.logits(), given.target, given.seen(), given.human);
  const auto with_graph = torch::autograd::grad(
      {terms.total}, at, {}, /*retain_graph=*/true, /*create_graph=*/true);
  const auto without =
      torch::autograd::grad({terms.total}, at, {}, /*retain_graph=*/true);
  CHECK(close(with_graph[0], without[0]));
  CHECK(close(with_graph[1], without[1]));
}

TEST_CASE(
    "The fused loss has the gradient of finite differences", "[kernels]") {
  const Case given({3, 4, 3, 3}, 2, torch::kDouble);
  const auto run = [&](const auto& criterion) {
    return support::gradcheck(
        [&](const std::vector<Tensor>& in) {
          Case at = given;
          at.features = in[0];
          at.weight = in[1];
          at.bias = in[2];
          const auto terms =
              criterion(at.logits(), at.target, at.seen(), at.human);
          return torch::stack({terms.total, terms.saliency});
        },
        given.leaves());
  };
  CHECK(run(cyborg::CyborgL1Loss()));
  CHECK(run(cyborg::CyborgL2Loss()));
  CHECK(run(cyborg::CyborgKLLoss()));
}

TEST_CASE("Frozen features or a frozen head stay frozen", "[kernels]") {
  for (const bool freeze_head : {false, true}) {
    Case given({4, 8, 5, 5}, 2, torch::kDouble);
    (freeze_head ? given.weight : given.features).set_requires_grad(false);
    const cyborg::CyborgL2Loss criterion;
    check_agree(
        given.leaves(), [&] { return loss_of(given, criterion); }, 1e-12);
    const Tensor& frozen = freeze_head ? given.weight : given.features;
    CHECK_FALSE(frozen.grad().defined());
  }
}

TEST_CASE("Any number of threads gives the same numbers", "[kernels]") {
  const int before = at::get_num_threads();
  for (const auto& sizes : std::vector<std::vector<int64_t>>{
           {1, 2048, 7, 7}, {2, 515, 14, 14}, {37, 128, 7, 7}}) {
    INFO(c10::str(at::IntArrayRef(sizes)));
    const Case given(sizes, 2, torch::kDouble);
    const auto run = [&] { return loss_of(given, cyborg::CyborgL2Loss()); };
    at::set_num_threads(1);
    CHECK(threads_on(sizes) == 1);
    const auto one = with(InstructionSet::kAvx2, given.leaves(), run);
    for (const int threads : {2, 3}) {
      at::set_num_threads(threads);
      CHECK(threads_on(sizes) > 1);
      const auto several = with(InstructionSet::kAvx2, given.leaves(), run);
      for (size_t i = 0; i < one.size(); ++i) {
        CHECK(close(several[i], one[i], 1e-12));
      }
    }
  }
  at::set_num_threads(before);
}

namespace {

/// The functions that are recorded with their own node. Each takes features
/// that were computed, and returns one result.
std::vector<std::function<Tensor(const Tensor&)>> own_functions(
    const Case& given) {
  return {
      [given](const Tensor& features) {
        return given.head()->guided(features, given.target).cam.sum();
      },
      [given](const Tensor& features) {
        return given.head()->forward(features).square().sum();
      },
      [given](const Tensor& features) {
        Case at = given;
        at.features = features;
        return cyborg::CyborgL2Loss()(
                   at.logits(), at.target, at.seen(), at.human)
            .total;
      },
      [given](const Tensor& features) {
        return cyborg::CyborgL2Loss()
            .combine(
                given.bias.square().sum(), features.select(1, 0).contiguous(),
                given.human)
            .total;
      }};
}

}  // namespace

TEST_CASE("Features changed between forward and backward throw", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kFloat);
  const auto functions = own_functions(given);
  // Means keep no features, and the last function reads a copy.
  for (const size_t i : {size_t{0}, size_t{2}}) {
    const Tensor features = given.features * 1;
    const Tensor out = functions[i](features);
    features.add_(1);
    CHECK(support::contains(
        support::error_of([&] { out.backward(); }),
        "modified by an inplace operation"));
  }
}

TEST_CASE("A second backward needs a retained graph", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kDouble);
  for (const auto& function : own_functions(given)) {
    const Tensor out = function(given.features);
    const auto gradient = [&](bool keep) {
      return torch::autograd::grad({out}, {given.features}, {}, keep)[0];
    };
    const Tensor first = gradient(/*keep=*/true);
    CHECK(first.abs().max().item<double>() > 0);
    CHECK(torch::equal(gradient(/*keep=*/false), first));
    CHECK(support::contains(
        support::error_of([&] { gradient(false); }),
        "Trying to backward through the graph a second time"));
  }
}

TEST_CASE("Backward frees the features", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kDouble);
  const auto functions = own_functions(given);
  // Means keep no features, and the last function reads a copy.
  for (const size_t i : {size_t{0}, size_t{2}}) {
    const Tensor features = given.features * 1;
    Tensor out = functions[i](features);
    CHECK(features.use_count() > 1);
    out.backward();
    CHECK(features.use_count() == 1);
    out = functions[i](features);  // no backward: the graph owns no output
    CHECK(features.use_count() > 1);
    out = Tensor();
    CHECK(features.use_count() == 1);
  }
}

TEST_CASE("Kernels are recorded only where there is a graph", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kDouble);
  const auto loss = [&] {
    return cyborg::CyborgL2Loss().combine(
        given.bias.square().sum(),
        cyborg::functional::cam(given.features, given.weight, given.target),
        given.human);
  };
  const auto terms = loss();
  CHECK(terms.total.grad_fn()->name() == "cyborg::FusedGuidance");
  CHECK(terms.saliency.grad_fn() == terms.total.grad_fn());
  CHECK_FALSE(terms.annotated_count.requires_grad());
  CHECK(terms.total.grad_fn()->num_inputs() == 2);
  const Tensor pooled =
      given.head()->guided(given.features, cyborg::CamClass::kAll).cam;
  CHECK(cyborg::detail::is_custom("cyborg::FeaturePass"));
  CHECK(
      pooled.grad_fn()->next_edges()[0].function->name() ==
      "cyborg::FeaturePass");
  {
    const torch::NoGradGuard no_grad;
    CHECK_FALSE(loss().total.requires_grad());
  }
  given.features.set_requires_grad(false);
  given.weight.set_requires_grad(false);
  given.bias.set_requires_grad(false);
  CHECK_FALSE(loss().total.requires_grad());
}

TEST_CASE("A gradient has a derivative in forward mode", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kDouble);
  const Tensor tangent = torch::randn({}, torch::kDouble);
  const auto functions = own_functions(given);
  // Not the third: LibTorch's cross entropy has no such derivative.
  for (const size_t i : {size_t{0}, size_t{1}, size_t{3}}) {
    const uint64_t level = torch::autograd::forward_ad::enter_dual_level();
    const Tensor slope = torch::autograd::grad(
        {functions[i](given.features)}, {given.features},
        {torch::_make_dual(torch::ones({}, torch::kDouble), tangent, 0)})[0];
    const Tensor found = std::get<1>(torch::_unpack_dual(slope, 0)).clone();
    torch::autograd::forward_ad::exit_dual_level(level);
    // The gradient is linear in its weights.
    CHECK(slope.abs().max().item<double>() > 0);
    CHECK(close(found, slope * tangent, 1e-12));
  }
}

TEST_CASE(
    "The derivatives of forward mode and of backward are equal", "[kernels]") {
  const Case given({2, 4, 3, 3}, 2, torch::kDouble);
  const Tensor tangent = torch::randn_like(given.features);
  const uint64_t level = torch::autograd::forward_ad::enter_dual_level();
  std::vector<double> found;
  for (const auto& function : own_functions(given)) {
    const Tensor out = function(torch::_make_dual(given.features, tangent, 0));
    const Tensor slope = std::get<1>(torch::_unpack_dual(out, 0));
    found.push_back(slope.defined() ? slope.item<double>() : HUGE_VAL);
  }
  torch::autograd::forward_ad::exit_dual_level(level);
  const auto functions = own_functions(given);
  for (size_t i = 0; i < functions.size(); ++i) {
    const Tensor gradient = torch::autograd::grad(
        {functions[i](given.features)}, {given.features})[0];
    CHECK(
        found[i] ==
        Approx((gradient * tangent).sum().item<double>()).epsilon(1e-9));
  }
}
