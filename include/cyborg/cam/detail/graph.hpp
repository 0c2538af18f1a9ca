// SPDX-License-Identifier: BSD-3-Clause
#pragma once

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

inline NodeOutput node_output(const torch::Tensor& tensor) {
  const auto& node = tensor.grad_fn();
  return {node.get(), static_cast<uint32_t>(tensor.output_nr())};
}

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

/// How a guided head reports its mean: its kernels are no operators.
constexpr std::string_view kGuidedHead = "cyborg::GuidedHead";

/// Operators that average over positions when nothing else is between.
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

/// Whether a node is a function of one's own, a user's or cyborg's.
inline bool is_custom(std::string_view node_name) {
  return contains(node_name, "CppNode") ||
         starts_with(node_name, KernelNode::kNames);
}

/// Dimensions of what a node returned. LibTorch 1.13 keeps the shape private.
template <class Metadata>
auto rank_of(const Metadata& output, int /*preferred*/)
    -> decltype(output.shape_as_dim_vector().size()) {
  return output.shape_as_dim_vector().size();
}
template <class Metadata>
size_t rank_of(const Metadata& output, long /*otherwise*/) {
  return static_cast<size_t>(output.zeros_like().dim());
}

/// Whether it returns a map: no operator's output, and so never seen.
inline bool makes_hidden_map(Node* node, std::string_view node_name) {
  return is_custom(node_name) && node->num_inputs() > 0 &&
         rank_of(node->input_metadata(0), 0) >= 3;
}

/// Entries of the dimensions that are neither batch nor channel.
inline int64_t positions(const torch::Tensor& map, int64_t channel) {
  int64_t count = 1;
  for (int64_t d = 1; d < map.dim(); ++d) {
    count *= d == channel ? 1 : map.size(d);
  }
  return count;
}

/// Where a view put the channels, told by size and stride; -1: unclear.
inline int64_t channel_after(
    const torch::Tensor& before, int64_t channel, const torch::Tensor& after) {
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

/// Whether the graph of the logits reaches a map.
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
