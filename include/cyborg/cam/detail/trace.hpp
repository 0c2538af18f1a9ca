// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Decides what each operator's output is (a map, made of maps, made of
// parameters, anything else) and where the output of a named layer ends.

#include <cyborg/cam/detail/marks.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// Follows the data of one forward pass along the autograd graph.
///
/// Every output gets a `Mark`, in the order in which operators run, so the
/// marks of what an operator read are there before its own.
/// Only outputs and the graph are read. The operators' inputs would be simpler,
/// but cannot be used: `RecordFunction::inputs()` asserts in builds without
/// NDEBUG, and is gone at the operator's end.
class Trace {
 public:
  NamedLayer layer;             // the named layer, if one is wanted
  std::vector<Source> sources;  // the maps that were collapsed, each once
  std::vector<HeadMaps> heads;  // what guided heads reported

  // These explain an error when no features are found (`why_nothing`).
  int64_t operators = 0;            // the number of top-level operators
  bool convolution = false;         // a convolution is on the graph
  bool frozen_convolution = false;  // a convolution left no graph
  bool single_position = false;     // a convolution's output has one position
  bool elsewhere = false;  // a convolution is on the graph and did not report

  /// Takes one output of one top-level operator.
  void record(std::string_view op, const torch::Tensor& out) {
    if (!out.defined() || !out.is_floating_point()) {
      return;
    }
    if (!out.requires_grad() || !out.grad_fn()) {
      frozen_convolution |= contains(op, "conv");
      return;
    }
    const auto key = node_output(out);
    if (const Mark* known = find(key)) {
      if (known->kind == Mark::Kind::kSpatial) {
        keep_alive(out);
      }
      return;  // the operator returned what it was given
    }
    Parents from = parents_of(key.node);
    if (op == kGuidedHead) {  // the weight makes its maps, not its mean
      from.custom = false;
      from.parameter = nullptr;
    }
    Mark mark = derive(op, out, from);
    mark.node = out.grad_fn();
    mark.parameter = from.parameter;
    if (mark.kind == Mark::Kind::kSpatial) {
      mark.map = WeakImpl(out.getIntrusivePtr());
      mark.parents = from.maps;
      keep_alive(out);
    }
    if (layer.wanted) {
      follow_layer(op, out, key, mark, from);
    }
    marks_.emplace(key, std::move(mark));
  }

  /// Takes what a guided head made of `features`: the mean `pooled` and, where
  /// `maps` is defined, the maps of all classes.
  void record_head(
      const torch::Tensor& features, const torch::Tensor& pooled,
      const torch::Tensor& weight, const torch::Tensor& maps) {
    ++operators;
    record(kGuidedHead, pooled);
    if (maps.defined()) {
      heads.push_back({node_output(features), weight, maps});
    }
  }

  /// The mark of a value, or null. It is valid as long as the trace.
  const Mark* find(const NodeOutput& key) const {
    const auto at = marks_.find(key);
    return at == marks_.end() ? nullptr : &at->second;
  }

  /// The index in `sources` of the map `key`, which `op` collapses; it is added
  /// at its first collapse. A view with its axes in another order stands for
  /// the map that it shows.
  int source_of(NodeOutput key, std::string_view op) {
    const Mark* seen = &marks_.at(key);
    while (seen->swapped && seen->parents.size() == 1 &&
           marks_.at(seen->parents.front()).tensor().defined()) {
      key = seen->parents.front();
      seen = &marks_.at(key);
    }
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].key == key) {
        return static_cast<int>(i);
      }
    }
    sources.push_back(make_source(seen->tensor(), key, op, seen->channel));
    return static_cast<int>(sources.size()) - 1;
  }

 private:
  /// The nearest marked outputs below a node, and what is on the way to them.
  struct Parents {
    std::vector<NodeOutput> maps;   // marks of kind kSpatial, each once
    std::vector<const Mark*> left;  // marks of kind kLeft, each once
    bool convolution = false;       // a convolution lies on the way
    bool of_layer = false;          // a parameter of the named layer does
    bool of_others = false;         // a parameter of another layer does
    bool other = false;             // it also comes from something else
    bool custom = false;            // a custom function lies on the way
    std::string hidden;             // the custom function that made a map
    const c10::TensorImpl* parameter = nullptr;  // one of the parameters

    bool parameters() const { return parameter != nullptr; }
  };

  /// Walks down from a node; an operator may have left several nodes.
  Parents parents_of(Node* start) const {
    Parents from;
    std::vector<Node*> stack{start};
    std::unordered_set<Node*> seen{start};
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      if (const auto* leaf = as_leaf(node)) {
        from.parameter = leaf->variable.unsafeGetTensorImpl();
        const bool own = layer.parameters.count(from.parameter) > 0;
        (own ? from.of_layer : from.of_others) = true;
        continue;
      }
      const std::string name = node->name();
      const bool convolves = is_convolution(name);
      from.convolution |= convolves;
      from.custom |= is_custom(name);
      if (makes_hidden_map(node, name)) {
        from.hidden = name;
      }
      const auto& edges = node->next_edges();
      for (size_t i = 0; i < edges.size(); ++i) {
        if (!edges[i].function) {
          continue;
        }
        const NodeOutput key{edges[i].function.get(), edges[i].input_nr};
        const Mark* mark = find(key);
        if (convolves && i == 0 && is_input(key, mark)) {
          from.other = true;  // a picture that requires a gradient
        } else if (mark != nullptr) {
          take(from, key, *mark);
        } else if (seen.insert(key.node).second) {
          stack.push_back(key.node);
        }
      }
    }
    return from;
  }

  /// Whether a convolution reads the network's input: a leaf, or made of
  /// leaves.
  static bool is_input(const NodeOutput& key, const Mark* mark) {
    return mark != nullptr ? mark->kind == Mark::Kind::kParameter
                           : as_leaf(key.node) != nullptr;
  }

  /// Adds one marked output to the parents.
  static void take(Parents& from, const NodeOutput& key, const Mark& mark) {
    const auto add = [](auto& list, const auto& item) {
      if (std::find(list.begin(), list.end(), item) == list.end()) {
        list.push_back(item);
      }
    };
    switch (mark.kind) {
      case Mark::Kind::kSpatial:
        add(from.maps, key);
        break;
      case Mark::Kind::kLeft:
        add(from.left, &mark);
        break;
      case Mark::Kind::kParameter:
        from.parameter = mark.parameter;
        from.of_layer |= mark.of_layer;
        from.of_others |= mark.of_others;
        break;
      case Mark::Kind::kOther:
        from.other = true;
        break;
    }
  }

  /// The mark of an output; the caller adds what identifies it.
  Mark derive(
      std::string_view op, const torch::Tensor& out, const Parents& from) {
    Mark mark;
    const bool maps_out = out.dim() >= 3 && positions(out, 1) > 1;
    convolution |= from.convolution;
    const bool seen = contains(op, "conv");
    single_position |= from.convolution && seen && !maps_out;
    elsewhere |= from.convolution && !seen && !maps_out;
    mark.rank = out.dim();
    if ((from.convolution && maps_out) || stays_map(op, out, from, mark) ||
        returns_to_map(op, out, from)) {
      mark.kind = Mark::Kind::kSpatial;
    } else if (!from.maps.empty() || !from.left.empty()) {
      leave(op, out, from, mark);
    } else if (from.parameters() && !from.other && !from.convolution) {
      mark.kind = Mark::Kind::kParameter;
      mark.value = out;
      mark.of_layer = from.of_layer;
      mark.of_others = from.of_others;
    }
    return mark;
  }

  /// Whether a map goes in and a map of the same rank comes out (norms, ReLUs,
  /// sums, pooling with a window). Then `mark` says where the channels are.
  bool stays_map(
      std::string_view op, const torch::Tensor& out, const Parents& from,
      Mark& mark) const {
    for (const auto& key : from.maps) {
      const Mark& parent = marks_.at(key);
      if (parent.rank != out.dim()) {
        continue;
      }
      const torch::Tensor before = parent.tensor();
      if (before.defined() && reduces(op)) {
        for (int64_t d = 1; d < out.dim(); ++d) {
          if (d != parent.channel && out.size(d) == 1 && before.size(d) > 1) {
            return false;  // mean(3, keepdim): the first step of a collapse
          }
        }
      }
      mark.swapped = swaps_axes(op);
      mark.channel = mark.swapped ? channel_after(before, parent.channel, out)
                                  : parent.channel;
      return positions(out, mark.channel < 0 ? 1 : mark.channel) > 1;
    }
    return false;
  }

  /// Whether a view makes a map again: a channel shuffle, tokens laid out.
  static bool returns_to_map(
      std::string_view op, const torch::Tensor& out, const Parents& from) {
    if (!from.maps.empty() || from.left.size() != 1 || !rearranges(op)) {
      return false;
    }
    const Mark& parent = *from.left.front();
    return parent.open && !parent.averaged && parent.dims != out.dim() &&
           parent.rank == out.dim() && positions(out, 1) > 1;
  }

  /// Fills in a mark of kind kLeft. Also decides whether the output is still
  /// linear in the map (`linear`, `averaged`, `value`), which `exact` needs.
  void leave(
      std::string_view op, const torch::Tensor& out, const Parents& from,
      Mark& mark) {
    mark.kind = Mark::Kind::kLeft;
    mark.rank = 0;
    mark.dims = out.dim();
    mark.hidden = from.hidden;
    mark.linear = from.maps.size() + from.left.size() == 1 &&
                  !from.parameters() && !from.other && !from.custom &&
                  (averages(op) || rearranges(op) || passes(op));
    int64_t wide = 0;
    for (int64_t d = 1; d < out.dim(); ++d) {
      wide += out.size(d) > 1 ? 1 : 0;
    }
    mark.open = out.dim() > 2 && wide > 1;
    for (const auto& key : from.maps) {
      mark.rank = std::max(mark.rank, marks_.at(key).rank);
      mark.sources.push_back(source_of(key, op));
      mark.op = std::string(op);
    }
    bool averaged = averages(op);
    for (const Mark* left : from.left) {
      mark.rank = std::max(mark.rank, left->rank);
      mark.sources.insert(
          mark.sources.end(), left->sources.begin(), left->sources.end());
      mark.tokens |= left->tokens || (left->open && from.parameters());
      mark.linear =
          mark.linear && left->linear && !(swaps_axes(op) && mixes(*left, out));
      averaged |= left->averaged;
      mark.value = left->value;
      if (mark.hidden.empty()) {
        mark.hidden = left->hidden;
      }
      if (mark.op.empty()) {
        mark.op = left->open ? left->op + ", " + std::string(op) : left->op;
      }
    }
    std::sort(mark.sources.begin(), mark.sources.end());
    mark.sources.erase(
        std::unique(mark.sources.begin(), mark.sources.end()),
        mark.sources.end());
    mark.averaged = mark.linear && averaged;
    if (!mark.averaged) {
      mark.value = torch::Tensor();
    } else if (!mark.open && !mark.value.defined()) {
      mark.value = out;
    }
  }

  /// Whether a swap of axes mixes the samples and channels of a pooled [B, C].
  static bool mixes(const Mark& left, const torch::Tensor& out) {
    return left.value.defined() &&
           (left.open || out.size(0) != left.value.size(0) ||
            out.stride(0) != left.value.stride(0));
  }

  /// Moves the output of the named layer on, as `NamedLayer` explains: to what
  /// operators make of the layer's outputs and inputs alone.
  void follow_layer(
      std::string_view op, const torch::Tensor& out, const NodeOutput& key,
      const Mark& mark, const Parents& from) {
    const bool map = mark.kind == Mark::Kind::kSpatial;
    const auto set = [&] {
      layer.output = make_source(out, key, op, mark.channel);
      layer.inside.insert(key);
    };
    if (from.of_layer) {
      layer.ran = true;
      for (const auto& parent : from.maps) {
        if (!layer.inside.count(parent)) {
          layer.inputs.push_back(parent);
        }
      }
      if (map) {
        set();
        layer.closed = false;
        layer.pools_left = layer.trailing_pools;
      }
      return;
    }
    if (layer.leaf || layer.closed || !layer.output.tensor.defined() ||
        std::find(from.maps.begin(), from.maps.end(), layer.output.key) ==
            from.maps.end()) {
      return;
    }
    const bool foreign =
        from.of_others ||
        !std::all_of(
            from.maps.begin(), from.maps.end(), [&](const NodeOutput& parent) {
              return layer.inside.count(parent) || leads_to_layer(parent);
            });
    if (foreign) {
      layer.closed = true;
    } else if (map) {
      const auto before = layer.output.tensor.sizes();
      const bool same_size =
          before.size() == out.sizes().size() &&
          std::equal(before.begin() + 2, before.end(), out.sizes().begin() + 2);
      if (same_size || (pools(op) && layer.pools_left-- > 0)) {
        set();
      }
    }
  }

  /// Whether `map` is an input of the named layer or one was made of it: the
  /// shortcut of a residual block.
  bool leads_to_layer(const NodeOutput& map) const {
    std::vector<NodeOutput> stack = layer.inputs;
    std::unordered_set<NodeOutput, NodeOutputHash> seen;
    while (!stack.empty()) {
      const NodeOutput key = stack.back();
      stack.pop_back();
      if (key == map) {
        return true;
      }
      if (!seen.insert(key).second) {
        continue;
      }
      if (const Mark* mark = find(key)) {
        stack.insert(stack.end(), mark->parents.begin(), mark->parents.end());
      }
    }
    return false;
  }

  /// Holds the last few maps: TorchScript's interpreter frees an operator's
  /// inputs before it reports the operator's end, and `make_source` needs them.
  void keep_alive(const torch::Tensor& map) {
    recent_[next_++ % recent_.size()] = map;
  }

  // Its elements do not move when it grows, which `find` and `Parents` rely on.
  std::unordered_map<NodeOutput, Mark, NodeOutputHash> marks_;
  std::array<torch::Tensor, 8> recent_;  // a ring of maps, see keep_alive
  size_t next_ = 0;                      // the entry that is written next
};

}  // namespace cyborg::detail
