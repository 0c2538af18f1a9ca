// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the hook writes down during a forward pass. `Trace` fills in these
// types, `provenance.hpp` and `finder.hpp` read them. They hold data only.

#include <cyborg/cam/detail/graph.hpp>

#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// What is known about one output of one operator.
///
/// Each mark is made from the marks of the outputs that the operator read, so
/// it summarises the whole way from the pictures to here. A mark is written
/// once and not changed afterwards. Which members are used depends on `kind`;
/// the comments say for which kinds.
struct Mark {
  enum class Kind : uint8_t {
    kOther,      // not derived from a convolution
    kParameter,  // derived from parameters alone (weight norm, casts)
    kSpatial,    // a map: an activation with positions
    kLeft        // made of maps, but not a map any more: it "left space"
  };
  Kind kind = Kind::kOther;
  // Held so that no later node can get the same address (see NodeOutput).
  NodePtr node;
  // kParameter: the value. kLeft: the mean [B, C] where there is one.
  torch::Tensor value;

  // kSpatial only.
  // Weak, because a trace of strong references would keep every activation of
  // the network in memory.
  WeakImpl map{c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>()};
  int64_t channel = 1;              // the channels' dimension; -1: unclear
  bool swapped = false;             // its parent, with axes in another order
  std::vector<NodeOutput> parents;  // the maps that it was made of

  // kSpatial and kLeft: the number of dimensions of the map.
  int64_t rank = 0;

  // kLeft only.
  int64_t dims = 0;          // the number of dimensions of this output
  std::string op;            // the operators that took the positions away
  std::vector<int> sources;  // indices into Trace::sources: from which maps
  bool open = false;         // it still has several positions ([B, C, L])
  bool tokens = false;       // parameters were applied to open positions
  bool linear = false;       // only means, views, dropout and casts so far
  bool averaged = false;     // `linear`, with a mean among them
  std::string hidden;        // the custom function that made the map, if any

  // kParameter: one of the parameters that it is derived from. Other kinds: one
  // of the parameters that the operator read, or null.
  const c10::TensorImpl* parameter = nullptr;

  // kParameter only.
  bool of_layer = false;   // derived from a parameter of the named layer
  bool of_others = false;  // derived from a parameter of another layer

  /// The map itself, or an undefined tensor when it has been freed.
  torch::Tensor tensor() const {
    auto impl = map.lock();
    return impl.defined() ? torch::Tensor(std::move(impl)) : torch::Tensor();
  }
};

/// A map that an operator collapsed, and what collapsed it. These are the
/// candidates for "the features that the logits come from".
///
/// It holds the tensor, and with it the map's memory. A network has few of
/// these, usually one.
struct Source {
  torch::Tensor tensor;  // undefined when it was freed before it could be held
  NodeOutput key;        // the identity of the map when it was collapsed
  std::string op;        // the operator that collapsed it
  int64_t channel = 1;   // the channels' dimension; -1: unclear
  int64_t version = 0;   // the tensor's version counter at that time

  /// Whether an in-place operator changed the tensor since. It gives the tensor
  /// another node (when applied to the whole) or another version (to a slice).
  bool overwritten() const {
    return !(node_output(tensor) == key) ||
           static_cast<int64_t>(tensor._version()) != version;
  }
};

/// `tensor` may be undefined; its version is then 0.
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

/// The class activation maps that a `GuidedHead` made during the forward pass.
/// An `Observation` takes them over, so that they are not computed twice.
struct HeadMaps {
  NodeOutput features;   // the map that the head read
  torch::Tensor weight;  // [K, C], the head's own tensor
  torch::Tensor maps;    // [B, K, *S], of all classes
};

/// The layer that `CamHookOptions::layer` names, and what it returned.
///
/// C++ modules report neither their beginning nor their end. A layer's
/// output is therefore the last map made with its parameters; if the layer
/// has submodules, then also what operators without parameters made of it
/// at the same size: the residual sum and the ReLU that end a block, plus
/// as many pooling steps as the layer registers behind its parameters.
struct NamedLayer {
  // What `Finder` knows before the run.
  bool wanted = false;     // false: no layer was named, the rest is unused
  bool leaf = false;       // no submodules: exactly the operator's output
  int trailing_pools = 0;  // poolings registered behind its last parameters
  std::unordered_set<const c10::TensorImpl*> parameters;  // also of submodules

  // What `Trace::follow_layer` finds out during the run.
  bool ran = false;     // an operator used one of the parameters
  bool closed = false;  // something outside read the output: the layer is over
  int pools_left = 0;   // trailing poolings that have not run yet
  Source output;        // the layer's output as far as it is known
  std::vector<NodeOutput> inputs;  // the maps from outside that the layer read
  std::unordered_set<NodeOutput, NodeOutputHash> inside;  // outputs so far
};

}  // namespace cyborg::detail
