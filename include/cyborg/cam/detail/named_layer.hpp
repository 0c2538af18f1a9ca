// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Decides where the output of a layer ends that `CamHookOptions::layer` names.

#include <cyborg/cam/detail/operators.hpp>
#include <cyborg/cam/detail/traced_value.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace cyborg::detail {

/// What one operator read.
struct OperatorInputs {
  std::vector<NodeOutput> of_maps;  // maps and collapsed values, each once
  // Parameters of the named layer, directly or derived (weight norm).
  std::vector<const c10::TensorImpl*> of_layer;
  bool of_others = false;  // a parameter of another layer
};

/// The layer that `CamHookOptions::layer` names, and what it returned.
///
/// C++ modules report neither their beginning nor their end. A layer's
/// output is therefore the last map made with its parameters; if the layer
/// has submodules, then also what operators without parameters made of it
/// at the same size: the residual sum and the ReLU that end a block, plus
/// as many pooling steps as the layer registers behind its parameters.
class NamedLayer {
 public:
  // What `Finder` knows before the run.
  bool wanted = false;     // false: no layer was named, the rest is unused
  bool leaf = false;       // no submodules: exactly the operator's output
  int trailing_pools = 0;  // poolings registered behind its last parameters
  std::unordered_set<const c10::TensorImpl*> parameters;  // also of submodules

  // What `follow` finds out during the run.
  bool ran = false;       // an operator used one of the parameters
  bool repeated = false;  // it ran again, on something else than its output
  FeatureMap output;      // the layer's output as far as it is known

  /// Takes the next value of the forward pass, which an operator named `op`
  /// made of `from` by `rule`. `find` returns the traced value of
  /// a key, or null.
  template <class Find>
  void follow(
      std::string_view op, Rule rule, const torch::Tensor& out,
      const NodeOutput& key, const TracedValue& value,
      const OperatorInputs& from, const Find& find) {
    if (!from.of_layer.empty()) {
      ran = true;
      use(from, find);
      if (value.is_map()) {
        set(op, out, key, value);
        closed_ = false;
        pools_left_ = trailing_pools;
      } else if (value.is_collapsed()) {
        inside_.insert(key);
      }
      return;
    }
    const bool reads_end = std::any_of(
        from.of_maps.begin(), from.of_maps.end(),
        [&](const auto& parent) { return end_.count(parent) > 0; });
    if (leaf || closed_ || !reads_end) {
      return;
    }
    // The shortcut of a residual block is an input of the layer, or an input
    // was made of it.
    const bool foreign =
        from.of_others ||
        !std::all_of(
            from.of_maps.begin(), from.of_maps.end(), [&](const auto& parent) {
              return inside_.count(parent) || reaches(inputs_, {parent}, find);
            });
    if (foreign) {
      const auto& read = from.of_maps;
      closed_ = std::find(read.begin(), read.end(), output.key) != read.end();
    } else if (!value.is_map()) {
      // A channel shuffle at the end of a block leaves the map, and returns.
      end_.insert(key);
      inside_.insert(key);
    } else {
      const auto before = output.in_order(output.tensor).sizes();
      const auto after = out.permute(value.order).sizes();
      const bool pools = rule == Rule::kPool;
      const bool same_size =
          before.size() == after.size() && before.slice(2) == after.slice(2);
      if (same_size || (pools && pools_left_-- > 0)) {
        set(op, out, key, value);
      }
    }
  }

 private:
  using Keys = std::unordered_set<NodeOutput, NodeOutputHash>;

  void set(
      std::string_view op, const torch::Tensor& out, const NodeOutput& key,
      const TracedValue& value) {
    output = make_feature_map(out, key, op, value);
    inside_.insert(key);
    end_ = {key};
  }

  /// An operator uses parameters of the layer. The layer runs again when a
  /// parameter is used again. It may do so on what it made itself: a recurrent
  /// cell.
  template <class Find>
  void use(const OperatorInputs& from, const Find& find) {
    bool again = false;
    for (const auto* parameter : from.of_layer) {
      again |= !used_.insert(parameter).second;
    }
    if (again) {
      repeated |= !reaches(from.of_maps, inside_, find);
      used_ = {from.of_layer.begin(), from.of_layer.end()};
    }
    for (const NodeOutput& parent : from.of_maps) {
      if (!inside_.count(parent)) {
        inputs_.push_back(parent);
      }
    }
  }

  /// Whether the walk from `start` to what it was made of meets one of
  /// `wanted`.
  template <class Find>
  static bool reaches(
      std::vector<NodeOutput> start, const Keys& wanted, const Find& find) {
    Keys seen;
    while (!start.empty()) {
      const NodeOutput key = start.back();
      start.pop_back();
      if (wanted.count(key)) {
        return true;
      }
      if (!seen.insert(key).second) {
        continue;
      }
      if (const TracedValue* value = find(key)) {
        start.insert(start.end(), value->parents.begin(), value->parents.end());
      }
    }
    return false;
  }

  bool closed_ = false;  // something outside read the output: it is over
  int pools_left_ = 0;   // trailing poolings that have not run yet
  std::unordered_set<const c10::TensorImpl*> used_;  // in this run
  std::vector<NodeOutput> inputs_;  // the maps from outside that it read
  Keys inside_;                     // what it made
  Keys end_;  // its output, and what lies between it and the next map
};

}  // namespace cyborg::detail
