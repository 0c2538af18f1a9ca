// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What a hook does with the result of the callable: it finds the logits in it,
// and detaches it for callers that have gradients off.

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>

#include <array>
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

/// The names of a dictionary's entries that hold the logits, by custom:
/// torchvision's segmentation models use "out".
inline constexpr std::array<const char*, 2> kLogitNames = {"logits", "out"};

/// The tensors of a result, the logits first.
struct Results {
  std::vector<torch::Tensor> tensors;
  std::string problem;  // why the first one is not the logits; usually empty
};

/// Appends the tensors of what a TorchScript module returned, in order. Of a
/// dictionary no entry is the first one, so the entry with the logits' name is
/// put first.
inline void append_tensors(const c10::IValue& value, Results& list) {
  if (value.isTensor()) {
    list.tensors.push_back(value.toTensor());
  } else if (value.isTensorList()) {
    for (const torch::Tensor& tensor : value.toTensorVector()) {
      list.tensors.push_back(tensor);
    }
  } else if (value.isTuple()) {
    for (const auto& item : value.toTupleRef().elements()) {
      append_tensors(item, list);
    }
  } else if (value.isList()) {
    for (const c10::IValue& item : value.toListRef()) {
      append_tensors(item, list);
    }
  } else if (value.isGenericDict()) {
    const auto dict = value.toGenericDict();
    const bool decides = list.tensors.empty();
    std::string first;
    std::string names;
    for (const char* name : kLogitNames) {
      if (first.empty() && dict.contains(std::string(name))) {
        first = name;
        append_tensors(dict.at(first), list);
      }
    }
    for (const auto& item : dict) {
      const bool text = item.key().isString();
      names += (names.empty() ? "" : ", ") +
               (text ? item.key().toStringRef() : std::string("(no text)"));
      if (!text || item.key().toStringRef() != first) {
        append_tensors(item.value(), list);
      }
    }
    if (first.empty() && decides) {
      list.problem =
          "expected a dictionary with an entry 'logits' or 'out', got one "
          "with " +
          (names.empty() ? "no entries" : names) +
          "; name the logits with forward(callable, logits_of)";
    }
  }
}

/// Appends the tensors in what a forward returned, in order: networks return
/// {logits, auxiliary logits}. Parts of other types are left out.
template <class T>
void append_all(const T& result, Results& list) {
  constexpr auto kKind = result_kind<T>::value;
  if constexpr (kKind == ResultKind::kTensor) {
    list.tensors.push_back(result);
  } else if constexpr (kKind == ResultKind::kIValue) {
    append_tensors(result, list);
  } else if constexpr (kKind == ResultKind::kSequence) {
    for (const auto& item : result) {
      append_all(item, list);
    }
  } else if constexpr (kKind == ResultKind::kTuple) {
    std::apply(
        [&](const auto&... item) { (append_all(item, list), ...); }, result);
  }
}

/// Whether the first part of a T is a tensor, or may be one.
template <class T>
constexpr bool begins_with_tensor() {
  constexpr auto kKind = result_kind<T>::value;
  if constexpr (kKind == ResultKind::kSequence) {
    return begins_with_tensor<typename T::value_type>();
  } else if constexpr (kKind == ResultKind::kTuple) {
    return begins_with_tensor<std::tuple_element_t<0, T>>();
  } else {
    return kKind != ResultKind::kOther;
  }
}

/// The tensors of a result. A result without tensors has one that is not
/// defined. Types that begin with something else do not compile, with a message
/// that says what to do.
template <class T>
Results results_in(const T& result) {
  Results list;
  static_assert(
      begins_with_tensor<T>(),
      "cyborg::CamHook::forward: this result type needs "
      "forward(callable, logits_of)");
  append_all(result, list);
  if (list.tensors.empty()) {
    list.tensors.emplace_back();
  }
  return list;
}

/// The logits, and the further tensors of a result of any type.
template <class T>
Results results_in(const T& result, const torch::Tensor& logits) {
  Results list;
  list.tensors.push_back(logits);
  append_all(result, list);
  list.problem.clear();  // the caller has said which the logits are
  return list;
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
