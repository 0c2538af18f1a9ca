// SPDX-License-Identifier: BSD-3-Clause
#pragma once

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

/// Follows the data of one forward pass: where on the autograd graph the
/// values of each operator's output come from.
///
/// Only outputs and the graph are read. Operator inputs would be simpler
/// and are a trap: `RecordFunction::inputs()` asserts in builds without
/// NDEBUG, and is gone at the operator's end.
class Trace {
 public:
  NamedLayer layer;
  std::vector<Source> sources;
  std::vector<HeadMaps> heads;
  int64_t operators = 0;            // top-level operators seen
  bool convolution = false;         // one on the graph
  bool frozen_convolution = false;  // one that left no graph
  bool single_position = false;     // one whose output has one position
  bool elsewhere = false;           // one on the graph that was not seen

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

  /// Takes the mean that a guided head made of features, and its maps.
  void record_head(
      const torch::Tensor& features, const torch::Tensor& pooled,
      const torch::Tensor& weight, const torch::Tensor& maps) {
    ++operators;
    record(kGuidedHead, pooled);
    if (maps.defined()) {
      heads.push_back({node_output(features), weight, maps});
    }
  }

  const Mark* find(const NodeOutput& key) const {
    const auto at = marks_.find(key);
    return at == marks_.end() ? nullptr : &at->second;
  }

  /// The index of a map in `sources`, added at its first collapse. A view
  /// with other axes stands for the map that it shows.
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
  /// What an output comes from: the nearest marked outputs, and the
  /// parameters on the way to them.
  struct Parents {
    std::vector<NodeOutput> maps;
    std::vector<const Mark*> left;
    bool convolution = false;
    bool of_layer = false;
    bool of_others = false;
    bool other = false;
    bool custom = false;  // a custom function stands between
    std::string hidden;   // ... that made a map
    const c10::TensorImpl* parameter = nullptr;

    bool parameters() const { return parameter != nullptr; }
  };

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

  /// Whether what a convolution reads is no map but a leaf, or made of one.
  static bool is_input(const NodeOutput& key, const Mark* mark) {
    return mark != nullptr ? mark->kind == Mark::Kind::kParameter
                           : as_leaf(key.node) != nullptr;
  }

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

  /// A map goes in, a map of the same rank comes out.
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
            return false;  // mean(3, keepdim): on its way out
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

  /// Views that lead back: a channel shuffle, tokens laid out as a map.
  static bool returns_to_map(
      std::string_view op, const torch::Tensor& out, const Parents& from) {
    if (!from.maps.empty() || from.left.size() != 1 || !rearranges(op)) {
      return false;
    }
    const Mark& parent = *from.left.front();
    return parent.open && !parent.averaged && parent.dims != out.dim() &&
           parent.rank == out.dim() && positions(out, 1) > 1;
  }

  /// A map goes in, something else comes out (or went in already).
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

  /// Whether other axes put a pooled vector's values in another order.
  static bool mixes(const Mark& left, const torch::Tensor& out) {
    return left.value.defined() &&
           (left.open || out.size(0) != left.value.size(0) ||
            out.stride(0) != left.value.stride(0));
  }

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

  /// Whether a map is an input of the named layer, or was made into one.
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

  /// TorchScript's interpreter drops an operator's inputs before its end
  /// is reported: the last few maps are held.
  void keep_alive(const torch::Tensor& map) {
    recent_[next_++ % recent_.size()] = map;
  }

  std::unordered_map<NodeOutput, Mark, NodeOutputHash> marks_;
  std::array<torch::Tensor, 8> recent_;
  size_t next_ = 0;
};

}  // namespace cyborg::detail
