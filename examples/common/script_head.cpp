// SPDX-License-Identifier: BSD-3-Clause
#include "script_head.hpp"

#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <unordered_set>
#include <vector>

namespace programs {

namespace {

/// Sets a parameter by its dotted name, "features.conv.weight".
void set_parameter(
    torch::jit::Module module, const std::string& name,
    const torch::Tensor& value) {
  size_t begin = 0;
  for (size_t dot = name.find('.'); dot != std::string::npos;
       dot = name.find('.', begin)) {
    module = module.attr(name.substr(begin, dot - begin)).toModule();
    begin = dot + 1;
  }
  module.setattr(name.substr(begin), value);
}

/// A parameter that is drawn as LibTorch draws those of linear layers.
torch::Tensor drawn_parameter(std::vector<int64_t> sizes, int64_t inputs) {
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  return torch::empty(sizes).uniform_(-bound, bound).requires_grad_();
}

/// The weight [K, ...] that is nearest to logits [B, K] on their graph: the
/// last layer's. Undefined where there is none.
torch::Tensor last_weight(const torch::Tensor& logits) {
  using torch::autograd::Node;
  std::vector<Node*> found = {logits.grad_fn().get()};
  std::unordered_set<Node*> seen = {nullptr};
  for (size_t i = 0; i < found.size(); ++i) {  // the nearest first
    if (!seen.insert(found[i]).second) {
      continue;
    }
    if (auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(found[i])) {
      if (leaf->variable.dim() >= 2 &&
          leaf->variable.size(0) == logits.size(1)) {
        return leaf->variable;
      }
    }
    for (const auto& edge : found[i]->next_edges()) {
      found.push_back(edge.function.get());
    }
  }
  return {};
}

}  // namespace

bool replace_head(
    torch::jit::Module& module, const torch::Tensor& logits, int64_t classes) {
  const auto weight = logits.dim() == 2 ? last_weight(logits) : torch::Tensor();
  const auto parameters = module.named_parameters();
  for (const auto& parameter : parameters) {
    if (!weight.is_same(parameter.value)) {
      continue;
    }
    auto sizes = weight.sizes().vec();
    const int64_t inputs = weight[0].numel();
    sizes[0] = classes;
    set_parameter(module, parameter.name, drawn_parameter(sizes, inputs));
    const auto place = parameter.name.rfind("weight");
    for (const auto& other : parameters) {
      if (place != std::string::npos &&
          other.name == parameter.name.substr(0, place) + "bias") {
        set_parameter(module, other.name, drawn_parameter({classes}, inputs));
      }
    }
    return true;
  }
  return false;
}

}  // namespace programs
