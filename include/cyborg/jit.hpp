// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/hook.hpp>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

// Include this header to give a `torch::jit::Module` to a `CamHook`.

namespace cyborg::detail {

/// Lets `CamHook` observe a TorchScript module.
///
/// The module runs with graph optimisation off inside `hook.forward`.
/// Otherwise its features would be inside a differentiable subgraph, and no
/// graph would lead from the logits to them.
///
/// Example:
///     #include <cyborg/jit.hpp>
///     auto net = torch::jit::load("detector.pt");
///     cyborg::CamHook hook(net);
///     auto logits =
///         hook.forward([&] { return net.forward({images}).toTensor(); });
template <>
struct ModuleAccess<torch::jit::Module> {
  static ModuleView view(torch::jit::Module& module) {
    ModuleView view;
    view.parameters = [module] {
      ModuleView::Parameters list;
      for (const auto& item : module.named_parameters()) {
        list.emplace_back(item.name, item.value);
      }
      return list;
    };
    view.submodules = [module] {
      ModuleView::Submodules list;
      for (const auto& item : module.named_modules()) {
        if (!item.name.empty()) {
          list.emplace_back(item.name, type_name(item.value));
        }
      }
      return list;
    };
    view.enter = [module]() -> std::shared_ptr<void> {
      drop_optimized_plans(module);
      return std::make_shared<torch::jit::GraphOptimizerEnabledGuard>(false);
    };
    return view;
  }

 private:
  /// Removes the plans of earlier runs outside the hook. An optimised plan
  /// would be run again, although the guard switches optimisation off.
  static void drop_optimized_plans(const torch::jit::Module& module) {
    for (const auto& method : module.get_methods()) {
      auto* function = torch::jit::tryToGraphFunction(method.function());
      if (function != nullptr && function->get_executor().isOptimized()) {
        function->get_executor().debugFlushCompilationCache();
      }
    }
  }

  static std::string type_name(const torch::jit::Module& module) {
    const auto name = module.type()->name();
    return name ? name->qualifiedName() : std::string();
  }
};

}  // namespace cyborg::detail
