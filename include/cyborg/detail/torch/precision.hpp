// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The number type in which maps are computed.

#include <cyborg/detail/torch/tensor.hpp>

#include <c10/core/DispatchKeySet.h>  // autocast_dispatch_keyset
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace cyborg {
namespace detail {

/// The type in which a map of `type` is computed: float32 at least, so half
/// types and integers become float32, and float64 stays.
inline at::ScalarType compute_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

/// `tensor` in the type in which a map of its type is computed.
inline torch::Tensor to_compute_type(const torch::Tensor& tensor) {
  return tensor.to(compute_type(tensor.scalar_type()));
}

/// While it lives, autocast changes no operator on this thread. Otherwise a
/// matrix product of maps would be computed in bfloat16 under autocast.
class AutocastDisabledGuard {
 public:
  AutocastDisabledGuard() : guard_(c10::autocast_dispatch_keyset) {}

 private:
  c10::impl::ExcludeDispatchKeyGuard guard_;
};

}  // namespace detail
}  // namespace cyborg
