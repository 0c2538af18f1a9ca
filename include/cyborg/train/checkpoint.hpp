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

// Files from which a training can continue and a model can be used: reading and
// writing them, and the state of a module and of an optimizer as tensors.

namespace cyborg::train {

/// Tensors with the names that Python's `state_dict` gives them, in its order.
using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// The content of one file: texts (for example settings, as JSON) and groups of
/// named tensors (for example "model" and "optimizer").
///
/// The file is a pickled dictionary in a zip archive, the format of
/// `torch.save`, so that Python reads it with `torch.load(path)`:
/// `{"texts": {name: str}, "tensors": {group: {name: tensor}}}`.
struct Checkpoint {
  std::map<std::string, std::string> texts;     ///< by name
  std::map<std::string, NamedTensors> tensors;  ///< by the name of the group
};

namespace detail {

/// The tensors as a dictionary that can be pickled. A view or a tensor of a GPU
/// would be read back as such, so each is a contiguous tensor on the CPU.
inline c10::IValue dictionary_of(const NamedTensors& tensors) {
  c10::Dict<std::string, torch::Tensor> out;
  for (const auto& [name, tensor] : tensors) {
    out.insert(name, tensor.detach().to(at::kCPU).contiguous());
  }
  return out;
}

/// Throws the error of `load_checkpoint`.
[[noreturn]] inline void bad_checkpoint(
    const std::filesystem::path& path, const std::string& reason) {
  throw io::FileError("cyborg::train::load_checkpoint", path, reason);
}

/// The value of a name in the dictionary that was read from `path`.
inline const c10::IValue& entry(
    const c10::impl::GenericDict& dictionary, const char* name,
    const std::filesystem::path& path) {
  for (const auto& item : dictionary) {
    if (item.key().isString() && item.key().toStringRef() == name) {
      return item.value();
    }
  }
  bad_checkpoint(
      path, std::string("has no entry \"") + name +
                "\": it is not a checkpoint that cyborg wrote");
}

}  // namespace detail

/// Writes a checkpoint.
///
/// The data go to a temporary file, which then gets the name `path`. So even
/// after a crash or on a full disk, `path` is the old file or the new one, and
/// never a part of one.
/// Throws: `io::FileError` for a file that cannot be written.
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

/// Reads a checkpoint that `save_checkpoint` wrote. The tensors are on the CPU.
///
/// Throws: `io::FileError` for a file that is missing or damaged, and for one
/// that this library did not write.
/// Example:
///     const auto checkpoint = cyborg::train::load_checkpoint("last.pt");
///     cyborg::train::load_state(
///         cyborg::train::state_of(*net), checkpoint.tensors.at("model"));
inline Checkpoint load_checkpoint(const std::filesystem::path& path) {
  const auto bytes = io::read_file(
      path, std::numeric_limits<uint64_t>::max(),
      "cyborg::train::load_checkpoint");
  c10::IValue value;
  try {
    value = torch::jit::pickle_load({bytes.begin(), bytes.end()});
  } catch (const std::exception&) {  // its text is about the format of pickle
    detail::bad_checkpoint(path, "is damaged, or is not a checkpoint");
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
