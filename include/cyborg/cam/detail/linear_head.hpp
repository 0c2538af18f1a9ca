// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Finds the linear operator that made the logits: its weight, its bias, and
// what it read.

#include <cyborg/cam/detail/trace.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace cyborg::detail {

/// The linear operator that made the logits. All members are empty where the
/// logits were made by something else.
struct LinearHead {
  torch::Tensor weight;                // [K, C], undefined without a head
  torch::Tensor bias;                  // [K], undefined where there is none
  const TracedValue* input = nullptr;  // what the head read; null: unknown
};

/// Nodes that pass on their input as it is, in another shape or type.
inline bool is_view(std::string_view node_name) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "View",  "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze",
      "Alias", "ToCopy",     "Clone",        "Expand"};
  return std::any_of(kNames.begin(), kNames.end(), [&](auto name) {
    return starts_with(node_name, name);
  });
}

/// The first value at or below `key` that no view made, or `stop` where the way
/// meets it.
inline NodeOutput skip_views(NodeOutput key, const NodeOutput& stop = {}) {
  while (key.node != nullptr && !(key == stop)) {
    auto edge = behind_mark(*key.node, key.index);
    if (!edge.function && is_view(key.node->name()) &&
        !key.node->next_edges().empty()) {
      edge = key.node->next_edges()[0];
    }
    if (!edge.function) {
      break;
    }
    key = edge_output(edge);
  }
  return key;
}

/// The value of a parameter, or of what was derived from parameters alone;
/// undefined when `key` is something else. Views and a transpose in between are
/// followed where nobody reported them.
inline torch::Tensor parameter_on(const Trace& trace, const NodeOutput& key) {
  if (key.node == nullptr) {
    return {};
  }
  if (const TracedValue* value = trace.find(key)) {
    if (value->kind != TracedValue::Kind::kParameter) {
      return {};
    }
    if (value->value.defined()) {
      return value->value;
    }
  }
  if (const auto* leaf = as_leaf(key.node)) {
    return leaf->variable;
  }
  const std::string name = key.node->name();
  const bool turned =
      starts_with(name, "TBackward") || starts_with(name, "TransposeBackward");
  if ((!turned && !is_view(name)) || key.node->next_edges().empty()) {
    return {};
  }
  const auto inner =
      parameter_on(trace, edge_output(key.node->next_edges()[0]));
  return turned && inner.defined() && inner.dim() == 2 ? inner.t() : inner;
}

/// The head of `logits`: x W^T + b as LibTorch's nodes write it (Addmm, Mm and
/// Add, Linear), or a convolution with a window of one position. Weight and
/// bias must be parameters; a product of two activations is not a head.
inline LinearHead head_of(const Trace& trace, const torch::Tensor& logits) {
  LinearHead head;
  NodeOutput key = skip_views(node_output(logits));
  if (key.node == nullptr) {
    return head;
  }
  std::string name = key.node->name();
  // The value that the node reads as its input number i.
  const auto input = [&](size_t i) {
    const auto& edges = key.node->next_edges();
    return i < edges.size() ? edge_output(edges[i]) : NodeOutput();
  };
  if (starts_with(name, "AddBackward")) {  // x W^T + b, written out
    // The bias may be on either side. The product is the other side.
    for (size_t i = 0; i < 2; ++i) {
      const auto bias = parameter_on(trace, input(i));
      if (bias.defined() && bias.dim() == 1) {
        head.bias = bias;
        key = skip_views(input(1 - i));
        break;
      }
    }
    if (key.node == nullptr || !head.bias.defined()) {
      return {};
    }
    name = key.node->name();
  }
  // Where weight and data are among a node's inputs is part of its signature.
  // Addmm and Mm read the weight as [C, K], Linear and convolutions as [K, C].
  NodeOutput data;
  if (starts_with(name, "Addmm")) {
    head.bias = parameter_on(trace, input(0));
    data = input(1);
    head.weight = parameter_on(trace, input(2));
    head.weight = head.weight.defined() && head.weight.dim() == 2
                      ? head.weight.t()
                      : torch::Tensor();
  } else if (starts_with(name, "MmBackward")) {
    data = input(0);
    head.weight = parameter_on(trace, input(1));
    head.weight = head.weight.defined() && head.weight.dim() == 2
                      ? head.weight.t()
                      : torch::Tensor();
  } else if (
      starts_with(name, "LinearBackward") ||
      rule_of(name) == Rule::kConvolution) {
    data = input(0);
    head.weight = parameter_on(trace, input(1));
    head.bias = parameter_on(trace, input(2));
    if (head.weight.defined()) {  // 1x1: [K, C, 1, 1] is [K, C]
      head.weight = head.weight.dim() >= 2 &&
                            head.weight.numel() ==
                                head.weight.size(0) * head.weight.size(1)
                        ? head.weight.flatten(1)
                        : torch::Tensor();
    }
  }
  if (!head.weight.defined()) {
    return {};
  }
  head.input = trace.find(data);
  return head;
}

}  // namespace cyborg::detail
