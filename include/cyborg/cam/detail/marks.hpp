// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/graph.hpp>

#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// What is known of one operator's output.
struct Mark {
  enum class Kind : uint8_t {
    kOther,      // not derived from a convolution
    kParameter,  // derived from parameters alone (weight norm, casts)
    kSpatial,    // a map: an activation with positions
    kLeft        // derived from a map, and no longer one
  };
  Kind kind = Kind::kOther;
  NodePtr node;         // held, so that its address stays its own
  torch::Tensor value;  // kParameter; of kLeft the mean, [B, C]
  // kSpatial
  WeakImpl map{c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>()};
  int64_t channel = 1;              // -1: unclear
  bool swapped = false;             // its parent with other axes
  std::vector<NodeOutput> parents;  // the maps it was made of
  // kSpatial and kLeft
  int64_t rank = 0;  // dimensions of the map
  // kLeft
  int64_t dims = 0;          // dimensions of what is left
  std::string op;            // the operators that took the positions
  std::vector<int> sources;  // indices into Trace::sources
  bool open = false;         // several positions are still there
  bool tokens = false;       // parameters worked on open positions
  bool linear = false;       // nothing but means, views, dropout, casts
  bool averaged = false;     // a mean was among them
  std::string hidden;        // a custom function whose map was read
  // One of the parameters it was made with; of kParameter, made of.
  const c10::TensorImpl* parameter = nullptr;
  // kParameter
  bool of_layer = false;   // of the layer that was named
  bool of_others = false;  // of another one

  torch::Tensor tensor() const {
    auto impl = map.lock();
    return impl.defined() ? torch::Tensor(std::move(impl)) : torch::Tensor();
  }
};

/// A map that lost its positions, and the operator it lost them to.
struct Source {
  torch::Tensor tensor;  // undefined: freed before it could be held
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

inline Source make_source(
    const torch::Tensor& tensor, const NodeOutput& key, std::string_view op,
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

/// What a guided head made of a map.
struct HeadMaps {
  NodeOutput features;
  torch::Tensor weight;  // [K, C]
  torch::Tensor maps;    // [B, K, *S]
};

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

}  // namespace cyborg::detail
