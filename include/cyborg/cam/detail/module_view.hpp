// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace torch::jit {
struct Module;
}

namespace cyborg::detail {

/// What a hook asks of a module, native or TorchScript. Asked anew at each
/// forward: modules move, and parameters are replaced.
struct ModuleView {
  using Parameters = std::vector<std::pair<std::string, torch::Tensor>>;
  /// Path and type name of each submodule, parents first.
  using Submodules = std::vector<std::pair<std::string, std::string>>;

  std::function<Parameters()> parameters;
  std::function<Submodules()> submodules;
  /// What must hold while the module runs under observation; may be empty.
  std::function<std::shared_ptr<void>()> enter;
};

/// `named_modules()` throws for modules on the stack; children do not.
template <class Module>
void list_submodules(
    const Module& module, const std::string& prefix,
    ModuleView::Submodules& list) {
  for (const auto& child : module.named_children()) {
    const std::string path = prefix + child.key();
    list.emplace_back(path, child.value()->name());
    list_submodules(*child.value(), path + ".", list);
  }
}

template <class Module>
ModuleView native_view(std::function<Module*()> module) {
  ModuleView view;
  view.parameters = [module] {
    ModuleView::Parameters list;
    for (const auto& item : module()->named_parameters()) {
      list.emplace_back(item.key(), item.value());
    }
    return list;
  };
  view.submodules = [module] {
    ModuleView::Submodules list;
    list_submodules(*module(), "", list);
    return list;
  };
  return view;
}

template <class M, class = void>
struct is_native_module : std::false_type {};
template <class M>
struct is_native_module<
    M, std::void_t<
           decltype(std::declval<const M&>().named_children()),
           decltype(std::declval<M&>().named_parameters())>> : std::true_type {
};

template <class M, class = void>
struct is_holder : std::false_type {};
template <class M>
struct is_holder<M, std::void_t<decltype(std::declval<const M&>().ptr())>>
    : std::true_type {};

template <class M>
struct is_shared_ptr : std::false_type {};
template <class M>
struct is_shared_ptr<std::shared_ptr<M>> : std::true_type {};

/// Makes the view; `<cyborg/jit.hpp>` specialises it for TorchScript.
template <class M>
struct ModuleAccess {
  static ModuleView view(M& module) {
    static_assert(
        !std::is_same_v<M, torch::jit::Module>,
        "cyborg::CamHook: for a torch::jit::Module include "
        "<cyborg/jit.hpp>");
    if constexpr (std::is_same_v<M, torch::jit::Module>) {
      return {};
    } else if constexpr (is_native_module<M>::value) {
      return native_view<M>([at = &module] { return at; });
    } else if constexpr (is_shared_ptr<M>::value) {
      TORCH_CHECK_VALUE(
          module != nullptr,
          "cyborg::CamHook: expected a module, got an empty "
          "shared_ptr");
      return native_view<typename M::element_type>(
          [module] { return module.get(); });
    } else if constexpr (is_holder<M>::value) {
      auto held = module.ptr();
      return native_view<typename decltype(held)::element_type>(
          [held] { return held.get(); });
    } else {
      static_assert(
          is_holder<M>::value,
          "cyborg::CamHook: expected a torch::nn::Module "
          "(reference, shared_ptr or holder) or, with "
          "<cyborg/jit.hpp>, a torch::jit::Module");
    }
  }
};

}  // namespace cyborg::detail
