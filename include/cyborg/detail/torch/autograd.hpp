// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The graph of autograd: nodes, edges, leaves, torch::autograd::grad and
// functions of one's own.

#include <cyborg/detail/torch/tensor.hpp>

// See detail/torch/tensor.hpp.
#pragma push_macro("AT_PER_OPERATOR_HEADERS")
#undef AT_PER_OPERATOR_HEADERS
#define AT_PER_OPERATOR_HEADERS
#include <torch/csrc/autograd/autograd.h>  // grad
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/saved_variable.h>
#pragma pop_macro("AT_PER_OPERATOR_HEADERS")

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The autograd graph's node; the pointer's type differs between LibTorch
/// versions (shared_ptr, later intrusive_ptr).
using Node = torch::autograd::Node;
using NodePtr = std::decay_t<decltype(std::declval<torch::Tensor>().grad_fn())>;

/// The node that ends a graph at a leaf, its `variable`; else nullptr.
inline const torch::autograd::AccumulateGrad* as_leaf(const Node* node) {
  return dynamic_cast<const torch::autograd::AccumulateGrad*>(node);
}

/// The node of a function with kernels of its own: torch::autograd::Function
/// without what its header includes, the compiler of graphs and its values.
class KernelNode : public Node {
 public:
  /// How the names of such nodes begin.
  static constexpr const char* kNames = "cyborg::";

  void save(const std::vector<torch::Tensor>& inputs) {
    saved_.reserve(inputs.size());
    for (const torch::Tensor& input : inputs) {
      saved_.emplace_back(input, /*is_output=*/false);
    }
  }

  void release_variables() final {
    const std::lock_guard<std::mutex> lock(mutex_);
    saved_.clear();
    released_ = true;
  }

 protected:
  /// The gradients of the inputs, one for each edge, from those of the outputs
  /// (undefined: zero).
  virtual std::vector<torch::Tensor> gradients(
      const std::vector<torch::Tensor>& saved,
      const std::vector<torch::Tensor>& grads) = 0;

 private:
  std::vector<torch::Tensor> apply(std::vector<torch::Tensor>&& grads) final {
    const std::lock_guard<std::mutex> lock(mutex_);
    TORCH_CHECK(!released_, torch::autograd::ERR_BACKWARD_TWICE);
    std::vector<torch::Tensor> saved;
    saved.reserve(saved_.size());
    for (const auto& one : saved_) {
      saved.push_back(one.unpack());
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
      // Operators carry tangents on, kernels do not; and what is linear is its
      // own derivative.
      for (torch::Tensor& tangent : tangents) {
        tangent = tangent.defined() ? resolved_contiguous(tangent) : tangent;
      }
      const auto slopes = gradients(saved, tangents);
      for (size_t i = 0; i < found.size(); ++i) {
        if (found[i].defined() && slopes[i].defined() &&
            !found[i]._fw_grad(/*level=*/0).defined()) {
          found[i]._set_fw_grad(
              slopes[i], /*level=*/0, /*is_inplace_op=*/false);
        }
      }
    }
    return found;
  }

  std::vector<torch::autograd::SavedVariable> saved_;
  bool released_ = false;
};

/// A node as the graph holds it.
template <class Pointer = NodePtr>
Pointer held(std::unique_ptr<Node> node) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) {
    // LibTorch's own, without recursion along a deep graph.
    return Pointer(node.release(), [](auto* last) { deleteNode(last); });
  } else {
    return Pointer(std::move(node));
  }
}

/// Whether a function of `inputs` is recorded on the graph.
inline bool is_recorded(const std::vector<torch::Tensor>& inputs) {
  return at::GradMode::is_enabled() &&
         std::any_of(inputs.begin(), inputs.end(), [](const auto& input) {
           return input.defined() && input.requires_grad();
         });
}

/// Puts `made` on the graph, between `inputs` and `outputs`, the tensors that
/// were made of them while nothing was recorded. It keeps `saved`, of which
/// none is an output.
inline void record(
    std::unique_ptr<KernelNode> made, const std::vector<torch::Tensor>& inputs,
    const std::vector<torch::Tensor>& outputs,
    const std::vector<torch::Tensor>& saved) {
  made->set_next_edges(torch::autograd::collect_next_edges(inputs));
  made->save(saved);
  const NodePtr node = held(std::move(made));
  for (const torch::Tensor& output : outputs) {
    torch::autograd::impl::set_gradient_edge(
        output, {node, node->add_input_metadata(output)});
  }
}

}  // namespace cyborg::detail
