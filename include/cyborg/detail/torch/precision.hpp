// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <c10/core/DispatchKeySet.h>  // autocast_dispatch_keyset
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cstdint>

namespace cyborg {
namespace detail {

/// The type in which a map of `type` is computed: float32 at least, so half
/// types and integers become float32, and float64 stays.
inline at::ScalarType compute_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

inline torch::Tensor to_compute_type(const torch::Tensor& tensor) {
  return tensor.to(compute_type(tensor.scalar_type()));
}

/// While it lives, autocast leaves the operators of this thread alone: a
/// product of maps under autocast would otherwise drop to bfloat16.
class AutocastDisabledGuard {
 public:
  AutocastDisabledGuard() : guard_(c10::autocast_dispatch_keyset) {}

 private:
  c10::impl::ExcludeDispatchKeyGuard guard_;
};

/// Throws unless `labels` is [batch], of integers, and, on the CPU (elsewhere
/// reading them would stop the device), within [0, classes).
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
  // Read directly: item() would show up as a synchronisation.
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

/// The same, and on the device of `like`, whose samples they label.
inline void check_labels(
    const char* function, const torch::Tensor& labels,
    const torch::Tensor& like, int64_t classes) {
  check_labels(function, labels, like.size(0), classes);
  TORCH_CHECK_VALUE(
      labels.device() == like.device(), function, ": expected labels on ",
      like.device(), ", got ", labels.device());
}

}  // namespace detail
}  // namespace cyborg
