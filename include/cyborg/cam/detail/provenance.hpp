// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Reads a finished trace backwards, from the logits: which maps they come from,
// which linear head made them, and whether the class activation map is exact.
// `finder.hpp` puts the answers together and words the errors.

#include <cyborg/cam/detail/trace.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace cyborg::detail {

/// The linear operator that made the logits. All members are empty where the
/// logits were made by something else.
struct Head {
  torch::Tensor weight;         // [K, C], undefined without a head
  torch::Tensor bias;           // [K], undefined where there is none
  const Mark* input = nullptr;  // what the head read; null: unknown
};

/// The last answer of `is_mean`, for maps of `sizes`. The check reads values
/// and is therefore not repeated in every forward pass of a training run.
struct MeanCheck {
  std::vector<int64_t> sizes;
  bool holds = false;
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

/// The first value at or below `key` that no view made.
inline NodeOutput skip_views(NodeOutput key) {
  while (key.node != nullptr && is_view(key.node->name()) &&
         !key.node->next_edges().empty()) {
    key = edge_output(key.node->next_edges()[0]);
  }
  return key;
}

/// The value of a parameter, or of what was derived from parameters alone;
/// undefined when `key` is something else. Views and a transpose in between are
/// followed, since a linear layer multiplies by its weight transposed.
inline torch::Tensor parameter_on(const Trace& trace, const NodeOutput& key) {
  if (key.node == nullptr) {
    return {};
  }
  if (const Mark* mark = trace.find(key)) {
    return mark->kind == Mark::Kind::kParameter ? mark->value : torch::Tensor();
  }
  // No mark: a leaf, which no operator returned, or a view inside an operator
  // (`linear` transposes its weight itself).
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

/// The nearest mark at or below `key`, through views and casts; null when
/// something else is in between.
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

/// The head of `logits`: x W^T + b as LibTorch's nodes write it (Addmm, Mm and
/// Add, Linear), or a convolution with a window of one position. Weight and
/// bias must be parameters; a product of two activations is not a head.
inline Head head_of(const Trace& trace, const torch::Tensor& logits) {
  Head head;
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
  std::vector<int> sources;  // indices into Trace::sources, sorted, each once
  bool tokens = false;       // parameters were applied to open positions
  bool map = false;          // the logits themselves have positions
  std::string hidden;        // the custom function that made the map, if any
  std::string op;            // the operators that took the positions away
};

/// Walks from the logits down the graph to the marks of kind kLeft and
/// kSpatial. It does not pass them: a mark of kind kLeft knows its sources
/// already.
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
      // The map was read by something that reports nothing: a custom function.
      origin.map = key == node_output(logits);
      origin.op = logits.grad_fn()->name();
      origin.sources.push_back(trace.source_of(key, origin.op));
    } else if (mark == nullptr || mark->kind == Mark::Kind::kOther) {
      // Not made of maps, as far as is known: the walk goes on below it. Marks
      // of parameters end the walk.
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

/// The source's tensor must be defined and its channel dimension known.
inline int64_t channels_of(const Source& source) {
  return source.tensor.size(source.channel);
}

/// Removes the maps of one channel from `ids` if there are also maps of
/// several. Such a map is a gate: it holds the weights of an attention pooling
/// and is not what is pooled.
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

/// Whether `mark.value` is the mean of the map over all positions. This can
/// only be seen in the values: operators do not report over which dimensions
/// they average, and pooling does not report its window.
///
/// The tolerances allow for rounding in the network's type. A part relative to
/// the spread of the map separates the mean of all positions from that of most;
/// a part relative to the largest value covers the rounding of a large offset.
inline bool is_mean(const Mark& mark, const Source& source, MeanCheck& check) {
  const auto sizes = source.tensor.sizes().vec();
  if (check.sizes == sizes) {  // known from an earlier forward pass
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
  if (spread > 0) {  // any average of a constant map equals its mean
    check.sizes = sizes;
    check.holds = holds;
  }
  return holds;
}

/// Why CAM is not exact for these logits; empty where it is exact. `collapsed`
/// is what the head read (or, without a head, the logits' own mark).
inline std::string inexact(
    const Head& head, const Mark* collapsed, const Source& source,
    int64_t logit_count, MeanCheck& check) {
  if (collapsed == nullptr || collapsed->kind != Mark::Kind::kLeft) {
    return "no single linear operator reads the collapsed features";
  }
  if (!collapsed->linear || !collapsed->averaged) {
    return "there is more than a mean between the map and the head (" +
           collapsed->op + ", ...)";
  }
  // Without a head the logits are the means themselves, one for each channel.
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

/// The parameters between the logits and a map. The walk stops after
/// `kFarEnough` nodes, because only the name of a layer depends on it.
inline std::unordered_set<const c10::TensorImpl*> parameters_above(
    const torch::Tensor& logits, const NodeOutput& map) {
  constexpr size_t kFarEnough = 4000;
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

/// A parameter of the last layer with parameters on the way to `map`; null when
/// there is none. Only maps are followed, so the layers inside a gate do not
/// count: the vector of a squeeze-and-excitation block is not a map.
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
    if (mark->parameter == nullptr) {  // a ReLU, a sum: ask what it was made of
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
