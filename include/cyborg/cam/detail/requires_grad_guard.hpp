// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Makes a frozen network leave an autograd graph while it is observed.

#include <cyborg/cam/detail/module_view.hpp>

#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace cyborg::detail {

/// While it lives, the frozen parameters of a module require gradients.
///
/// The hook follows data along the autograd graph, and an operator whose inputs
/// require no gradient leaves no node. The guard is used only when the caller
/// has gradients off: the result is then detached, so no gradient can reach the
/// parameters. With gradients on, freezing is the caller's wish, and the hook
/// must not change what is trained.
///
/// Several threads may observe the same network at once, each with a guard.
/// Guards are counted per parameter, for the whole process, and a parameter is
/// frozen again when its last guard goes.
class RequiresGradGuard {
 public:
  /// `wanted` false makes a guard that changes nothing. It finds out whether
  /// another thread has a guard on a parameter that this thread trains.
  /// Throws: then, since this thread would get gradients of frozen parameters.
  RequiresGradGuard(const ModuleView& view, bool wanted) {
    const std::lock_guard<std::mutex> lock(mutex());
    if (!wanted) {
      for (const auto& item :
           users().empty() ? ModuleView::Parameters() : view.parameters()) {
        const auto user = users().find(item.second.unsafeGetTensorImpl());
        TORCH_CHECK(
            user == users().end() ||
                user->second.thread == std::this_thread::get_id(),
            "cyborg::CamHook::forward: another thread observes this network "
            "with gradients off. Meanwhile its frozen parameters ('",
            item.first,
            "') require gradients, and this thread would train them; let each "
            "thread have a network of its own, or freeze nothing");
      }
      return;
    }
    for (auto& item : view.parameters()) {
      torch::Tensor& parameter = item.second;
      // A parameter that another thread has unfrozen does not look frozen, but
      // it must stay unfrozen for this guard too, so it is counted as well.
      const auto user = users().find(parameter.unsafeGetTensorImpl());
      const bool frozen = parameter.is_leaf() &&
                          parameter.is_floating_point() &&
                          !parameter.requires_grad();
      if (frozen || user != users().end()) {
        parameter.requires_grad_(true);
        User& mine = users()[parameter.unsafeGetTensorImpl()];
        ++mine.guards;
        mine.thread = std::this_thread::get_id();
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
      if (--user->second.guards == 0) {
        users().erase(user);
        parameter.requires_grad_(false);
      }
    }
  }

  RequiresGradGuard(const RequiresGradGuard&) = delete;
  RequiresGradGuard& operator=(const RequiresGradGuard&) = delete;

 private:
  /// Guards `users()` and the flags of the parameters counted there.
  static std::mutex& mutex() {
    static std::mutex mutex;
    return mutex;
  }

  /// How many guards an unfrozen parameter has, and the thread of the last one.
  struct User {
    int guards = 0;
    std::thread::id thread;
  };

  /// The guards of each unfrozen parameter. An address stays valid
  /// as a key, because each guard holds its parameters.
  static std::unordered_map<const c10::TensorImpl*, User>& users() {
    static std::unordered_map<const c10::TensorImpl*, User> users;
    return users;
  }

  std::vector<torch::Tensor> parameters_;  // those that this guard counted
};

}  // namespace cyborg::detail
