// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The saliency term and its blend with the task's loss: by ATen's operators
// for any tensor and any distance, and fused for the built-in distances.

#include <cyborg/detail/kernels/feature_pass.hpp>
#include <cyborg/detail/torch/autograd.hpp>
#include <cyborg/detail/torch/double_backward.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/detail/map_kernels.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// How maps are compared and blended.
struct Guidance {
  Normalizer model, human;
  double strength;  // 1 - alpha
  bool sums;        // reduction kSum
};

/// Total, saliency, count of guided samples.
using GuidedTerms = std::vector<torch::Tensor>;

template <class Distance, class = void>
struct CompareScores {
  static constexpr bool available = false;
};
template <class Distance>
struct CompareScores<
    Distance, std::void_t<decltype(std::declval<const Distance&>().from_scores(
                  std::declval<const torch::Tensor&>(),
                  std::declval<const torch::Tensor&>()))>> {
  static constexpr bool available = true;
};

/// Distances [B] of maps [B, P], the model's before normalisation.
template <class Distance>
torch::Tensor compare(
    const Distance& distance, const torch::Tensor& maps,
    const torch::Tensor& human, const torch::Tensor& usable,
    Normalizer normalizer) {
  if constexpr (CompareScores<Distance>::available) {
    if (normalizer == Normalizer::kSoftmax) {
      return distance.from_scores(maps, human);
    }
  }
  return distance(normalize_usable(maps, usable, normalizer), human);
}

template <class Distance>
GuidedTerms guide_by_operators(
    const char* function, const Distance& distance, const Guidance& how,
    const torch::Tensor& task, const torch::Tensor& model,
    const HumanMaps& human, const torch::Tensor& weight) {
  const NormalizedMaps target = normalized_target(human, how.human);
  const torch::Tensor usable =
      target.usable.logical_and(usable_maps(model, how.model, kModelFloor));
  torch::Tensor distances = compare(
      distance, zero_unusable(model, usable), target.maps, usable, how.model);
  TORCH_CHECK_VALUE(
      distances.dim() == 1 && distances.size(0) == model.size(0), function,
      ": expected distances [", model.size(0), "] from the distance, got ",
      distances.sizes());
  distances = distances.masked_fill(usable.logical_not(), 0);
  if (weight.defined()) {
    // A weight of zero is none, of an infinite distance too.
    distances =
        distances.masked_fill(distances.isinf().logical_and(weight.eq(0)), 0) *
        weight.to(distances.scalar_type());
  }
  const torch::Tensor count = usable.sum();
  const torch::Tensor share =
      count.to(model.scalar_type()).div(model.size(0)).mul(how.strength);
  const torch::Tensor sum = distances.sum();
  const torch::Tensor saliency = how.sums ? sum : sum / count.clamp_min(1);
  const torch::Tensor total =
      (1 - share) * task +
      (how.sums ? saliency * how.strength : saliency * share);
  return {total, saliency, count};
}

#if CYBORG_KERNELS

/// The distances of the guided samples.
struct Compared {
  double sum = 0;
  int64_t count = 0;
};

/// Compares samples; `gradient` [B, P] becomes the derivative of each sample's
/// distance to the model's map, zero for those that are not guided.
template <class Distance, class T>
class Comparison {
 public:
  Comparison(
      const Guidance& how, const torch::Tensor& model, const HumanMaps& human,
      const torch::Tensor& weight, const torch::Tensor& gradient)
      : how_(how),
        size_(model.size(1)),
        model_(model.template data_ptr<T>()),
        human_(human.maps.template data_ptr<T>()),
        wanted_(
            human.annotated.defined()
                ? human.annotated.template data_ptr<bool>()
                : nullptr),
        weight_(weight.defined() ? weight.template data_ptr<T>() : nullptr),
        gradient_(gradient.template data_ptr<T>()),
        each_(static_cast<size_t>(model.size(0))) {}

  void compare(int64_t b) {
    MapView<T> ours(model_ + b * size_, size_, how_.model);
    MapView<T> theirs(human_ + b * size_, size_, how_.human);
    T* grad = gradient_ + b * size_;
    if ((wanted_ != nullptr && !wanted_[b]) || !theirs.usable(/*floor=*/0) ||
        !ours.usable(kModelFloor)) {
      std::fill_n(grad, size_, T(0));
      return;
    }
    std::vector<T> normalized(static_cast<size_t>(2 * size_));
    T* m = normalized.data();
    T* h = m + size_;
    ours.normalize(m);
    theirs.normalize(h);
    double distance = DistanceKernel<Distance>::compare(ours, m, h, grad);
    if (weight_ != nullptr) {
      const auto factor = static_cast<double>(weight_[b]);
      distance = factor > 0 ? factor * distance : 0;
      for (int64_t i = 0; i < size_; ++i) {
        grad[i] *= weight_[b];
      }
    }
    each_[static_cast<size_t>(b)] = {distance, 1};
  }

  void compare_all() {
    const auto batch = static_cast<int64_t>(each_.size());
    const auto some = [this](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        compare(b);
      }
    };
    if (batch * size_ > kWorthThreads) {
      parallel(batch, some);
    } else {
      some(0, batch);
    }
  }

  /// In the samples' order, on any number of threads.
  Compared total() const {
    Compared all;
    for (const Compared& sample : each_) {
      all.sum += sample.sum;
      all.count += sample.count;
    }
    return all;
  }

 private:
  Guidance how_;
  int64_t size_;
  const T* model_;
  const T* human_;
  const bool* wanted_;
  const T* weight_;
  T* gradient_;
  std::vector<Compared> each_;
};

/// Makes each sample's map, compares it and, with `shares` [B, 1, C], finds its
/// share of the weight's derivative while its features are in the cache.
template <class Distance, class T>
void map_and_compare(
    HeadPass<T> pass, const torch::Tensor& model, const torch::Tensor& gradient,
    const torch::Tensor& shares, Comparison<Distance, T>& comparison) {
  pass.cam = model.template data_ptr<T>();
  pass.cam_grad = gradient.template data_ptr<T>();
  pass.weight_grad = shares.defined() ? shares.template data_ptr<T>() : nullptr;
  const Slices slices(pass.batch, pass.channels, pass.positions);
  if (slices.per_sample > 1) {
    head_forward(pass);
    comparison.compare_all();
    if (shares.defined()) {
      head_backward(pass);
    }
    return;
  }
  const auto forward = forward_kernel<T>(active_instruction_set());
  const auto backward = backward_kernel<T>(active_instruction_set());
  slices.run([&](int64_t, int64_t sample, int64_t begin, int64_t end) {
    forward(pass, sample, begin, end, pass.cam + sample * pass.positions);
    comparison.compare(sample);
    if (shares.defined()) {
      backward(pass, sample, begin, end);
    }
  });
}

/// What the derivative of the fused loss depends on beside tensors: how maps
/// are compared, and what total and saliency owe to the task's loss and to the
/// sum of the distances.
struct GuidanceSlopes {
  Guidance how;
  double total_by_task;
  double total_by_sum;
  double saliency_by_sum;
};

/// The derivative of `fused_guidance`: the features' gradient is written once.
template <class Distance, class T>
class FusedGuidance : public KernelNode {
 public:
  explicit FusedGuidance(const GuidanceSlopes& slopes) : slopes_(slopes) {}

  std::string name() const final { return "cyborg::FusedGuidance"; }

 private:
  std::vector<torch::Tensor> gradients(
      const std::vector<torch::Tensor>& saved,
      const std::vector<torch::Tensor>& grads) final {
    const torch::Tensor &task = saved[0], &values = saved[1],
                        &weight = saved[2];
    std::vector<torch::Tensor> found(3);  // of task, values, weight
    if (at::GradMode::is_enabled()) {
      // A derivative of this derivative is wanted.
      const auto own = as_leaves({task, values, weight});
      const auto terms = guide_by_operators(
          "", Distance(), slopes_.how, own[0],
          weight.defined() ? feature_sums_by_operators(
                                 own[1], own[2], saved[3], HeadOutputs::kMaps)
                                 .maps
                           : own[1].flatten(1),
          {saved[4], saved[5]}, saved[6]);
      found = grad_with_graph({terms[0], terms[1]}, own, grads);
    } else {
      const auto number = [](const torch::Tensor& grad) {
        return grad.defined()
                   ? static_cast<double>(*grad.template data_ptr<T>())
                   : 0;
      };
      if (task.requires_grad() && grads[0].defined()) {
        found[0] = grads[0] * slopes_.total_by_task;
      }
      const double factor = number(grads[0]) * slopes_.total_by_sum +
                            number(grads[1]) * slopes_.saliency_by_sum;
      const torch::Tensor gradient = saved[7] * factor;
      if (!weight.defined()) {
        found[1] = gradient.view_as(values);
      } else {
        if (values.requires_grad()) {
          auto pass =
              head_pass<T>(values, weight, saved[3], HeadOutputs::kMaps);
          found[1] = at::empty_like(values);
          pass.features = nullptr;
          pass.cam_grad = gradient.template data_ptr<T>();
          pass.write_to(found[1].template data_ptr<T>());
          head_backward(pass);
        }
        if (saved[8].defined()) {
          found[2] = saved[8] * factor;
        }
      }
    }
    found.resize(num_outputs());  // the weight has an edge where there is one
    return found;
  }

  GuidanceSlopes slopes_;
};

/// Class activation map, normalisation, distance and blend in one: the features
/// are read once. `sample_weight` is undefined or of the model's type.
template <class Distance, class T>
GuidedTerms fused_guidance(
    const Guidance& how, const torch::Tensor& task, const ModelMap& given,
    const HumanMaps& human, const torch::Tensor& sample_weight) {
  const torch::Tensor &values = given.values, &weight = given.weight;
  std::vector<torch::Tensor> inputs{task, values};
  if (weight.defined()) {
    inputs.push_back(weight);
  }
  const bool recorded = is_recorded(inputs);
  const at::AutoGradMode no_graph(false);
  Compared all;
  torch::Tensor model, gradient, weight_gradient;
  const auto options = values.options().requires_grad(false);
  if (weight.defined()) {
    const auto pass =
        head_pass<T>(values, weight, given.index, HeadOutputs::kMaps);
    model = at::zeros({pass.batch, pass.positions}, options);
    gradient = at::empty_like(model);
    const torch::Tensor shares =
        recorded && weight.requires_grad()
            ? at::zeros({pass.batch, 1, pass.channels}, options)
            : torch::Tensor();
    Comparison<Distance, T> comparison(
        how, model, human, sample_weight, gradient);
    map_and_compare(pass, model, gradient, shares, comparison);
    all = comparison.total();
    if (shares.defined()) {
      weight_gradient = detail::weight_gradient<T>(weight, given.index, shares);
    }
  } else {
    model = values.flatten(1);
    gradient = at::empty_like(model);
    Comparison<Distance, T> comparison(
        how, model, human, sample_weight, gradient);
    comparison.compare_all();
    all = comparison.total();
  }
  const auto count = static_cast<double>(all.count);
  const auto batch = static_cast<double>(model.size(0));
  const double share = how.strength * count / batch;
  const double each = how.sums ? 1 : 1 / std::max(count, 1.0);
  const double saliency = all.sum * each;
  const double weighted = how.sums ? how.strength : share;
  const auto number = [&](double value) {
    const torch::Tensor out = at::empty({}, options);
    *out.template data_ptr<T>() = static_cast<T>(value);
    return out;
  };
  const auto loss = static_cast<double>(*task.template data_ptr<T>());
  const torch::Tensor counted = at::empty({}, options.dtype(at::kLong));
  *counted.template data_ptr<int64_t>() = all.count;
  const torch::Tensor total = number((1 - share) * loss + weighted * saliency);
  const torch::Tensor term = number(saliency);
  if (recorded) {
    record(
        std::make_unique<FusedGuidance<Distance, T>>(
            GuidanceSlopes{how, 1 - share, weighted * each, each}),
        inputs, {total, term},
        {task, values, weight, given.index, human.maps, human.annotated,
         sample_weight, gradient, weight_gradient});
  }
  return {total, term, counted};
}

#endif  // CYBORG_KERNELS

/// Fused where it can be: a built-in distance, and maps that a kernel reads.
template <class Distance>
GuidedTerms guide(
    const char* function, const Distance& distance, const Guidance& how,
    const torch::Tensor& task, const ModelMap& model, const HumanMaps& human,
    const torch::Tensor& weight) {
#if CYBORG_KERNELS
  if constexpr (DistanceKernel<Distance>::kOwn) {
    const auto type = model.values.scalar_type();
    if (model.kernels_read() && kernel_reads(task) &&
        task.scalar_type() == type &&
        !(weight.defined() && weight.requires_grad())) {
      const torch::Tensor of_samples =
          weight.defined() ? resolved_contiguous(weight.to(type)) : weight;
      return type == at::kDouble ? fused_guidance<Distance, double>(
                                       how, task, model, human, of_samples)
                                 : fused_guidance<Distance, float>(
                                       how, task, model, human, of_samples);
    }
  }
#endif
  return guide_by_operators(
      function, distance, how, task, flat_maps(model), human, weight);
}

}  // namespace cyborg::detail
