// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Means and class activation maps of features, as tensors on the autograd
// graph: by one pass of the kernels over the features where the kernels can
// read them, else by ATen's operators, which give the same values.

#include <cyborg/detail/kernels/head_pass.hpp>
#include <cyborg/detail/torch/autograd.hpp>
#include <cyborg/detail/torch/double_backward.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// Up to this many classes, the maps of all classes are made in one pass over
/// the features; with more classes a matrix product is faster.
constexpr int64_t kFewRows = 8;

/// Whether a kernel may read this tensor: it is in memory of the CPU,
/// contiguous, float32 or float64, and has no forward-mode derivative
/// (operators carry that along, kernels do not).
inline bool kernel_reads(const torch::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_cpu() &&
         tensor.layout() == at::kStrided && tensor.has_storage() &&
         (tensor.scalar_type() == at::kFloat ||
          tensor.scalar_type() == at::kDouble) &&
         tensor.is_contiguous() && !tensor.is_neg() &&
         !tensor._is_zerotensor() && !tensor._fw_grad(/*level=*/0).defined();
}

/// The model's maps, in one of two forms: maps [B, *S] that somebody computed,
/// or the features and the rows of the head from which they are to be computed.
/// The second form lets a kernel compute and compare the maps in one pass.
struct ModelMap {
  torch::Tensor values;  // [B, *S]; with a weight, features [B, C, *S]
  torch::Tensor weight;  // [K, C], or undefined
  torch::Tensor index;   // [B], the row of the weight for each sample

  /// The sizes of the maps, [B, *S], in both forms.
  std::vector<int64_t> sizes() const {
    std::vector<int64_t> all;
    for (int64_t d = 0; d < values.dim(); ++d) {
      if (d != 1 || !weight.defined()) {  // without the channels
        all.push_back(values.size(d));
      }
    }
    return all;
  }
  /// Whether a gradient of the maps would reach anything.
  bool requires_grad() const {
    return values.requires_grad() ||
           (weight.defined() && weight.requires_grad());
  }
  /// Whether a kernel may read all of it.
  bool kernels_read() const {
    return active_instruction_set() != InstructionSet::kNone &&
           kernel_reads(values) &&
           (!weight.defined() ||
            (kernel_reads(weight) &&
             weight.scalar_type() == values.scalar_type()));
  }
};

/// What a pass computes from features [B, C, *S] and a weight [K, C]. What was
/// not wanted is undefined.
struct FeatureSums {
  torch::Tensor pooled;  // [B, C], means over positions
  torch::Tensor maps;    // [B, P] of the rows that an index names, or [B, K, P]
};

/// Which outputs of the pass are wanted.
enum class HeadOutputs { kMaps, kMeans, kBoth };

/// The outputs, computed by ATen's operators: the reference for the kernels.
inline FeatureSums feature_sums_by_operators(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& index, HeadOutputs wanted) {
  const torch::Tensor flat = features.flatten(2);
  FeatureSums sums;
  if (wanted != HeadOutputs::kMaps) {
    sums.pooled = flat.mean(/*dim=*/2);
  }
  if (wanted != HeadOutputs::kMeans) {
    sums.maps = index.defined()
                    ? at::bmm(weight.index_select(0, index).unsqueeze(1), flat)
                          .squeeze(1)
                    : at::matmul(weight, flat);
  }
  return sums;
}

#if CYBORG_KERNELS

/// The weight's gradient [K, C] from the samples' shares [B, maps, C]: each
/// share is added to the row of the weight that made that sample's map.
template <class T>
torch::Tensor weight_gradient(
    const torch::Tensor& weight, const torch::Tensor& index,
    const torch::Tensor& shares) {
  if (!index.defined()) {
    return shares.sum(/*dim=*/0);
  }
  torch::Tensor out = at::zeros_like(weight);
  const int64_t channels = weight.size(1);
  const auto* row = index.template data_ptr<int64_t>();
  const auto* share = shares.template data_ptr<T>();
  auto* total = out.template data_ptr<T>();
  for (int64_t b = 0; b < index.numel(); ++b) {
    T* to = total + row[b] * channels;
    const T* from = share + b * channels;
    each<Lanes<T, 16>>(channels, [&](int64_t c, auto& sum) {
      std::decay_t<decltype(sum)> one;
      load(one, from + c);
      load(sum, to + c);
      sum += one;
      store(to + c, sum);
    });
  }
  return out;
}

/// The description of a pass over these tensors, without its results.
template <class T>
HeadPass<T> head_pass(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& index, HeadOutputs wanted) {
  HeadPass<T> pass;
  pass.batch = features.size(0);
  pass.channels = features.size(1);
  pass.positions = 1;
  for (int64_t d = 2; d < features.dim(); ++d) {
    pass.positions *= features.size(d);
  }
  pass.maps = wanted == HeadOutputs::kMeans ? 0
              : index.defined()             ? 1
                                            : weight.size(0);
  pass.features = features.template data_ptr<T>();
  pass.weight = weight.template data_ptr<T>();
  pass.index = index.defined() ? index.template data_ptr<int64_t>() : nullptr;
  return pass;
}

/// Maps and means in one pass over the features, not recorded on the graph.
template <class T>
FeatureSums sum_features(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& index, HeadOutputs wanted) {
  auto pass = head_pass<T>(features, weight, index, wanted);
  const auto options = features.options().requires_grad(false);
  FeatureSums sums;
  if (wanted != HeadOutputs::kMeans) {
    sums.maps =
        index.defined()
            ? at::zeros({pass.batch, pass.positions}, options)
            : at::zeros({pass.batch, pass.maps, pass.positions}, options);
    pass.cam = sums.maps.template data_ptr<T>();
  }
  if (wanted != HeadOutputs::kMaps) {
    sums.pooled = at::empty({pass.batch, pass.channels}, options);
    pass.pooled = sums.pooled.template data_ptr<T>();
  }
  head_forward(pass);
  return sums;
}

/// The gradients {of the features, of the weight} from those of the maps and
/// the means. An undefined gradient means zero; the gradients that arrive must
/// be readable by a kernel. A result that is not asked for is undefined.
template <class T>
std::vector<torch::Tensor> feature_gradients(
    const torch::Tensor& features, const torch::Tensor& weight,
    const torch::Tensor& index, const torch::Tensor& maps_grad,
    const torch::Tensor& pooled_grad, bool for_features, bool for_weight) {
  const HeadOutputs wanted =
      maps_grad.defined() ? HeadOutputs::kBoth : HeadOutputs::kMeans;
  auto pass = head_pass<T>(features, weight, index, wanted);
  const auto options = features.options().requires_grad(false);
  torch::Tensor shares, out;
  if (maps_grad.defined()) {
    pass.cam_grad = maps_grad.template data_ptr<T>();
  }
  if (maps_grad.defined() && for_weight) {
    shares = at::zeros({pass.batch, pass.maps, pass.channels}, options);
    pass.weight_grad = shares.template data_ptr<T>();
  } else {
    pass.features = nullptr;  // nothing to read
  }
  if (pooled_grad.defined()) {
    pass.pooled_grad = pooled_grad.template data_ptr<T>();
  }
  if (for_features) {
    out = at::empty_like(features);
    pass.write_to(out.template data_ptr<T>());
  }
  if (out.defined() || shares.defined()) {
    head_backward(pass);
  }
  return {
      out, shares.defined() ? weight_gradient<T>(weight, index, shares)
                            : torch::Tensor()};
}

/// The outputs that were computed, the means first.
inline std::vector<torch::Tensor> computed_outputs(const FeatureSums& sums) {
  std::vector<torch::Tensor> list;
  for (const torch::Tensor& sum : {sums.pooled, sums.maps}) {
    if (sum.defined()) {
      list.push_back(sum);
    }
  }
  return list;
}

/// What the derivative of a pass with maps needs.
struct FeaturePassSaved {
  torch::Tensor features, weight, index;
  std::array<torch::Tensor*, 3> all() { return {&features, &weight, &index}; }
};

/// The node of `sum_features` with maps on the autograd graph. Its derivative
/// writes the features' gradient once, whether it comes from the maps, the
/// means or both. Its inputs are features and weight, its outputs those of
/// `computed_outputs`.
template <class T>
class FeaturePass : public KernelNode<FeaturePassSaved> {
 public:
  explicit FeaturePass(HeadOutputs wanted) : wanted_(wanted) {}

  std::string name() const final { return "cyborg::FeaturePass"; }

 private:
  std::vector<torch::Tensor> gradients(
      const FeaturePassSaved& saved,
      const std::vector<torch::Tensor>& grads) final {
    const auto& [features, weight, index] = saved;
    if (at::GradMode::is_enabled()) {
      // This derivative is itself to be differentiated.
      const auto own = as_leaves({features, weight});
      return grad_with_graph(
          computed_outputs(
              feature_sums_by_operators(own[0], own[1], index, wanted_)),
          own, grads);
    }
    return feature_gradients<T>(
        features, weight, index, grads.back(),
        wanted_ == HeadOutputs::kMaps ? torch::Tensor() : grads.front(),
        features.requires_grad(), weight.requires_grad());
  }

  HeadOutputs wanted_;
};

/// The node of the means alone on the autograd graph. Their derivative does not
/// depend on the features, so these are not kept.
class MeansOfRows : public KernelNode<NothingSaved> {
 public:
  explicit MeansOfRows(at::IntArrayRef sizes)
      : sizes_(sizes.begin(), sizes.end()) {}

  std::string name() const final { return "cyborg::MeansOfRows"; }

 private:
  std::vector<torch::Tensor> gradients(
      const NothingSaved& /*saved*/,
      const std::vector<torch::Tensor>& grads) final {
    if (!grads[0].defined()) {
      return {torch::Tensor()};
    }
    std::vector<int64_t> rows = sizes_;
    int64_t positions = 1;
    for (size_t d = 2; d < sizes_.size(); ++d) {
      positions *= std::exchange(rows[d], 1);
    }
    // The division writes the gradient to new memory, as that of a pooling
    // does.
    return {grads[0].view(rows).expand(sizes_) / positions};
  }

  std::vector<int64_t> sizes_;
};

/// Maps and means in one pass over the features, recorded on the graph.
template <class T>
FeatureSums feature_pass(const ModelMap& model, HeadOutputs wanted) {
  FeatureSums sums;
  {
    const at::AutoGradMode no_graph(false);
    sums = sum_features<T>(model.values, model.weight, model.index, wanted);
  }
  if (wanted == HeadOutputs::kMeans) {
    if (is_recorded({model.values})) {
      record(
          std::make_unique<MeansOfRows>(model.values.sizes()), {model.values},
          {sums.pooled}, NothingSaved{});
    }
    return sums;
  }
  const std::vector<torch::Tensor> inputs{model.values, model.weight};
  if (is_recorded(inputs)) {
    record(
        std::make_unique<FeaturePass<T>>(wanted), inputs,
        computed_outputs(sums),
        FeaturePassSaved{model.values, model.weight, model.index});
  }
  return sums;
}

#endif  // CYBORG_KERNELS

/// Maps and means of `model`, which must have a weight: by the kernels where
/// these can read the tensors, otherwise by the operators.
inline FeatureSums feature_sums(const ModelMap& model, HeadOutputs wanted) {
#if CYBORG_KERNELS
  if (model.kernels_read() &&
      (wanted == HeadOutputs::kMeans || model.index.defined() ||
       model.weight.size(0) <= kFewRows)) {
    return model.values.scalar_type() == at::kDouble
               ? feature_pass<double>(model, wanted)
               : feature_pass<float>(model, wanted);
  }
#endif
  return feature_sums_by_operators(
      model.values, model.weight, model.index, wanted);
}

/// The model's maps as a tensor [B, P], computed now if they are not yet.
inline torch::Tensor flat_maps(const ModelMap& model) {
  return model.weight.defined() ? feature_sums(model, HeadOutputs::kMaps).maps
                                : model.values.flatten(1);
}

}  // namespace cyborg::detail
