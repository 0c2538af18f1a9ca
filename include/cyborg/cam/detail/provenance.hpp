// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/trace.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace cyborg::detail {

/// The linear operator between the collapsed features and the logits.
struct Head {
  torch::Tensor weight;  // [K, C]
  torch::Tensor bias;    // [K]
  const Mark* input = nullptr;
};

/// Whether a mean was over all positions and nothing else, by size of the
/// map: looked at once, since it needs the values.
struct MeanCheck {
  std::vector<int64_t> sizes;
  bool holds = false;
};

/// Nodes that only look at, or cast, what they are given.
inline bool is_view(std::string_view node_name) {
  static constexpr std::array<std::string_view, 9> kNames = {
      "View",  "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze",
      "Alias", "ToCopy",     "Clone",        "Expand"};
  return std::any_of(kNames.begin(), kNames.end(), [&](auto name) {
    return starts_with(node_name, name);
  });
}

inline NodeOutput skip_views(NodeOutput key) {
  while (key.node != nullptr && is_view(key.node->name()) &&
         !key.node->next_edges().empty()) {
    key = edge_output(key.node->next_edges()[0]);
  }
  return key;
}

/// The parameter (or what was derived from parameters) on an edge.
inline torch::Tensor parameter_on(const Trace& trace, const NodeOutput& key) {
  if (key.node == nullptr) {
    return {};
  }
  if (const Mark* mark = trace.find(key)) {
    return mark->kind == Mark::Kind::kParameter ? mark->value : torch::Tensor();
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

/// The nearest mark below a node, through views and casts.
inline const Mark* mark_below(const Trace& trace, NodeOutput key) {
  while (key.node != nullptr) {
    if (const Mark* mark = trace.find(key)) {
      return mark;
    }
    if (!is_view(key.node->name()) || key.node->next_edges().empty()) {
      return nullptr;
    }
    key = edge_output(key.node->next_edges()[0]);
  }
  return nullptr;
}

inline Head head_of(const Trace& trace, const torch::Tensor& logits) {
  Head head;
  NodeOutput key = skip_views(node_output(logits));
  if (key.node == nullptr) {
    return head;
  }
  std::string name = key.node->name();
  const auto input = [&](size_t i) {
    const auto& edges = key.node->next_edges();
    return i < edges.size() ? edge_output(edges[i]) : NodeOutput();
  };
  if (starts_with(name, "AddBackward")) {  // x W^T + b, written out
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
  } else if (starts_with(name, "LinearBackward") || is_convolution(name)) {
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
  head.input = mark_below(trace, data);
  return head;
}

/// What the logits come from.
struct Origin {
  std::vector<int> sources;
  bool tokens = false;
  bool map = false;    // the logits themselves have positions
  std::string hidden;  // a custom function that made the map
  std::string op;      // the operators that took them
};

inline Origin origin_of(Trace& trace, const torch::Tensor& logits) {
  Origin origin;
  std::vector<NodeOutput> stack{node_output(logits)};
  std::unordered_set<Node*> seen;
  while (!stack.empty()) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    const Mark* mark = trace.find(key);
    if (mark != nullptr && mark->kind == Mark::Kind::kLeft) {
      origin.sources.insert(
          origin.sources.end(), mark->sources.begin(), mark->sources.end());
      origin.tokens |= mark->tokens;
      origin.op = mark->op;
      if (!mark->hidden.empty()) {
        origin.hidden = mark->hidden;
      }
    } else if (mark != nullptr && mark->kind == Mark::Kind::kSpatial) {
      // Read by something that is no operator: a custom function.
      origin.map = key == node_output(logits);
      origin.op = logits.grad_fn()->name();
      origin.sources.push_back(trace.source_of(key, origin.op));
    } else if (mark == nullptr || mark->kind == Mark::Kind::kOther) {
      if (seen.insert(key.node).second) {
        const std::string name = key.node->name();
        if (makes_hidden_map(key.node, name)) {
          origin.hidden = name;
        }
        for (const auto& edge : key.node->next_edges()) {
          if (edge.function) {
            stack.push_back(edge_output(edge));
          }
        }
      }
    }
  }
  auto& ids = origin.sources;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return origin;
}

inline int64_t channels_of(const Source& source) {
  return source.tensor.size(source.channel);
}

/// A map of one channel beside maps of several is a gate: the weights of
/// an attention pooling, not what is pooled.
inline void drop_gates(const Trace& trace, std::vector<int>& ids) {
  const auto gate = [&](int id) {
    const Source& source = trace.sources[static_cast<size_t>(id)];
    return source.tensor.defined() && source.channel > 0 &&
           channels_of(source) == 1;
  };
  if (!std::all_of(ids.begin(), ids.end(), gate)) {
    ids.erase(std::remove_if(ids.begin(), ids.end(), gate), ids.end());
  }
}

/// Whether what was averaged is the mean over positions: operators do not
/// report their dimensions, nor a pooling its window.
inline bool is_mean(const Mark& mark, const Source& source, MeanCheck& check) {
  const auto sizes = source.tensor.sizes().vec();
  if (check.sizes == sizes) {
    return check.holds;
  }
  const at::NoGradGuard no_graph;
  const auto map =
      source.tensor.movedim(source.channel, 1).flatten(2).to(at::kDouble);
  if (mark.value.numel() != map.size(0) * map.size(1)) {
    return false;
  }
  const auto mean = map.mean(2);
  const auto found = mark.value.reshape(mean.sizes()).to(at::kDouble);
  const double spread = (map.max() - map.min()).item<double>();
  const auto type = mark.value.scalar_type();
  const bool coarse = type != at::kFloat && type != at::kDouble;
  const double tolerance =
      spread * (coarse ? 2e-2 : 1e-4) +
      map.abs().max().item<double>() * (coarse ? 1e-2 : 1e-6);
  const bool holds = (found - mean).abs().max().item<double>() <= tolerance;
  if (spread > 0) {  // a constant map tells nothing for the next ones
    check.sizes = sizes;
    check.holds = holds;
  }
  return holds;
}

/// Why CAM is not exact for these logits; empty where it is.
inline std::string inexact(
    const Head& head, const Mark* collapsed, const Source& source,
    int64_t logit_count, MeanCheck& check) {
  if (collapsed == nullptr || collapsed->kind != Mark::Kind::kLeft) {
    return "no single linear operator reads the collapsed features";
  }
  if (!collapsed->linear || !collapsed->averaged) {
    return "more than a mean stands between the map and the head (" +
           collapsed->op + ", ...)";
  }
  const int64_t channels = channels_of(source);
  const int64_t read =
      head.weight.defined() ? head.weight.size(1) : logit_count;
  if (collapsed->open || read != channels) {
    return "the mean leaves more than one value per channel";
  }
  if (!is_mean(*collapsed, source, check)) {
    return "what " + collapsed->op + " averaged is not every position once";
  }
  return "";
}

/// The parameters between the logits and a map.
inline std::unordered_set<const c10::TensorImpl*> parameters_above(
    const torch::Tensor& logits, const NodeOutput& map) {
  constexpr size_t kFarEnough = 4000;  // names are for reading only
  std::unordered_set<const c10::TensorImpl*> found;
  std::unordered_set<Node*> seen;
  std::vector<NodeOutput> stack{node_output(logits)};
  while (!stack.empty() && seen.size() < kFarEnough) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    if (key == map || !seen.insert(key.node).second) {
      continue;
    }
    if (const auto* leaf = as_leaf(key.node)) {
      found.insert(leaf->variable.unsafeGetTensorImpl());
    }
    for (const auto& edge : key.node->next_edges()) {
      if (edge.function) {
        stack.push_back(edge_output(edge));
      }
    }
  }
  return found;
}

/// A parameter of the last layer that made a map of a map on the way here;
/// gates, which are no maps, do not count.
inline const c10::TensorImpl* parameter_below(
    const Trace& trace, const NodeOutput& map) {
  const Mark* last = nullptr;
  std::unordered_set<NodeOutput, NodeOutputHash> seen;
  std::vector<NodeOutput> stack{map};
  while (!stack.empty()) {
    const NodeOutput key = stack.back();
    stack.pop_back();
    const Mark* mark = trace.find(key);
    if (mark == nullptr || !seen.insert(key).second) {
      continue;
    }
    if (mark->parameter == nullptr) {
      stack.insert(stack.end(), mark->parents.begin(), mark->parents.end());
    } else if (
        last == nullptr ||
        last->node->sequence_nr() < mark->node->sequence_nr()) {
      last = mark;
    }
  }
  return last == nullptr ? nullptr : last->parameter;
}

}  // namespace cyborg::detail
