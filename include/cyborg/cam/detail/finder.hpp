// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Turns the trace of a forward pass into an observation: which map, by what
// layer name, and whether CAM is exact for it; or the reason why there is none.

#include <cyborg/cam/detail/exactness.hpp>
#include <cyborg/cam/detail/feature_sources.hpp>
#include <cyborg/cam/detail/layer_name.hpp>
#include <cyborg/cam/detail/linear_head.hpp>
#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/result.hpp>
#include <cyborg/cam/detail/wanted_layer.hpp>
#include <cyborg/cam/observation.hpp>

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// The part of a `CamHook` that turns a trace into an observation.
///
/// It keeps what does not change from one forward to the next: the module, the
/// wanted layer, the names of the parameters, and what is known to be exact.
class Finder {
 public:
  Finder() = default;
  /// `layer`: the name of the wanted submodule, or empty for the map that the
  /// logits come from.
  /// Throws: when `layer` names no submodule that has parameters.
  Finder(
      ModuleView view, std::string layer, CamMethod method, bool detach_weights)
      : view_(std::move(view)),
        wanted_(view_, std::move(layer)),
        method_(method),
        detach_weights_(detach_weights) {}

  const ModuleView& view() const { return view_; }

  /// The wanted layer with its parameters as they are now.
  NamedLayer layer_at_run() const { return wanted_.at_run(view_); }

  /// The observation of one forward pass that returned `results`. Where the
  /// features of a result cannot be found, its observation is not defined, and
  /// says why.
  /// `keep_graph`: the caller will detach the results, so the observations
  /// keep them as they are.
  Observation observe(Trace& trace, const Results& results, bool keep_graph);

 private:
  Observation observe_one(
      Trace& trace, const torch::Tensor& logits, size_t place, bool keep_graph);
  Observation found(Trace& trace, const torch::Tensor& logits, size_t place);
  const FeatureMap& named_output(
      const Trace& trace, const torch::Tensor& logits) const;
  const FeatureMap& pick(
      Trace& trace, const torch::Tensor& logits, const TracedValue* value);
  void read_head(
      const Trace& trace, const torch::Tensor& logits, const FeatureMap& map,
      bool read_by_head, Observation& seen);

  ModuleView view_;
  WantedLayer wanted_;
  // Handed on to each observation.
  CamMethod method_ = CamMethod::kAuto;
  bool detach_weights_ = false;
  LayerNames names_;
  Exactness exactness_;
  std::unordered_map<std::string, std::shared_ptr<SampleProof>> proofs_;
};

/// The one map that the logits come from; throws when there is none or several.
inline const FeatureMap& Finder::pick(
    Trace& trace, const torch::Tensor& logits, const TracedValue* value) {
  const bool collapsed = value != nullptr && value->is_collapsed();
  TORCH_CHECK_VALUE(
      value == nullptr || !value->is_map(), "the result ", logits.sizes(),
      " is a map itself, not logits [B, K]; give the loss such maps directly, "
      "or, if the logits are another part of the result, name them with "
      "forward(callable, logits_of)");
  TORCH_CHECK_VALUE(
      value == nullptr || value->hidden.empty(), "the map that ",
      collapsed && !value->op.empty() ? value->op : "the head",
      " read was made by the custom autograd function ",
      value == nullptr ? "" : value->hidden,
      ", which the hook cannot see into; use capture(features, weight), or "
      "name a layer before it with CamHookOptions().layer(name)");
  TORCH_CHECK_VALUE(!collapsed || !value->tokens, why_tokens(*value));
  const auto ids =
      collapsed ? feature_sources(trace, *value) : std::vector<int>();
  TORCH_CHECK_VALUE(!ids.empty(), why_nothing(trace, logits));
  TORCH_CHECK_VALUE(
      !value->unobserved,
      "a part of the logits comes from convolutions that were not observed: "
      "they ran in another thread (std::thread, data_parallel, fork) or inside "
      "a checkpoint. Name a layer with CamHookOptions().layer(name), or use "
      "capture(features, weight)");
  if (ids.size() > 1) {
    const auto list = list_of_maps(trace, ids, [&](const NodeOutput& key) {
      return names_.of(view_, trace, logits, key);
    });
    TORCH_CHECK_VALUE(
        false, "the logits come from ", ids.size(), " maps; ",
        list.same_layer ? "the same layer ran several times, so observe the "
                          "forwards one by one, a hook.forward each (or, if "
                          "its output was split, use capture(features)):"
                        : "name one with CamHookOptions().layer(name), or "
                          "observe the forwards one by one:",
        list.text);
  }
  const auto& map = trace.sources[static_cast<size_t>(ids.front())];
  TORCH_CHECK_VALUE(
      map.tensor.defined(), "the map that ", map.op,
      " collapsed was freed before it could be held; name "
      "its layer with CamHookOptions().layer(name)");
  TORCH_CHECK_VALUE(
      !map.overwritten(), "the map ", map.tensor.sizes(), " that ", map.op,
      " collapsed was overwritten by an in-place operator "
      "(afterwards, or on a slice of it before); make that "
      "operator out of place");
  return map;
}

/// The output of the named layer, which need not be what the head reads.
inline const FeatureMap& Finder::named_output(
    const Trace& trace, const torch::Tensor& logits) const {
  const auto& output = trace.layer.output;
  TORCH_CHECK_VALUE(
      trace.layer.ran, "layer '", wanted_.name(),
      "' did not run under observation (not used, on another thread, its "
      "parameters frozen in gradient mode, or gradients off inside the "
      "callable)");
  TORCH_CHECK_VALUE(
      output.tensor.defined(), "layer '", wanted_.name(),
      "' returns no map [B, C, *S]");
  TORCH_CHECK_VALUE(
      !trace.layer.repeated, "layer '", wanted_.name(),
      "' ran several times, on different inputs; observe the forwards one by "
      "one, a hook.forward each, or use capture(features)");
  TORCH_CHECK_VALUE(
      !output.overwritten(), "layer '", wanted_.name(),
      "' returned a map that an in-place operator overwrote; "
      "make that operator (usually a ReLU) out of place, or "
      "name the module that holds both");
  TORCH_CHECK_VALUE(
      logits.requires_grad() && reaches(logits, output.key), "layer '",
      wanted_.name(), "' is not what the logits come from");
  return output;
}

/// Sets head, `exact`, `reason` and, from a guided head, `maps` of `seen`.
/// `read_by_head`: whether the logits come from `map` itself.
inline void Finder::read_head(
    const Trace& trace, const torch::Tensor& logits, const FeatureMap& map,
    bool read_by_head, Observation& seen) {
  LinearHead head = head_of(trace, logits);
  const TracedValue* collapsed =
      head.weight.defined() ? head.input : trace.find(node_output(logits));
  if (head.weight.defined() && head.weight.size(1) == seen.features.size(1) &&
      head.weight.size(0) == logit_count(logits)) {
    seen.weight = head.weight;
    seen.bias = head.bias;
  }
  if (!read_by_head) {
    seen.reason = "the head does not read this layer's output";
    return;
  }
  const std::string why =
      exactness_.why_not(trace, head, collapsed, map, logits);
  seen.exact = why.empty();
  for (const auto& made : trace.heads) {
    if (seen.exact && made.features == map.key && seen.weight.defined() &&
        made.weight.data_ptr() == seen.weight.data_ptr()) {
      seen.maps = made.maps;
    }
  }
  seen.reason = !seen.exact ? why
                : head.weight.defined()
                    ? "a linear head reads the mean over positions"
                    : "the logits are the mean over positions";
}

/// `place`: which of the results it is. Throws, without the name of the
/// function, when the features cannot be found.
inline Observation Finder::found(
    Trace& trace, const torch::Tensor& logits, size_t place) {
  TORCH_CHECK_VALUE(logits.defined(), "the callable returned no tensor");
  TORCH_CHECK_VALUE(
      logits.dim() >= 1,
      "expected logits [B, K] or [B], got a number; return the "
      "logits, not the loss (of one sample and one class squeeze() leaves a "
      "number, too; use squeeze(1))");
  TORCH_CHECK_VALUE(
      logits.size(0) > 0, "expected at least one sample, got an empty batch ",
      logits.sizes());
  TORCH_CHECK_VALUE(
      logits.is_floating_point(),
      "expected logits [B, K] of floating point, got ", logits.sizes(), " of ",
      logits.scalar_type());
  TORCH_CHECK_VALUE(
      !logits.is_inference(),
      "the network ran in inference mode inside the callable, which leaves no "
      "graph to follow; use torch::NoGradGuard, also for what the network "
      "calls");
  TORCH_CHECK_VALUE(trace.operators > 0, why_nothing(trace, logits));
  const at::AutoGradMode graph_on(true);  // views of features keep theirs
  const TracedValue* value = value_of(trace, logits);
  const bool named = trace.layer.wanted;
  const FeatureMap& map =
      named ? named_output(trace, logits) : pick(trace, logits, value);
  Observation seen;
  seen.method = method_;
  seen.detach_weights = detach_weights_;
  seen.source_ = map.tensor;
  seen.order_ = map.order;
  seen.features = map.in_order(map.tensor);
  seen.layer =
      named ? wanted_.name() : names_.of(view_, trace, logits, map.key);
  bool read_by_head = true;
  if (named) {
    const bool collapsed = value != nullptr && value->is_collapsed();
    const auto ids =
        collapsed ? feature_sources(trace, *value) : std::vector<int>();
    read_by_head =
        ids.size() == 1 && !value->tokens &&
        trace.sources[static_cast<size_t>(ids.front())].key == map.key;
    seen.reduction = collapsed && !value->op.empty() ? value->op : "unknown";
  } else {
    seen.reduction = value->op;
  }
  TORCH_CHECK_VALUE(
      logits.dim() <= 2, "expected logits [B, K] or [B], got ", logits.sizes());
  TORCH_CHECK_VALUE(
      seen.features.size(0) == logits.size(0), "the features found ",
      seen.features.sizes(), " hold ", seen.features.size(0),
      " samples, the logits ", logits.sizes(), " ", logits.size(0),
      seen.features.size(0) == 1 && logits.dim() == 1
          ? ". Did squeeze() take the batch away? Use squeeze(1) or flatten(1)"
          : ". Did part of the batch run on another thread (data_parallel), "
            "or does the network fold frames or crops into its batch?");
  read_head(trace, logits, map, read_by_head, seen);
  auto& proof = proofs_[c10::str(
      trace.operators, " ", place, " ", seen.reduction, " ",
      seen.features.sizes(), " ", logits.sizes())];
  // An operator without a rule may move samples, another way each time.
  if (!proof || !value->unknown.empty()) {
    proof = std::make_shared<SampleProof>();
  }
  proof->moved = !value->unknown.empty();
  proof->batch_statistics = trace.batch_statistics;
  proof->of_named_layer = named;
  seen.proof_ = proof;
  seen.unchanged_ = Unchanged(seen.features, seen.weight);
  TORCH_CHECK_VALUE(
      method_ != CamMethod::kCam || seen.weight.defined() || seen.exact,
      "CamMethod::kCam needs a linear head that reads ", seen.features.size(1),
      " channels, and there is none (", seen.reason, ")");
  return seen;
}

inline Observation Finder::observe_one(
    Trace& trace, const torch::Tensor& logits, size_t place, bool keep_graph) {
  Observation seen;
  try {
    seen = found(trace, logits, place);
  } catch (const c10::ValueError& error) {
    seen.reason = error.what_without_backtrace();
  }
  if (logits.defined() && logits.dim() >= 1) {
    seen.known_ = KnownLogits(logits);
    seen.graph_logits_ = keep_graph ? logits : torch::Tensor();
  }
  return seen;
}

inline Observation Finder::observe(
    Trace& trace, const Results& results, bool keep_graph) {
  const auto& logits = results.tensors.front();
  Observation seen;
  if (results.problem.empty()) {
    seen = observe_one(trace, logits, /*place=*/0, keep_graph);
  } else {
    seen.reason = results.problem;
  }
  for (size_t i = 1; i < results.tensors.size(); ++i) {
    const auto& result = results.tensors[i];
    if (result.defined() && result.is_floating_point() &&
        (result.dim() == 1 || result.dim() == 2) && !result.is_same(logits)) {
      seen.others_.push_back(observe_one(trace, result, i, keep_graph));
    }
  }
  return seen;
}

}  // namespace cyborg::detail
