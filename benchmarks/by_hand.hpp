// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The loss of each term as one would write it without cyborg, for a ResNet and
// a batch in which every sample has a map and a mask: CE, and the term times
// its strength. Nothing here is a function of cyborg.

#include "models/resnet.hpp"

#include <torch/nn/functional/loss.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace by_hand {

namespace nn = torch::nn::functional;
using torch::Tensor;

/// What people said about pictures in [0, 1].
struct Data {
  Tensor images;  ///< [B, 3, S, S]
  Tensor labels;  ///< [B]
  Tensor maps;    ///< [B, S, S], in [0, 1]: where people look
  Tensor wrong;   ///< [B, S, S], in [0, 1]: what must not be used
};

using Loss = std::function<Tensor(models::ResNet&, const Data&)>;

/// The step without guidance.
inline Tensor plain(models::ResNet& net, const Data& data) {
  return nn::cross_entropy(net->forward(data.images), data.labels);
}

// --------------------------------------------------- class activation maps

/// Logits and, flat, the maps of the labels.
struct Seen {
  Tensor logits;  ///< [B, K]
  Tensor cam;     ///< [B, P]
  std::vector<int64_t> size;
};

inline Seen run(models::ResNet& net, const Data& data) {
  const Tensor features = net->features(data.images);
  return {
      net->fc->forward(features.mean({2, 3})),
      net->fc->weight.index_select(0, data.labels)
          .unsqueeze(1)
          .bmm(features.flatten(2))
          .squeeze(1),
      {features.size(2), features.size(3)}};
}

inline Tensor min_max(const Tensor& maps) {
  const Tensor low = maps.amin(1, true);
  return (maps - low) / (maps.amax(1, true) - low);
}

/// [B, S, S] -> [B, P]; smaller and smooth, as PIL does it.
inline Tensor shrunk(const Tensor& maps, const Seen& seen) {
  return at::_upsample_bilinear2d_aa(maps.unsqueeze(1), seen.size, false)
      .flatten(1);
}

inline Tensor nearest(const Tensor& maps, const Seen& seen) {
  return torch::upsample_nearest2d(maps.unsqueeze(1), seen.size).flatten(1);
}

/// A term of the maps: cam [B, P] -> one number.
template <class Term>
Loss of_cam(double strength, Term term) {
  return [strength, term](models::ResNet& net, const Data& data) {
    const Seen seen = run(net, data);
    return nn::cross_entropy(seen.logits, data.labels) +
           strength * term(seen, data);
  };
}

/// A distance between the maps after min-max.
template <class Distance>
Loss of_scaled(Distance distance) {
  return of_cam(1, [distance](const Seen& seen, const Data& data) {
    return distance(min_max(seen.cam), min_max(shrunk(data.maps, seen)));
  });
}

inline Tensor ssim(const Tensor& m, const Tensor& h) {
  const Tensor a = m.mean(1), b = h.mean(1);
  const Tensor x = m - a.unsqueeze(1), y = h - b.unsqueeze(1);
  return (1 - (2 * a * b + 1e-4) / (a.square() + b.square() + 1e-4) *
                  (2 * (x * y).mean(1) + 9e-4) /
                  (x.square().mean(1) + y.square().mean(1) + 9e-4))
      .mean();
}

/// +1 wanted, -1 unwanted, 0 unknown.
inline Tensor feedback(const Seen& seen, const Data& data) {
  const auto type = seen.cam.scalar_type();
  return min_max(nearest(data.maps, seen)).gt(0.5).to(type) -
         nearest(data.wrong, seen).gt(0.5).to(type);
}

inline Tensor mean_where(const Tensor& said, const Tensor& values) {
  return (said * values).sum(1) / said.sum(1);
}

inline Tensor haics(const Seen& seen, const Data& data) {
  const Tensor f = feedback(seen, data), wanted = f.clamp_min(0);
  const Tensor m = min_max(seen.cam).clamp(1e-4, 1 - 1e-4);
  return mean_where(f.abs(), torch::binary_cross_entropy(m, wanted, {}, 0))
      .mean();
}

inline Tensor res_g(const Seen& seen, const Data& data) {
  const Tensor f = feedback(seen, data), m = min_max(seen.cam);
  const Tensor line = torch::tensor({0.25, 0.5, 0.25}, m.options());
  const Tensor blurred =
      torch::conv2d(
          torch::reflection_pad2d(
              f.clamp_min(0).view({-1, 1, seen.size[0], seen.size[1]}),
              {1, 1, 1, 1}),
          torch::outer(line, line).view({1, 1, 3, 3}))
          .flatten(1);
  const Tensor soft = blurred / blurred.amax(1, true);
  const Tensor far = mean_where(f.abs(), (((m - 0.5) * 5).tanh() - f).abs());
  return ((m - soft).abs().mean(1) + (far - 0.1).clamp_min(0)).mean();
}

inline Tensor entropy(const Seen& seen, const Data& /*data*/) {
  const Tensor log_p = seen.cam.log_softmax(1);
  return -(log_p.exp() * log_p).sum(1).mean() /
         std::log(static_cast<double>(log_p.size(1)));
}

// --------------------------------------------------------- input gradients

inline Tensor right_reasons(models::ResNet& net, const Data& data) {
  const Tensor images = data.images.detach().requires_grad_();
  const Tensor logits = net->forward(images);
  const Tensor gradient = torch::autograd::grad(
      {logits.log_softmax(1).sum()}, {images}, {}, /*retain_graph=*/true,
      /*create_graph=*/true)[0];
  return nn::cross_entropy(logits, data.labels) +
         (gradient * data.wrong.unsqueeze(1)).square().sum({1, 2, 3}).mean();
}

inline Tensor standardized(const Tensor& maps) {
  const Tensor centred = maps - maps.mean({1, 2, 3}, true);
  return (centred / (centred.square().mean({1, 2, 3}, true).sqrt() + 1e-5))
      .relu();
}

/// The next level of a pyramid, for even sizes.
inline Tensor halved(const Tensor& maps, const Tensor& filter) {
  return torch::conv2d(
      torch::constant_pad_nd(maps, {1, 2, 1, 2}), filter, {}, /*stride=*/2);
}

inline Tensor harmonize(models::ResNet& net, const Data& data) {
  const Tensor images = data.images.detach().requires_grad_();
  const Tensor logits = net->forward(images);
  const Tensor gradient = torch::autograd::grad(
      {logits.gather(1, data.labels.unsqueeze(1)).sum()}, {images}, {},
      /*retain_graph=*/true, /*create_graph=*/true)[0];
  Tensor ours = standardized(gradient.mean(1, true));
  Tensor theirs = standardized(
      min_max(data.maps.flatten(1)).view_as(data.maps).unsqueeze(1));
  theirs = theirs / (theirs.amax({1, 2, 3}, true) + 1e-6) *
           (ours.detach().amax({1, 2, 3}, true) + 1e-6);
  const Tensor line = torch::tensor({1., 4., 6., 4., 1.}, ours.options()) / 16;
  const Tensor filter = torch::outer(line, line).view({1, 1, 5, 5});
  Tensor sum = torch::mse_loss(ours, theirs);
  for (int level = 1; level < 5; ++level) {
    ours = halved(ours, filter);
    theirs = halved(theirs, filter);
    sum = sum + torch::mse_loss(ours, theirs);
  }
  return nn::cross_entropy(logits, data.labels) + sum / 5;
}

// -------------------------------------------------------- changed pictures

/// Three steps over the whole range of the pixels. Batch norms use their
/// running statistics meanwhile.
inline Tensor perturbed(models::ResNet& net, const Data& data) {
  const Tensor task = plain(net, data);
  const Tensor wrong = data.wrong.unsqueeze(1);
  net->eval();
  Tensor delta = torch::zeros_like(data.images);
  for (int step = 0; step < 3; ++step) {
    delta.requires_grad_();
    const Tensor loss = nn::cross_entropy(
        net->forward(data.images + wrong * delta), data.labels,
        nn::CrossEntropyFuncOptions().reduction(torch::kSum));
    const Tensor slope = torch::autograd::grad({loss}, {delta})[0];
    delta = (delta.detach() + slope.sign() / 3).clamp(-1, 1);
    delta = (data.images + delta).clamp(0, 1) - data.images;
  }
  const Tensor logits = net->forward((data.images + wrong * delta).clamp(0, 1));
  net->train();
  return task + nn::cross_entropy(logits, data.labels);
}

inline Tensor saliency_guided(models::ResNet& net, const Data& data) {
  const Tensor images = data.images.detach().requires_grad_();
  const Tensor logits = net->forward(images);
  const Tensor slope = torch::autograd::grad(
      {logits.gather(1, data.labels.unsqueeze(1)).sum()}, {images}, {},
      /*retain_graph=*/true)[0];
  const Tensor important = slope.abs().mean(1).flatten(1);
  const Tensor least = std::get<1>(important.topk(
      important.size(1) / 2, 1, /*largest=*/false, /*sorted=*/false));
  const Tensor mask =
      torch::zeros_like(important, torch::kBool).scatter_(1, least, true);
  const Tensor flat = data.images.flatten(2);
  const Tensor low = flat.amin(2, true), high = flat.amax(2, true);
  const Tensor masked = torch::where(
      mask.unsqueeze(1), low + (high - low) * torch::rand_like(flat), flat);
  const Tensor other = net->forward(masked.view_as(data.images));
  return nn::cross_entropy(logits, data.labels) +
         nn::kl_div(
             other.log_softmax(1), logits.log_softmax(1),
             nn::KLDivFuncOptions()
                 .reduction(torch::kBatchMean)
                 .log_target(true));
}

/// The losses by the names of the terms, with the strengths with which one
/// begins.
inline std::vector<std::pair<std::string, Loss>> losses() {
  return {
      {"l1", of_scaled([](const Tensor& m, const Tensor& h) {
         return torch::l1_loss(m, h);
       })},
      {"l2", of_scaled([](const Tensor& m, const Tensor& h) {
         return torch::mse_loss(m, h);
       })},
      {"kl", of_cam(
                 1,
                 [](const Seen& seen, const Data& data) {
                   const Tensor h = shrunk(data.maps, seen);
                   return nn::kl_div(
                       seen.cam.log_softmax(1), h / h.sum(1, true),
                       nn::KLDivFuncOptions(torch::kBatchMean));
                 })},
      {"cosine", of_scaled([](const Tensor& m, const Tensor& h) {
         return 1 - torch::cosine_similarity(m, h, 1).mean();
       })},
      {"pearson", of_scaled([](const Tensor& m, const Tensor& h) {
         return 1 - torch::cosine_similarity(
                        m - m.mean(1, true), h - h.mean(1, true), 1)
                        .mean();
       })},
      {"dice", of_scaled([](const Tensor& m, const Tensor& h) {
         return 1 -
                (2 * (m * h).sum(1) / (m.square().sum(1) + h.square().sum(1)))
                    .mean();
       })},
      {"bce", of_cam(
                  1,
                  [](const Seen& seen, const Data& data) {
                    return torch::binary_cross_entropy_with_logits(
                        seen.cam, min_max(shrunk(data.maps, seen)));
                  })},
      {"ssim", of_scaled(ssim)},
      {"energy", of_cam(
                     1,
                     [](const Seen& seen, const Data& data) {
                       const Tensor h = shrunk(data.maps, seen);
                       const Tensor energy = seen.cam.relu();
                       return 1 - ((h / h.amax(1, true) * energy).sum(1) /
                                   energy.sum(1).clamp_min(1e-5))
                                      .mean();
                     })},
      {"outside", of_cam(
                      1,
                      [](const Seen& seen, const Data& data) {
                        return (min_max(seen.cam) * shrunk(data.wrong, seen))
                            .square()
                            .sum(1)
                            .mean();
                      })},
      {"gradia", of_cam(
                     1,
                     [](const Seen& seen, const Data& data) {
                       return torch::l1_loss(
                           min_max(seen.cam),
                           feedback(seen, data).clamp_min(0));
                     })},
      {"haics", of_cam(1, haics)},
      {"res-g", of_cam(1, res_g)},
      {"cam-entropy", of_cam(0.1, entropy)},
      {"right-reasons", right_reasons},
      {"harmonize", harmonize},
      {"perturbed", perturbed},
      {"sgt", saliency_guided}};
}

}  // namespace by_hand
