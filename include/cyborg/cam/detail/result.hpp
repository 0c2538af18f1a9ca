// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/core/ivalue.h>

#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// What the result types of a forward are made of.
enum class ResultKind { kTensor, kIValue, kSequence, kTuple, kOther };

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
    // torchvision's segmentation models call it "out".
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
/// tensor in it ({logits, auxiliary logits} and the like).
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

/// Takes the graph off the tensors of a result, for callers with gradients
/// off; types it does not know stay as they are.
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
