// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// One forward pass under observation: what must hold while the network runs,
// and how it ends.

#include <cyborg/cam/detail/finder.hpp>
#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/observer.hpp>
#include <cyborg/cam/detail/requires_grad_guard.hpp>

#include <ATen/record_function.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace cyborg::detail {

/// Observes the operators of this thread from its construction until `stop` or
/// its destruction. Until `close` gradients are on, and, if they were off before,
/// all parameters require them.
///
/// It is destroyed on the thread that constructed it. Several of them may be
/// alive on one thread, and may end in any order.
class ObservedForward {
 public:
  /// `own`: the hook's own copy of a TorchScript module runs.
  /// Throws: in inference mode, and where observers are disabled.
  ObservedForward(const Finder& finder, bool own)
      : thread_(std::this_thread::get_id()) {
    TORCH_CHECK(
        !c10::InferenceMode::is_enabled(),
        "cyborg::CamHook::forward: inference mode leaves no graph to "
        "follow; use torch::NoGradGuard, or give the features to "
        "capture(features, weight)");
    TORCH_CHECK(
        at::isRecordFunctionEnabled(),
        "cyborg::CamHook::forward: operator observers are disabled "
        "on this thread (at::DisableRecordFunctionGuard or "
        "at::enableRecordFunction(false))");
    recording_ = c10::GradMode::is_enabled();
    trace_.unfrozen = !recording_;
    graph_on_.emplace(true);
    unfrozen_ = std::make_unique<RequiresGradGuard>(
        finder.view(), /*wanted=*/!recording_);
    trace_.layer = finder.layer_at_run();
    scope_ = enter(finder.view(), own);
    observer_.emplace(trace_);
  }

  ObservedForward(const ObservedForward&) = delete;
  ObservedForward& operator=(const ObservedForward&) = delete;

  /// Whether the caller has gradients on.
  bool recording() const { return recording_; }

  /// Whether this thread began it.
  bool is_of_this_thread() const {
    return thread_ == std::this_thread::get_id();
  }

  /// The network has returned: stops to observe. Gradients stay on.
  /// Throws: what the observer could not handle.
  void stop() {
    if (observer_) {
      observer_->rethrow();
      observer_.reset();
      scope_.reset();
    }
  }

  /// Stops, and undoes what was set for the network.
  /// Throws: as `stop`.
  void close() {
    stop();
    unfrozen_.reset();
    graph_on_.reset();
  }

  /// What was observed.
  Trace& trace() { return trace_; }

 private:
  std::thread::id thread_;
  bool recording_ = true;
  Trace trace_;  // outlives the observer, which writes into it
  // Undone in the reverse order.
  std::optional<at::AutoGradMode> graph_on_;
  std::unique_ptr<RequiresGradGuard> unfrozen_;
  std::shared_ptr<void> scope_;
  std::optional<Observer> observer_;
};

}  // namespace cyborg::detail
