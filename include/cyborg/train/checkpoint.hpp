// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/io/file.hpp>

#include <ATen/core/Dict.h>
#include <ATen/core/jit_type.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/nn/module.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// What a training leaves on the disk, so that it can go on or be used.

namespace cyborg::train {

/// Tensors with the names that a `state_dict` gives them, in its order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// One file: texts (settings, say, as JSON) and groups of named tensors.
///
/// On the disk it is a pickled dictionary in a zip archive, the format of
/// `torch.save`, so that Python reads it with `torch.load(path)`:
/// `{"texts": {name: str}, "tensors": {group: {name: tensor}}}`.
struct Checkpoint {
  std::map<std::string, std::string> texts;
  std::map<std::string, NamedTensors> tensors;
};

namespace detail {

inline c10::IValue dictionary_of(const NamedTensors& tensors) {
  c10::Dict<std::string, torch::Tensor> out;
  for (const auto& [name, tensor] : tensors) {
    out.insert(name, tensor.detach().to(at::kCPU).contiguous());
  }
  return out;
}

/// What is wrong with a checkpoint that was read, as one message.
[[noreturn]] inline void bad_checkpoint(
    const std::filesystem::path& path, const std::string& reason) {
  throw io::FileError("cyborg::train::load_checkpoint", path, reason);
}

inline const c10::IValue& entry(
    const c10::impl::GenericDict& dictionary, const char* name,
    const std::filesystem::path& path) {
  for (const auto& item : dictionary) {
    if (item.key().isString() && item.key().toStringRef() == name) {
      return item.value();
    }
  }
  bad_checkpoint(
      path, std::string("holds no \"") + name +
                "\": it is not a checkpoint that cyborg wrote");
}

}  // namespace detail

/// Writes a checkpoint, through a temporary name: a reader, or the next run
/// after a crash or on a full disk, finds the old file or the new one.
///
/// Throws: `io::FileError`.
/// Example:
///     cyborg::train::save_checkpoint(
///         "last.pt", {{{"settings", json}},
///                     {{"model", cyborg::train::state_of(*net)}}});
inline void save_checkpoint(
    const std::filesystem::path& path, const Checkpoint& checkpoint) {
  c10::Dict<std::string, std::string> texts;
  for (const auto& [name, text] : checkpoint.texts) {
    texts.insert(name, text);
  }
  c10::Dict<std::string, c10::Dict<std::string, torch::Tensor>> groups;
  for (const auto& [name, tensors] : checkpoint.tensors) {
    groups.insert(
        name, c10::impl::toTypedDict<std::string, torch::Tensor>(
                  detail::dictionary_of(tensors).toGenericDict()));
  }
  c10::impl::GenericDict all(c10::StringType::get(), c10::AnyType::get());
  all.insert("texts", texts);
  all.insert("tensors", groups);
  const std::vector<char> bytes = torch::jit::pickle_save(all);
  io::write_file(
      path, {bytes.data(), bytes.size()}, "cyborg::train::save_checkpoint");
}

/// Reads what `save_checkpoint` wrote; the tensors are on the CPU.
///
/// Throws: `io::FileError` for a file that is missing, damaged, or no
/// checkpoint of this library.
inline Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const auto bytes = io::read_file(
      path, std::numeric_limits<uint64_t>::max(),
      "cyborg::train::load_checkpoint");
  c10::IValue value;
  try {
    value = torch::jit::pickle_load({bytes.begin(), bytes.end()});
  } catch (const std::exception&) {  // its text speaks of pickle's insides
    detail::bad_checkpoint(path, "is damaged, or no checkpoint");
  }
  if (!value.isGenericDict()) {
    detail::bad_checkpoint(path, "is not a checkpoint that cyborg wrote");
  }
  const auto all = value.toGenericDict();
  Checkpoint out;
  const auto& texts = detail::entry(all, "texts", path);
  const auto& groups = detail::entry(all, "tensors", path);
  try {
    for (const auto& text : texts.toGenericDict()) {
      out.texts[text.key().toStringRef()] = text.value().toStringRef();
    }
    for (const auto& group : groups.toGenericDict()) {
      auto& tensors = out.tensors[group.key().toStringRef()];
      for (const auto& one : group.value().toGenericDict()) {
        tensors.emplace_back(one.key().toStringRef(), one.value().toTensor());
      }
    }
  } catch (const c10::Error&) {
    detail::bad_checkpoint(path, "is not a checkpoint that cyborg wrote");
  }
  return out;
}

/// A module's parameters, then its buffers. They share memory with it.
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

/// Where two states do not fit each other.
struct StateMismatch {
  std::vector<std::string> missing;     ///< wanted, but not there
  std::vector<std::string> unexpected;  ///< there, but not wanted
  std::vector<std::string> shapes;      ///< "name: expected [..], got [..]"

  bool empty() const {
    return missing.empty() && unexpected.empty() && shapes.empty();
  }
  /// All of it, a line each.
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

/// Copies by name, as far as names and shapes fit, and says what did not.
///
/// `to` are a model's own tensors, as `state_of` lists them. Types and devices
/// may differ: values are converted.
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

namespace detail {

/// Calls `f(name, tensor)` for each tensor of a parameter's state.
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
    torch::Tensor step = at::scalar_tensor(each.step(), at::kLong);
    f("step", step);
    each.step(step.item<int64_t>());
  };
  if (auto* one = dynamic_cast<torch::optim::AdamParamState*>(&state)) {
    adam(*one);
  } else if (auto* two = dynamic_cast<torch::optim::AdamWParamState*>(&state)) {
    adam(*two);
  } else {
    TORCH_CHECK(
        false,
        "cyborg::train: expected the state of SGD, Adam or AdamW, got that of "
        "another optimizer");
  }
}

}  // namespace detail

/// What an SGD, Adam or AdamW optimizer has gathered, by parameter: "0.step".
/// (LibTorch's own archive of it names parameters by their addresses, so that
/// no two are alike.)
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

/// Gives an optimizer of the same kind, over the same parameters in the same
/// order, what `state_of` said of another. Learning rates and the like are
/// options, and stay as they are.
///
/// Throws: `c10::ValueError` for the state of another kind or number.
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
      "kind over ",
      number, " parameters, got also \"",
      found.empty() ? std::string() : found.begin()->first, "\"");
}

}  // namespace cyborg::train
