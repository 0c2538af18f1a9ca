// SPDX-License-Identifier: BSD-3-Clause
// A user of the loss who includes <cyborg/loss.hpp> and, of LibTorch, only the
// operators that are called here. CTest checks which headers that includes.
#include <cyborg/loss.hpp>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

double loss_of_then_torch();

namespace {

struct Named {
  std::string name;
  torch::Tensor tensor;
  const std::string& key() const { return name; }
  const torch::Tensor& value() const { return tensor; }
};

// What a hook needs from a torch::nn::Module.
struct Net {
  struct Child {
    static std::string key() { return {}; }
    static const Net* value() { return nullptr; }
  };
  torch::Tensor filters = at::rand({4, 3, 3, 3}).requires_grad_(true);
  torch::Tensor weight = at::rand({2, 4}).requires_grad_(true);

  std::vector<Named> named_parameters() const {
    return {{"filters", filters}, {"weight", weight}};
  }
  static std::vector<Child> named_children() { return {}; }
  static std::string name() { return "Net"; }
  torch::Tensor forward(const torch::Tensor& images) const {
    return at::conv2d(images, filters).relu().mean({2, 3}).mm(weight.t());
  }
};

struct MyDistance {
  static constexpr auto map_normalizer = cyborg::Normalizer::kMax;
  static constexpr auto human_normalizer = cyborg::Normalizer::kSum;
  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return (model - human).abs().amax(1);
  }
};

int failures = 0;

void expect(bool holds, const char* what) {
  if (!holds) {
    std::cerr << "not so: " << what << "\n";
    ++failures;
  }
}

void use_everything() {
  Net net;
  const torch::Tensor images = at::rand({2, 3, 8, 8});
  const torch::Tensor labels = at::ones({2}, at::kLong);
  const torch::Tensor maps = at::rand({2, 8, 8});
  const torch::Tensor annotated = at::ones({2}, at::kBool);
  cyborg::CamHook hook(
      net, cyborg::CamHookOptions().method(cyborg::CamMethod::kAuto));
  const auto logits = hook.forward([&] { return net.forward(images); });
  const auto pair =
      hook.forward([&] { return std::make_pair(net.forward(images), 1); });
  expect(pair.first.equal(logits), "a pair is handed through");
  const cyborg::Observation seen = hook.observation();
  expect(seen.exact, "CAM is exact");
  expect(seen.weight.sizes() == net.weight.sizes(), "the head was read");
  std::ostringstream text;
  text << hook << seen;
  expect(text.str().find("CAM") != std::string::npos, "a hook prints itself");

  // The observation belongs to the logits of the last forward.
  const auto cam = cyborg::functional::cam(seen.features, net.weight, labels);
  expect(cam.equal(hook.cam(pair.first, labels)), "a hook's CAM is CAM");
  expect(
      cyborg::functional::cam_all(seen.features, net.weight)
          .equal(seen.cam(pair.first, cyborg::CamClass::kAll)),
      "all classes");
  expect(
      seen.cam(pair.first, cyborg::CamClass::kPredicted).sizes() == cam.sizes(),
      "the predicted class");
  const auto score = pair.first.select(1, 1);
  const auto options = cyborg::GradCamOptions().detach_weights(true).relu(true);
  for (const auto& map :
       {cyborg::functional::grad_cam(seen.features, score, options),
        cyborg::functional::hires_cam(seen.features, score)}) {
    expect(map.sizes() == cam.sizes(), "Grad-CAM's shape");
  }
  expect(
      cyborg::functional::normalize(cam, cyborg::Normalizer::kMinMax)
              .amax()
              .item<float>() == 1,
      "a normalised map");
  expect(
      cyborg::human::annotated(
          cyborg::human::blur(cyborg::maps::resize(maps, {6, 6}), 1))
          .all()
          .item<bool>(),
      "people's maps");

  const auto settings = cyborg::SaliencyGuidedLossOptions()
                            .alpha(0.5)
                            .cam_class(cyborg::CamClass::kLabel)
                            .map_normalizer(cyborg::Normalizer::kMinMax)
                            .reduction(cyborg::Reduction::kSum);
  const cyborg::CyborgL1Loss absolute;
  const cyborg::LossTerms terms =
      absolute(pair.first, labels, hook, maps, annotated);
  const auto combined = absolute.combine(
      terms.classification, hook.cam(pair.first, labels), maps);
  expect(
      (terms.total - combined.total).abs().item<float>() < 1e-4F,
      "combine() is the same");
  auto criterion = cyborg::CyborgL2Loss(settings);
  criterion.alpha(0.25);
  expect(criterion.options().alpha() == 0.25, "alpha is set");
}

template <class Criterion>
void step(const Criterion& criterion) {
  Net net;
  cyborg::CamHook hook(net);
  const auto logits =
      hook.forward([&] { return net.forward(at::rand({2, 3, 8, 8})); });
  const auto terms =
      criterion(logits, at::zeros({2}, at::kLong), hook, at::rand({2, 8, 8}));
  terms.total.backward();
  expect(net.filters.grad().defined(), "a step has a gradient");
  expect(terms.annotated_count.template item<int64_t>() == 2, "two guided");
}

}  // namespace

int main() {
  use_everything();
  step(cyborg::CyborgL1Loss());
  step(cyborg::CyborgL2Loss());
  step(cyborg::CyborgKLLoss());
  step(cyborg::SaliencyGuidedLoss<MyDistance>());
  expect(loss_of_then_torch() > 0, "the file that includes torch/torch.h");
  return failures == 0 ? 0 : 1;
}
