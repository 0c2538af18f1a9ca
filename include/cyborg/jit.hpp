// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/hook.hpp>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <memory>
#include <string>

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
    const auto copy = std::make_shared<Copy>();
    view.enter = [module, copy](bool own) -> std::shared_ptr<void> {
      if (!own) {
        drop_optimized_plans(module);
      }
      const auto off =
          std::make_shared<torch::jit::GraphOptimizerEnabledGuard>(false);
      return std::shared_ptr<void>(nullptr, [module, copy, off, own](void*) {
        if (own && copy->copy) {
          Copy::follow(*copy->copy, module);  // buffers that the run assigned
        }
      });
    };
    view.own_module = [module, copy]() -> torch::jit::Module& {
      return copy->of(module);
    };
    return view;
  }

 private:
  /// The copy of a module that one hook runs: it shares parameters and buffers,
  /// but has methods of its own, so that no other thread runs their plans. It
  /// is made once, because LibTorch never frees the code of a module.
  struct Copy {
    torch::jit::Module& of(const torch::jit::Module& module) {
      if (!copy) {
        copy = std::make_unique<torch::jit::Module>(
            module.clone(/*inplace=*/true));
      }
      follow(module, *copy);
      return *copy;
    }

    /// Gives `to` the tensors and the training flags that `from` has now. They
    /// are assigned anew when a parameter is replaced, or a buffer counted up.
    static void follow(const torch::jit::Module& from, torch::jit::Module to) {
      const auto type = from.type();
      for (size_t i = 0; i < type->numAttributes(); ++i) {
        const std::string& name = type->getAttributeName(i);
        const c10::IValue value = from.attr(name);
        const bool flag = value.isBool() && name == "training";
        const bool other = value.isTensor() && value.toTensor().defined() &&
                           !value.toTensor().is_same(to.attr(name).toTensor());
        if (flag || other) {
          to.setattr(name, value);
        }
      }
      auto child = to.children().begin();
      for (const auto& original : from.children()) {
        follow(original, *child);
        ++child;
      }
    }

    std::unique_ptr<torch::jit::Module> copy;
  };

  /// Removes the plans of earlier runs outside the hook. An optimised plan
  /// would be run again, although the guard switches optimisation off. No
  /// other thread may run the module meanwhile, which cannot be seen from here.
  static void drop_optimized_plans(const torch::jit::Module& module) {
    for (const auto& method : module.get_methods()) {
      auto* function = torch::jit::tryToGraphFunction(method.function());
      if (function != nullptr && function->get_executor().isOptimized()) {
        TORCH_WARN_ONCE(
            "cyborg::CamHook::forward: this TorchScript module was run without "
            "the hook before. The optimised plans of those runs are removed "
            "now, which crashes other threads that run the module at the same "
            "time; with such threads use "
            "hook.forward([&](auto& net) { return net.forward(...); }), which "
            "runs a copy");
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
