// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the hook needs to know about a module, behind one type for every kind
// of module. The hook itself therefore includes no TorchScript header, and its
// code is compiled once instead of once for each network.

#include <c10/util/Exception.h>
#include <cyborg/detail/torch/tensor.hpp>

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

/// Access to a module, native or TorchScript.
///
/// The members are functions because the answers change: between two forwards a
/// module may move to another device and its parameters may be replaced. A view
/// of a reference does not keep the module alive; a view of a `shared_ptr` or a
/// holder does.
struct ModuleView {
  /// Name ("layer4.0.conv1.weight") and tensor of each parameter.
  using Parameters = std::vector<std::pair<std::string, torch::Tensor>>;
  /// Path and type name of each submodule, parents first.
  using Submodules = std::vector<std::pair<std::string, std::string>>;

  std::function<Parameters()> parameters;
  std::function<Submodules()> submodules;
  /// Sets what must hold while the module runs under observation. The returned
  /// object undoes it when it is destroyed. The function may be empty: only
  /// TorchScript needs it. `own`: it is the hook's own copy that runs.
  std::function<std::shared_ptr<void>(bool own)> enter;
  /// The hook's own copy of a TorchScript module, made at the first call, with
  /// the training flags of the original as they are now.
  std::function<torch::jit::Module&()> own_module;
};

/// Calls `ModuleView::enter`, if there is one.
inline std::shared_ptr<void> enter(const ModuleView& view, bool own) {
  return view.enter ? view.enter(own) : std::shared_ptr<void>();
}

/// Whether the callable of a forward wants the module as its argument.
template <class Callable>
constexpr bool takes_module() {
  return !std::is_invocable_v<Callable&>;
}

/// Calls the callable of a forward.
template <class Callable>
decltype(auto) call_with_module(Callable& callable, const ModuleView& view) {
  if constexpr (!takes_module<Callable>()) {
    return callable();
  } else {
    TORCH_CHECK(
        view.own_module,
        "cyborg::CamHook::forward: only a torch::jit::Module is handed to the "
        "callable; call a native network by its own name");
    return callable(view.own_module());
  }
}

/// Appends the submodules below `module` to `list`, each path behind `prefix`.
/// `named_modules()` would do this, but throws for modules on the stack.
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

/// The view of a `torch::nn::Module`. `module` returns it, and owns it or not.
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

/// Whether M is a `torch::nn::Module`: whether it has a module's functions.
/// Asking for the base class would need a header of torch::nn here.
template <class M, class = void>
struct is_native_module : std::false_type {};
template <class M>
struct is_native_module<
    M, std::void_t<
           decltype(std::declval<const M&>().named_children()),
           decltype(std::declval<M&>().named_parameters())>> : std::true_type {
};

/// Whether M is a module holder, as TORCH_MODULE makes them.
template <class M, class = void>
struct is_holder : std::false_type {};
template <class M>
struct is_holder<M, std::void_t<decltype(std::declval<const M&>().ptr())>>
    : std::true_type {};

/// Whether M is a `std::shared_ptr`.
template <class M>
struct is_shared_ptr : std::false_type {};
template <class M>
struct is_shared_ptr<std::shared_ptr<M>> : std::true_type {};

/// Makes the view of what was given to a hook's constructor.
/// `<cyborg/jit.hpp>` specialises this for TorchScript.
template <class M>
struct ModuleAccess {
  static ModuleView view(M& module) {
    static_assert(
        !std::is_same_v<M, torch::jit::Module>,
        "cyborg::CamHook: for a torch::jit::Module include "
        "<cyborg/jit.hpp>");
    // A reference is kept as an address: the module must outlive the hook. A
    // shared_ptr or a holder is copied, and keeps the module alive.
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
