// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

// The state of a module as tensors with names.

namespace cyborg::train {

/// Tensors with the names that Python's `state_dict` gives them, in its order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// The parameters of a module, then its buffers. They share memory with the
/// module, so `load_state` can write to them.
inline NamedTensors state_of(const torch::nn::Module& module) {
  NamedTensors state;
  for (const auto& parameter : module.named_parameters()) {
    state.emplace_back(parameter.key(), parameter.value());
  }
  for (const auto& buffer : module.named_buffers()) {
    state.emplace_back(buffer.key(), buffer.value());
  }
  return state;
}

/// The differences between the state of a model and a state that was loaded.
struct StateMismatch {
  std::vector<std::string> missing;     ///< in the model only
  std::vector<std::string> unexpected;  ///< in the loaded state only
  std::vector<std::string> shapes;      ///< "name: expected [..], got [..]"

  /// Whether the two states have the same names and shapes.
  bool empty() const {
    return missing.empty() && unexpected.empty() && shapes.empty();
  }
  /// One line for each difference.
  std::string text() const {
    std::string out;
    const auto list = [&](const char* what, const auto& names) {
      for (const auto& name : names) {
        out += std::string(what) + name + "\n";
      }
    };
    list("missing: ", missing);
    list("not used: ", unexpected);
    list("of another shape: ", shapes);
    return out;
  }
};

/// Copies each tensor of `from` to the tensor of `to` that has the same name
/// and the same shape. Returns what was not copied.
///
/// `to` are the tensors of a model itself, as `state_of` lists them. Types and
/// devices may differ: values are converted.
/// Gradient: none.
/// Example:
///     const auto mismatch = cyborg::train::load_state(
///         cyborg::train::state_of(*net), checkpoint.tensors.at("model"));
///     TORCH_CHECK(mismatch.empty(), mismatch.text());
inline StateMismatch load_state(
    const NamedTensors& to, const NamedTensors& from) {
  const at::NoGradGuard no_grad;
  std::map<std::string, torch::Tensor> found(from.begin(), from.end());
  StateMismatch mismatch;
  for (const auto& [name, tensor] : to) {
    const auto source = found.find(name);
    if (source == found.end()) {
      mismatch.missing.push_back(name);
      continue;
    }
    if (source->second.sizes() != tensor.sizes()) {
      mismatch.shapes.push_back(
          name + ": expected " + c10::str(tensor.sizes()) + ", got " +
          c10::str(source->second.sizes()));
    } else {
      auto target = tensor;
      target.copy_(source->second);
    }
    found.erase(source);
  }
  for (const auto& [name, tensor] : from) {
    if (found.count(name) > 0) {
      mismatch.unexpected.push_back(name);
    }
  }
  return mismatch;
}

/// The names of the tensors that hold NaN or infinity, in their order. Undefined
/// tensors and whole numbers are finite.
///
/// A training that went wrong should keep its last good checkpoint. So call it
/// before `save_checkpoint`, with parameters and the optimizer's state. (Buffers
/// may hold infinity on purpose, as attention masks do.)
/// Example:
///     const auto names =
///         cyborg::train::not_finite(cyborg::train::state_of(*net));
///     TORCH_CHECK(names.empty(), names.front(), " is not finite");
inline std::vector<std::string> not_finite(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) {
    if (tensor.defined() &&
        (tensor.is_floating_point() || tensor.is_complex()) &&
        !at::isfinite(tensor).all().item<bool>()) {
      names.push_back(name);
    }
  }
  return names;
}

}  // namespace cyborg::train
