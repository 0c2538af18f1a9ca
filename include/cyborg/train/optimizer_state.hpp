// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/train/state.hpp>

#include <c10/util/Exception.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

// The state of an optimizer as tensors with names.

namespace cyborg::train {

namespace detail {

/// Calls `f(name, tensor)` for each tensor that an optimizer keeps for one
/// parameter. The names are those of Python's `torch.optim`. The number of
/// steps of Adam is an integer; here it is a tensor, too.
template <class F>
void each_state(torch::optim::OptimizerParamState& state, const F& f) {
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) {
    f("momentum_buffer", sgd->momentum_buffer());
    return;
  }
  const auto adam = [&](auto& each) {
    f("exp_avg", each.exp_avg());
    f("exp_avg_sq", each.exp_avg_sq());
    f("max_exp_avg_sq", each.max_exp_avg_sq());
    f("step", at::scalar_tensor(each.step(), at::kLong));
  };
  if (auto* one = dynamic_cast<torch::optim::AdamParamState*>(&state)) {
    adam(*one);
  } else if (auto* two = dynamic_cast<torch::optim::AdamWParamState*>(&state)) {
    adam(*two);
  } else {
    TORCH_CHECK(
        false,
        "cyborg::train::state_of: expected an optimizer of type SGD, Adam or "
        "AdamW, got another one");
  }
}

}  // namespace detail

/// The state of an SGD, Adam or AdamW optimizer, such as its momentum. A name
/// is the number of the parameter and the name of the value:
/// "0.momentum_buffer".
///
/// `torch::save` is not used, because it names parameters by their addresses:
/// the same state would give another file in every run.
/// Throws: `c10::Error` for an optimizer of another type.
/// Example:
///     checkpoint.tensors["optimizer"] = cyborg::train::state_of(optimizer);
inline NamedTensors state_of(torch::optim::Optimizer& optimizer) {
  NamedTensors out;
  size_t number = 0;
  for (const auto& group : optimizer.param_groups()) {
    for (const auto& parameter : group.params()) {
      const auto prefix = std::to_string(number++) + ".";
      const auto state =
          optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (state != optimizer.state().end()) {
        detail::each_state(
            *state->second, [&](const char* name, const torch::Tensor& tensor) {
              if (tensor.defined()) {
                out.emplace_back(prefix + name, tensor);
              }
            });
      }
    }
  }
  return out;
}

/// Gives an optimizer the state that `state_of` returned for another one of the
/// same type, over the same parameters in the same order. The options, such as
/// the learning rate, do not change.
///
/// Throws: `c10::ValueError` for the state of another type of optimizer, and
/// where the number or the shapes of the parameters differ.
/// Example:
///     cyborg::train::load_state(
///         optimizer, checkpoint.tensors.at("optimizer"));
inline void load_state(
    torch::optim::Optimizer& optimizer, const NamedTensors& from) {
  std::map<std::string, torch::Tensor> found(from.begin(), from.end());
  const auto take = [&](const std::string& name, const torch::Tensor& like) {
    const auto at = found.find(name);
    if (at == found.end()) {
      return torch::Tensor();
    }
    torch::Tensor out = at->second.clone();
    TORCH_CHECK_VALUE(
        !like.defined() || out.dim() == 0 || out.sizes() == like.sizes(),
        "cyborg::train::load_state: expected \"", name, "\" ", like.sizes(),
        ", got ", out.sizes());
    found.erase(at);
    return like.defined() && out.dim() > 0 ? out.to(like.device()) : out;
  };
  size_t number = 0;
  for (auto& group : optimizer.param_groups()) {
    for (const auto& parameter : group.params()) {
      const auto prefix = std::to_string(number++) + ".";
      const auto set_adam = [&](auto state) {
        const auto step = take(prefix + "step", {});
        if (!step.defined()) {
          return;
        }
        state->step(step.template item<int64_t>());
        state->exp_avg(take(prefix + "exp_avg", parameter));
        state->exp_avg_sq(take(prefix + "exp_avg_sq", parameter));
        state->max_exp_avg_sq(take(prefix + "max_exp_avg_sq", parameter));
        optimizer.state()[parameter.unsafeGetTensorImpl()] = std::move(state);
      };
      if (dynamic_cast<torch::optim::AdamW*>(&optimizer) != nullptr) {
        set_adam(std::make_unique<torch::optim::AdamWParamState>());
      } else if (dynamic_cast<torch::optim::Adam*>(&optimizer) != nullptr) {
        set_adam(std::make_unique<torch::optim::AdamParamState>());
      } else if (auto buffer = take(prefix + "momentum_buffer", parameter);
                 buffer.defined()) {
        auto state = std::make_unique<torch::optim::SGDParamState>();
        state->momentum_buffer(std::move(buffer));
        optimizer.state()[parameter.unsafeGetTensorImpl()] = std::move(state);
      }
    }
  }
  TORCH_CHECK_VALUE(
      found.empty(),
      "cyborg::train::load_state: expected the state of an optimizer of this "
      "type with ",
      number, " parameters, got also \"",
      found.empty() ? std::string() : found.begin()->first, "\"");
}

}  // namespace cyborg::train
