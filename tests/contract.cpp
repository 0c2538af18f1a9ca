// SPDX-License-Identifier: BSD-3-Clause
// The public interface, line by line. What is written here is a promise: a
// change that stops this file from compiling breaks somebody's program.
#include <cyborg/loss.hpp>

#include <cyborg/cam/head.hpp>
#include <cyborg/jit.hpp>

#include "catch.hpp"
#include "support.hpp"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using support::close;
using torch::Tensor;

namespace {

struct NetImpl : torch::nn::Module {
  explicit NetImpl(int64_t classes = 3) {
    layer3 = register_module("layer3", block(3, 4));
    layer4 = register_module("layer4", block(4, 6));
    fc = register_module("fc", torch::nn::Linear(6, classes));
  }

  static torch::nn::Sequential block(int64_t in, int64_t out) {
    torch::nn::Sequential made;
    made->push_back(
        "conv",
        torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).padding(1)));
    made->push_back("relu", torch::nn::ReLU());
    return made;
  }

  Tensor forward(const Tensor& images) {
    return fc->forward(layer4->forward(layer3->forward(images)).mean({2, 3}));
  }

  torch::nn::Sequential layer3{nullptr}, layer4{nullptr};
  torch::nn::Linear fc{nullptr};
};
TORCH_MODULE(Net);

/// A batch of a training loop.
struct GuidedBatch {
  Tensor data = torch::randn({4, 3, 8, 8});
  Tensor target = torch::tensor({0, 2, 1, 0}, torch::kLong);
  Tensor saliency = torch::rand({4, 16, 16});
};

/// A custom distance.
struct MyDistance {
  static constexpr cyborg::Normalizer map_normalizer = cyborg::Normalizer::kMax,
                                      human_normalizer =
                                          cyborg::Normalizer::kSum;
  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).abs().amax(1);
  }
};

}  // namespace

TEST_CASE("Contract: the five lines in a training loop", "[contract]") {
  torch::manual_seed(1);
  Net net;
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const std::vector<GuidedBatch> loader(2);

  cyborg::CamHook hook(*net);
  cyborg::CyborgL2Loss criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(0.5));

  for (auto& batch : loader) {
    auto logits = hook.forward([&] { return net->forward(batch.data); });
    auto terms = criterion(logits, batch.target, hook, batch.saliency);
    optimizer.zero_grad();
    terms.total.backward();
    for (const auto& item : net->named_parameters()) {
      INFO(item.key());
      REQUIRE(item.value().grad().defined());
    }
    optimizer.step();
    CHECK(at::isfinite(terms.total).item<bool>());
  }
}

TEST_CASE("Contract: CamHook takes any module", "[contract]") {
  Net net;
  const GuidedBatch batch;
  const auto works = [&](cyborg::CamHook hook) {
    auto logits = hook.forward([&] { return net->forward(batch.data); });
    return hook.cam(logits, batch.target).sizes() == at::IntArrayRef({4, 8, 8});
  };
  SECTION("a reference") {
    CHECK(works(cyborg::CamHook(*net)));
    NetImpl& reference = *net;
    CHECK(works(cyborg::CamHook(reference, cyborg::CamHookOptions())));
    torch::nn::Module& base = *net;
    CHECK(works(cyborg::CamHook(base)));
  }
  SECTION("a shared_ptr") {
    std::shared_ptr<NetImpl> pointer = net.ptr();
    CHECK(works(cyborg::CamHook(pointer)));
    std::shared_ptr<torch::nn::Module> base = pointer;
    CHECK(works(cyborg::CamHook(base)));
  }
  SECTION("a holder") {
    CHECK(works(cyborg::CamHook(net)));
  }
  SECTION("a module on the stack") {
    NetImpl local;
    cyborg::CamHook hook(local);
    auto logits = hook.forward([&] { return local.forward(batch.data); });
    CHECK(hook.cam(logits, batch.target).dim() == 3);
  }
  SECTION("a sequence") {
    torch::nn::Sequential sequence(
        torch::nn::Conv2d(3, 4, 3), torch::nn::ReLU(),
        torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
        torch::nn::Linear(4, 3));
    cyborg::CamHook hook(sequence);
    auto logits = hook.forward([&] { return sequence->forward(batch.data); });
    CHECK(hook.cam(logits, batch.target).dim() == 3);
  }
  SECTION("TorchScript") {
    torch::jit::Module script("net");
    script.register_parameter(
        "weight", torch::randn({3, 3, 3, 3}, torch::requires_grad()),
        /*is_buffer=*/false);
    script.define(R"(
      def forward(self, x):
        return torch.conv2d(x, self.weight).relu().mean([2, 3])
    )");
    cyborg::CamHook hook(script);
    auto logits =
        hook.forward([&] { return script.forward({batch.data}).toTensor(); });
    CHECK(hook.cam(logits, batch.target).dim() == 3);
  }
}

TEST_CASE("Contract: a layer is named", "[contract]") {
  Net net;
  const GuidedBatch batch;
  for (const auto* name : {"layer3", "layer4.conv"}) {
    cyborg::CamHook hook(*net, cyborg::CamHookOptions().layer(name));
    auto logits = hook.forward([&] { return net->forward(batch.data); });
    CHECK(hook.observation().layer == name);
    CHECK(hook.cam(logits, batch.target).dim() == 3);
  }
}

TEST_CASE("Contract: forward returns what the callable returns", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  Tensor logits = hook.forward([&] { return net->forward(batch.data); });
  auto pair =
      hook.forward([&] { return std::make_pair(net->forward(batch.data), 7); });
  static_assert(std::is_same_v<decltype(pair), std::pair<Tensor, int>>);
  CHECK(pair.second == 7);
  CHECK(close(pair.first, logits, 1e-6));
  CHECK_THROWS_AS(
      hook.forward([&]() -> Tensor { throw std::runtime_error("mine"); }),
      std::runtime_error);
  CHECK_FALSE(hook.observation().features.defined());
}

TEST_CASE("Contract: features captured by hand", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto features = net->layer4->forward(net->layer3->forward(batch.data));
  auto logits = net->fc->forward(features.mean({2, 3}));
  hook.capture(features);
  hook.capture(features, net->fc->weight);
  hook.capture(features, net->fc->weight, net->fc->bias);
  CHECK(close(
      hook.cam(logits, batch.target),
      cyborg::functional::cam(features, net->fc->weight, batch.target), 0));
}

TEST_CASE(
    "Contract: an observation is a value that prints itself", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(batch.data); });
  cyborg::Observation seen = hook.observation();
  auto again = hook.forward([&] { return net->forward(batch.data * 2); });
  const cyborg::Observation& second = hook.observation();
  Tensor features = seen.features, weight = seen.weight, bias = seen.bias;
  CHECK(features.sizes() == at::IntArrayRef({4, 6, 8, 8}));
  CHECK(weight.sizes() == at::IntArrayRef({3, 6}));
  CHECK(bias.sizes() == at::IntArrayRef({3}));
  std::string layer = seen.layer, reduction = seen.reduction;
  CHECK_FALSE(layer.empty());
  CHECK(support::contains(reduction, "mean"));
  CHECK_FALSE(seen.reason.empty());
  bool exact = seen.exact;
  CHECK(exact);
  CHECK_FALSE(close(second.features, seen.features, 1e-6));
  std::ostringstream text;
  text << seen << hook;
  CHECK(support::contains(text.str(), seen.reason));
  CHECK(seen.cam(logits, batch.target).dim() == 3);
  CHECK(second.cam(again, cyborg::CamClass::kPredicted).dim() == 3);
  hook.clear();
  CHECK_FALSE(hook.observation().features.defined());
  CHECK(seen.features.defined());
}

TEST_CASE(
    "Contract: maps of labels, of the predicted class, of all", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(batch.data); });
  Tensor label = hook.cam(logits, batch.target);
  Tensor predicted = hook.cam(logits, cyborg::CamClass::kPredicted);
  Tensor all = hook.cam(logits, cyborg::CamClass::kAll);
  CHECK(all.sizes() == at::IntArrayRef({4, 3, 8, 8}));
  CHECK(close(label[1], all[1][2], 1e-6));
  CHECK(close(predicted[0], all[0][logits.argmax(1)[0].item<int64_t>()], 1e-6));
  CHECK(label.requires_grad());
  // One logit: label 0 negates the map.
  Net one(1);
  cyborg::CamHook single(*one);
  auto logit = single.forward([&] { return one->forward(batch.data); });
  auto zeros = torch::zeros({4}, torch::kLong);
  CHECK(close(single.cam(logit, zeros), -single.cam(logit, zeros + 1), 1e-6));
}

TEST_CASE("Contract: the methods as functions", "[contract]") {
  Net net;
  const GuidedBatch batch;
  auto features = net->layer4->forward(net->layer3->forward(batch.data));
  auto logits = net->fc->forward(features.mean({2, 3}));
  auto score = logits.gather(1, batch.target.unsqueeze(1)).squeeze(1);
  Tensor cam = cyborg::functional::cam(features, net->fc->weight, batch.target);
  Tensor grad = cyborg::functional::grad_cam(features, score);
  Tensor hires = cyborg::functional::hires_cam(features, score);
  Tensor detached = cyborg::functional::grad_cam(
      features, score,
      cyborg::GradCamOptions().detach_weights(true).relu(true));
  CHECK(close(grad, cam / 64, 1e-6));
  CHECK(close(hires, cam / 64, 1e-6));
  CHECK(close(detached, cam.relu() / 64, 1e-6));
}

TEST_CASE("Contract: the loss, its aliases and its terms", "[contract]") {
  using cyborg::SaliencyGuidedLoss;
  static_assert(
      std::is_same_v<cyborg::CyborgL1Loss, SaliencyGuidedLoss<cyborg::L1>>);
  static_assert(
      std::is_same_v<cyborg::CyborgL2Loss, SaliencyGuidedLoss<cyborg::L2>>);
  static_assert(
      std::is_same_v<cyborg::CyborgKLLoss, SaliencyGuidedLoss<cyborg::KL>>);
  static_assert(!std::is_base_of_v<torch::nn::Module, cyborg::CyborgL2Loss>);

  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(batch.data); });
  const cyborg::CyborgKLLoss criterion;
  auto annotated = torch::tensor({true, false, true, true});
  cyborg::LossTerms terms =
      criterion(logits, batch.target, hook, batch.saliency);
  for (const Tensor& term :
       {terms.total, terms.classification, terms.saliency,
        terms.annotated_count}) {
    CHECK(term.dim() == 0);
  }
  CHECK(terms.annotated_count.item<int64_t>() == 4);
  // The source is a hook, an observation or maps.
  auto seen = criterion(
      logits, batch.target, hook.observation(), batch.saliency, annotated);
  auto maps = criterion(
      logits, batch.target, hook.cam(logits, batch.target), batch.saliency,
      annotated);
  CHECK(close(seen.total, maps.total, 1e-6));
  CHECK(seen.annotated_count.item<int64_t>() == 3);
  auto weighted = criterion(
      logits, batch.target, hook, batch.saliency, annotated, torch::ones({4}));
  CHECK(close(weighted.total, seen.total, 1e-6));
  // Any other task's loss.
  auto task = torch::nn::functional::cross_entropy(
      logits, batch.target,
      torch::nn::functional::CrossEntropyFuncOptions().label_smoothing(.1));
  auto cam = hook.cam(logits, batch.target);
  CHECK(criterion.combine(task, cam, batch.saliency).total.requires_grad());
  CHECK(close(
      criterion.combine(task, cam, batch.saliency, annotated).saliency,
      seen.saliency, 1e-6));
  CHECK(
      criterion.combine(task, cam, batch.saliency, {}, torch::ones({4}))
          .total.dim() == 0);
  // Validation needs no gradient.
  const torch::NoGradGuard no_grad;
  auto scores = hook.forward([&] { return net->forward(batch.data); });
  CHECK(close(
      criterion(scores, batch.target, hook, batch.saliency).total, terms.total,
      1e-5));
}

TEST_CASE("Contract: a distance of one's own", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(batch.data); });
  cyborg::SaliencyGuidedLoss<MyDistance> criterion;
  criterion(logits, batch.target, hook, batch.saliency).total.backward();
  CHECK(net->fc->weight.grad().defined());
}

TEST_CASE("Contract: the loss's options", "[contract]") {
  using cyborg::Normalizer;
  const auto options = cyborg::SaliencyGuidedLossOptions()
                           .alpha(0.3)
                           .cam_class(cyborg::CamClass::kPredicted)
                           .map_normalizer(Normalizer::kMax)
                           .human_normalizer(Normalizer::kNone)
                           .reduction(torch::kSum);
  const std::optional<Normalizer> unset =
      cyborg::SaliencyGuidedLossOptions().map_normalizer();
  CHECK_FALSE(unset.has_value());
  CHECK(cyborg::SaliencyGuidedLossOptions().alpha() == 0.5);
  CHECK(
      cyborg::SaliencyGuidedLossOptions().cam_class() ==
      cyborg::CamClass::kLabel);
  cyborg::CyborgL1Loss criterion(options);
  criterion.alpha(0.7);
  CHECK(criterion.alpha() == 0.7);
  for (const auto normalizer :
       {Normalizer::kNone, Normalizer::kMinMax, Normalizer::kMax,
        Normalizer::kSum, Normalizer::kSoftmax}) {
    CHECK(
        cyborg::functional::normalize(torch::rand({2, 3}), normalizer)
            .sizes() == at::IntArrayRef({2, 3}));
  }
}

TEST_CASE("Contract: people's maps", "[contract]") {
  Net net;
  const GuidedBatch batch;
  cyborg::CamHook hook(*net);
  auto logits = hook.forward([&] { return net->forward(batch.data); });
  const cyborg::CyborgL2Loss criterion;
  const auto with = [&](const Tensor& maps) {
    return criterion(logits, batch.target, hook, maps);
  };
  const Tensor total = with(batch.saliency).total;
  CHECK(close(with(batch.saliency.unsqueeze(1)).total, total, 0));
  CHECK(close(with(batch.saliency * 255).total, total, 1e-5));
  CHECK(support::contains(
      support::error_of([&] { with(torch::rand({4, 7, 7})); }),
      "no smaller than the model's"));
  Tensor maps = batch.saliency.clone();
  maps[0].fill_(std::numeric_limits<float>::quiet_NaN());
  maps[1].fill_(1);
  CHECK(with(maps).annotated_count.item<int64_t>() == 2);
}

TEST_CASE("Contract: the guided head", "[contract]") {
  cyborg::GuidedHead head(6, 3);
  const GuidedBatch batch;
  auto features = torch::randn({4, 6, 8, 8}).requires_grad_();
  Tensor logits = head->forward(features);
  auto [scores, cam] = head->guided(features, batch.target);
  CHECK(close(scores, logits, 0));
  CHECK(cam.sizes() == at::IntArrayRef({4, 8, 8}));
  torch::nn::Linear linear(6, 3);
  head->from_linear(linear);
  torch::nn::Linear copy = head->to_linear();
  CHECK(close(copy->weight, linear->weight, 0));
  // A hook that observes reads it.
  struct Classifier : torch::nn::Module {
    Classifier() {
      conv = register_module("conv", torch::nn::Conv2d(3, 6, 3));
      head = register_module("head", cyborg::GuidedHead(6, 3));
    }
    Tensor forward(const Tensor& x) {
      return head->forward(conv->forward(x).relu());
    }
    torch::nn::Conv2d conv{nullptr};
    cyborg::GuidedHead head{nullptr};
  };
  Classifier net;
  cyborg::CamHook hook(net);
  auto seen = hook.forward([&] { return net.forward(batch.data); });
  CHECK(hook.observation().exact);
  CHECK(close(hook.observation().weight, net.head->weight, 0));
  cyborg::CyborgL2Loss()(seen, batch.target, hook, batch.saliency)
      .total.backward();
  CHECK(net.conv->weight.grad().defined());
}
