// SPDX-License-Identifier: BSD-3-Clause
// Compares each method of class activation maps on a batch with a loop over the
// samples, and CAM with Grad-CAM, which gives the same map if the head is
// linear. The maps are for display: they have no gradient.

#include "heads.hpp"
#include "program.hpp"
#include "tensors.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {

using claims::Case;
using CasePtr = std::shared_ptr<Case>;
using Maps = std::function<torch::Tensor()>;

/// The logits of the labels [B], with a graph to the features.
torch::Tensor scores(const Case& c) {
  return claims::plain_logits(c, claims::Pool::kMean)
      .gather(1, c.labels.unsqueeze(1))
      .squeeze(1);
}

/// The maps sample by sample, as much code for explanations computes them: a
/// forward pass of the head, its gradient, and a sum over the channels.
torch::Tensor loop(const Case& c, bool mean_of_gradient) {
  std::vector<torch::Tensor> maps;
  for (int64_t i = 0; i < c.shape.batch; ++i) {
    const auto features = c.features[i].unsqueeze(0);
    const auto logits =
        torch::linear(features.mean({2, 3}), c.head->weight, c.head->bias);
    auto gradient = torch::autograd::grad(
        {logits[0][c.labels[i].item<int64_t>()]}, {features})[0];
    if (mean_of_gradient) {
      gradient = gradient.mean({2, 3}, /*keepdim=*/true);
    }
    maps.push_back((gradient * features).sum(1).squeeze(0).detach());
  }
  return torch::stack(maps);
}

/// CAM sample by sample.
torch::Tensor cam_loop(const Case& c) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> maps;
  for (int64_t i = 0; i < c.shape.batch; ++i) {
    const auto weight = c.head->weight[c.labels[i].item<int64_t>()];
    maps.push_back(torch::matmul(weight, c.features[i].flatten(1))
                       .reshape({c.shape.height, c.shape.width}));
  }
  return torch::stack(maps);
}

torch::Tensor cam(const Case& c) {
  const torch::NoGradGuard no_grad;
  return cyborg::functional::cam(c.features, c.head->weight, c.labels);
}

const cyborg::GradCamOptions& shown() {
  static const auto options = cyborg::GradCamOptions().detach_weights(true);
  return options;
}

torch::Tensor grad_cam(const Case& c) {
  return cyborg::functional::grad_cam(c.features, scores(c), shown()).detach();
}

torch::Tensor hires_cam(const Case& c) {
  return cyborg::functional::hires_cam(c.features, scores(c), shown()).detach();
}

struct Method {
  std::string text;
  std::function<torch::Tensor(const Case&)> maps;
  bool divided = false;  // by the positions, as the gradient of a mean is
};

claims::Claim claim(
    const std::string& name, const claims::Shape& shape, const Method& ours,
    const Method& baseline) {
  claims::Claim made{
      name + "_" + shape.name(), ours.text, baseline.text, {}, {}};
  made.make = [=, full_name = made.name]() -> claims::Sampler {
    const auto c = std::make_shared<Case>(shape);
    const auto in_logits = [&](const Method& method) {
      const auto maps = method.maps(*c);
      return method.divided ? maps * (shape.height * shape.width) : maps;
    };
    claims::expect_same(
        full_name, {in_logits(ours)}, {in_logits(baseline)},
        claims::tolerance(torch::kFloat));
    return claims::alternate(
        [c, ours] { ours.maps(*c); }, [c, baseline] { baseline.maps(*c); });
  };
  return made;
}

nlohmann::json measure(const claims::Program& program) {
  std::vector<claims::Shape> shapes = {{20, 1024, 7, 7}};
  if (!program.quick) {
    shapes.push_back({32, 2048, 7, 7});
    shapes.push_back({16, 256, 28, 28});
  }
  const Method closed{"CAM", cam}, gradient{"Grad-CAM", grad_cam, true},
      positions{"HiResCAM", hires_cam, true};
  std::vector<claims::Claim> all;
  for (const auto& shape : shapes) {
    all.push_back(
        claim("cam_vs_loop", shape, closed, {"CAM, a loop", cam_loop}));
    all.push_back(claim(
        "grad_cam_vs_loop", shape, gradient,
        {"Grad-CAM, a loop", [](const Case& c) { return loop(c, true); },
         true}));
    all.push_back(claim(
        "hires_cam_vs_loop", shape, positions,
        {"HiResCAM, a loop", [](const Case& c) { return loop(c, false); },
         true}));
    all.push_back(claim("cam_vs_grad_cam", shape, closed, gradient));
  }
  return {{"rows", claims::run(all, program.quick)}};
}

}  // namespace

int main(int argc, char** argv) {
  return claims::run_program(argc, argv, "cam", measure);
}
