// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The words in which the hook reads an autograd graph: what identifies a value
// (node and output number), what an operator does to a map (by its name), and
// small questions about shapes.
//
// Two sorts of names are used, and they must not be confused. *Operator* names
// ("aten::mean") are what `at::RecordFunction` reports. *Node* names
// ("MeanBackward1", "ConvolutionBackward0") are what `Node::name()` returns.

#include <cyborg/detail/torch/autograd.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
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
/// (`Mark::node` does), so that no later node gets the same address.
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

/// The identity of `tensor`; its `node` is null for a leaf and for a tensor
/// without a graph.
inline NodeOutput node_output(const torch::Tensor& tensor) {
  const auto& node = tensor.grad_fn();
  return {node.get(), static_cast<uint32_t>(tensor.output_nr())};
}

/// The identity of the value that an edge leads to.
inline NodeOutput edge_output(const torch::autograd::Edge& edge) {
  return {edge.function.get(), edge.input_nr};
}

inline bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

template <size_t N>
bool any_of(
    std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The operator name under which a `GuidedHead` reports its mean. It has to
/// report, because its kernels are not operators of LibTorch.
constexpr std::string_view kGuidedHead = "cyborg::GuidedHead";

/// Operators that can be the mean over all positions. The name does not say
/// over which dimensions or windows they average; `is_mean` checks the values.
inline bool averages(std::string_view op) {
  static constexpr std::array<std::string_view, 8> kNames = {
      kGuidedHead,
      "aten::mean",
      "aten::adaptive_avg_pool1d",
      "aten::adaptive_avg_pool2d",
      "aten::adaptive_avg_pool3d",
      "aten::avg_pool1d",
      "aten::avg_pool2d",
      "aten::avg_pool3d"};
  return any_of(op, kNames);
}

/// Operators that can reduce a whole dimension to one entry. Pooling with a
/// window is not among them: its output is still a map.
inline bool reduces(std::string_view op) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "aten::mean", "aten::sum",       "aten::amax",
      "aten::max",  "aten::logsumexp", "aten::norm"};
  return any_of(op, kNames) || starts_with(op, "aten::adaptive_");
}

/// Operators that move values and leave each value as it is.
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

/// Those of `rearranges` that change the order of the dimensions, and with it
/// possibly the dimension that holds the channels.
inline bool swaps_axes(std::string_view op) {
  static constexpr std::array<std::string_view, 6> kNames = {
      "aten::permute",  "aten::transpose", "aten::movedim",
      "aten::moveaxis", "aten::swapaxes",  "aten::swapdims"};
  return any_of(op, kNames);
}

/// Dropout and casts. A head that reads its features through one of these
/// still counts as linear in them.
inline bool passes(std::string_view op) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "aten::dropout",         "aten::dropout_", "aten::native_dropout",
      "aten::feature_dropout", "aten::to",       "aten::_to_copy",
      "aten::type_as"};
  return any_of(op, kNames);
}

/// Every pooling, with a window or adaptive.
inline bool pools(std::string_view op) {
  return contains(op, "pool");
}

/// Every node of a convolution, whatever library computes it. "Convert..."
/// nodes are casts.
inline bool is_convolution(std::string_view node_name) {
  return contains(node_name, "Conv") && !contains(node_name, "Convert");
}

/// Whether a node is a custom autograd function, of the user or of cyborg.
/// What runs inside one leaves no nodes, so the hook cannot follow it.
inline bool is_custom(std::string_view node_name) {
  return contains(node_name, "CppNode") ||
         starts_with(node_name, kKernelNodePrefix);
}

/// The number of dimensions of what a node returned. LibTorch 1.13 keeps the
/// shape private, so there the second overload makes a tensor to ask it. The
/// unnamed argument ranks the overloads: 0 is an `int` before it is a `long`.
template <class Metadata>
auto rank_of(const Metadata& output, int /*preferred*/)
    -> decltype(output.shape_as_dim_vector().size()) {
  return output.shape_as_dim_vector().size();
}
template <class Metadata>
size_t rank_of(const Metadata& output, long /*otherwise*/) {
  return static_cast<size_t>(output.zeros_like().dim());
}

/// Whether a custom function returned something with the rank of a map. No
/// operator reports such a map, so the hook can only say that it is there.
inline bool makes_hidden_map(Node* node, std::string_view node_name) {
  return is_custom(node_name) && node->num_inputs() > 0 &&
         rank_of(node->input_metadata(0), 0) >= 3;
}

/// The number of positions: the product of all sizes but those of the batch
/// (dimension 0) and of the channels (dimension `channel`).
inline int64_t positions(const torch::Tensor& map, int64_t channel) {
  int64_t count = 1;
  for (int64_t d = 1; d < map.dim(); ++d) {
    count *= d == channel ? 1 : map.size(d);
  }
  return count;
}

/// The dimension of `after` that holds the channels, when `after` is a view of
/// `before` with its axes in another order. It is the only dimension with the
/// same size and stride. Returns -1 when none or more than one fits: operators
/// do not report their arguments.
inline int64_t channel_after(
    const torch::Tensor& before, int64_t channel, const torch::Tensor& after) {
  if (!before.defined() || channel < 0) {
    return -1;
  }
  int64_t found = -1;
  for (int64_t d = 0; d < after.dim(); ++d) {
    if (after.size(d) == before.size(channel) &&
        after.stride(d) == before.stride(channel)) {
      if (found >= 0) {  // two dimensions fit
        return -1;
      }
      found = d;
    }
  }
  return found == 0 ? -1 : found;  // dimension 0 is the batch
}

/// Whether the graph of `logits` leads to `map`: whether the logits depend on
/// it. Each node is visited once, so the cost is the size of the graph.
inline bool reaches(const torch::Tensor& logits, const NodeOutput& map) {
  std::unordered_set<Node*> seen;
  std::vector<NodeOutput> stack{node_output(logits)};
  while (!stack.empty()) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    if (key == map) {
      return true;
    }
    if (key.node != nullptr && seen.insert(key.node).second) {
      for (const auto& edge : key.node->next_edges()) {
        if (edge.function) {
          stack.push_back(edge_output(edge));
        }
      }
    }
  }
  return false;
}

}  // namespace cyborg::detail
