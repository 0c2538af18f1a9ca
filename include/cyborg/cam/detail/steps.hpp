// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What one operator makes of what it read: the axes of its output and, where
// the output is not a map any more, how it came from maps.

#include <cyborg/cam/detail/ambiguity.hpp>
#include <cyborg/cam/detail/named_layer.hpp>
#include <cyborg/cam/detail/traced_value.hpp>

#include <c10/util/accumulate.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cyborg::detail {

/// One operator that added a node to the graph: its names, and what it read.
struct Step {
  std::string_view op;  // the top-level operator that it is a part of, or empty
  std::string name;     // of its node
  Rule rule = Rule::kUnknown;
  // Where the node stands for a write into a part of a tensor; else null.
  const torch::autograd::CopySlices* write = nullptr;
  int64_t call = 0;   // the call of the top-level operator
  torch::Tensor out;  // what it returned; undefined where nobody reported it
  std::vector<const TracedValue*> inputs;  // one for each edge; or null
  OperatorInputs found;
  bool parameters = false;  // one of them is a parameter
  bool others = false;      // one of them is neither parameter nor of maps

  bool guided_head() const { return op == kGuidedHead; }
  /// The name that a user knows, where there is one.
  std::string shown() const { return op.empty() ? name : std::string(op); }
  /// Whether nothing is known of what it does: a custom function.
  bool opaque() const { return is_custom(name) && !guided_head(); }
  /// Whether it read places, or what may be places.
  bool reads_places() const {
    return std::any_of(inputs.begin(), inputs.end(), [](const auto* input) {
      return input != nullptr && input->of_maps() && input->open();
    });
  }
};

/// How a tensor lies in memory.
inline Layout layout_of(const torch::Tensor& tensor) {
  Layout layout;
  layout.sizes = sizes_from(tensor.sizes());
  if (tensor.layout() == at::kStrided) {
    layout.strides = sizes_from(tensor.strides());
    layout.offset = tensor.storage_offset();
  }
  return layout;
}

/// The layout of a part of memory.
inline Layout layout_of(const at::TensorGeometry& part) {
  Layout layout;
  layout.sizes = sizes_from(part.sizes());
  layout.strides = sizes_from(part.strides());
  layout.offset = part.storage_offset();
  return layout;
}

/// The layout of an output that nobody reported, as far as its node knows it.
inline Layout layout_of(const Node& node, uint32_t index) {
  Layout layout;
  if (index < node.num_inputs()) {
    const auto sizes = sizes_of(node.input_metadata(index), 0);
    layout.sizes = sizes_from(sizes);
  }
  return layout;
}

/// The axes of a tensor into a part of which something was written.
inline Axes axes_of_write(
    const torch::autograd::CopySlices& write,
    const std::vector<const Layout*>& in, const Layout& layout) {
  const Rule rule = rule_of(write.fn->name());
  if (rule != Rule::kCopy && rule != Rule::kElementwise) {
    return unknown_axes(layout.sizes, first_known(in)->axes.spatial);
  }
  return after_write(
      operand(in, 0), layout, layout_of(write.view),
      in.size() > 1 ? first_known(Operands(in).slice(1)) : nullptr);
}

/// The axes of what a step made, which lies in memory like `layout`.
inline Axes axes_of(const Step& step, const Layout& layout) {
  std::vector<const Layout*> in;
  const TracedValue* first = nullptr;
  for (const TracedValue* one : step.inputs) {
    const bool known = one != nullptr && one->of_maps();
    in.push_back(known ? &one->layout : nullptr);
    first = known && first == nullptr ? one : first;
  }
  if (step.write != nullptr) {
    return axes_of_write(*step.write, in, layout);
  }
  if (step.opaque()) {
    // Nothing is known of it. A convolution may read it as a picture.
    Axes free;
    for (const int64_t size : layout.sizes) {
      free.dims.push_back(free_axis(size));
    }
    return free;
  }
  if (step.guided_head() && first != nullptr && first->is_map()) {
    Axes pooled;
    pooled.spatial = first->layout.axes.spatial;
    pooled.collapsed = places(first->layout.axes);
    for (const int64_t d : {first->order[0], first->order[1]}) {
      pooled.dims.push_back(first->layout.axes.dims[static_cast<size_t>(d)]);
    }
    return pooled;
  }
  return axes_after(
      step.rule, step.name, in, layout,
      Values(step.name, first ? first->tensor() : torch::Tensor(), step.out));
}

/// Whether `gate` has positions but no channels, and the step combines it with a
/// value that has channels.
inline bool weighs(const TracedValue& gate, const Step& step) {
  return !has(gate.layout.axes, Role::kChannel) &&
         !has(gate.layout.axes, Role::kUnknown) &&
         std::any_of(
             step.inputs.begin(), step.inputs.end(), [](const auto* other) {
               return other != nullptr && other->of_maps() &&
                      has(other->layout.axes, Role::kChannel);
             });
}

/// Appends an item that is not in the list.
template <class List, class Item>
void add_new(List& list, const Item& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) {
    list.push_back(item);
  }
}

/// Whether an operator averages, or passes on what it reads. Global pooling
/// of channels-last features gives its mean other strides (kAsStrided).
inline bool keeps_mean(const Step& step) {
  return step.guided_head() || is_average(step.name) ||
         step.rule == Rule::kReorder || step.rule == Rule::kReshape ||
         step.rule == Rule::kAsStrided || passes_on(step.op, step.name);
}

/// Whether what a step made, a map, is the map that it read: a view of it.
inline bool shows_parent(const Step& step) {
  const TracedValue* parent = step.inputs.empty() ? nullptr : step.inputs[0];
  const bool views =
      step.rule == Rule::kReorder || step.rule == Rule::kExpand ||
      step.rule == Rule::kReshape || base_name(step.name) == "Alias";
  return views && parent != nullptr && parent->is_map() && step.out.defined() &&
         step.out.numel() == c10::multiply_integers(parent->layout.sizes);
}

/// Whether several dimensions, besides the first, have several entries.
inline bool is_wide(const Layout& layout) {
  int64_t wide = 0;
  for (size_t d = 1; d < layout.sizes.size(); ++d) {
    wide += layout.sizes[d] > 1 ? 1 : 0;
  }
  return layout.sizes.size() > 2 && wide > 1;
}

/// Fills in what is special to a collapsed value. Also decides whether it is
/// still linear in the map, which exactness needs.
/// `source_of(i)` is the index in `Trace::sources` of the map that edge i read.
template <class SourceOf>
void collapse(const Step& step, TracedValue& value, const SourceOf& source_of) {
  value.kind = TracedValue::Kind::kCollapsed;
  value.call = step.call;
  const bool head = step.guided_head();  // its weight makes maps, not its mean
  value.tokens = step.parameters && value.open() && !head;
  const bool without_rule = step.rule == Rule::kUnknown && !head &&
                            !step.opaque() && step.write == nullptr;
  const bool moves_samples = step.rule == Rule::kRoll && !step.reads_places();
  if (without_rule || moves_samples) {
    value.unknown = step.shown();
  }
  value.linear = value.parents.size() == 1 && (!step.parameters || head) &&
                 !step.others && value.hidden.empty() && step.out.defined() &&
                 keeps_mean(step);
  bool averaged = head || is_average(step.name);
  value.means = averaged ? 1 : 0;
  const TracedValue* before = nullptr;
  for (const TracedValue* input : step.inputs) {
    if (input == nullptr || !input->is_collapsed()) {
      continue;
    }
    // A value without channels that multiplies a map is a gate. The operators
    // that computed the gate were not applied to the map.
    const bool gate = input->tokens && weighs(*input, step);
    if (!gate) {
      for (const int source : input->sources) {
        add_new(value.sources, source);
      }
    }
    before = input;
    value.tokens |= input->tokens && !gate;
    value.linear = value.linear && input->linear;
    averaged |= input->averaged;
    value.means += input->means;
    value.unknown = value.unknown.empty() ? input->unknown : value.unknown;
    if (value.op.empty()) {
      const bool further = is_wide(input->layout) && input->call != step.call;
      value.op = input->op.empty() ? step.shown()
                 : further         ? input->op + ", " + step.shown()
                                   : input->op;
    }
  }
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i] != nullptr && step.inputs[i]->is_map()) {
      // What a custom function did is not seen: the next operator is named.
      value.op = step.opaque() ? std::string() : step.shown();
      add_new(value.sources, source_of(i));
    }
  }
  std::sort(value.sources.begin(), value.sources.end());
  value.averaged = value.linear && averaged;
  if (!value.averaged || value.open()) {
    return;
  }
  if (before != nullptr && before->pooled.defined()) {
    value.pooled = before->pooled;
    value.pooled_axes = before->pooled_axes;
  } else {
    const at::NoGradGuard no_graph;
    value.pooled = step.out.detach().clone();
    value.pooled_axes = value.layout.axes;
  }
  value.value = step.out;
  value.version = static_cast<int64_t>(step.out._version());
}

}  // namespace cyborg::detail
