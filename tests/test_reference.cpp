// SPDX-License-Identifier: BSD-3-Clause
// The numbers of the published training loop: see reference/README.md.
#include <cyborg/cam/methods.hpp>
#include <cyborg/guide/saliency_guided.hpp>

#include <torch/nn/functional/loss.h>

#include "catch.hpp"
#include "support.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

using nlohmann::json;
using support::close;
using torch::Tensor;

namespace {

void flatten(
    const json& node, std::vector<double>& values, std::vector<int64_t>& sizes,
    size_t depth = 0) {
  if (!node.is_array()) {
    values.push_back(
        node.is_null() ? std::numeric_limits<double>::quiet_NaN()
                       : node.get<double>());
    return;
  }
  if (sizes.size() == depth) {
    sizes.push_back(static_cast<int64_t>(node.size()));
  }
  for (const json& child : node) {
    flatten(child, values, sizes, depth + 1);
  }
}

Tensor tensor(const json& node) {
  std::vector<double> values;
  std::vector<int64_t> sizes;
  flatten(node, values, sizes);
  return torch::tensor(values, torch::kDouble).reshape(sizes);
}

json cases() {
  std::ifstream file(
      std::string(CYBORG_TEST_DIR) + "/reference/cyborg_reference.json");
  REQUIRE(file.good());
  return json::parse(file);
}

/// One case's network: features, global average pooling, linear layer.
struct Case {
  explicit Case(const json& node)
      : features(tensor(node["inputs"]["features"]).requires_grad_()),
        weight(tensor(node["inputs"]["fc_weight"]).requires_grad_()),
        bias(tensor(node["inputs"]["fc_bias"]).requires_grad_()),
        labels(tensor(node["inputs"]["labels"]).to(torch::kLong)),
        maps(tensor(node["inputs"]["maps"])),
        options(node.value("options", json::object())) {
    const Tensor pooled =
        options.value("head_relu", false) ? features.relu() : features;
    logits = torch::matmul(pooled.flatten(2).mean(2), weight.t()) + bias;
  }

  // What a criterion needs from its source.
  Tensor cam(const Tensor&, const Tensor& target) const {
    return cyborg::functional::cam(features, weight, target);
  }
  Tensor cam(const Tensor& scores, cyborg::CamClass which) const {
    REQUIRE(which == cyborg::CamClass::kPredicted);
    return cam(scores, scores.argmax(1));
  }

  cyborg::LossTerms loss(double alpha) const {
    return cyborg::CyborgL2Loss(
        cyborg::SaliencyGuidedLossOptions()
            .alpha(alpha)
            .human_normalizer(cyborg::Normalizer::kNone)
            .cam_class(
                options.value("cam_class", "pred") == "label"
                    ? cyborg::CamClass::kLabel
                    : cyborg::CamClass::kPredicted))(
        logits, labels, *this, maps);
  }

  Tensor features, weight, bias, labels, maps, logits;
  json options;
};

const std::string kConstant = "constant_cam";

}  // namespace

TEST_CASE(
    "Loss, terms and gradients equal those of the published loop to 1e-12",
    "[reference]") {
  int met = 0;
  for (const json& node : cases()) {
    const std::string name = node["name"];
    if (name.rfind(kConstant, 0) == 0) {
      continue;  // the next test case has it
    }
    INFO(name);
    const Case c(node);
    const auto terms = c.loss(node["alpha"]);
    CHECK(close(terms.total, tensor(node["loss"])));
    CHECK(close(terms.classification, tensor(node["ce"])));
    if (!node["mse"].is_null()) {
      CHECK(close(terms.saliency, tensor(node["mse"])));
      CHECK(terms.annotated_count.item<int64_t>() == c.labels.size(0));
      CHECK(close(
          cyborg::functional::normalize(
              c.cam(c.logits, tensor(node["cam_class_index"]).to(torch::kLong)),
              cyborg::Normalizer::kMinMax),
          tensor(node["cams"])));
    } else {
      CHECK(terms.annotated_count.item<int64_t>() == 0);
    }
    terms.total.backward();
    CHECK(close(c.features.grad(), tensor(node["grads"]["features"])));
    CHECK(close(c.weight.grad(), tensor(node["grads"]["fc_weight"])));
    CHECK(close(c.bias.grad(), tensor(node["grads"]["fc_bias"])));
    ++met;
  }
  CHECK(met == 6);
}

TEST_CASE(
    "A constant map of the reference leaves its sample unguided",
    "[reference]") {
  int met = 0;
  for (const json& node : cases()) {
    const std::string name = node["name"];
    if (name.rfind(kConstant, 0) != 0) {
      continue;
    }
    INFO(name);
    const Case c(node);
    const auto terms = c.loss(node["alpha"]);
    // The same loss, one sample at a time, over the samples with a usable map.
    const Tensor maps = c.cam(c.logits, cyborg::CamClass::kPredicted);
    Tensor sum = torch::zeros({}, torch::kDouble);
    double guided = 0;
    for (int64_t i = 0; i < maps.size(0); ++i) {
      const Tensor shifted = maps[i] - maps[i].min();
      if (shifted.max().item<double>() < 1e-9) {
        continue;
      }
      sum = sum + (shifted / shifted.max() - c.maps[i]).square().mean();
      guided += 1;
    }
    REQUIRE(guided == 2);
    const Tensor task =
        torch::nn::functional::cross_entropy(c.logits, c.labels);
    const double share = (1 - node["alpha"].get<double>()) * guided / 3;
    const Tensor total = (1 - share) * task + share * sum / guided;
    CHECK(terms.annotated_count.item<int64_t>() == 2);
    CHECK(close(terms.classification, tensor(node["ce"])));
    CHECK(close(terms.saliency, sum / guided));
    CHECK(close(terms.total, total));
    const std::vector<Tensor> inputs = {c.features, c.weight, c.bias};
    const auto ours = torch::autograd::grad({terms.total}, inputs, {}, true);
    const auto expected = torch::autograd::grad({total}, inputs, {}, true);
    for (size_t i = 0; i < inputs.size(); ++i) {
      CHECK(close(ours[i], expected[i]));
    }
    ++met;
  }
  CHECK(met == 2);
}
