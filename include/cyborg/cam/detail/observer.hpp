// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// How operators report themselves: the only file that adds a callback to
// `at::RecordFunction`. `trace.hpp` decides what is done with the reports.

#include <cyborg/cam/detail/trace.hpp>

#include <ATen/record_function.h>

#include <exception>
#include <memory>

namespace cyborg::detail {

/// While it lives, the operators of this thread are written into a trace.
///
/// Observers nest, because a callable may run another hook. They form a list
/// for each thread, innermost first, and each of them gets every report.
/// LibTorch has one callback only, which the outermost observer adds and
/// removes.
/// Invariant: observers are destroyed in the reverse order of their
/// construction, on the thread that constructed them. The hook keeps them on
/// the stack, which guarantees this.
///
/// `at::RecordFunction` has three properties that shape this class:
/// * It swallows exceptions of callbacks. So the first exception is kept, and
///   `rethrow` throws it after the callable has returned.
/// * It also reports the operators that a callback itself calls. So reports are
///   ignored while a callback runs (`busy`).
/// * Its callbacks are inherited by the threads that LibTorch starts. These
///   find no observer in their own list, so nothing happens there.
class Observer {
 public:
  explicit Observer(Trace& trace) : trace_(trace), outer_(innermost()) {
    if (outer_ == nullptr) {
      handle_ = at::addThreadLocalCallback(
          at::RecordFunctionCallback(&Observer::begin, &Observer::end)
              .needsOutputs(true)
              .scopes({at::RecordScope::FUNCTION}));
    }
    innermost() = this;
  }

  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  ~Observer() {
    innermost() = outer_;
    if (outer_ == nullptr) {
      at::removeCallback(handle_);
    }
  }

  /// Whether this thread is being observed.
  static bool armed() { return innermost() != nullptr; }

  /// Tells all observers of this thread what a guided head made of features:
  /// the mean [B, C] and, where there are, maps of all classes.
  static void report(
      const torch::Tensor& features, const torch::Tensor& pooled,
      const torch::Tensor& weight, const torch::Tensor& maps) {
    for (auto* o = innermost(); o != nullptr; o = o->outer_) {
      o->trace_.record_head(features, pooled, weight, maps);
    }
  }

  /// Throws the first exception of a callback, if there was one.
  void rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  /// The innermost observer of this thread; null when nothing is observed.
  static Observer*& innermost() {
    static thread_local Observer* observer = nullptr;
    return observer;
  }

  /// Whether this thread runs `end` at the moment.
  static bool& busy() {
    static thread_local bool inside_callback = false;
    return inside_callback;
  }

  /// Called before each operator. Operators call operators; `depth_` counts how
  /// many are open, so that only the outermost, top-level ones are recorded.
  static std::unique_ptr<at::ObserverContext> begin(
      const at::RecordFunction& /*event*/) {
    if (!busy()) {
      for (auto* o = innermost(); o != nullptr; o = o->outer_) {
        ++o->depth_;
      }
    }
    return nullptr;
  }

  /// Called after each operator; records it if it is a top-level one.
  static void end(
      const at::RecordFunction& event, at::ObserverContext* /*context*/) {
    if (busy()) {
      return;
    }
    busy() = true;
    for (auto* o = innermost(); o != nullptr; o = o->outer_) {
      // An exception must not leave the callback: LibTorch would drop it.
      if (--o->depth_ == 0 && !o->error_) {
        try {
          o->take(event);
        } catch (...) {
          o->error_ = std::current_exception();
        }
      }
    }
    busy() = false;
  }

  /// Records the outputs of one top-level operator.
  void take(const at::RecordFunction& event) {
    ++trace_.operators;
    for (const c10::IValue& output : event.outputs()) {
      if (output.isTensor()) {
        trace_.record(event.name(), output.toTensor());
      } else if (output.isTensorList()) {
        for (const torch::Tensor& tensor : output.toTensorVector()) {
          trace_.record(event.name(), tensor);
        }
      }
    }
  }

  Trace& trace_;                   // written to; must outlive the observer
  Observer* outer_;                // the next one of the list, or null
  at::CallbackHandle handle_ = 0;  // of the outermost observer only
  int depth_ = 0;                  // operators that have begun and not ended
  std::exception_ptr error_;       // after it, nothing more is recorded
};

}  // namespace cyborg::detail
