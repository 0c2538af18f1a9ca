// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Sees whether tensors were changed in place after a forward pass.

#include <cyborg/detail/torch/tensor.hpp>

#include <c10/util/Exception.h>

#include <cstdint>

namespace cyborg::detail {

/// How often a tensor was changed in place; 0 for one that does not count it.
inline int64_t version_of(const torch::Tensor& tensor) {
  return tensor.is_inference() ? 0 : static_cast<int64_t>(tensor._version());
}

/// Features and head as they were at the end of a forward pass. By default there
/// was none, and everything is unchanged: the user gave the features.
class Unchanged {
 public:
  Unchanged() = default;
  Unchanged(const torch::Tensor& features, const torch::Tensor& weight)
      : observed_(true),
        features_(version_of(features)),
        weight_(weight.defined() ? version_of(weight) : 0) {}

  /// Throws, on behalf of `function`, where an in-place operator has changed
  /// one of them. `features` and `weight` are the same tensors.
  void check(
      const char* function, const torch::Tensor& features,
      const torch::Tensor& weight) const {
    TORCH_CHECK_VALUE(
        !observed_ || version_of(features) == features_, function,
        "the features ", features.sizes(),
        " were changed by an in-place operator after the forward; ask for the "
        "map before, or change a copy");
    TORCH_CHECK_VALUE(
        !observed_ || !weight.defined() || version_of(weight) == weight_,
        function,
        "the weight of the head was changed by an in-place operator "
        "after the forward (the step of an optimizer?); ask for the map "
        "before");
  }

 private:
  bool observed_ = false;
  int64_t features_ = 0, weight_ = 0;  // versions
};

}  // namespace cyborg::detail
