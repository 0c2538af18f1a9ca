// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// How the hook reads an autograd graph: what identifies a value (node and
// output number), and which nodes are custom functions.
//
// Two sorts of names are used, and they must not be confused. *Operator* names
// ("aten::mean") are what `at::RecordFunction` reports. *Node* names
// ("MeanBackward1", "ConvolutionBackward0") are what `Node::name()` returns.

#include <cyborg/detail/torch/autograd.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// A reference to a tensor that does not keep it alive: the hook remembers
/// every map of a network, but must not hold all of them in memory.
using WeakImpl =
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

/// The identity of a value on the autograd graph: one output of one node.
///
/// The node alone is not enough, because the parts of a `chunk` share their
/// node. The address of a tensor would not do: it is used again when the tensor
/// is freed. Invariant: whoever keeps a `NodeOutput` also keeps the node alive
/// (`TracedValue::node` does), so that no later node gets the same address.
struct NodeOutput {
  Node* node = nullptr;
  uint32_t index = 0;

  bool operator==(const NodeOutput& other) const {
    return node == other.node && index == other.index;
  }
};

/// Lets a `NodeOutput` be a key of an unordered map.
struct NodeOutputHash {
  size_t operator()(const NodeOutput& key) const {
    return std::hash<Node*>()(key.node) * 31 + key.index;
  }
};

/// The identity of `tensor`; its `node` is null for a leaf and for a tensor
/// without a graph.
inline NodeOutput node_output(const torch::Tensor& tensor) {
  const auto& node = tensor.grad_fn();
  return {node.get(), static_cast<uint32_t>(tensor.output_nr())};
}

/// The node of a write into a part of a tensor; null for any other node.
inline const torch::autograd::CopySlices* as_write(const Node* node) {
  return dynamic_cast<const torch::autograd::CopySlices*>(node);
}

/// The identity of the value that an edge leads to.
inline NodeOutput edge_output(const torch::autograd::Edge& edge) {
  return {edge.function.get(), edge.input_nr};
}

/// Whether `text` begins with `head`.
inline bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}

/// Whether `part` is in `text`.
inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The operator name under which a `GuidedHead` reports its mean. It has to
/// report, because its kernels are not operators of LibTorch.
constexpr std::string_view kGuidedHead = "cyborg::GuidedHead";

/// Whether a node is a custom autograd function, of the user or of cyborg.
/// What runs inside one leaves no nodes, so the hook cannot follow it.
inline bool is_custom(std::string_view node_name) {
  return contains(node_name, "CppNode") ||
         starts_with(node_name, kKernelNodePrefix);
}

/// Where a node of PyTorch's Python side marks a place and passes on what it
/// read: the edge behind its output `index`; else an edge without a function.
/// They stand for backward hooks of a module, and for the end of a network under
/// DistributedDataParallel.
inline torch::autograd::Edge behind_mark(const Node& node, uint32_t index) {
  const std::string name = node.name();
  const bool marks = starts_with(name, "BackwardHookFunctionBackward") ||
                     starts_with(name, "_DDPSinkBackward");
  return marks && node.num_inputs() == node.num_outputs() &&
                 index < node.num_outputs()
             ? node.next_edge(index)
             : torch::autograd::Edge();
}

/// A size as a number: newer versions of LibTorch have symbolic ones.
template <class Size>
int64_t as_number(const Size& size) {
  if constexpr (std::is_integral_v<Size>) {
    return static_cast<int64_t>(size);
  } else {
    return size.guard_int(__FILE__, __LINE__);
  }
}

/// The sizes of what a node returned. LibTorch 1.13 keeps them private, so
/// there the second overload makes a tensor to ask it. The unnamed argument
/// ranks the overloads: 0 is an `int` before it is a `long`.
template <class Metadata>
auto sizes_of(const Metadata& output, int /*preferred*/)
    -> decltype(output.shape_as_dim_vector(), std::vector<int64_t>()) {
  std::vector<int64_t> sizes;
  for (const auto& size : output.shape_as_dim_vector()) {
    sizes.push_back(as_number(size));
  }
  return sizes;
}
template <class Metadata>
std::vector<int64_t> sizes_of(const Metadata& output, long /*otherwise*/) {
  return output.zeros_like().sizes().vec();
}

/// Whether a custom function returned something with the rank of a map. No
/// operator reports such a map, so the hook can only say that it is there.
inline bool makes_hidden_map(Node* node, std::string_view node_name) {
  return is_custom(node_name) && node->num_inputs() > 0 &&
         sizes_of(node->input_metadata(0), 0).size() >= 3;
}

/// Visits each node between `logits` and the value `map` once, the nodes beside
/// the way included. Returns whether the walk met `map`: whether the logits
/// depend on it. The cost is the size of the graph above the map; an empty
/// `map` means the whole graph.
template <class Visit>
bool walk_to(
    const torch::Tensor& logits, const NodeOutput& map, const Visit& visit) {
  bool met = false;
  std::unordered_set<Node*> seen;
  std::vector<NodeOutput> stack{node_output(logits)};
  while (!stack.empty()) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    if (key == map) {
      met = true;
    } else if (key.node != nullptr && seen.insert(key.node).second) {
      visit(*key.node);
      for (const auto& edge : key.node->next_edges()) {
        if (edge.function) {
          stack.push_back(edge_output(edge));
        }
      }
    }
  }
  return met;
}

/// Whether the graph of `logits` leads to `map`.
inline bool reaches(const torch::Tensor& logits, const NodeOutput& map) {
  return walk_to(logits, map, [](const Node&) {});
}

}  // namespace cyborg::detail
