// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/finder.hpp>
#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/observed_forward.hpp>
#include <cyborg/cam/detail/result.hpp>
#include <cyborg/cam/observation.hpp>

#include <torch/arg.h>

#include <memory>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg {

/// Options of a `CamHook`.
struct CamHookOptions {
  /// The submodule whose output is wanted ("layer3", "layer4.2.conv3").
  /// Default empty: the map that the logits come from.
  TORCH_ARG(std::string, layer) = "";
  /// How `cam` computes its maps. Default `kAuto`: CAM where it is exact,
  /// else Grad-CAM. `kCam` with `layer` gives the published code's taps,
  /// which weigh features that the head does not read.
  TORCH_ARG(CamMethod, method) = CamMethod::kAuto;
  /// Whether the gradient in Grad-CAM and HiResCAM is treated as a constant.
  /// It is cheaper, and works above operators without a second derivative
  /// (flash attention, `cdist`). But a loss of the map then does not reach the
  /// layers above the features. Default false.
  TORCH_ARG(bool, detach_weights) = false;

 public:
};

/// Shows where a network looks, without a change to the network.
///
/// While `forward` runs its callable, every operator on this thread is
/// observed. The features are found by following the data back from the
/// returned logits to the operator that collapsed space (a mean, a pooling, a
/// flatten): they are the map [B, C, *S] that this operator read. Nothing is
/// observed outside `forward`, and only the last observation is kept.
///
/// Works on any `torch::nn::Module` (reference, `shared_ptr` or holder, also
/// on the stack) and, with `<cyborg/jit.hpp>`, on `torch::jit::Module`. The
/// module must outlive the hook. It may move to another device or type, and
/// its parameters may be replaced, between two forwards.
///
/// A hook belongs to one thread at a time; threads may each have their own
/// on the same module. Hooks may nest.
///
/// Limits: the network must run on the calling thread; fully frozen
/// networks must run with gradients off; a `layer` is recognised by its
/// parameters (docs/hook.md).
///
/// Source: the hook is a design of this library; the map is that of Zhou et
/// al., CVPR 2016, and of Boyd et al., "CYBORG", WACV 2023.
///
/// Example:
///     cyborg::CamHook hook(*net);
///     auto logits = hook.forward([&] { return net->forward(images); });
///     auto maps = hook.cam(logits, labels);   // [B, *S]
///     std::cout << hook << "\n";
class CamHook {
 public:
  /// Makes a hook of `module`, which it does not change.
  /// Throws: when `options.layer` names no submodule that has parameters.
  template <
      class M,
      class = std::enable_if_t<!std::is_base_of_v<CamHook, std::decay_t<M>>>>
  explicit CamHook(M&& module, CamHookOptions options = {})
      : options_(std::move(options)) {
    using Plain = std::remove_cv_t<std::remove_reference_t<M>>;
    static_assert(
        std::is_lvalue_reference_v<M> ||
            !detail::is_native_module<Plain>::value,
        "cyborg::CamHook: the module must outlive the hook, got a "
        "temporary");
    finder_ = detail::Finder(
        detail::ModuleAccess<Plain>::view(const_cast<Plain&>(module)),
        options_.layer(), options_.method(), options_.detach_weights());
  }

  CamHook(const CamHook&) = delete;
  CamHook& operator=(const CamHook&) = delete;
  CamHook(CamHook&&) = default;
  CamHook& operator=(CamHook&&) = default;

  /// Between `begin` and `end` a hook must be destroyed by the thread that
  /// called `begin`. Otherwise what it holds is never freed, because that thread
  /// still reports to it.
  ~CamHook() { cancel(); }

  /// Forgets the last observation, runs `callable` under observation and
  /// returns its result.
  ///
  /// The logits [B, K] or [B] are the result, or the first tensor in it
  /// (pair, tuple, vector, `IValue`); for other types `logits_of(result)`
  /// returns them. Further tensors of the result are known to `cam`, too. With
  /// gradient mode off the callable still runs with gradients on, so that there
  /// is a graph, and its result is detached.
  ///
  /// The callable of a TorchScript module can take a module:
  /// `hook.forward([&](auto& net) { return net.forward({images}); })`. It is
  /// called with a copy that belongs to this hook and shares parameters and
  /// buffers. Other threads can then run the module at the same time.
  ///
  /// Where the features cannot be found, nothing is thrown here. `cam` throws
  /// the explanation, `require()` too, and `std::cout << hook` prints it.
  ///
  /// Throws: what the callable throws; then nothing is observed afterwards.
  template <class Callable>
  auto forward(Callable&& callable) {
    using Result = std::decay_t<decltype(detail::call_with_module(
        callable, finder_.view()))>;
    static_assert(
        !std::is_void_v<Result>,
        "cyborg::CamHook::forward: the callable must return the "
        "logits");
    return run(std::forward<Callable>(callable), [](const Result& result) {
      return detail::results_in(result);
    });
  }

  /// The same for results of any type: `logits_of(result)` returns the logits.
  template <class Callable, class LogitsOf>
  auto forward(Callable&& callable, LogitsOf&& logits_of) {
    return run(std::forward<Callable>(callable), [&](const auto& result) {
      return detail::results_in(result, logits_of(result));
    });
  }

  /// The first half of `forward`, for a caller that has no callable, because
  /// it is itself called before and after the network: a binding of another
  /// language. From here to `end` the operators of this thread are observed, and
  /// gradients are on. Several hooks may begin and end in any order.
  ///
  /// Throws: as `forward`.
  /// Example:
  ///     hook.begin();                         // before the network
  ///     const bool kept = hook.end({logits});  // after it
  void begin() { start(/*own=*/false); }

  /// The second half. `results` are the tensors that the network returned, the
  /// logits first. `problem` says why the first one is not the logits, if that
  /// is so; then no map is found, and `require()` throws this text.
  ///
  /// Returns whether gradients were on before `begin`. If they were not, the
  /// caller should detach what the network returned, as `forward` does.
  /// Throws: without `begin`, and on another thread than `begin`.
  bool end(std::vector<torch::Tensor> results, std::string problem = "") {
    TORCH_CHECK(
        open_ != nullptr,
        "cyborg::CamHook::end: nothing is observed; call begin() first");
    TORCH_CHECK(
        open_->is_of_this_thread(),
        "cyborg::CamHook::end: begin() was called on another thread");
    if (results.empty()) {
      results.emplace_back();
    }
    try {
      return finish({std::move(results), std::move(problem)});
    } catch (...) {
      cancel();
      throw;
    }
  }

  /// Whether `begin` was called, and neither `end` nor `cancel`.
  bool observing() const { return open_ != nullptr; }

  /// Ends what `begin` began, without a result: nothing is observed then. If
  /// another thread than that of `begin` calls it, the observation goes on until
  /// its own thread ends, and its result is lost.
  void cancel() {
    if (open_ != nullptr && !open_->is_of_this_thread()) {
      TORCH_WARN(
          "cyborg::CamHook: an observation is ended on another thread than it "
          "was begun on; its memory is not freed");
      static_cast<void>(open_.release());
      return;
    }
    open_.reset();
  }

  /// Throws, with an explanation, unless the last forward found a map.
  void require() const { observation_.require(); }

  /// The manual way: takes features, and the linear head that reads their
  /// mean, from you. With a weight the map is CAM, without one Grad-CAM. It may
  /// also be called inside the callable of `forward`.
  ///
  /// Shapes: `features` [B, C, *S], `weight` [K, C], `bias` [K].
  /// Throws: on other shapes.
  void capture(
      const torch::Tensor& features, const torch::Tensor& weight = {},
      const torch::Tensor& bias = {}) {
    constexpr const char* kFunction = "cyborg::CamHook::capture";
    detail::check_features(kFunction, features);
    if (weight.defined()) {
      detail::check_head(kFunction, features, weight);
      TORCH_CHECK_VALUE(
          !bias.defined() ||
              (bias.dim() == 1 && bias.size(0) == weight.size(0)),
          kFunction, ": expected bias [", weight.size(0), "], got ",
          bias.sizes());
    }
    Observation seen;
    seen.features = features;
    seen.weight = weight;
    seen.bias = bias;
    seen.reduction = "captured";
    seen.exact = weight.defined();
    seen.reason = weight.defined() ? "captured by hand, with its head"
                                   : "captured by hand, without a head";
    seen.method = options_.method();
    seen.detach_weights = options_.detach_weights();
    observation_ = std::move(seen);
  }

  /// What the last forward showed. Before the first one, and where no map was
  /// found, `defined()` is false.
  const Observation& observation() const { return observation_; }

  /// Forgets the last observation, and frees the features and graph it holds.
  void clear() { observation_ = Observation(); }

  /// `Observation::cam` of the last observation.
  torch::Tensor cam(
      const torch::Tensor& logits, const torch::Tensor& labels) const {
    return observation_.cam(logits, labels);
  }

  /// `Observation::cam` of the last observation.
  torch::Tensor cam(const torch::Tensor& logits, CamClass which) const {
    return observation_.cam(logits, which);
  }

  /// `Observation::logit_scale` of the last observation.
  double logit_scale() const { return observation_.logit_scale(); }
  double logit_scale(const torch::Tensor& logits) const {
    return observation_.logit_scale(logits);
  }

 private:
  /// Runs the callable under observation. `results_of(result)` lists the
  /// tensors in what it returned, the logits first.
  template <class Callable, class ResultsOf>
  auto run(Callable&& callable, const ResultsOf& results_of) {
    start(detail::takes_module<Callable>());
    try {
      auto result = detail::call_with_module(callable, finder_.view());
      open_->stop();
      if (!finish(results_of(std::as_const(result)))) {
        detail::detach(result);
      }
      return result;
    } catch (...) {
      cancel();
      throw;
    }
  }

  /// `own`: the hook's own copy of a TorchScript module will run.
  void start(bool own) {
    TORCH_CHECK(
        open_ == nullptr,
        "cyborg::CamHook::forward: this hook is already observing; "
        "a forward inside a forward needs its own hook");
    auto opened = std::make_unique<detail::ObservedForward>(finder_, own);
    clear();
    open_ = std::move(opened);
  }

  /// Takes what the network returned. Returns whether the caller has gradients
  /// on.
  bool finish(const detail::Results& results) {
    const auto done = std::move(open_);
    done->close();
    const bool recording = done->recording();
    if (!observation_.defined()) {  // else `capture` was called meanwhile
      observation_ =
          finder_.observe(done->trace(), results, /*keep_graph=*/!recording);
    } else if (!recording) {
      observation_.graph_logits_ = results.tensors.front();
    }
    return recording;
  }

  CamHookOptions options_;
  detail::Finder finder_;
  Observation observation_;
  std::unique_ptr<detail::ObservedForward> open_;  // while the network runs
};

/// Prints layer, shape, reduction, and whether CAM is exact and why; or why no
/// map was found.
inline std::ostream& operator<<(std::ostream& out, const Observation& seen) {
  if (!seen.defined()) {
    return out << "cyborg::Observation("
               << (seen.reason.empty() ? "nothing observed yet"
                                       : "no map: " + seen.reason)
               << ")";
  }
  const auto method = detail::settled(seen);
  return out << "cyborg::Observation(layer="
             << (seen.layer.empty() ? "?" : seen.layer)
             << ", features=" << seen.features.sizes()
             << ", reduction=" << seen.reduction
             << ", exact=" << (seen.exact ? "yes" : "no")
             << ", method=" << detail::name_of(method) << ": " << seen.reason
             << ")";
}

/// The same of the last observation.
inline std::ostream& operator<<(std::ostream& out, const CamHook& hook) {
  const Observation& seen = hook.observation();
  if (!seen.defined() && seen.reason.empty()) {
    return out << "cyborg::CamHook(nothing observed yet)";
  }
  return out << "cyborg::CamHook: " << hook.observation();
}

}  // namespace cyborg
