// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/trace.hpp>

#include <ATen/record_function.h>

#include <exception>
#include <memory>

namespace cyborg::detail {

/// One armed observation; several nest on a thread.
///
/// The only place that touches `at::RecordFunction`, whose API is
/// semi-internal. Its callbacks swallow exceptions (so they are stashed),
/// run for operators called inside callbacks (so those are ignored), and
/// run on threads that inherit this thread's state (which find nothing
/// armed there).
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

  /// Throws what a callback could not.
  void rethrow() const {
    if (error_) {
      std::rethrow_exception(error_);
    }
  }

 private:
  static Observer*& innermost() {
    static thread_local Observer* observer = nullptr;
    return observer;
  }

  static bool& busy() {
    static thread_local bool inside_callback = false;
    return inside_callback;
  }

  static std::unique_ptr<at::ObserverContext> begin(
      const at::RecordFunction& /*event*/) {
    if (!busy()) {
      for (auto* o = innermost(); o != nullptr; o = o->outer_) {
        ++o->depth_;
      }
    }
    return nullptr;
  }

  static void end(
      const at::RecordFunction& event, at::ObserverContext* /*context*/) {
    if (busy()) {
      return;
    }
    busy() = true;
    for (auto* o = innermost(); o != nullptr; o = o->outer_) {
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

  Trace& trace_;
  Observer* outer_;
  at::CallbackHandle handle_ = 0;
  int depth_ = 0;
  std::exception_ptr error_;
};

}  // namespace cyborg::detail
