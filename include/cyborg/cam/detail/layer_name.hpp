// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// By what name a map is called: that of the module that returned it.

#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/trace.hpp>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace cyborg::detail {

/// The module that owns a parameter: its name without the last part.
inline std::string owner_of(const std::string& parameter) {
  const auto dot = parameter.rfind('.');
  return dot == std::string::npos ? std::string() : parameter.substr(0, dot);
}

/// Whether the module or parameter `path` is `module` or lies below it.
inline bool lies_in(const std::string& path, const std::string& module) {
  return path == module || starts_with(path, module + ".");
}

/// The parameters between the logits and a map. The walk stops after
/// `kFarEnough` nodes, because only the name of a layer depends on it.
inline std::unordered_set<const c10::TensorImpl*> parameters_above(
    const torch::Tensor& logits, const NodeOutput& map) {
  constexpr size_t kFarEnough = 4000;
  std::unordered_set<const c10::TensorImpl*> found;
  std::unordered_set<Node*> seen;
  std::vector<NodeOutput> stack{node_output(logits)};
  while (!stack.empty() && seen.size() < kFarEnough) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    if (key == map || !seen.insert(key.node).second) {
      continue;
    }
    if (const auto* leaf = as_leaf(key.node)) {
      found.insert(leaf->variable.unsafeGetTensorImpl());
    }
    for (const auto& edge : key.node->next_edges()) {
      if (edge.function) {
        stack.push_back(edge_output(edge));
      }
    }
  }
  return found;
}

/// A parameter of the last layer with parameters on the way to `map`; null when
/// there is none. Only maps are followed, and what is rearranged between two maps,
/// so the layers inside a gate do not count: the vector of a
/// squeeze-and-excitation block has no places.
inline const c10::TensorImpl* parameter_below(
    const Trace& trace, const NodeOutput& map) {
  const TracedValue* last = nullptr;
  std::unordered_set<NodeOutput, NodeOutputHash> seen;
  std::vector<NodeOutput> stack{map};
  while (!stack.empty()) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    const TracedValue* value = trace.find(key);
    if (value == nullptr || (value->is_collapsed() && !value->open()) ||
        !seen.insert(key).second) {
      continue;
    }
    if (value->parameter ==
        nullptr) {  // a ReLU, a sum: ask what it was made of
      stack.insert(stack.end(), value->parents.begin(), value->parents.end());
    } else if (
        last == nullptr ||
        last->node->sequence_nr() < value->node->sequence_nr()) {
      last = value;
    }
  }
  return last == nullptr ? nullptr : last->parameter;
}

/// Finds the names of layers. It remembers the names of the parameters, and
/// reads them again when an unknown parameter appears.
class LayerNames {
 public:
  /// The shortest name of a module that returns the map: it holds the nearest
  /// parameters below the map, and none of those between the map and the
  /// logits. Empty where no parameter has a name.
  std::string of(
      const ModuleView& view, const Trace& trace, const torch::Tensor& logits,
      const NodeOutput& map) {
    const auto* nearest = parameter_below(trace, map);
    const auto above = parameters_above(logits, map);
    const auto known = [&](const c10::TensorImpl* impl) {
      return impl == nullptr || names_.count(impl) > 0;
    };
    if (!known(nearest) || !std::all_of(above.begin(), above.end(), known)) {
      names_.clear();
      for (const auto& item : view.parameters()) {
        names_[item.second.unsafeGetTensorImpl()] = item.first;
      }
    }
    const auto found = names_.find(nearest);
    if (found == names_.end()) {
      return "";
    }
    const std::string owner = owner_of(found->second);
    for (auto dot = owner.find('.'); dot != std::string::npos;
         dot = owner.find('.', dot + 1)) {
      const std::string prefix = owner.substr(0, dot);
      if (std::none_of(above.begin(), above.end(), [&](const auto* impl) {
            const auto name = names_.find(impl);
            return name != names_.end() && lies_in(name->second, prefix);
          })) {
        return prefix;
      }
    }
    return owner;
  }

 private:
  // For messages only: an address may be used again by another parameter.
  std::unordered_map<const c10::TensorImpl*, std::string> names_;
};

}  // namespace cyborg::detail
