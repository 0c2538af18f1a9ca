// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/types.h>

#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The logits in what a forward returned: the tensor itself, or the first
/// tensor in it ({logits, auxiliary logits} and the like).
inline torch::Tensor first_tensor(const torch::Tensor& tensor) {
  return tensor;
}

inline torch::Tensor first_tensor(const c10::IValue& value) {
  if (value.isTensor()) {
    return value.toTensor();
  }
  if (value.isTuple()) {
    for (const auto& item : value.toTupleRef().elements()) {
      if (auto found = first_tensor(item); found.defined()) {
        return found;
      }
    }
  } else if (value.isTensorList()) {
    const auto list = value.toTensorVector();
    return list.empty() ? torch::Tensor() : list.front();
  } else if (value.isList()) {
    for (const auto& item : value.toListRef()) {
      if (auto found = first_tensor(item); found.defined()) {
        return found;
      }
    }
  } else if (value.isGenericDict()) {
    // torchvision's detection and segmentation models name it "out".
    const auto dict = value.toGenericDict();
    for (const char* name : {"logits", "out"}) {
      if (dict.contains(std::string(name))) {
        return first_tensor(dict.at(std::string(name)));
      }
    }
  }
  return {};
}

template <class A, class B>
torch::Tensor first_tensor(const std::pair<A, B>& both);
template <class... T>
torch::Tensor first_tensor(const std::tuple<T...>& items);
template <class T>
torch::Tensor first_tensor(const std::vector<T>& items);
template <class T>
torch::Tensor first_tensor(const std::optional<T>& item);

template <class T>
torch::Tensor first_tensor(const std::vector<T>& items) {
  return items.empty() ? torch::Tensor() : first_tensor(items.front());
}

template <class T>
torch::Tensor first_tensor(const std::optional<T>& item) {
  return item ? first_tensor(*item) : torch::Tensor();
}

template <class A, class B>
torch::Tensor first_tensor(const std::pair<A, B>& both) {
  return first_tensor(both.first);
}

template <class... T>
torch::Tensor first_tensor(const std::tuple<T...>& items) {
  return first_tensor(std::get<0>(items));
}

template <class T, class = void>
struct has_first_tensor : std::false_type {};
template <class T>
struct has_first_tensor<
    T,
    std::void_t<decltype(first_tensor(std::declval<const T&>()))>>
    : std::true_type {};

/// The same result without its graph, for callers with gradients off.
inline void detach(torch::Tensor& tensor) {
  if (tensor.defined()) {
    tensor = tensor.detach();
  }
}

inline void detach(c10::IValue& value) {
  if (value.isTensor()) {
    value = value.toTensor().detach();
  } else if (value.isTuple()) {
    std::vector<c10::IValue> items = value.toTupleRef().elements().vec();
    for (auto& item : items) {
      detach(item);
    }
    value = c10::ivalue::Tuple::create(std::move(items));
  } else if (value.isTensorList()) {
    auto list = value.toTensorList();
    for (size_t i = 0; i < list.size(); ++i) {
      list.set(i, list.get(i).detach());
    }
  } else if (value.isGenericDict()) {
    auto dict = value.toGenericDict();
    for (const auto& item : dict) {
      c10::IValue inner = item.value();
      detach(inner);
      item.setValue(inner);
    }
  }
}

template <class T>
void detach(std::vector<T>& items);
template <class T>
void detach(std::optional<T>& item);
template <class A, class B>
void detach(std::pair<A, B>& both);
template <class... T>
void detach(std::tuple<T...>& items);
template <class T>
std::enable_if_t<!has_first_tensor<T>::value> detach(T& /*other*/) {}

template <class T>
void detach(std::vector<T>& items) {
  for (auto& item : items) {
    detach(item);
  }
}

template <class T>
void detach(std::optional<T>& item) {
  if (item) {
    detach(*item);
  }
}

template <class A, class B>
void detach(std::pair<A, B>& both) {
  detach(both.first);
  detach(both.second);
}

template <class... T>
void detach(std::tuple<T...>& items) {
  std::apply([](auto&... item) { (detach(item), ...); }, items);
}

}  // namespace cyborg::detail
