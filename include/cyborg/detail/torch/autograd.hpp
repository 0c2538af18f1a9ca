// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The autograd graph: its nodes, edges and leaves, torch::autograd::grad, and
// nodes of our own for functions that a kernel computes.

#include <cyborg/detail/torch/tensor.hpp>

// See detail/torch/tensor.hpp.
#pragma push_macro("AT_PER_OPERATOR_HEADERS")
#undef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#include <torch/csrc/autograd/autograd.h>  // grad
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/basic_ops.h>  // NotImplemented
#include <torch/csrc/autograd/functions/tensor.h>     // CopySlices
#include <torch/csrc/autograd/saved_variable.h>
#pragma pop_macro("AT_PER_OPERATOR_HEADERS")

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// A node of the autograd graph. The type of the pointer to a node differs
/// between versions of LibTorch: first shared_ptr, later intrusive_ptr.
using Node = torch::autograd::Node;
using NodePtr = std::decay_t<decltype(std::declval<torch::Tensor>().grad_fn())>;

/// The node at which a graph ends in a leaf, whose `variable` is the leaf; null
/// for any other node.
inline const torch::autograd::AccumulateGrad* as_leaf(const Node* node) {
  return dynamic_cast<const torch::autograd::AccumulateGrad*>(node);
}

/// The beginning of the names of the nodes that record our kernels. The hook
/// recognises them by it.
constexpr const char* kKernelNodePrefix = "cyborg::";

/// What a kernel's derivative needs is a struct of tensors with names. Its
/// member `all()` lists them, so that a node can save and restore them:
///
///     struct Saved {
///       torch::Tensor features, weight;
///       std::array<torch::Tensor*, 2> all() { return {&features, &weight}; }
///     };
///
/// This one is for a derivative that needs nothing.
struct NothingSaved {
  std::array<torch::Tensor*, 0> all() { return {}; }
};

/// The autograd node of a function that a kernel computes. It does what
/// torch::autograd::Function does. That class is not used, because its header
/// includes the compiler of graphs, which is slow to compile.
///
/// Invariants: `release_variables` frees the saved tensors, and a backward
/// after that throws what LibTorch's nodes throw. Backward passes of several
/// threads run one after the other.
template <class Saved>
class KernelNode : public Node {
 public:
  /// Keeps the tensors of `inputs`. None of them may be an output of this node:
  /// node and output would keep each other alive.
  void save(Saved inputs) {
    const auto tensors = inputs.all();
    saved_.reserve(tensors.size());
    for (const torch::Tensor* tensor : tensors) {
      saved_.emplace_back(*tensor, /*is_output=*/false);
    }
  }

  /// Called by LibTorch after a backward that does not retain the graph.
  void release_variables() final {
    const std::lock_guard<std::mutex> lock(mutex_);
    saved_.clear();
    released_ = true;
  }

 protected:
  /// The gradients of the inputs, one for each edge, from those of the outputs.
  /// An undefined gradient means zero.
  virtual std::vector<torch::Tensor> gradients(
      const Saved& saved, const std::vector<torch::Tensor>& grads) = 0;

 private:
  /// Called by LibTorch's engine. Unpacks what was saved, makes the gradients
  /// readable for a kernel, and calls `gradients`.
  std::vector<torch::Tensor> apply(std::vector<torch::Tensor>&& grads) final {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(!released_, torch::autograd::ERR_BACKWARD_TWICE);
    Saved saved;
    const auto tensors = saved.all();
    for (size_t i = 0; i < tensors.size(); ++i) {
      *tensors[i] = saved_[i].unpack();
    }
    std::vector<torch::Tensor> tangents(grads.size());
    bool forward_mode = false;
    for (size_t i = 0; i < grads.size(); ++i) {
      if (grads[i].defined()) {
        tangents[i] = grads[i]._fw_grad(/*level=*/0);
        forward_mode |= tangents[i].defined();
        grads[i] = resolved_contiguous(grads[i]);
      }
    }
    std::vector<torch::Tensor> found = gradients(saved, grads);
    if (forward_mode && !at::GradMode::is_enabled()) {
      add_tangents(saved, tangents, found);
    }
    return found;
  }

  /// Forward mode over this backward: operators carry tangents along, kernels
  /// do not. A backward is linear in the gradients that it receives. So the
  /// tangents of its results are the same backward, applied to the tangents
  /// that it receives.
  void add_tangents(
      const Saved& saved, std::vector<torch::Tensor>& tangents,
      std::vector<torch::Tensor>& found) {
    for (torch::Tensor& tangent : tangents) {
      tangent = tangent.defined() ? resolved_contiguous(tangent) : tangent;
    }
    const auto slopes = gradients(saved, tangents);
    for (size_t i = 0; i < found.size(); ++i) {
      if (found[i].defined() && slopes[i].defined() &&
          !found[i]._fw_grad(/*level=*/0).defined()) {
        found[i]._set_fw_grad(slopes[i], /*level=*/0, /*is_inplace_op=*/false);
      }
    }
  }

  std::vector<torch::autograd::SavedVariable> saved_;
  bool released_ = false;
};

/// Moves a node into the pointer type by which the graph holds its nodes.
template <class Pointer = NodePtr>
Pointer held(std::unique_ptr<Node> node) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) {
    // LibTorch's deleter frees a deep graph without recursion.
    return Pointer(node.release(), [](auto* last) { deleteNode(last); });
  } else {
    return Pointer(std::move(node));
  }
}

/// Whether a function of `inputs` has to be recorded on the graph.
inline bool is_recorded(const std::vector<torch::Tensor>& inputs) {
  return at::GradMode::is_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const auto& input) {
           return input.defined() && input.requires_grad();
         });
}

/// Puts the node `made` on the graph, between `inputs` and `outputs`. The
/// outputs were computed from the inputs while nothing was recorded. The node
/// keeps `saved`, which holds none of the outputs.
template <class Made, class Saved>
void record(
    std::unique_ptr<Made> made, const std::vector<torch::Tensor>& inputs,
    const std::vector<torch::Tensor>& outputs, Saved saved) {
  made->set_next_edges(torch::autograd::collect_next_edges(inputs));
  made->save(std::move(saved));
  const NodePtr node = held(std::move(made));
  for (const torch::Tensor& output : outputs) {
    torch::autograd::impl::set_gradient_edge(
        output, {node, node->add_input_metadata(output)});
  }
}

}  // namespace cyborg::detail
