// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The autograd graph's node; the pointer's type differs between LibTorch
/// versions (shared_ptr, later intrusive_ptr).
using Node = torch::autograd::Node;
using NodePtr = std::decay_t<decltype(std::declval<at::Tensor>().grad_fn())>;
using WeakImpl =
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

/// One output of one node: a chunk's parts share their node.
struct NodeOutput {
  Node* node = nullptr;
  uint32_t index = 0;

  bool operator==(const NodeOutput& other) const {
    return node == other.node && index == other.index;
  }
};

struct NodeOutputHash {
  size_t operator()(const NodeOutput& key) const {
    return std::hash<Node*>()(key.node) * 31 + key.index;
  }
};

inline NodeOutput node_output(const at::Tensor& tensor) {
  auto node = tensor.grad_fn();
  return {node.get(), static_cast<uint32_t>(tensor.output_nr())};
}

inline bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

template <size_t N>
bool any_of(std::string_view name,
            const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Operators that average over positions when nothing else is between.
inline bool averages(std::string_view op) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "aten::mean",       "aten::adaptive_avg_pool1d",
      "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d",
      "aten::avg_pool1d", "aten::avg_pool2d",
      "aten::avg_pool3d"};
  return any_of(op, kNames);
}

/// Operators that reduce a dimension to one entry (plain pooling does not).
inline bool reduces(std::string_view op) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "aten::mean", "aten::sum",       "aten::amax",
      "aten::max",  "aten::logsumexp", "aten::norm"};
  return any_of(op, kNames) || starts_with(op, "aten::adaptive_");
}

/// Operators that move values without changing them.
inline bool rearranges(std::string_view op) {
  static constexpr std::array<std::string_view, 19> kNames = {
      "aten::view",      "aten::reshape",      "aten::flatten",
      "aten::unflatten", "aten::squeeze",      "aten::unsqueeze",
      "aten::permute",   "aten::transpose",    "aten::movedim",
      "aten::moveaxis",  "aten::swapaxes",     "aten::swapdims",
      "aten::view_as",   "aten::reshape_as",   "aten::contiguous",
      "aten::clone",     "aten::_unsafe_view", "aten::alias",
      "aten::squeeze_"};
  return any_of(op, kNames);
}

inline bool swaps_axes(std::string_view op) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "aten::permute",  "aten::transpose", "aten::movedim",
      "aten::moveaxis", "aten::swapaxes",  "aten::swapdims"};
  return any_of(op, kNames);
}

/// Operators a head may read its features through and still be linear in
/// them: dropout and casts.
inline bool passes(std::string_view op) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "aten::dropout",         "aten::dropout_", "aten::native_dropout",
      "aten::feature_dropout", "aten::to",       "aten::_to_copy",
      "aten::type_as"};
  return any_of(op, kNames);
}

inline bool pools(std::string_view op) {
  return contains(op, "pool");
}

inline bool is_convolution(std::string_view node_name) {
  return contains(node_name, "Conv") && !contains(node_name, "Convert");
}

/// Entries of the dimensions that are neither batch nor channel.
inline int64_t positions(const at::Tensor& map, int64_t channel) {
  int64_t count = 1;
  for (int64_t d = 1; d < map.dim(); ++d) {
    count *= d == channel ? 1 : map.size(d);
  }
  return count;
}

/// Where a view put the channels, told by size and stride; -1: unclear.
inline int64_t channel_after(const at::Tensor& before,
                             int64_t channel,
                             const at::Tensor& after) {
  if (!before.defined() || channel < 0) {
    return -1;
  }
  int64_t found = -1;
  for (int64_t d = 0; d < after.dim(); ++d) {
    if (after.size(d) == before.size(channel) &&
        after.stride(d) == before.stride(channel)) {
      if (found >= 0) {
        return -1;
      }
      found = d;
    }
  }
  return found == 0 ? -1 : found;
}

/// What is known of one operator's output.
struct Mark {
  enum class Kind : uint8_t {
    kOther,      // not derived from a convolution
    kParameter,  // derived from parameters alone (weight norm, casts)
    kSpatial,    // a map: an activation with positions
    kLeft        // derived from a map, and no longer one
  };
  Kind kind = Kind::kOther;
  NodePtr node;               // held, so that its address stays its own
  at::Tensor value;           // kParameter, and kLeft of a plain pool
  // kSpatial
  WeakImpl map{c10::intrusive_ptr<c10::TensorImpl,
                                  c10::UndefinedTensorImpl>()};
  int64_t channel = 1;              // -1: unclear
  std::vector<NodeOutput> parents;  // the maps it was made of
  // kSpatial and kLeft
  int64_t rank = 0;           // dimensions of the map
  // kLeft
  int64_t dims = 0;           // dimensions of what is left
  std::string op;             // the operators that took the positions
  std::vector<int> sources;   // indices into Trace::sources
  bool open = false;          // several positions are still there
  bool tokens = false;        // parameters worked on open positions
  bool linear = false;        // nothing but means, views, dropout, casts
  bool averaged = false;      // a mean was among them
  bool plain_pool = false;    // a mean over a window of fixed size
  // kParameter
  bool of_layer = false;      // of the layer that was named
  bool of_others = false;     // of another one

  at::Tensor tensor() const {
    auto impl = map.lock();
    return impl.defined() ? at::Tensor(std::move(impl)) : at::Tensor();
  }
};

/// A map that lost its positions, and the operator it lost them to.
struct Source {
  at::Tensor tensor;  // undefined: freed before it could be held
  NodeOutput key;
  std::string op;
  int64_t channel = 1;
  int64_t version = 0;

  /// An in-place operator gives a tensor another node and version.
  bool overwritten() const {
    return !(node_output(tensor) == key) ||
        static_cast<int64_t>(tensor._version()) != version;
  }
};

inline Source make_source(const at::Tensor& tensor,
                          const NodeOutput& key,
                          std::string_view op,
                          int64_t channel) {
  Source source;
  source.tensor = tensor;
  source.key = key;
  source.op = std::string(op);
  source.channel = channel;
  source.version =
      tensor.defined() ? static_cast<int64_t>(tensor._version()) : 0;
  return source;
}

/// The layer that `CamHookOptions::layer` names, and what it returned.
///
/// C++ modules report neither their beginning nor their end. A layer's
/// output is therefore the last map made with its parameters; if the layer
/// has submodules, then also what operators without parameters made of it
/// at the same size: the residual sum and the ReLU that end a block, plus
/// as many pooling steps as the layer registers behind its parameters.
struct NamedLayer {
  bool wanted = false;
  bool leaf = false;  // no submodules: exactly the operator's output
  int trailing_pools = 0;
  std::unordered_set<const c10::TensorImpl*> parameters;
  // State of the run.
  bool ran = false;
  bool closed = false;
  int pools_left = 0;
  Source output;
  std::vector<NodeOutput> inputs;
  std::unordered_set<NodeOutput, NodeOutputHash> inside;
};

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
  int64_t operators = 0;            // top-level operators seen
  bool convolution = false;         // one on the graph
  bool frozen_convolution = false;  // one that left no graph
  bool single_position = false;     // one whose output has one position

  /// Takes one output of one top-level operator.
  void record(std::string_view op, const at::Tensor& out) {
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
    const Parents from = parents_of(key.node);
    Mark mark = derive(op, out, from);
    mark.node = out.grad_fn();
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

  const Mark* find(const NodeOutput& key) const {
    const auto at = marks_.find(key);
    return at == marks_.end() ? nullptr : &at->second;
  }

  /// The index of a map in `sources`, added at its first collapse.
  int source_of(const NodeOutput& key, std::string_view op) {
    for (size_t i = 0; i < sources.size(); ++i) {
      if (sources[i].key == key) {
        return static_cast<int>(i);
      }
    }
    const Mark& mark = marks_.at(key);
    sources.push_back(make_source(mark.tensor(), key, op, mark.channel));
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

    bool parameters() const {
      return of_layer || of_others;
    }
  };

  Parents parents_of(Node* start) const {
    Parents from;
    std::vector<Node*> stack{start};
    std::unordered_set<Node*> seen{start};
    while (!stack.empty()) {
      Node* node = stack.back();
      stack.pop_back();
      if (const auto* leaf =
              dynamic_cast<const torch::autograd::AccumulateGrad*>(node)) {
        const bool own =
            layer.parameters.count(leaf->variable.unsafeGetTensorImpl()) > 0;
        (own ? from.of_layer : from.of_others) = true;
        continue;
      }
      const auto& edges = node->next_edges();
      if (edges.size() > 1 && edges[1].function &&
          is_convolution(node->name())) {
        from.convolution = true;
      }
      for (const auto& edge : edges) {
        if (!edge.function) {
          continue;
        }
        const NodeOutput key{edge.function.get(), edge.input_nr};
        if (const Mark* mark = find(key)) {
          take(from, key, *mark);
        } else if (seen.insert(key.node).second) {
          stack.push_back(key.node);
        }
      }
    }
    return from;
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
        from.of_layer |= mark.of_layer;
        from.of_others |= mark.of_others;
        break;
      case Mark::Kind::kOther:
        from.other = true;
        break;
    }
  }

  Mark derive(std::string_view op,
              const at::Tensor& out,
              const Parents& from) {
    Mark mark;
    const bool maps_out = out.dim() >= 3 && positions(out, 1) > 1;
    convolution |= from.convolution;
    single_position |= from.convolution && !maps_out;
    mark.rank = out.dim();
    if ((from.convolution && maps_out) ||
        stays_map(op, out, from, mark) ||
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
  bool stays_map(std::string_view op,
                 const at::Tensor& out,
                 const Parents& from,
                 Mark& mark) const {
    for (const auto& key : from.maps) {
      const Mark& parent = marks_.at(key);
      if (parent.rank != out.dim()) {
        continue;
      }
      const at::Tensor before = parent.tensor();
      if (before.defined() && reduces(op)) {
        for (int64_t d = 1; d < out.dim(); ++d) {
          if (d != parent.channel && out.size(d) == 1 &&
              before.size(d) > 1) {
            return false;  // mean(3, keepdim): on its way out
          }
        }
      }
      mark.channel = swaps_axes(op)
          ? channel_after(before, parent.channel, out)
          : parent.channel;
      return positions(out, mark.channel < 0 ? 1 : mark.channel) > 1;
    }
    return false;
  }

  /// Views that lead back: a channel shuffle, tokens laid out as a map.
  static bool returns_to_map(std::string_view op,
                             const at::Tensor& out,
                             const Parents& from) {
    if (!from.maps.empty() || from.left.size() != 1 || !rearranges(op)) {
      return false;
    }
    const Mark& parent = *from.left.front();
    return parent.open && !parent.averaged && parent.dims != out.dim() &&
        parent.rank == out.dim() && positions(out, 1) > 1;
  }

  /// A map goes in, something else comes out (or went in already).
  void leave(std::string_view op,
             const at::Tensor& out,
             const Parents& from,
             Mark& mark) {
    mark.kind = Mark::Kind::kLeft;
    mark.rank = 0;
    mark.dims = out.dim();
    mark.linear = from.maps.size() + from.left.size() == 1 &&
        !from.parameters() && !from.other &&
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
      mark.linear = mark.linear && left->linear;
      averaged |= left->averaged;
      mark.plain_pool |= left->plain_pool;
      if (mark.plain_pool) {
        mark.value = left->value;
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
    if (mark.linear && starts_with(op, "aten::avg_pool")) {
      mark.plain_pool = true;
      mark.value = out;
    }
  }

  void follow_layer(std::string_view op,
                    const at::Tensor& out,
                    const NodeOutput& key,
                    const Mark& mark,
                    const Parents& from) {
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
    const bool foreign = from.of_others ||
        !std::all_of(from.maps.begin(), from.maps.end(),
                     [&](const NodeOutput& parent) {
                       return layer.inside.count(parent) ||
                           leads_to_layer(parent);
                     });
    if (foreign) {
      layer.closed = true;
    } else if (map) {
      const auto before = layer.output.tensor.sizes();
      const bool same_size = before.size() == out.sizes().size() &&
          std::equal(before.begin() + 2, before.end(),
                     out.sizes().begin() + 2);
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
        stack.insert(
            stack.end(), mark->parents.begin(), mark->parents.end());
      }
    }
    return false;
  }

  /// TorchScript's interpreter drops an operator's inputs before its end
  /// is reported: the last few maps are held.
  void keep_alive(const at::Tensor& map) {
    recent_[next_++ % recent_.size()] = map;
  }

  std::unordered_map<NodeOutput, Mark, NodeOutputHash> marks_;
  std::array<at::Tensor, 8> recent_;
  size_t next_ = 0;
};

}  // namespace cyborg::detail
