// SPDX-License-Identifier: BSD-3-Clause
// On a GPU everything is what it is on a CPU. Without a GPU these cases are
// shown as skipped.
#include "catch.hpp"
#include "skip.hpp"
#include "support.hpp"
#include "torchscript.hpp"

#include <common/terms.hpp>

#include <cyborg/cyborg.hpp>
#include <cyborg/jit.hpp>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/cuda.h>
#include <torch/torch.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace {

using cyborg::CamClass;
using cyborg::CamMethod;
using support::close;
using support::contains;
using support::distance;
using support::error_of;
using torch::Tensor;

constexpr int64_t kClasses = 3;
constexpr int64_t kBatch = 5;

/// Whether there is no GPU; says so.
bool no_gpu() {
  if (torch::cuda::is_available()) {
    return false;
  }
  support::skip("this machine has no GPU");
  return true;
}

const torch::Device kCpu(torch::kCPU);
const torch::Device kGpu(torch::kCUDA, 0);

/// Two convolutions with batch normalisation, a mean, a linear layer.
struct Small : torch::nn::Module {
  Small() {
    torch::manual_seed(11);
    using torch::nn::Conv2dOptions;
    a = register_module(
        "a", torch::nn::Conv2d(Conv2dOptions(3, 8, 3).padding(1)));
    norm = register_module("norm", torch::nn::BatchNorm2d(8));
    b = register_module(
        "b", torch::nn::Conv2d(Conv2dOptions(8, 6, 3).padding(1)));
    fc = register_module("fc", torch::nn::Linear(6, kClasses));
    to(torch::kDouble);
  }
  Tensor features(const Tensor& x) {
    return torch::tanh(b(torch::relu(norm(a(x)))));
  }
  Tensor forward(const Tensor& x) { return fc(features(x).mean({2, 3})); }

  torch::nn::Conv2d a{nullptr}, b{nullptr};
  torch::nn::BatchNorm2d norm{nullptr};
  torch::nn::Linear fc{nullptr};
};

/// Pictures in [0, 1], labels, maps (one is missing) and masks, on the CPU.
cyborg::Batch batch_on(const torch::Device& device) {
  torch::manual_seed(12);
  cyborg::Batch batch;
  batch.images = torch::rand({kBatch, 3, 12, 10}, torch::kDouble);
  batch.labels = support::labels({0, 1, 2, 1, 0});
  batch.maps = torch::rand({kBatch, 12, 10}, torch::kDouble);
  batch.maps[1].fill_(NAN);
  batch.wrong = torch::rand({kBatch, 12, 10}, torch::kDouble).round();
  batch.wrong[2].zero_();
  batch.images = batch.images.to(device);
  batch.labels = batch.labels.to(device);
  batch.maps = batch.maps.to(device);
  batch.wrong = batch.wrong.to(device);
  return batch;
}

/// A network and a batch on one device.
struct Case {
  explicit Case(
      const torch::Device& device, torch::ScalarType type = torch::kDouble)
      : batch(batch_on(device)) {
    net->to(device, type);
    batch.images = batch.images.to(type);
  }
  Tensor run() { return net->forward(batch.images); }

  std::shared_ptr<Small> net = std::make_shared<Small>();
  cyborg::Batch batch;
};

using Results = std::map<std::string, Tensor>;

/// `total` and the gradients of all parameters.
void add_gradients(Results& results, const Tensor& total, Small& net) {
  net.zero_grad();
  total.backward();
  for (const auto& parameter : net.named_parameters()) {
    // Undefined, where a loss does not reach it.
    const Tensor gradient = parameter.value().grad();
    results["gradient of " + parameter.key()] =
        gradient.defined() ? gradient.clone() : torch::zeros({1});
  }
}

/// Checks that `compute` gives the same on both devices, and that its results
/// are where they were asked for.
void check_same(
    const std::function<Results(const torch::Device&)>& compute,
    double tolerance = 1e-10) {
  const Results wanted = compute(kCpu);
  const Results found = compute(kGpu);
  REQUIRE(found.size() == wanted.size());
  for (const auto& [name, value] : wanted) {
    INFO(name);
    const Tensor here = found.at(name).cpu();
    CHECK(here.scalar_type() == value.scalar_type());
    INFO("difference " << distance(here, value.cpu()));
    CHECK(at::allclose(
        here.to(torch::kDouble), value.cpu().to(torch::kDouble), tolerance,
        tolerance, /*equal_nan=*/true));
  }
}

template <class Criterion>
void check_loss(const Criterion& criterion) {
  check_same([&](const torch::Device& device) {
    Case one(device);
    cyborg::CamHook hook(*one.net);
    const Tensor logits = hook.forward([&] { return one.run(); });
    CHECK(hook.observation().exact);
    const auto terms =
        criterion(logits, one.batch.labels, hook, one.batch.maps);
    CHECK(terms.total.device().type() == device.type());
    Results results{
        {"total", terms.total.detach()},
        {"classification", terms.classification.detach()},
        {"saliency", terms.saliency.detach()},
        {"annotated", terms.annotated_count}};
    add_gradients(results, terms.total, *one.net);
    return results;
  });
}

template <class Distance>
void check_distance() {
  check_loss(cyborg::SaliencyGuidedLoss<Distance>());
}

/// A training's generator, which is one of the CPU.
at::Generator generator() {
  return at::make_generator<at::CPUGeneratorImpl>(5);
}

}  // namespace

TEST_CASE("A GPU gives the losses and gradients of a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  check_distance<cyborg::L1>();
  check_distance<cyborg::L2>();
  check_distance<cyborg::KL>();
  check_distance<cyborg::Cosine>();
  check_distance<cyborg::Pearson>();
  check_distance<cyborg::Dice>();
  check_distance<cyborg::BceWithLogits>();
  for (const auto which :
       {CamClass::kPredicted, CamClass::kDifference, CamClass::kFixed}) {
    check_loss(cyborg::CyborgL2Loss(cyborg::SaliencyGuidedLossOptions()
                                        .cam_class(which)
                                        .fixed_class(1)
                                        .alpha(0.3)));
  }
}

TEST_CASE("A GPU gives the terms and gradients of a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  for (const auto& kind : programs::term_kinds()) {
    INFO(kind.name);
    check_same([&](const torch::Device& device) {
      Case one(device);
      one.net->eval();
      programs::TermSurroundings surroundings;
      surroundings.generator = generator();
      cyborg::Guidance guidance(
          cyborg::GuidanceOptions().blend(cyborg::Blend::kAdditive));
      programs::add_term(
          guidance, programs::parse_term(kind.name), surroundings);
      cyborg::CamHook hook(*one.net);
      const auto terms = guidance(
          hook, [&](const Tensor& x) { return one.net->forward(x); },
          one.batch);
      Results results{
          {"total", terms.total.detach()},
          {"value", terms.parts.front().value.detach()},
          {"count", terms.parts.front().count}};
      add_gradients(results, terms.total, *one.net);
      return results;
    });
  }
}

TEST_CASE("A GPU gives the maps of a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  for (const auto method :
       {CamMethod::kAuto, CamMethod::kCam, CamMethod::kGradCam,
        CamMethod::kHiResCam, CamMethod::kLayerCam, CamMethod::kXGradCam,
        CamMethod::kGradCamPlusPlus, CamMethod::kEigenCam}) {
    INFO(cyborg::detail::name_of(method));
    check_same([&](const torch::Device& device) {
      Case one(device);
      one.net->eval();
      cyborg::CamHook hook(*one.net, cyborg::CamHookOptions().method(method));
      const Tensor logits = hook.forward([&] { return one.run(); });
      Results results{{"label", hook.cam(logits, one.batch.labels).detach()}};
      if (method != CamMethod::kEigenCam) {
        results["predicted"] = hook.cam(logits, CamClass::kPredicted).detach();
        results["all"] = hook.cam(logits, CamClass::kAll).detach();
      }
      return results;
    });
  }
  check_same(
      [](const torch::Device& device) {
        Case one(device);
        one.net->eval();
        return Results{
            {"rise",
             cyborg::functional::rise(
                 [&](const Tensor& x) {
                   return one.net->forward(x).softmax(1);
                 },
                 one.batch.images, one.batch.labels,
                 cyborg::RiseOptions().masks(50).generator(generator()))}};
      },
      1e-5);
}

TEST_CASE("A guided head on a GPU is one on a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  check_same([](const torch::Device& device) {
    Case one(device);
    cyborg::GuidedHead head(6, kClasses);
    head->to(torch::kDouble);
    head->from_linear(one.net->fc);
    head->to(device);
    const auto out =
        head->guided(one.net->features(one.batch.images), one.batch.labels);
    const auto terms = cyborg::CyborgKLLoss()(
        out.logits, one.batch.labels, out.cam, one.batch.maps);
    Results results{
        {"logits", out.logits.detach()},
        {"cam", out.cam.detach()},
        {"total", terms.total.detach()}};
    add_gradients(results, terms.total, *one.net);
    results["weight"] = head->weight.grad();
    cyborg::CamHook hook(*head);
    const Tensor logits = hook.forward(
        [&] { return head->forward(one.net->features(one.batch.images)); });
    results["observed"] = hook.cam(logits, one.batch.labels).detach();
    return results;
  });
}

TEST_CASE(
    "Functions of maps give on a GPU what they give on a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  using Function = std::function<Tensor(const cyborg::Batch&)>;
  namespace human = cyborg::human;
  namespace measure = cyborg::measure;
  const std::map<std::string, Function> functions{
      {"resize",
       [](const auto& b) { return cyborg::maps::resize(b.maps, {5, 7}); }},
      {"enlarge",
       [](const auto& b) { return cyborg::maps::resize(b.maps, {24, 30}); }},
      {"blur", [](const auto& b) { return human::blur(b.maps, 1.5); }},
      {"clickme", [](const auto& b) { return human::clickme_blur(b.maps); }},
      {"annotated", [](const auto& b) { return human::annotated(b.maps); }},
      {"inverted", [](const auto& b) { return human::inverted(b.maps); }},
      {"random",
       [](const auto& b) { return human::random_like(b.maps, generator()); }},
      {"shuffled",
       [](const auto& b) { return human::shuffled(b.maps, generator()); }},
      {"shuffled within class",
       [](const auto& b) {
         return human::shuffled_within_class(b.maps, b.labels, generator());
       }},
      {"mean", [](const auto& b) { return human::mean_of({b.maps, b.wrong}); }},
      {"union",
       [](const auto& b) { return human::union_of({b.maps, b.wrong}); }},
      {"agreement",
       [](const auto& b) {
         return human::agreement_weighted_of({b.maps, b.wrong, 1 - b.maps});
       }},
      {"features of interest",
       [](const auto& b) {
         return human::features_of_interest({b.maps, b.wrong});
       }},
      {"area of interest",
       [](const auto& b) {
         return human::area_of_interest({b.maps, b.wrong}, 0.5);
       }},
      {"box of interest",
       [](const auto& b) {
         return human::box_of_interest({b.maps, b.wrong}, 0.5);
       }},
      {"refilled",
       [](const auto& b) {
         return human::refilled(b.images, b.wrong, 0, 1, generator());
       }},
      {"blurred outside",
       [](const auto& b) {
         return human::blurred_outside(b.images, b.maps, 2);
       }},
      {"iou",
       [](const auto& b) {
         return measure::map_iou(b.images.select(1, 0), b.maps);
       }},
      {"dice",
       [](const auto& b) {
         return measure::map_dice(b.images.select(1, 0), b.maps);
       }},
      {"energy",
       [](const auto& b) {
         return measure::energy_inside(b.images.select(1, 0), b.wrong);
       }},
      {"pointing",
       [](const auto& b) {
         return measure::pointing_hit(b.images.select(1, 0), b.wrong);
       }},
      {"correlation",
       [](const auto& b) {
         return measure::map_correlation(b.images.select(1, 0), b.maps);
       }},
      {"rank correlation",
       [](const auto& b) {
         return measure::map_rank_correlation(b.images.select(1, 0), b.maps);
       }},
      {"similarity",
       [](const auto& b) {
         return measure::map_similarity(b.images.select(1, 0), b.maps);
       }},
      {"divergence",
       [](const auto& b) {
         return measure::map_divergence(b.images.select(1, 0), b.maps);
       }},
      {"nss",
       [](const auto& b) {
         return measure::nss(b.images.select(1, 0), b.wrong);
       }},
      {"auc judd",
       [](const auto& b) {
         return measure::auc_judd(b.images.select(1, 0), b.wrong);
       }},
      {"absolute error",
       [](const auto& b) {
         return measure::map_absolute_error(b.images.select(1, 0), b.maps);
       }},
      {"entropy",
       [](const auto& b) {
         return measure::map_entropy(b.images.select(1, 0));
       }},
      {"wrong reason", [](const auto& b) {
         const auto found =
             measure::wrong_reason(b.images.select(1, 0), b.wrong);
         return torch::tensor({found.score, found.limit}, torch::kDouble);
       }}};
  for (const auto& [name, function] : functions) {
    INFO(name);
    check_same([&, &run = function](const torch::Device& device) {
      return Results{{"result", run(batch_on(device))}};
    });
  }
}

TEST_CASE(
    "A GPU of less precise products proves that CAM is exact", "[device]") {
  if (no_gpu()) {
    return;
  }
  for (const char* precision : {"medium", "high", "highest"}) {
    INFO(precision);
    at::globalContext().setFloat32MatmulPrecision(precision);
    for (const auto type : {torch::kFloat, torch::kHalf, torch::kBFloat16}) {
      INFO(type);
      Case one(kGpu, type);
      cyborg::CamHook hook(*one.net);
      for (int i = 0; i < 3; ++i) {
        const Tensor logits = hook.forward([&] { return one.run(); });
        CHECK(hook.observation().exact);
        const auto terms = cyborg::CyborgL2Loss()(
            logits, one.batch.labels, hook, one.batch.maps);
        terms.total.backward();
        CHECK(std::isfinite(terms.total.item<double>()));
      }
    }
  }
}

TEST_CASE(
    "Logits that the hook has not seen are followed on a GPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  // Convolutions behind the features, in TF32 where that is allowed.
  torch::manual_seed(3);
  torch::nn::Sequential body(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 64, 3).padding(1)),
      torch::nn::ReLU());
  body->to(kGpu);
  struct Net : torch::nn::Module {
    torch::nn::Sequential body;
    torch::nn::Conv2d b{nullptr}, c{nullptr};
    explicit Net(torch::nn::Sequential first) : body(std::move(first)) {
      register_module("body", body);
      using torch::nn::Conv2dOptions;
      b = register_module(
          "b", torch::nn::Conv2d(Conv2dOptions(64, 64, 3).padding(1)));
      c = register_module(
          "c", torch::nn::Conv2d(Conv2dOptions(64, kClasses, 1)));
    }
    Tensor forward(const Tensor& x) {
      return c(torch::relu(b(body->forward(x)))).mean({2, 3});
    }
  } net(body);
  net.to(kGpu);
  const Tensor x = torch::randn({16, 3, 16, 16}).to(kGpu);
  cyborg::CamHook hook(net, cyborg::CamHookOptions().layer("body.0"));
  const Tensor logits = hook.forward([&] { return net.forward(x); });
  const Tensor own = logits * 2;
  CHECK(hook.cam(own, CamClass::kPredicted).isfinite().all().item<bool>());
  CHECK(contains(
      error_of([&] { hook.cam(logits.flip(0), CamClass::kPredicted); }),
      "the batch of the logits is in another order"));
}

TEST_CASE(
    "A head that stops being W x + b is seen later on a GPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  Case one(kGpu);
  cyborg::CamHook hook(*one.net);
  bool spoil = false;
  const auto forward = [&] {
    return hook.forward([&] {
      const Tensor logits = one.run();
      if (spoil) {  // the operators and sizes stay as they are
        const torch::NoGradGuard no_grad;
        one.net->fc->weight.mul_(1.5);
      }
      return logits;
    });
  };
  forward();
  CHECK(hook.observation().exact);
  spoil = true;
  int64_t needed = 0;
  for (; needed < 200; ++needed) {
    forward();
    if (!hook.observation().exact) {
      break;
    }
  }
  CHECK(needed <= 65);
}

TEST_CASE("TorchScript on a GPU gives the maps of a CPU", "[device]") {
  if (no_gpu()) {
    return;
  }
  torch::manual_seed(8);
  auto net = torchscript::network("Net");
  net.register_module("a", torchscript::convolution(3, 8, 3));
  net.register_module("fc", torchscript::linear(8, kClasses));
  net.define(R"(
    def forward(self, x):
      f = torch.relu(torch.conv2d(x, self.a.weight, self.a.bias))
      return torch.linear(f.mean([2, 3]), self.fc.weight, self.fc.bias)
  )");
  check_same([&](const torch::Device& device) {
    auto script = net.deepcopy();
    script.to(torch::kDouble);
    script.to(device);
    cyborg::CamHook hook(script);
    const auto batch = batch_on(device);
    const Tensor logits = hook.forward([&](auto& observed) {
      return observed.forward({batch.images}).toTensor();
    });
    return Results{
        {"cam", hook.cam(logits, batch.labels).detach()},
        {"logits", logits.detach()}};
  });
}

TEST_CASE("A tensor on another device is refused by name", "[device]") {
  if (no_gpu()) {
    return;
  }
  Case one(kGpu);
  const auto there = batch_on(kCpu);
  cyborg::CamHook hook(*one.net);
  const Tensor logits = hook.forward([&] { return one.run(); });
  const auto error = [&](const Tensor& labels, const Tensor& maps) {
    return error_of(
        [&] { cyborg::CyborgL2Loss()(logits, labels, hook, maps); });
  };
  CHECK(contains(
      error(there.labels, one.batch.maps), "labels on cuda:0, got cpu"));
  CHECK(contains(error(one.batch.labels, there.maps), "on cuda:0, got cpu"));
}
