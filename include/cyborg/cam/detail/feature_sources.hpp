// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Which maps a result of the network comes from, and why none was found.

#include <cyborg/cam/detail/trace.hpp>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace cyborg::detail {

/// The traced value of `result`, or null where it has no graph.
inline const TracedValue* value_of(Trace& trace, const torch::Tensor& result) {
  if (!result.requires_grad() || !result.grad_fn()) {
    return nullptr;
  }
  const torch::autograd::Edge edge(
      result.grad_fn(), static_cast<uint32_t>(result.output_nr()));
  return &trace.value_of(edge);
}

/// The maps of `value`, as indices into `trace.sources`, without gates: maps of
/// one channel next to maps of several. Such a map holds the weights of an
/// attention pooling, and is not what is pooled.
inline std::vector<int> feature_sources(
    const Trace& trace, const TracedValue& value) {
  std::vector<int> ids = value.sources;
  const auto gate = [&](int id) {
    return trace.sources[static_cast<size_t>(id)].channels.empty();
  };
  if (!std::all_of(ids.begin(), ids.end(), gate)) {
    ids.erase(std::remove_if(ids.begin(), ids.end(), gate), ids.end());
  }
  return ids;
}

/// Maps as an error lists them.
struct ListOfMaps {
  std::string text;  // a line for each map
  bool same_layer;   // whether all are of one layer, whose name is known
};

/// `name_of(key)` gives the name of a map's layer, or "".
template <class NameOf>
ListOfMaps list_of_maps(
    const Trace& trace, const std::vector<int>& ids, const NameOf& name_of) {
  std::ostringstream list;
  std::set<std::string> names;
  for (const int id : ids) {
    const auto& source = trace.sources[static_cast<size_t>(id)];
    const std::string name = name_of(source.key);
    names.insert(name);
    list << "\n  layer "
         << (name.empty() ? "(without a name)" : "'" + name + "'") << " ";
    if (source.tensor.defined()) {
      list << source.tensor.sizes();
    }
    list << " through " << source.op;
  }
  return {list.str(), names.size() == 1 && !names.begin()->empty()};
}

/// Why a collapsed value, in which positions are mixed, shows no map.
inline std::string why_tokens(const TracedValue& value) {
  if (contains(value.unknown, "DifferentiableGraph")) {
    return "a TorchScript module ran with graph optimisation, which hides its "
           "features from the second forward on. Give the hook the "
           "torch::jit::Module itself (include <cyborg/jit.hpp>), or run every "
           "forward, the first one included, under "
           "torch::jit::GraphOptimizerEnabledGuard(false)";
  }
  return "the logits come from tokens (a transformer, a recurrent or "
         "per-column "
         "layer works between the last map and the head; or " +
         (value.unknown.empty()
              ? "positions of the map were moved, or dimensions of equal size "
                "cannot be told apart"
              : "the hook does not know what " + value.unknown +
                    " does to the positions of a map") +
         "): there is no map [B, C, *S] to read. Name a convolutional layer "
         "with CamHookOptions().layer(name), or use capture(features)";
}

/// Why no features were found, and what the user can do. The likeliest reason
/// comes first: each test is right only when those before it did not apply.
inline std::string why_nothing(
    const Trace& trace, const torch::Tensor& logits) {
  if (trace.operators == 0) {
    return "no operator ran on this thread. Does the network run in another "
           "thread (std::thread, data_parallel)? Then give that thread its "
           "own hook, or use capture(features, weight)";
  }
  if (!trace.convolution && !trace.frozen_convolution &&
      !trace.single_position) {
    return "no convolution ran (a network without one has no map; one that "
           "runs in another thread or inside a checkpoint is not seen: use "
           "capture(features, weight))";
  }
  if ((!logits.requires_grad() || !trace.convolution) && trace.unfrozen) {
    return "the convolutions left no graph to follow, although gradients were "
           "off outside and the hook made all registered parameters require "
           "them. Are weights not registered as parameters (buffers, plain "
           "tensors, a torch::jit member of a native module), or are "
           "gradients off inside the callable (a NoGradGuard in predict())? "
           "Call what is inside such a guard, or use "
           "capture(features, weight)";
  }
  if (!logits.requires_grad() || !trace.convolution) {
    return "the convolutions left no graph to follow: their parameters are "
           "frozen, or gradients are off inside the callable. Unfreeze the "
           "last block, run a frozen network under torch::NoGradGuard "
           "outside hook.forward, or use capture(features, weight)";
  }
  if (trace.elsewhere) {
    return "the convolutions that the logits come from were not observed: "
           "they ran in another thread (std::thread, data_parallel) or "
           "inside a checkpoint. Give that thread its own hook, or use "
           "capture(features, weight)";
  }
  if (trace.single_position) {
    return "the convolutions that the logits come from have a single "
           "position: there is no map to guide";
  }
  return "the logits do not come from the convolutions that ran on this "
         "thread";
}

}  // namespace cyborg::detail
