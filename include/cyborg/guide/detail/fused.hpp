// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The guided loss in one pass over the features, for the built-in distances:
// maps, normalisation, distance, blend and the weight's gradient. It gives the
// values and gradients of `guide_by_operators` (blend.hpp).
//
// The order is unusual. The derivative of the distances does not depend on what
// comes after the loss, except for one factor. So the forward pass already
// computes it, while a sample's features are in the cache. The backward pass
// multiplies by that factor and writes the features' gradient.

#include <cyborg/detail/kernels/feature_pass.hpp>
#include <cyborg/detail/torch/autograd.hpp>
#include <cyborg/detail/torch/double_backward.hpp>
#include <cyborg/guide/detail/blend.hpp>
#include <cyborg/guide/detail/distance_kernels.hpp>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cyborg::detail {

#if CYBORG_KERNELS

/// The sum of the distances of the guided samples, and how many these are.
struct DistanceSum {
  double sum = 0;
  int64_t count = 0;
};

/// Compares the model's maps [B, P] with people's, sample by sample.
///
/// `gradient` [B, P] becomes the derivative of each sample's distance with
/// respect to the model's map before normalisation; it is zero for a sample
/// that is not guided. Samples may be compared in any order and on any thread.
template <class Distance, class T>
class MapComparison {
 public:
  MapComparison(
      const BlendOptions& how, const torch::Tensor& model,
      const HumanMaps& human, const torch::Tensor& weight,
      const torch::Tensor& gradient)
      : how_(how),
        positions_(model.size(1)),
        model_(model.template data_ptr<T>()),
        human_(human.maps.template data_ptr<T>()),
        annotated_(
            human.annotated.defined()
                ? human.annotated.template data_ptr<bool>()
                : nullptr),
        weight_(weight.defined() ? weight.template data_ptr<T>() : nullptr),
        gradient_(gradient.template data_ptr<T>()),
        samples_(static_cast<size_t>(model.size(0))) {}

  /// Compares sample `b`, whose model map must be complete.
  void compare(int64_t b) {
    MapView<T> ours(model_ + b * positions_, positions_, how_.model);
    MapView<T> theirs(human_ + b * positions_, positions_, how_.human);
    T* grad = gradient_ + b * positions_;
    if ((annotated_ != nullptr && !annotated_[b]) ||
        !theirs.usable(/*floor=*/0) || !ours.usable(kModelFloor)) {
      std::fill_n(grad, positions_, T(0));
      return;
    }
    std::vector<T> normalized(static_cast<size_t>(2 * positions_));
    T* m = normalized.data();
    T* h = m + positions_;
    ours.normalize(m);
    theirs.normalize(h);
    double distance = DistanceKernel<Distance>::compare(ours, m, h, grad);
    if (weight_ != nullptr) {
      // With weight 0 an infinite distance must give 0, not NaN.
      const auto factor = static_cast<double>(weight_[b]);
      distance = factor > 0 ? factor * distance : 0;
      for (int64_t i = 0; i < positions_; ++i) {
        grad[i] *= weight_[b];
      }
    }
    samples_[static_cast<size_t>(b)] = {distance, 1};
  }

  /// Compares every sample, on several threads where that is faster. All maps
  /// of the model must be complete.
  void compare_all() {
    const auto batch = static_cast<int64_t>(samples_.size());
    const auto some = [this](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        compare(b);
      }
    };
    if (batch * positions_ > kWorthThreads) {
      parallel(batch, some);
    } else {
      some(0, batch);
    }
  }

  /// Added up in the samples' order, so that the sum does not depend on the
  /// number of threads.
  DistanceSum total() const {
    DistanceSum all;
    for (const DistanceSum& sample : samples_) {
      all.sum += sample.sum;
      all.count += sample.count;
    }
    return all;
  }

 private:
  BlendOptions how_;
  int64_t positions_;      // P
  const T* model_;         // [B, P], before normalisation
  const T* human_;         // [B, P], before normalisation
  const bool* annotated_;  // [B]; null: all
  const T* weight_;        // [B], the weights of the samples; null: all 1
  T* gradient_;            // [B, P], written
  std::vector<DistanceSum> samples_;  // [B], so that threads share no sum
};

/// Computes each sample's map and compares it. With `shares` [B, 1, C] it also
/// computes the sample's share of the weight's derivative while the sample's
/// features are in the cache. `model` and `shares` must be zeros before.
template <class Distance, class T>
void map_and_compare(
    HeadPass<T> pass, const torch::Tensor& model, const torch::Tensor& gradient,
    const torch::Tensor& shares, MapComparison<Distance, T>& comparison) {
  pass.cam = model.template data_ptr<T>();
  pass.cam_grad = gradient.template data_ptr<T>();
  pass.weight_grad = shares.defined() ? shares.template data_ptr<T>() : nullptr;
  const Slices slices(pass.batch, pass.channels, pass.positions);
  if (slices.per_sample > 1) {
    // Several threads work on one sample: its map is complete only after all.
    head_forward(pass);
    comparison.compare_all();
    if (shares.defined()) {
      head_backward(pass);
    }
    return;
  }
  const HeadKernels<T> kernels = head_kernels<T>();
  slices.run([&](int64_t, int64_t sample, int64_t begin, int64_t end) {
    kernels.forward(
        pass, sample, begin, end, pass.cam + sample * pass.positions);
    comparison.compare(sample);
    if (shares.defined()) {
      kernels.backward(pass, sample, begin, end);
    }
  });
}

/// The constant factors of the loss's derivative: total and saliency are linear
/// in the task's loss and in the sum of the distances.
struct BlendFactors {
  double total_by_task;    // d total / d task
  double total_by_sum;     // d total / d sum of distances
  double saliency_by_sum;  // d saliency / d sum of distances
};

/// What the derivative of the fused loss needs. The order of `all` is the order
/// in which the tensors are saved; it has no other meaning.
struct FusedSaved {
  // The inputs, for a derivative of the derivative.
  torch::Tensor task, values, weight, index;
  torch::Tensor human_maps, annotated, sample_weight;
  // The derivatives of the sum of the distances with respect to the maps [B, P]
  // and to the weight [K, C]. The forward pass has computed them.
  torch::Tensor map_gradient, weight_gradient;

  std::array<torch::Tensor*, 9> all() {
    return {&task,          &values,       &weight,
            &index,         &human_maps,   &annotated,
            &sample_weight, &map_gradient, &weight_gradient};
  }
};

/// The node of `fused_guidance` on the autograd graph. Its derivative writes
/// the features' gradient once. Its inputs are task, values and, if defined,
/// weight; its outputs are total and saliency.
template <class Distance, class T>
class FusedGuidance : public KernelNode<FusedSaved> {
 public:
  FusedGuidance(const BlendOptions& how, const BlendFactors& factors)
      : how_(how), factors_(factors) {}

  std::string name() const final { return "cyborg::FusedGuidance"; }

 private:
  /// `grads`: the gradients of total and saliency; an undefined one means zero.
  std::vector<torch::Tensor> gradients(
      const FusedSaved& saved, const std::vector<torch::Tensor>& grads) final {
    // Gradient mode is on in a backward with create_graph: then the gradients
    // need a graph, which only operators make.
    std::vector<torch::Tensor> found = at::GradMode::is_enabled()
                                           ? by_operators(saved, grads)
                                           : by_kernels(saved, grads);
    found.resize(num_outputs());  // the weight has an edge only if it is there
    return found;
  }

  /// The gradients of task, values and weight with a graph of their own, for a
  /// derivative of this derivative. The loss is computed again by operators.
  std::vector<torch::Tensor> by_operators(
      const FusedSaved& saved, const std::vector<torch::Tensor>& grads) const {
    const auto own = as_leaves({saved.task, saved.values, saved.weight});
    const torch::Tensor maps =
        saved.weight.defined()
            ? feature_sums_by_operators(
                  own[1], own[2], saved.index, HeadOutputs::kMaps)
                  .maps
            : own[1].flatten(1);
    const GuidedTerms terms = guide_by_operators(
        "", Distance(), how_, own[0], maps, {saved.human_maps, saved.annotated},
        saved.sample_weight);
    return grad_with_graph({terms.total, terms.saliency}, own, grads);
  }

  /// The same gradients without a graph, from what the forward pass computed.
  std::vector<torch::Tensor> by_kernels(
      const FusedSaved& saved, const std::vector<torch::Tensor>& grads) const {
    std::vector<torch::Tensor> found(3);  // of task, values, weight
    const auto number = [](const torch::Tensor& grad) {
      return grad.defined() ? static_cast<double>(*grad.template data_ptr<T>())
                            : 0;
    };
    if (saved.task.requires_grad() && grads[0].defined()) {
      found[0] = grads[0] * factors_.total_by_task;
    }
    const double by_sum = number(grads[0]) * factors_.total_by_sum +
                          number(grads[1]) * factors_.saliency_by_sum;
    const torch::Tensor gradient = saved.map_gradient * by_sum;
    if (!saved.weight.defined()) {
      found[1] = gradient.view_as(saved.values);
      return found;
    }
    if (saved.values.requires_grad()) {
      auto pass = head_pass<T>(
          saved.values, saved.weight, saved.index, HeadOutputs::kMaps);
      found[1] = at::empty_like(saved.values);
      pass.features = nullptr;  // the weight's gradient is known already
      pass.cam_grad = gradient.template data_ptr<T>();
      pass.write_to(found[1].template data_ptr<T>());
      head_backward(pass);
    }
    if (saved.weight_gradient.defined()) {
      found[2] = saved.weight_gradient * by_sum;
    }
    return found;
  }

  BlendOptions how_;
  BlendFactors factors_;
};

/// The loss as `guide_by_operators` defines it; the features are read once.
/// `sample_weight` is undefined or of the model's type.
template <class Distance, class T>
GuidedTerms fused_guidance(
    const BlendOptions& how, const torch::Tensor& task, const ModelMap& given,
    const HumanMaps& human, const torch::Tensor& sample_weight) {
  const torch::Tensor &values = given.values, &weight = given.weight;
  std::vector<torch::Tensor> inputs{task, values};
  if (weight.defined()) {
    inputs.push_back(weight);
  }
  // The operators below must not record: the node at the end records them all.
  const bool recorded = is_recorded(inputs);
  const at::AutoGradMode no_graph(false);
  DistanceSum all;
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
    MapComparison<Distance, T> comparison(
        how, model, human, sample_weight, gradient);
    map_and_compare(pass, model, gradient, shares, comparison);
    all = comparison.total();
    if (shares.defined()) {
      weight_gradient = detail::weight_gradient<T>(weight, given.index, shares);
    }
  } else {  // the maps are given
    model = values.flatten(1);
    gradient = at::empty_like(model);
    MapComparison<Distance, T> comparison(
        how, model, human, sample_weight, gradient);
    comparison.compare_all();
    all = comparison.total();
  }
  // The blend of `guide_by_operators`, with the count as a plain number: on the
  // CPU it may be read without waiting for a device.
  const auto count = static_cast<double>(all.count);
  const auto batch = static_cast<double>(model.size(0));
  const double share = how.strength * count / batch;  // 1 - a
  const double per_sum = how.sums ? 1 : 1 / std::max(count, 1.0);
  const double blend = how.sums ? how.strength : share;
  const double saliency = all.sum * per_sum;
  const auto number = [&](double value) {
    const torch::Tensor out = at::empty({}, options);
    *out.template data_ptr<T>() = static_cast<T>(value);
    return out;
  };
  const auto loss = static_cast<double>(*task.template data_ptr<T>());
  GuidedTerms terms{
      number((1 - share) * loss + blend * saliency), number(saliency),
      at::empty({}, options.dtype(at::kLong))};
  *terms.guided_count.template data_ptr<int64_t>() = all.count;
  if (recorded) {
    record(
        std::make_unique<FusedGuidance<Distance, T>>(
            how, BlendFactors{1 - share, blend * per_sum, per_sum}),
        inputs, {terms.total, terms.saliency},
        FusedSaved{
            task, values, weight, given.index, human.maps, human.annotated,
            sample_weight, gradient, weight_gradient});
  }
  return terms;
}

#endif  // CYBORG_KERNELS

/// The guided loss: fused for a built-in distance and tensors that a kernel can
/// read, otherwise by operators. Sample weights that require a gradient also
/// need the operators, since the fused loss has no derivative for them.
template <class Distance>
GuidedTerms guide(
    const char* function, const Distance& distance, const BlendOptions& how,
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
