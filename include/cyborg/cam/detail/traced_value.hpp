// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the hook writes down about each value of a forward pass. `Trace` fills
// in these types; the other files read them. They hold data only.

#include <cyborg/cam/detail/axes_after.hpp>
#include <cyborg/cam/detail/graph.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// What is known about one output of one operator.
///
/// Each is made from the traced values that the operator read, so it summarises
/// the whole way from the pictures to here. It is written once and not changed
/// afterwards. Which members are used depends on `kind`; the comments say for
/// which kinds.
struct TracedValue {
  enum class Kind : uint8_t {
    kOther,      // not derived from a map
    kParameter,  // derived from parameters alone (weight norm, casts)
    kMap,        // a map: batch, channels and positions, each a dimension
    kCollapsed   // made of maps, but not a map: pooled, or its axes are mixed
  };
  Kind kind = Kind::kOther;
  // Held so that no later node can get the same address (see NodeOutput).
  NodePtr node;

  // kMap and kCollapsed: sizes, strides and axes.
  Layout layout;
  // kMap and kCollapsed. Weak, because a trace of strong references would keep
  // every activation of the network in memory.
  WeakImpl impl{
      c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>()};
  std::vector<NodeOutput> parents;  // the maps and collapsed values it read

  // kMap only: the dimensions in the order [batch, channel, *positions].
  Sizes order;
  bool view = false;  // its only parent, a map, perhaps in another order

  // kCollapsed only.
  std::string op;            // the operators that took the positions away
  int64_t call = 0;          // the call of the last one of them
  std::vector<int> sources;  // indices into Trace::sources: from which maps
  bool tokens = false;       // parameters were applied to values with places
  bool linear = false;       // only means, views, dropout and casts so far
  bool averaged = false;     // `linear`, with a mean among them
  int means = 0;             // how many averaging operators
  std::string unknown;       // an operator without a rule on the way, if any
  // Where `averaged` and no positions are left: a copy of the mean as it was
  // when the pooling operator ended, and its axes then.
  torch::Tensor pooled;
  Axes pooled_axes;
  // Where `averaged`: the tensor itself, which a head may read, and its version
  // counter. kParameter: the value.
  torch::Tensor value;
  int64_t version = 0;

  // All kinds but kMap.
  std::string hidden;       // the custom function that it comes from, if any
  bool unobserved = false;  // a convolution that did not report is behind it

  // kParameter: one of the parameters that it is derived from. Other kinds: one
  // of the parameters that the operator read, or null.
  const c10::TensorImpl* parameter = nullptr;

  // kParameter only.
  bool of_layer = false;   // derived from a parameter of the named layer
  bool of_others = false;  // derived from a parameter of another layer

  bool is_map() const { return kind == Kind::kMap; }
  bool is_collapsed() const { return kind == Kind::kCollapsed; }
  /// Whether it was made of maps, so that its axes are worth knowing.
  bool of_maps() const { return is_map() || is_collapsed(); }
  /// Whether some of its entries are, or may be, other places.
  bool open() const { return is_open(layout.axes); }

  /// The tensor, or an undefined one when it has been freed.
  torch::Tensor tensor() const {
    auto locked = impl.lock();
    return locked.defined() ? torch::Tensor(std::move(locked))
                            : torch::Tensor();
  }
};

/// A map that an operator collapsed, and what collapsed it: a candidate for
/// "the features that the logits come from".
///
/// It holds the tensor, and with it the map's memory. A network has few of
/// these, usually one.
struct FeatureMap {
  torch::Tensor tensor;  // undefined when it was freed before it could be held
  NodeOutput key;        // the identity of the map when it was collapsed
  std::string op;        // the operator that collapsed it
  Sizes order;           // its dimensions as [batch, channel, *positions]
  Axis channels;         // the axis of its channels
  int64_t version = 0;   // the tensor's version counter at that time

  /// Whether an in-place operator changed the tensor since. It gives the tensor
  /// another node (when applied to the whole) or another version (to a slice).
  bool overwritten() const {
    return !(node_output(tensor) == key) ||
           static_cast<int64_t>(tensor._version()) != version;
  }

  /// `some` with its dimensions in the order [B, C, *S]: the tensor itself
  /// where it has this order.
  torch::Tensor in_order(const torch::Tensor& some) const {
    for (size_t d = 0; d < order.size(); ++d) {
      if (order[d] != static_cast<int64_t>(d)) {
        return some.permute(order);
      }
    }
    return some;
  }
};

/// `tensor` may be undefined; its version is then 0.
inline FeatureMap make_feature_map(
    const torch::Tensor& tensor, const NodeOutput& key, std::string_view op,
    const TracedValue& value) {
  FeatureMap map;
  map.tensor = tensor;
  map.key = key;
  map.op = std::string(op);
  map.order = value.order;
  map.channels = value.layout.axes.dims[static_cast<size_t>(value.order[1])];
  map.version = tensor.defined() ? static_cast<int64_t>(tensor._version()) : 0;
  return map;
}

/// Holds the last few values: TorchScript's interpreter frees an operator's
/// inputs before it reports the operator's end.
class RecentTensors {
 public:
  void keep(const torch::Tensor& value) {
    ring_[next_++ % ring_.size()] = value;
  }

 private:
  std::array<torch::Tensor, 8> ring_;
  size_t next_ = 0;  // the entry that is written next
};

/// The class activation maps that a `GuidedHead` made during the forward pass.
/// An `Observation` takes them over, so that they are not computed twice.
struct HeadMaps {
  NodeOutput features;   // the map that the head read
  torch::Tensor weight;  // [K, C], the head's own tensor
  torch::Tensor maps;    // [B, K, *S], of all classes
};

}  // namespace cyborg::detail
