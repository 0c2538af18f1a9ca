// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Checks the name in `CamHookOptions::layer`, and finds the layer's parameters.

#include <cyborg/cam/detail/layer_name.hpp>
#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/named_layer.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

namespace cyborg::detail {

/// The layer that a user named, or none.
class WantedLayer {
 public:
  WantedLayer() = default;
  /// Finds out whether the layer is a single module, and how many poolings it
  /// registers behind its last parameters. An empty `layer` means none.
  /// Throws: when `layer` names no submodule that has parameters.
  WantedLayer(const ModuleView& view, std::string layer)
      : name_(std::move(layer)) {
    if (!name_.empty()) {
      find(view);
    }
  }

  const std::string& name() const { return name_; }

  /// The layer with its parameters as they are now: they may have been
  /// replaced.
  NamedLayer at_run(const ModuleView& view) const {
    NamedLayer layer = layer_;
    if (layer.wanted) {
      for (const auto& item : view.parameters()) {
        if (lies_in(owner_of(item.first), name_)) {
          layer.parameters.insert(item.second.unsafeGetTensorImpl());
        }
      }
    }
    return layer;
  }

 private:
  void find(const ModuleView& view) {
    const auto& name = name_;
    const auto submodules = view.submodules();
    std::set<std::string> owners;
    for (const auto& item : view.parameters()) {
      owners.insert(owner_of(item.first));
    }
    const auto has_parameters = [&](const std::string& module) {
      return std::any_of(owners.begin(), owners.end(), [&](const auto& owner) {
        return lies_in(owner, module);
      });
    };
    std::string names;
    std::string before;
    bool exists = false;
    layer_.wanted = true;
    layer_.leaf = true;
    for (const auto& [path, type] : submodules) {
      names += (names.empty() ? "" : ", ") + path;
      exists |= path == name;
      if (!exists && owners.count(path)) {
        before = path;
      }
      if (path != name && lies_in(path, name)) {
        layer_.leaf = false;
        if (owners.count(path)) {
          layer_.trailing_pools = 0;
        } else if (contains(type, "Pool")) {
          ++layer_.trailing_pools;
        }
      }
    }
    TORCH_CHECK_VALUE(
        exists, "cyborg::CamHook: expected a layer among ",
        names.empty() ? "(none: the module has no submodules)" : names,
        "; got '", name, "'");
    TORCH_CHECK_VALUE(
        has_parameters(name), "cyborg::CamHook: layer '", name,
        "' has no parameters, and C++ modules report nothing else; name the "
        "layer before it",
        before.empty() ? std::string() : " ('" + before + "')");
  }

  std::string name_;
  NamedLayer layer_;  // without parameters, which `at_run` adds
};

}  // namespace cyborg::detail
