// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What a public function checks about its tensors. Each check is here once, so
// that the same mistake gives the same error everywhere. `function` is the name
// of the public function; the error begins with it.

#include <cyborg/detail/torch/tensor.hpp>

#include <algorithm>
#include <cstdint>

namespace cyborg::detail {

/// Throws unless `maps` is [B, *S] with at least one position; B may be 0.
inline void check_maps(const char* function, const torch::Tensor& maps) {
  TORCH_CHECK_VALUE(
      maps.defined(), function, ": expected maps [B, *S], got none");
  TORCH_CHECK_VALUE(
      maps.dim() >= 2 &&
          std::count(maps.sizes().begin() + 1, maps.sizes().end(), 0) == 0,
      function, ": expected maps [B, *S], got ", maps.sizes());
}

/// Throws unless `features` is [B, C, *S] of floating point; B may be 0.
inline void check_features(
    const char* function, const torch::Tensor& features) {
  TORCH_CHECK_VALUE(
      features.defined(), function, ": expected features [B, C, *S], got none");
  TORCH_CHECK_VALUE(
      features.dim() >= 3 && (features.numel() > 0 || features.size(0) == 0),
      function, ": expected features [B, C, *S], got ", features.sizes());
  TORCH_CHECK_VALUE(
      features.is_floating_point(), function,
      ": expected features of floating point, got ", features.scalar_type());
}

/// Throws unless `weight` is [K, C] for the channels of `features`, on their
/// device.
inline void check_head(
    const char* function, const torch::Tensor& features,
    const torch::Tensor& weight) {
  TORCH_CHECK_VALUE(
      weight.dim() == 2 && weight.size(1) == features.size(1) &&
          weight.size(0) > 0,
      function, ": expected weight [K, ", features.size(1), "], got ",
      weight.sizes());
  TORCH_CHECK_VALUE(
      weight.device() == features.device(), function, ": expected weight on ",
      features.device(), ", got ", weight.device());
}

/// Throws unless `values` holds one number for each sample of `like`, on its
/// device.
inline void check_per_sample(
    const char* function, const char* name, const torch::Tensor& values,
    const torch::Tensor& like) {
  TORCH_CHECK_VALUE(
      values.dim() == 1 && values.size(0) == like.size(0), function,
      ": expected ", name, " [", like.size(0), "], got ", values.sizes());
  TORCH_CHECK_VALUE(
      values.device() == like.device(), function, ": expected ", name, " on ",
      like.device(), ", got ", values.device());
}

/// Throws unless `weight` holds one number >= 0 for each sample of `like`. The
/// values are checked on the CPU only: elsewhere the host would have to wait.
inline void check_weights(
    const char* function, const torch::Tensor& weight,
    const torch::Tensor& like) {
  check_per_sample(function, "weight", weight, like);
  if (!weight.is_cpu()) {
    return;
  }
  const torch::Tensor values =
      resolved_contiguous(weight.detach().to(at::kDouble));
  const double* value = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    TORCH_CHECK_VALUE(
        value[i] >= 0, function, ": expected weight of numbers >= 0, got ",
        value[i], " at position ", i);
  }
}

/// Throws unless `labels` is [batch] of integers in [0, classes). The range is
/// checked on the CPU alone: reading labels elsewhere would make the host wait
/// for the device. With one class, which is one logit, labels are 0 or 1.
inline void check_labels(
    const char* function, const torch::Tensor& labels, int64_t batch,
    int64_t classes) {
  TORCH_CHECK_VALUE(
      labels.defined(), function, ": expected labels [", batch, "], got none");
  TORCH_CHECK_VALUE(
      labels.dim() == 1 && labels.size(0) == batch, function,
      ": expected labels [", batch, "], got ", labels.sizes());
  TORCH_CHECK_VALUE(
      at::isIntegralType(labels.scalar_type(), /*includeBool=*/true), function,
      ": expected labels of integers, got ", labels.scalar_type(),
      " (labels.to(torch::kLong) makes them)");
  if (!labels.is_cpu()) {
    return;
  }
  // Memory is read directly: item() counts as a host synchronisation.
  const torch::Tensor values =
      resolved_contiguous(labels.detach().to(at::kLong));
  const int64_t* value = values.data_ptr<int64_t>();
  const int64_t highest = classes == 1 ? 1 : classes - 1;  // one logit: 0, 1
  for (int64_t i = 0; i < values.numel(); ++i) {
    TORCH_CHECK_VALUE(
        value[i] >= 0 && value[i] <= highest, function,
        ": expected labels in [0, ", highest, "], got ", value[i],
        " at position ", i);
  }
}

/// The same for the samples of `like`, on whose device the labels must be.
inline void check_labels(
    const char* function, const torch::Tensor& labels,
    const torch::Tensor& like, int64_t classes) {
  check_labels(function, labels, like.size(0), classes);
  TORCH_CHECK_VALUE(
      labels.device() == like.device(), function, ": expected labels on ",
      like.device(), ", got ", labels.device());
}

}  // namespace cyborg::detail
