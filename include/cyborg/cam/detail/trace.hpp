// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Follows the data of one forward pass along the autograd graph: what each
// operator returned (a map, something collapsed, a parameter), and with which
// axes.

#include <cyborg/cam/detail/named_layer.hpp>
#include <cyborg/cam/detail/steps.hpp>
#include <cyborg/cam/detail/traced_value.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The traced values of one forward pass.
///
/// An operator is identified by the node that it leaves on the graph. Operators
/// report at every depth, and the innermost one that returns a node's output
/// comes first: it owns the node. Only outputs and the graph are read. The
/// operators' inputs would be simpler, but cannot be used:
/// `RecordFunction::inputs()` asserts in builds without NDEBUG, and is gone at
/// the operator's end.
class Trace {
 public:
  NamedLayer layer;                 // the named layer, if one is wanted
  std::vector<FeatureMap> sources;  // the maps that were collapsed, each once
  std::vector<HeadMaps> heads;      // what guided heads reported

  // These explain an error when no features are found (`why_nothing`).
  int64_t operators = 0;            // the number of top-level operators
  bool convolution = false;         // a convolution is on the graph
  bool frozen_convolution = false;  // a convolution left no graph
  bool single_position = false;     // a convolution's output has one position
  bool elsewhere = false;  // a convolution is on the graph and did not report
  bool unfrozen = false;   // all registered parameters require gradients

  // A batch norm computed the batch's own statistics.
  bool batch_statistics = false;

  /// Takes one output of an operator that has just ended. `op`: the name of the
  /// top-level operator that it is, or is a part of.
  void record(std::string_view op, const torch::Tensor& out, bool top_level) {
    if (!out.defined() || !(out.is_floating_point() || out.is_complex())) {
      return;
    }
    if (!out.requires_grad() || !out.grad_fn()) {
      frozen_convolution |= top_level && contains(op, "conv");
      return;
    }
    const auto key = node_output(out);
    if (const TracedValue* known = find(key)) {
      if (known->of_maps()) {
        recent_.keep(out);
      }
      return;  // an operator inside this one returned it
    }
    trace_base(op, out);
    trace(op, out.grad_fn(), key, out);
  }

  /// A top-level operator begins. Its nodes belong to one call.
  void begin_call() {
    ++operators;
    ++call_;
  }

  /// Takes what a guided head made of `features`: the mean `pooled` and, where
  /// `maps` is defined, the maps of all classes.
  void record_head(
      const torch::Tensor& features, const torch::Tensor& pooled,
      const torch::Tensor& weight, const torch::Tensor& maps) {
    begin_call();
    record(kGuidedHead, pooled, /*top_level=*/true);
    if (maps.defined()) {
      heads.push_back({node_output(features), weight, maps});
    }
  }

  /// The number of values so far.
  size_t size() const { return values_.size(); }

  /// The traced value of a key, or null. It is valid as long as the trace.
  const TracedValue* find(const NodeOutput& key) const {
    const auto at = values_.find(key);
    return at == values_.end() ? nullptr : &at->second;
  }

  /// The traced value behind an edge. What no operator reported (a custom
  /// function, a write into a slice, another thread) is traced by its node.
  const TracedValue& value_of(const torch::autograd::Edge& edge) {
    trace_unseen(edge);
    return values_.at(edge_output(edge));
  }

  /// The index in `sources` of the map `key`, which `op` collapses; it is added
  /// at its first collapse. A view with its axes in another order stands for
  /// the map that it shows.
  int source_of(NodeOutput key, std::string_view op) {
    const TracedValue* seen = &values_.at(key);
    while (seen->view && values_.at(seen->parents.front()).tensor().defined()) {
      key = seen->parents.front();
      seen = &values_.at(key);
    }
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].key == key) {
        return static_cast<int>(i);
      }
    }
    sources.push_back(make_feature_map(seen->tensor(), key, op, *seen));
    return static_cast<int>(sources.size()) - 1;
  }

 private:
  /// An operator that writes into a part of a tensor returns that part. The
  /// whole tensor gets a new node, of which nobody reports.
  void trace_base(std::string_view op, const torch::Tensor& out) {
    if (!out.is_view()) {
      return;
    }
    const torch::Tensor base(out._base());
    const auto& node = base.grad_fn();
    if (node && find(node_output(base)) == nullptr &&
        as_write(node.get()) != nullptr) {
      trace(op, node, node_output(base), base);
    }
  }

  /// Traces what lies behind an edge and was not reported, deepest first.
  void trace_unseen(const torch::autograd::Edge& start) {
    std::vector<torch::autograd::Edge> stack{start};
    while (!stack.empty()) {
      const auto edge = stack.back();
      if (find(edge_output(edge)) != nullptr) {
        stack.pop_back();
        continue;
      }
      const size_t before = stack.size();
      for (const auto& next : edge.function->next_edges()) {
        if (next.function && find(edge_output(next)) == nullptr) {
          stack.push_back(next);
        }
      }
      if (stack.size() == before) {
        stack.pop_back();
        trace({}, edge.function, edge_output(edge), {});
      }
    }
  }

  /// Traces the value of a node that marks a place: it is the value behind it.
  /// Returns whether the node is one.
  bool trace_mark(const NodePtr& node, const NodeOutput& key) {
    const auto edge = behind_mark(*node, key.index);
    if (!edge.function) {
      return false;
    }
    TracedValue value = value_of(edge);
    value.node = node;
    if (value.of_maps()) {
      value.parents = {edge_output(edge)};
      value.view = value.is_map();
    }
    values_.emplace(key, std::move(value));
    return true;
  }

  /// The step that left a node.
  Step step_of(
      std::string_view op, const Node& node, const torch::Tensor& out) {
    Step step;
    step.op = op;
    step.name = node.name();
    step.rule = rule_of(step.name);
    step.write = as_write(&node);
    step.call = call_;
    step.out = out;
    const bool convolves = step.rule == Rule::kConvolution;
    const auto& edges = node.next_edges();
    for (size_t i = 0; i < edges.size(); ++i) {
      if (!edges[i].function) {
        step.inputs.push_back(nullptr);
        continue;
      }
      const TracedValue& value = value_of(edges[i]);
      step.inputs.push_back(&value);
      const bool parameter = value.kind == TracedValue::Kind::kParameter;
      if (value.of_maps()) {
        add_new(step.found.of_maps, edge_output(edges[i]));
      } else if (parameter && !(convolves && i == 0)) {
        step.parameters = true;
        step.found.of_others |= value.of_others;
        if (value.of_layer) {
          add_new(step.found.of_layer, value.parameter);
        }
      } else {
        step.others = true;  // also a picture that requires a gradient
      }
    }
    return step;
  }

  /// Traces the value `key` that `node` made. `out` is undefined, and `op`
  /// empty, where no operator reported it.
  void trace(
      std::string_view op, const NodePtr& node, const NodeOutput& key,
      const torch::Tensor& out) {
    TracedValue value;
    value.node = node;
    if (const auto* leaf = as_leaf(node.get())) {
      value.kind = TracedValue::Kind::kParameter;
      value.value = leaf->variable;
      value.parameter = leaf->variable.unsafeGetTensorImpl();
      value.of_layer = layer.parameters.count(value.parameter) > 0;
      value.of_others = !value.of_layer;
      values_.emplace(key, std::move(value));
      return;
    }
    if (!out.defined() && trace_mark(node, key)) {
      return;
    }
    const Step step = step_of(op, *node, out);
    value.layout = out.defined()           ? layout_of(out)
                   : step.write != nullptr ? layout_of(step.write->base)
                                           : layout_of(*node, key.index);
    value.impl = out.defined() ? WeakImpl(out.getIntrusivePtr()) : value.impl;
    value.parents = step.found.of_maps;
    describe(step, value);
    if (value.of_maps() && out.defined()) {
      recent_.keep(out);
    }
    const auto& placed = values_.emplace(key, std::move(value)).first->second;
    if (layer.wanted && out.defined()) {
      layer.follow(
          op, step.rule, out, key, placed, step.found,
          [&](const auto& k) { return find(k); });
    }
  }

  /// Decides what a value is, and with which axes.
  void describe(const Step& step, TracedValue& value) {
    const bool convolves = step.rule == Rule::kConvolution;
    const bool seen = step.out.defined();
    for (const TracedValue* input : step.inputs) {
      if (input != nullptr && !input->is_map()) {
        value.unobserved |= input->unobserved;
        value.hidden = value.hidden.empty() ? input->hidden : value.hidden;
      }
      if (input != nullptr && input->kind == TracedValue::Kind::kParameter) {
        value.parameter = input->parameter;
      }
    }
    if (convolves) {
      convolution = true;
      elsewhere |= !seen;
      value.unobserved = !seen;
      value.hidden.clear();
    }
    if (step.opaque() && (step.reads_places() ||
                          makes_hidden_map(value.node.get(), step.name))) {
      value.hidden = step.name;
    }
    const bool of_maps = !step.found.of_maps.empty();
    if (!of_maps && !(convolves && seen)) {
      if (step.parameters && !step.others && !convolves) {
        value.kind = TracedValue::Kind::kParameter;
        value.value = step.out;
        value.of_layer = !step.found.of_layer.empty();
        value.of_others = step.found.of_others;
      }
      return;
    }
    value.layout.axes = axes_of(step, value.layout);
    if (const auto order = map_order(value.layout.axes)) {
      value.kind = TracedValue::Kind::kMap;
      value.order = *order;
      value.view = shows_parent(step);
    } else if (of_maps) {
      collapse(step, value, [&](size_t edge) {
        return source_of(
            edge_output(value.node->next_edge(edge)), step.shown());
      });
    } else {
      single_position = true;  // a convolution of the picture
    }
  }

  // Its elements do not move when it grows, which pointers to them rely on.
  std::unordered_map<NodeOutput, TracedValue, NodeOutputHash> values_;
  RecentTensors recent_;  // for `source_of`
  int64_t call_ = 0;      // the top-level operator that runs
};

}  // namespace cyborg::detail
