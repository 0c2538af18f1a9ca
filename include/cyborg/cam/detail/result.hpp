// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What a hook does with the result of the callable: it finds the logits in it,
// and detaches it for callers that have gradients off.

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/core/ivalue.h>

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The kinds of result types that the hook can take apart.
enum class ResultKind {
  kTensor,    // torch::Tensor
  kIValue,    // what a TorchScript module returns
  kSequence,  // std::vector of a kind
  kTuple,     // std::pair or std::tuple of kinds
  kOther      // anything else: needs a `logits_of`
};

/// The kind of T, known when the program is compiled.
template <class T>
struct result_kind {
  static constexpr ResultKind value =
      std::is_same_v<T, torch::Tensor> ? ResultKind::kTensor
      : std::is_same_v<T, c10::IValue> ? ResultKind::kIValue
                                       : ResultKind::kOther;
};
template <class T>
struct result_kind<std::vector<T>> {
  static constexpr ResultKind value = ResultKind::kSequence;
};
template <class A, class B>
struct result_kind<std::pair<A, B>> {
  static constexpr ResultKind value = ResultKind::kTuple;
};
template <class... T>
struct result_kind<std::tuple<T...>> {
  static constexpr ResultKind value = ResultKind::kTuple;
};

/// The logits in what a TorchScript module returned: the tensor, the first
/// tensor of a list or tuple, or an entry of a dictionary; undefined when there
/// is none. Of a dictionary no entry is the first one, so its names decide.
inline torch::Tensor first_in(const c10::IValue& value) {
  if (value.isTensor()) {
    return value.toTensor();
  }
  if (value.isTensorList()) {
    const auto list = value.toTensorVector();
    return list.empty() ? torch::Tensor() : list.front();
  }
  if (value.isTuple()) {
    for (const auto& item : value.toTupleRef().elements()) {
      if (auto found = first_in(item); found.defined()) {
        return found;
      }
    }
  }
  if (value.isGenericDict()) {
    // torchvision's segmentation models use the name "out".
    const auto dict = value.toGenericDict();
    for (const char* name : {"logits", "out"}) {
      if (dict.contains(std::string(name))) {
        return first_in(dict.at(std::string(name)));
      }
    }
  }
  return {};
}

/// The logits in what a forward returned: the tensor itself, or the first
/// tensor in it, since networks return {logits, auxiliary logits}. Other types
/// do not compile, with a message that says what to do.
template <class T>
torch::Tensor first_tensor(const T& result) {
  constexpr auto kKind = result_kind<T>::value;
  if constexpr (kKind == ResultKind::kTensor) {
    return result;
  } else if constexpr (kKind == ResultKind::kIValue) {
    return first_in(result);
  } else if constexpr (kKind == ResultKind::kSequence) {
    return result.empty() ? torch::Tensor() : first_tensor(result.front());
  } else {
    static_assert(
        kKind == ResultKind::kTuple,
        "cyborg::CamHook::forward: this result type needs "
        "forward(callable, logits_of)");
    return first_tensor(std::get<0>(result));
  }
}

/// `value` with every tensor in it detached. Tensor lists and tuples are made
/// anew; the entries of a dictionary are replaced in place.
inline c10::IValue detached(const c10::IValue& value) {
  if (value.isTensor()) {
    return value.toTensor().detach();
  }
  if (value.isTensorList()) {
    auto list = value.toTensorVector();
    for (auto& item : list) {
      item = item.detach();
    }
    return list;
  }
  if (value.isTuple()) {
    std::vector<c10::IValue> items;
    for (const auto& item : value.toTupleRef().elements()) {
      items.push_back(detached(item));
    }
    return c10::ivalue::Tuple::create(std::move(items));
  }
  if (value.isGenericDict()) {
    const auto dict = value.toGenericDict();
    for (const auto& item : dict) {
      item.setValue(detached(item.value()));
    }
  }
  return value;
}

/// Detaches the tensors of a result, for callers that have gradients off: they
/// expect no graph, and would keep the memory of one alive. Types of kind
/// `kOther` stay as they are.
template <class T>
void detach(T& result) {
  constexpr auto kKind = result_kind<T>::value;
  if constexpr (kKind == ResultKind::kTensor) {
    result = result.defined() ? result.detach() : result;
  } else if constexpr (kKind == ResultKind::kIValue) {
    result = detached(result);
  } else if constexpr (kKind == ResultKind::kSequence) {
    for (auto& item : result) {
      detach(item);
    }
  } else if constexpr (kKind == ResultKind::kTuple) {
    std::apply([](auto&... item) { (detach(item), ...); }, result);
  }
}

}  // namespace cyborg::detail
