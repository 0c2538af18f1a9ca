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

/// Whether M is a TorchScript module: whether it has a type of its own.
template <class M, class = void>
struct is_script : std::false_type {};
template <class M>
struct is_script<M, std::void_t<decltype(std::declval<const M&>().type())>>
    : std::true_type {};

/// The name of a module's class.
template <class Module>
std::string class_name(const Module& module) {
  if constexpr (is_script<Module>::value) {
    const auto name = module.type()->name();
    return name ? name->qualifiedName() : std::string();
  } else {
    return module.name();
  }
}

/// Appends to `undo` what sets the batch norms below `module` to their mode
/// again, and sets them to evaluation.
template <class Module>
void evaluate_norms_below(
    Module& module, std::vector<std::function<void()>>& undo) {
  const auto visit = [&](auto norm, auto& reference) {
    if (class_name(reference).find("BatchNorm") != std::string::npos &&
        reference.named_children().size() == 0 && reference.is_training()) {
      reference.train(false);
      // `norm` keeps the module alive.
      undo.push_back([norm]() mutable {
        if constexpr (is_script<Module>::value) {
          norm.train(true);
        } else {
          norm->train(true);
        }
      });
    }
    evaluate_norms_below(reference, undo);
  };
  for (const auto& child : module.named_children()) {
    if constexpr (is_script<Module>::value) {
      auto script = child.value;
      visit(script, script);
    } else {
      visit(child.value(), *child.value());
    }
  }
}

}  // namespace detail

/// While it lives, the batch norms of a network use their running statistics,
/// and do not change them; everything else stays in its mode.
///
/// In training mode batch norm mixes the samples of a batch: the gradient of a
/// picture then contains parts of the other samples' scores (87 % of it in one
/// measurement). And each forward pass moves the running statistics, also those of
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
  /// Takes a `torch::nn::Module`, or a `torch::jit::Module`, whose header must
  /// be included. It must outlive this object.
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
