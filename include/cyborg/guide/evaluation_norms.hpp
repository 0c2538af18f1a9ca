// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg {

namespace detail {

/// Appends to `undo` what sets the batch norms below `module` to their mode
/// again, and sets them to evaluation.
template <class Module>
void evaluate_norms_below(
    Module& module, std::vector<std::function<void()>>& undo) {
  for (const auto& child : module.named_children()) {
    const auto norm = child.value();
    if (norm->name().find("BatchNorm") != std::string::npos &&
        norm->children().empty() && norm->is_training()) {
      norm->train(false);
      undo.push_back([norm] { norm->train(true); });
    }
    evaluate_norms_below(*norm, undo);
  }
}

}  // namespace detail

/// While it lives, the batch norms of a network use their running statistics,
/// and do not change them; everything else stays in its mode.
///
/// In training mode batch norm mixes the samples of a batch: the gradient of a
/// picture is then also that of the other samples' scores, up to 87 % of it was
/// seen. And each forward pass moves the running statistics, also those of
/// pictures that were changed by an attack. A batch norm is a submodule without
/// submodules whose type has "BatchNorm" in its name; the module itself is not
/// one.
///
/// Example:
///     {
///       const cyborg::EvaluationNorms frozen(*net);
///       auto terms = guidance(hook, forward, batch);
///       terms.total.backward();
///     }
class EvaluationNorms {
 public:
  /// Takes a `torch::nn::Module`, which must outlive this object.
  template <
      class Module, class = std::enable_if_t<
                        !std::is_same_v<std::decay_t<Module>, EvaluationNorms>>>
  explicit EvaluationNorms(Module& module) {
    detail::evaluate_norms_below(module, undo_);
  }
  ~EvaluationNorms() {
    for (const auto& one : undo_) {
      one();
    }
  }

  EvaluationNorms(const EvaluationNorms&) = delete;
  EvaluationNorms& operator=(const EvaluationNorms&) = delete;

 private:
  std::vector<std::function<void()>> undo_;
};

}  // namespace cyborg
