// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The end of a classifier with its guided loss, in each way that is compared.

#include <cyborg/cam/head.hpp>
#include <cyborg/loss.hpp>

#include <fmt/format.h>
#include <torch/nn/functional/loss.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace claims {

/// Features [B, C, h, w].
struct Shape {
  int64_t batch, channels, height, width;

  std::string name() const {
    return fmt::format("{}x{}x{}x{}", batch, channels, height, width);
  }
};

/// Features, a head that reads them, and people's maps in [0, 1].
struct Case {
  explicit Case(
      const Shape& shape_, int64_t classes = 2,
      at::ScalarType type = torch::kFloat)
      : shape(shape_), head(shape_.channels, classes), hook(head) {
    torch::manual_seed(1);
    const auto options = torch::TensorOptions().dtype(type);
    const auto& [b, c, h, w] = shape;
    features = torch::relu(torch::randn({b, c, h, w}, options));
    features.requires_grad_();
    head->to(type);
    labels = torch::randint(0, classes, {b}, torch::kLong);
    maps = torch::rand({b, h, w}, options);
    maps -= maps.amin({1, 2}, /*keepdim=*/true);
    maps /= maps.amax({1, 2}, /*keepdim=*/true);
    logits = torch::randn({b, classes}, options);
  }

  std::vector<torch::Tensor> leaves() const {
    return {features, head->weight, head->bias};
  }

  Shape shape;
  cyborg::GuidedHead head;
  cyborg::CamHook hook;
  torch::Tensor features, labels, maps;
  torch::Tensor logits;  // fixed logits, for the rows of the loss alone
};

using torch::nn::functional::cross_entropy;

/// How the plain head computes the mean over the positions.
enum class Pool { kMean, kAdaptive };

inline torch::Tensor plain_logits(const Case& c, Pool pool) {
  const auto pooled =
      pool == Pool::kMean
          ? c.features.mean({2, 3})
          : torch::adaptive_avg_pool2d(c.features, {1, 1}).flatten(1);
  return torch::linear(pooled, c.head->weight, c.head->bias);
}

/// Pooling, linear layer and cross entropy: the head without guidance.
inline torch::Tensor plain_head(const Case& c, Pool pool) {
  return cross_entropy(plain_logits(c, pool), c.labels);
}

/// The published saliency term: a loop over the samples, then the mean of
/// squares. The class is the label's, as in most of the published code.
inline torch::Tensor loop_saliency(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& labels, const torch::Tensor& maps) {
  const auto samples = features.unbind(/*dim=*/0);
  const auto* label = labels.const_data_ptr<int64_t>();
  std::vector<torch::Tensor> cams;
  for (const auto& sample : samples) {
    auto cam = torch::matmul(weight[*label++], sample.flatten(1))
                   .reshape(sample.sizes().slice(1));
    cam = cam - cam.min();
    cams.push_back(cam / cam.max());
  }
  return torch::mse_loss(torch::stack(cams), maps);
}

/// The maps of the labels [B, P], by ATen's operators on the whole batch.
inline torch::Tensor batched_maps(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& labels) {
  return torch::bmm(
             weight.index_select(/*dim=*/0, labels).unsqueeze(1),
             features.flatten(2))
      .squeeze(1);
}

inline torch::Tensor min_max(const torch::Tensor& maps) {
  const auto low = maps.amin(/*dim=*/1, /*keepdim=*/true);
  const auto high = maps.amax(/*dim=*/1, /*keepdim=*/true);
  return (maps - low) / (high - low);
}

// The distances of maps [B, P], in plain operators.
inline torch::Tensor distance(
    const cyborg::L1& /*which*/, const torch::Tensor& cams,
    const torch::Tensor& maps) {
  return (min_max(cams) - maps).abs().mean();
}
inline torch::Tensor distance(
    const cyborg::L2& /*which*/, const torch::Tensor& cams,
    const torch::Tensor& maps) {
  return (min_max(cams) - maps).pow(2).mean();
}
inline torch::Tensor distance(
    const cyborg::KL& /*which*/, const torch::Tensor& cams,
    const torch::Tensor& maps) {
  const auto people = maps / maps.sum(/*dim=*/1, /*keepdim=*/true);
  const auto model = torch::log_softmax(cams, /*dim=*/1);
  return (torch::xlogy(people, people) - people * model).sum(1).mean();
}

/// The batched saliency term of a distance.
template <class Distance = cyborg::L2>
torch::Tensor batched_saliency(const Case& c) {
  return distance(
      Distance(), batched_maps(c.features, c.head->weight, c.labels),
      c.maps.flatten(1));
}

inline torch::Tensor loop_saliency(const Case& c) {
  return loop_saliency(c.features, c.head->weight, c.labels, c.maps);
}

/// The paper's blend, alpha = 0.5.
inline torch::Tensor blend(
    const torch::Tensor& task, const torch::Tensor& saliency) {
  return 0.5 * task + 0.5 * saliency;
}

/// Cross entropy and guidance through the one-pass head.
template <class Distance = cyborg::L2>
torch::Tensor guided_head(Case& c) {
  const cyborg::SaliencyGuidedLoss<Distance> criterion;
  const auto out = c.head->guided(c.features, c.labels);
  return criterion(out.logits, c.labels, out.cam, c.maps).total;
}

/// The guided loss of given logits and features, as a hook provides them.
template <class Distance = cyborg::L2>
torch::Tensor fused_loss(Case& c, const torch::Tensor& logits) {
  const cyborg::SaliencyGuidedLoss<Distance> criterion;
  c.hook.capture(c.features, c.head->weight, c.head->bias);
  return criterion(logits, c.labels, c.hook, c.maps).total;
}

}  // namespace claims
