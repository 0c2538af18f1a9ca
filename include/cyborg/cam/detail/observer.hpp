// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// How operators report themselves: the only file that adds a callback to
// `at::RecordFunction`. `trace.hpp` decides what is done with the reports.

#include <cyborg/cam/detail/trace.hpp>

#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <exception>
#include <memory>

namespace cyborg::detail {

/// While it lives, the operators of this thread are written into a trace: those
/// that the network calls and those that these call.
///
/// Observers nest, because a callable may run another hook. They form a list
/// for each thread, innermost first, and each of them gets every report.
/// LibTorch has one callback only, which the first observer adds and the last
/// one removes.
/// Invariant: observers are destroyed on the thread that constructed them, in
/// any order: two hooks on one Python module end in the order in which they
/// began.
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
      callback() = at::addThreadLocalCallback(
          at::RecordFunctionCallback(&Observer::begin, &Observer::end)
              .needsOutputs(true)
              .scopes({at::RecordScope::FUNCTION}));
    }
    innermost() = this;
  }

  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  ~Observer() {
    Observer** link = &innermost();
    while (*link != this) {
      link = &(*link)->outer_;
    }
    *link = outer_;
    if (innermost() == nullptr) {
      at::removeCallback(callback());
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
  /// The innermost observer of this thread, or null.
  static Observer*& innermost() {
    static thread_local Observer* observer = nullptr;
    return observer;
  }

  /// LibTorch's callback of this thread, while there are observers.
  static at::CallbackHandle& callback() {
    static thread_local at::CallbackHandle handle = 0;
    return handle;
  }

  /// Whether a callback is running on this thread.
  static bool& busy() {
    static thread_local bool flag = false;
    return flag;
  }

  /// Called before each operator.
  static std::unique_ptr<at::ObserverContext> begin(
      const at::RecordFunction& event) {
    if (!busy()) {
      for (auto* o = innermost(); o != nullptr; o = o->outer_) {
        if (o->depth_++ == 0) {
          o->top_level_ = event.name();
          o->trace_.begin_call();
        }
      }
    }
    return nullptr;
  }

  /// Called after each operator. Those that run below autograd, on behalf of
  /// one that has made a node already or will, leave no nodes themselves.
  static void end(
      const at::RecordFunction& event, at::ObserverContext* /*context*/) {
    if (busy()) {
      return;
    }
    busy() = true;
    const bool below = c10::impl::tls_local_dispatch_key_set().excluded_.has(
        c10::DispatchKey::AutogradFunctionality);
    for (auto* o = innermost(); o != nullptr; o = o->outer_) {
      --o->depth_;
      // An exception must not leave the callback: LibTorch would drop it.
      if (!o->error_ && !(below && o->depth_ > 0)) {
        try {
          o->take(event);
        } catch (...) {
          o->error_ = std::current_exception();
        }
      }
    }
    busy() = false;
  }

  /// Records the outputs of one operator.
  void take(const at::RecordFunction& event) {
    const auto record = [&](const torch::Tensor& tensor) {
      trace_.record(top_level_, tensor, /*top_level=*/depth_ == 0);
    };
    const auto& outputs = event.outputs();
    // In evaluation mode its second output, the batch's mean, is empty. (On GPUs
    // it is not, so that evaluation counts as training there.)
    trace_.batch_statistics |= contains(event.name(), "batch_norm") &&
                               outputs.size() > 1 && outputs[1].isTensor() &&
                               outputs[1].toTensor().defined() &&
                               outputs[1].toTensor().numel() > 0;
    for (const c10::IValue& output : outputs) {
      if (output.isTensor()) {
        record(output.toTensor());
      } else if (output.isTensorList()) {
        for (const torch::Tensor& tensor : output.toTensorVector()) {
          record(tensor);
        }
      }
    }
  }

  Trace& trace_;                // written to; must outlive the observer
  Observer* outer_;             // the next one of the list, or null
  int depth_ = 0;               // operators that have begun and not ended
  const char* top_level_ = "";  // the name of the one at the top
  std::exception_ptr error_;    // after it, nothing more is recorded
};

}  // namespace cyborg::detail
