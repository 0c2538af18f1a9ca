// SPDX-License-Identifier: BSD-3-Clause
//
// Under autocast, maps and the loss are computed as without it.
#include <cyborg/cam/head.hpp>
#include <cyborg/cam/hook.hpp>
#include <cyborg/loss.hpp>

#include <ATen/record_function.h>
#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

using cyborg::CamClass;
using cyborg::Normalizer;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using support::close;
using support::labels;
using torch::Tensor;
namespace cam = cyborg::functional;

namespace {

/// The operators that `callable` runs while autocast is on and would change
/// them.
std::set<std::string> autocast_operators_of(
    const std::function<void()>& callable) {
  static thread_local std::set<std::string>* seen = nullptr;
  std::set<std::string> names;
  seen = &names;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction& function)
              -> std::unique_ptr<at::ObserverContext> {
            if (!c10::impl::tls_is_dispatch_key_excluded(
                    c10::DispatchKey::AutocastCPU)) {
              seen->insert(function.name());
            }
            return nullptr;
          })
          .scopes({at::RecordScope::FUNCTION}));
  {
    const support::CpuAutocast autocast;
    callable();
  }
  at::removeCallback(handle);
  seen = nullptr;
  return names;
}

/// Those of them that compute, and so may round.
std::string arithmetic(const std::set<std::string>& names) {
  static const std::set<std::string> harmless = {
      "aten::_to_copy",    "aten::alias",      "aten::argmax",
      "aten::as_strided",  "aten::contiguous", "aten::copy_",
      "aten::detach",      "aten::empty",      "aten::empty_strided",
      "aten::gt",          "aten::reshape",    "aten::resolve_neg",
      "aten::squeeze",     "aten::to",         "aten::unsqueeze",
      "aten::view",        "detach",           "aten::is_neg",
      "aten::result_type", "aten::empty_like", "aten::clone"};
  std::string all;
  for (const auto& name : names) {
    all += harmless.count(name) > 0 ? std::string() : name + " ";
  }
  return all;
}

/// Features, a head of three classes or more, and people's maps, float32.
struct SmallBatch {
  Tensor features, weight, bias, target, human;

  explicit SmallBatch(int64_t classes = 3) {
    torch::manual_seed(31);
    features = torch::randn({4, 16, 3, 3}).requires_grad_();
    weight = torch::randn({classes, 16}).requires_grad_();
    bias = torch::randn({classes}).requires_grad_();
    target = classes == 1 ? labels({1, 0, 1, 0}) : labels({2, 0, 1, 2});
    human = torch::rand({4, 6, 6});
  }

  Tensor logits() const {
    return torch::linear(features.flatten(2).mean(2), weight, bias);
  }

  cyborg::Observation seen(cyborg::CamMethod method) const {
    cyborg::Observation observation;
    observation.features = features;
    observation.features = features;
    observation.weight = weight;
    observation.exact = true;
    observation.method = method;
    return observation;
  }

  cyborg::GuidedHead head() const {
    cyborg::GuidedHead made(16, weight.size(0));
    made->weight = weight;
    made->bias = bias;
    return made;
  }
};

/// A custom distance, by an operator that autocast would round.
struct Product {
  static constexpr Normalizer map_normalizer = Normalizer::kMinMax;
  static constexpr Normalizer human_normalizer = Normalizer::kMinMax;
  Tensor operator()(const Tensor& model, const Tensor& human) const {
    return torch::bmm(model.unsqueeze(1), human.unsqueeze(2)).flatten() / 9;
  }
};

const std::vector<InstructionSet> kInstructionSets = {
    InstructionSet::kAvx2, InstructionSet::kNone};

}  // namespace

TEST_CASE("No map is rounded by autocast", "[autocast]") {
  for (const int64_t classes : {1, 3, 9}) {
    const SmallBatch b(classes);
    const Tensor score = b.logits().select(1, 0);
    const std::vector<std::pair<const char*, std::function<Tensor()>>> maps = {
        {"cam", [&] { return cam::cam(b.features, b.weight, b.target); }},
        {"cam of features",
         [&] {
           return cam::cam(
               b.features, {}, labels({0, 1, 2, 3}).to(torch::kInt));
         }},
        {"cam_all", [&] { return cam::cam_all(b.features, b.weight); }},
        {"grad_cam", [&] { return cam::grad_cam(b.features, score); }},
        {"hires_cam", [&] { return cam::hires_cam(b.features, score); }},
        {"normalize",
         [&] { return cam::normalize(b.human, Normalizer::kSoftmax); }},
        {"normalize to a sum",
         [&] { return cam::normalize(b.human, Normalizer::kSum); }},
    };
    for (const auto path : kInstructionSets) {
      const InstructionSetGuard guard(path);
      for (const auto& map : maps) {
        INFO(
            map.first << ", " << classes << " classes, path "
                      << static_cast<int>(path));
        const Tensor expected = map.second();
        Tensor found;
        const auto names = autocast_operators_of([&] { found = map.second(); });
        CHECK(arithmetic(names) == "");
        CHECK(found.scalar_type() == torch::kFloat);
        CHECK(close(found, expected, 0));
      }
      INFO("a guided head, " << classes << " classes");
      auto head = b.head();
      for (const bool all : {false, true}) {
        const auto run = [&] {
          return all ? head->guided(b.features, CamClass::kAll)
                     : head->guided(b.features, b.target);
        };
        const auto expected = run();
        const support::CpuAutocast autocast;
        const auto found = run();
        CHECK(found.cam.scalar_type() == torch::kFloat);
        CHECK(close(found.cam, expected.cam, 0));
        // The linear layer belongs to the network, so autocast may change it.
        CHECK(found.logits.scalar_type() == torch::kBFloat16);
        CHECK(close(found.logits, expected.logits, 0.1));
      }
    }
  }
}

TEST_CASE("No distance is rounded by autocast", "[autocast][loss]") {
  for (const int64_t classes : {1, 3}) {
    const SmallBatch b(classes);
    const Tensor logits = b.logits();
    const Tensor weight = torch::linspace(0.5, 2, 4);
    const auto check = [&](const auto& criterion) {
      for (const auto path : kInstructionSets) {
        const InstructionSetGuard guard(path);
        for (const auto method :
             {cyborg::CamMethod::kCam, cyborg::CamMethod::kGradCam}) {
          for (const Tensor& w : {Tensor(), weight}) {
            CAPTURE(
                classes, static_cast<int>(path), static_cast<int>(method),
                w.defined());
            const auto run = [&] {
              return criterion(
                  logits, b.target, b.seen(method), b.human, {}, w);
            };
            const auto expected = run();
            cyborg::LossTerms found;
            const auto names = autocast_operators_of([&] { found = run(); });
            // Autocast is off before anything is computed.
            CHECK(names.count("aten::cross_entropy_loss") == 0);
            CHECK(names.count("aten::binary_cross_entropy_with_logits") == 0);
            CHECK(names.count("aten::bmm") == 0);
            CHECK(found.total.scalar_type() == torch::kFloat);
            CHECK(close(found.total, expected.total, 0));
            CHECK(close(found.saliency, expected.saliency, 0));
            CHECK(close(found.classification, expected.classification, 0));
          }
        }
      }
    };
    check(cyborg::CyborgL1Loss());
    check(cyborg::CyborgL2Loss());
    check(cyborg::CyborgKLLoss());
    check(cyborg::SaliencyGuidedLoss<Product>());
  }
}

TEST_CASE("combine computes nothing under autocast", "[autocast][loss]") {
  const SmallBatch b;
  const Tensor map = cam::cam(b.features, b.weight, b.target);
  const Tensor task = b.bias.square().sum();
  const auto check = [&](const auto& criterion) {
    for (const auto path : kInstructionSets) {
      const InstructionSetGuard guard(path);
      CAPTURE(static_cast<int>(path));
      const auto run = [&] { return criterion.combine(task, map, b.human); };
      const auto expected = run();
      cyborg::LossTerms found;
      const auto names = autocast_operators_of([&] { found = run(); });
      CHECK(arithmetic(names) == "");
      CHECK(close(found.total, expected.total, 0));
    }
  };
  check(cyborg::CyborgL1Loss());
  check(cyborg::CyborgL2Loss());
  check(cyborg::CyborgKLLoss());
  check(cyborg::SaliencyGuidedLoss<Product>());
}

TEST_CASE("Features in bfloat16 are compared in float32", "[autocast][loss]") {
  // As after autocast: features in bfloat16, parameters in float32.
  SmallBatch b;
  b.features = b.features.detach().to(torch::kBFloat16).requires_grad_();
  SmallBatch exact = b;
  exact.features = b.features.detach().to(torch::kFloat).requires_grad_();
  const Tensor logits = exact.logits().detach();
  const auto check = [&](const auto& criterion) {
    const auto expected = criterion(
        logits, b.target, exact.seen(cyborg::CamMethod::kAuto), b.human);
    expected.total.backward();
    for (const auto path : kInstructionSets) {
      const InstructionSetGuard guard(path);
      CAPTURE(static_cast<int>(path));
      const support::CpuAutocast autocast;
      b.features.mutable_grad() = Tensor();
      const auto found = criterion(
          logits, b.target, b.seen(cyborg::CamMethod::kAuto), b.human);
      CHECK(close(found.total, expected.total, 1e-6));
      CHECK(close(found.saliency, expected.saliency, 1e-6));
      found.total.backward();
      CHECK(b.features.grad().scalar_type() == torch::kBFloat16);
      CHECK(close(b.features.grad(), exact.features.grad(), 2e-3));
    }
    exact.features.mutable_grad() = Tensor();
  };
  check(cyborg::CyborgL1Loss());
  check(cyborg::CyborgL2Loss());
  check(cyborg::CyborgKLLoss());
  check(cyborg::SaliencyGuidedLoss<Product>());
}
