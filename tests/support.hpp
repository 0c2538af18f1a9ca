// SPDX-License-Identifier: BSD-3-Clause
//
// What tests of every area share: errors as text, a comparison of gradients
// with finite differences, tensors from numbers.
#pragma once

#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace support {

using torch::Tensor;

/// The message of what the callable throws, without the place in the source and
/// the stack; empty when it throws nothing.
template <class Callable>
std::string error_of(Callable&& callable) {
  try {
    std::forward<Callable>(callable)();
  } catch (const std::exception& error) {
    std::string text = error.what();
    return text.substr(0, text.find("\nException raised"));
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A float64 tensor of these numbers, in this shape.
inline Tensor t(
    std::initializer_list<double> values, std::vector<int64_t> sizes = {-1}) {
  return torch::tensor(std::vector<double>(values), torch::kDouble)
      .reshape(sizes);
}

/// An int64 tensor of these labels.
inline Tensor labels(std::initializer_list<int64_t> values) {
  return torch::tensor(std::vector<int64_t>(values), torch::kLong);
}

/// Largest absolute difference; infinite when shapes differ or there is a NaN.
inline double distance(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.sizes() != b.sizes()) {
    return HUGE_VAL;
  }
  if (a.numel() == 0) {
    return 0;
  }
  const Tensor difference =
      (a.detach().to(torch::kDouble) - b.detach().to(torch::kDouble)).abs();
  if (!at::isfinite(difference).all().item<bool>()) {
    return HUGE_VAL;
  }
  return difference.max().item<double>();
}

/// Whether the shapes are the same and the values equal within `tolerance`.
inline bool close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) {
  return distance(a, b) <= tolerance;
}

/// Whether autograd agrees with central finite differences, in float64, for
/// every element of every input. `function` maps the inputs to one tensor,
/// which fixed, uneven weights turn into a scalar. With eps = 1e-6 the
/// truncation is 1e-12 and the rounding 1e-10, so tol = 1e-7 leaves room for
/// second derivatives of some size.
inline bool gradcheck(
    const std::function<Tensor(std::vector<Tensor>)>& function,
    const std::vector<Tensor>& inputs, double eps = 1e-6, double tol = 1e-7) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.detach()
                         .to(torch::kDouble)
                         .clone()
                         .contiguous()
                         .requires_grad_());
  }
  const auto scalar = [&](const std::vector<Tensor>& at) {
    const Tensor out = function(at);
    const Tensor weight = torch::linspace(0.5, 1.7, out.numel(), torch::kDouble)
                              .cos()
                              .reshape(out.sizes());
    return (out.to(torch::kDouble) * weight).sum();
  };
  const std::vector<Tensor> gradients = torch::autograd::grad(
      {scalar(leaves)}, leaves, {}, false, false, /*allow_unused=*/true);
  for (size_t i = 0; i < leaves.size(); ++i) {
    const Tensor gradient = gradients[i].defined()
                                ? gradients[i].contiguous()
                                : torch::zeros_like(leaves[i]);
    double* value = leaves[i].data_ptr<double>();
    for (int64_t k = 0; k < leaves[i].numel(); ++k) {
      const double kept = value[k];
      value[k] = kept + eps;
      const double above = scalar(leaves).item<double>();
      value[k] = kept - eps;
      const double below = scalar(leaves).item<double>();
      value[k] = kept;
      const double expected = (above - below) / (2 * eps);
      const double found = gradient.data_ptr<double>()[k];
      if (!(std::abs(expected - found) <= tol * (1 + std::abs(expected)))) {
        return false;
      }
    }
  }
  return true;
}

/// While it lives, autocast to bfloat16 is on for the CPU. It does what
/// Python's context manager does, in a form that every LibTorch version has.
class CpuAutocast {
 public:
  CpuAutocast() {
    c10::impl::tls_set_dispatch_key_excluded(
        c10::DispatchKey::AutocastCPU, false);
  }
  ~CpuAutocast() {
    c10::impl::tls_set_dispatch_key_excluded(
        c10::DispatchKey::AutocastCPU, true);
  }
  CpuAutocast(const CpuAutocast&) = delete;
  CpuAutocast& operator=(const CpuAutocast&) = delete;
};

/// The operators that `callable` runs on this thread, including nested ones.
template <class Callable>
std::vector<std::string> operators_of(Callable&& callable) {
  static thread_local std::vector<std::string>* seen = nullptr;
  std::vector<std::string> names;
  seen = &names;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction& function)
              -> std::unique_ptr<at::ObserverContext> {
            if (seen != nullptr) {
              seen->push_back(function.name());
            }
            return nullptr;
          })
          .scopes({at::RecordScope::FUNCTION}));
  std::forward<Callable>(callable)();
  at::removeCallback(handle);
  seen = nullptr;
  return names;
}

/// How many of `names` read a number back from the device.
inline int64_t host_reads(const std::vector<std::string>& names) {
  int64_t count = 0;
  for (const std::string& name : names) {
    count += contains(name, "aten::item") || contains(name, "_local_scalar") ||
             contains(name, "aten::nonzero") || contains(name, "aten::equal") ||
             contains(name, "aten::is_nonzero");
  }
  return count;
}

}  // namespace support
