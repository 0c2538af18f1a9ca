// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/module_view.hpp>

#include <mutex>
#include <unordered_map>
#include <vector>

namespace cyborg::detail {

/// Lets frozen parameters leave a graph to follow while it lives. Only where
/// the result is detached anyway, so that no gradient reaches them.
///
/// Threads may observe one network at a time: a parameter is frozen again
/// when the last of them is done.
class RequiresGradGuard {
 public:
  RequiresGradGuard(const ModuleView& view, bool wanted) {
    if (!wanted) {
      return;
    }
    const std::lock_guard<std::mutex> lock(mutex());
    for (auto& item : view.parameters()) {
      torch::Tensor& parameter = item.second;
      const auto user = users().find(parameter.unsafeGetTensorImpl());
      const bool frozen = parameter.is_leaf() &&
                          parameter.is_floating_point() &&
                          !parameter.requires_grad();
      if (frozen || user != users().end()) {
        parameter.requires_grad_(true);
        ++users()[parameter.unsafeGetTensorImpl()];
        parameters_.push_back(parameter);
      }
    }
  }

  ~RequiresGradGuard() {
    if (parameters_.empty()) {
      return;
    }
    const std::lock_guard<std::mutex> lock(mutex());
    for (auto& parameter : parameters_) {
      const auto user = users().find(parameter.unsafeGetTensorImpl());
      if (--user->second == 0) {
        users().erase(user);
        parameter.requires_grad_(false);
      }
    }
  }

  RequiresGradGuard(const RequiresGradGuard&) = delete;
  RequiresGradGuard& operator=(const RequiresGradGuard&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }

  /// How many observe with each parameter unfrozen.
  static std::unordered_map<const c10::TensorImpl*, int>& users() {
    static std::unordered_map<const c10::TensorImpl*, int> counts;
    return counts;
  }

  std::vector<torch::Tensor> parameters_;
};

}  // namespace cyborg::detail
