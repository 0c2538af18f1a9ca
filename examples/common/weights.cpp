// SPDX-License-Identifier: BSD-3-Clause
#include "weights.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <vector>

namespace programs {

namespace {

using cyborg::train::NamedTensors;

/// The tensors of a dictionary whose keys are texts.
NamedTensors tensors_in(const c10::IValue& value) {
  NamedTensors out;
  if (value.isGenericDict()) {
    for (const auto& item : value.toGenericDict()) {
      if (item.key().isString() && item.value().isTensor()) {
        out.emplace_back(item.key().toStringRef(), item.value().toTensor());
      }
    }
  }
  return out;
}

/// The tensors of the dictionary that `value` holds under a known name, or of
/// `value` itself.
NamedTensors find_state(const c10::IValue& value) {
  if (value.isGenericDict()) {
    for (const char* name :
         {"state_dict", "model_state_dict", "model", "tensors"}) {
      for (const auto& item : value.toGenericDict()) {
        if (item.key().isString() && item.key().toStringRef() == name &&
            item.value().isGenericDict()) {
          return find_state(item.value());
        }
      }
    }
  }
  return tensors_in(value);
}

/// Removes the prefixes that wrappers of Python put before every name.
void remove_prefixes(NamedTensors& state) {
  for (const std::string prefix : {"module.", "_orig_mod.", "module."}) {
    if (std::all_of(state.begin(), state.end(), [&](const auto& one) {
          return one.first.compare(0, prefix.size(), prefix) == 0;
        })) {
      for (auto& one : state) {
        one.first.erase(0, prefix.size());
      }
    }
  }
}

}  // namespace

NamedTensors read_weights(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& reason) {
    throw cyborg::io::FileError("--weights", path, reason);
  };
  const auto bytes = cyborg::io::read_file(path, UINT64_MAX, "--weights");
  NamedTensors found;
  try {
    found = find_state(torch::jit::pickle_load({bytes.begin(), bytes.end()}));
  } catch (const std::exception&) {
    fail(fmt::format(
        "LibTorch cannot read it: it reads plain dictionaries of tensors. In "
        "Python: examples/export_weights.py {} weights.pt writes one",
        path.string()));
  }
  if (found.empty()) {
    fail("holds no tensors by name: expected a state_dict");
  }
  remove_prefixes(found);
  return found;
}

std::string load_weights(Network& network, const std::filesystem::path& path) {
  const auto state = network.state();
  const auto mismatch = cyborg::train::load_state(state, read_weights(path));
  const size_t absent = mismatch.missing.size() + mismatch.shapes.size();
  if (absent == state.size()) {
    throw cyborg::io::FileError(
        "--weights", path,
        "fits nothing of this network, whose tensors are called \"" +
            state.front().first + "\", ... The first difference:\n" +
            mismatch.text().substr(0, mismatch.text().find('\n')));
  }
  if (mismatch.empty()) {
    return "";
  }
  auto text = fmt::format(
      "{}: {} of {} tensors fit\n{}", path.string(), state.size() - absent,
      state.size(), mismatch.text());
  text.pop_back();  // the last end of line
  return text;
}

}  // namespace programs
