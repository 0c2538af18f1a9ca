// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Decides which map an observation shows, by what layer name, and whether CAM
// is exact for it; and words every error of a forward pass under observation.

#include <cyborg/cam/detail/module_view.hpp>
#include <cyborg/cam/detail/provenance.hpp>
#include <cyborg/cam/observation.hpp>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>

namespace cyborg::detail {

/// The part of a `CamHook` that turns a trace into an observation.
///
/// It keeps what does not change from one forward to the next: the module, the
/// wanted layer, the names of the parameters (read again when an unknown
/// parameter appears) and which poolings are known to be a mean.
class Finder {
 public:
  Finder() = default;
  /// `layer`: the name of the wanted submodule, or empty for the map that the
  /// logits come from.
  /// Throws: when `layer` names no submodule that has parameters.
  Finder(ModuleView view, std::string layer, CamMethod method)
      : view_(std::move(view)), wanted_(std::move(layer)), method_(method) {
    if (!wanted_.empty()) {
      find_layer();
    }
  }

  const ModuleView& view() const { return view_; }

  /// The wanted layer with its parameters as they are now.
  NamedLayer layer_at_run() const;

  /// The observation of one forward pass that returned `logits`.
  /// Throws: with an explanation, when the features cannot be found.
  Observation observe(Trace& trace, const torch::Tensor& logits);

 private:
  void find_layer();
  Observation of_layer(Trace& trace, const torch::Tensor& logits);
  Source pick(Trace& trace, const torch::Tensor& logits, Origin& origin);
  std::string layer_name(
      const Trace& trace, const torch::Tensor& logits, const NodeOutput& map);
  void read_head(
      const Trace& trace, const torch::Tensor& logits, const Source& source,
      bool read_by_head, Observation& seen);

  ModuleView view_;
  std::string wanted_;                   // the wanted layer; empty: none
  CamMethod method_ = CamMethod::kAuto;  // handed on to each observation
  NamedLayer layer_;      // without parameters, which `layer_at_run` adds
  MeanCheck mean_check_;  // the last answer of `is_mean`
  // For messages only: an address may be used again by another parameter.
  std::unordered_map<const c10::TensorImpl*, std::string> names_;
};

/// The module that owns a parameter: its name without the last part.
inline std::string owner_of(const std::string& parameter) {
  const auto dot = parameter.rfind('.');
  return dot == std::string::npos ? std::string() : parameter.substr(0, dot);
}

/// Whether the module or parameter `path` is `module` or lies below it.
inline bool lies_in(const std::string& path, const std::string& module) {
  return path == module || starts_with(path, module + ".");
}

/// Why no features were found, and what the user can do. The likeliest reason
/// comes first: each test is right only when those before it did not apply.
inline std::string why_nothing(
    const Trace& trace, const torch::Tensor& logits) {
  if (trace.operators == 0) {
    return "no operator ran on this thread. Does the network run in another "
           "thread (std::thread, data_parallel)? Then give that thread its "
           "own hook, or use capture(features, weight)";
  }
  if (!trace.convolution && !trace.frozen_convolution &&
      !trace.single_position) {
    return "no convolution ran (a network without one has no map; one that "
           "runs in another thread or inside a checkpoint is not seen: use "
           "capture(features, weight))";
  }
  if (!logits.requires_grad() || !trace.convolution) {
    return "the convolutions left no graph to follow: their parameters are "
           "frozen, or gradients are off inside the callable. Unfreeze the "
           "last block, run a frozen network under torch::NoGradGuard "
           "outside hook.forward, or use capture(features, weight)";
  }
  if (trace.elsewhere) {
    return "the convolutions that the logits come from were not observed: "
           "they ran in another thread (std::thread, data_parallel) or "
           "inside a checkpoint. Give that thread its own hook, or use "
           "capture(features, weight)";
  }
  if (trace.single_position) {
    return "the convolutions that the logits come from have a single "
           "position: there is no map to guide";
  }
  return "the logits do not come from the convolutions that ran on this "
         "thread";
}

/// Checks the wanted name. Finds out whether the layer is a single module, and
/// how many poolings it registers behind its last parameters.
inline void Finder::find_layer() {
  const auto& name = wanted_;
  const auto submodules = view_.submodules();
  std::set<std::string> owners;
  for (const auto& item : view_.parameters()) {
    owners.insert(owner_of(item.first));
  }
  const auto has_parameters = [&](const std::string& module) {
    return std::any_of(owners.begin(), owners.end(), [&](const auto& owner) {
      return lies_in(owner, module);
    });
  };
  std::string names;
  std::string before;
  bool exists = false;
  layer_.wanted = true;
  layer_.leaf = true;
  for (const auto& [path, type] : submodules) {
    names += (names.empty() ? "" : ", ") + path;
    exists |= path == name;
    if (!exists && owners.count(path)) {
      before = path;
    }
    if (path != name && lies_in(path, name)) {
      layer_.leaf = false;
      if (owners.count(path)) {
        layer_.trailing_pools = 0;
      } else if (contains(type, "Pool")) {
        ++layer_.trailing_pools;
      }
    }
  }
  TORCH_CHECK_VALUE(
      exists, "cyborg::CamHook: expected a layer among ",
      names.empty() ? "(none: the module has no submodules)" : names, "; got '",
      name, "'");
  TORCH_CHECK_VALUE(
      has_parameters(name), "cyborg::CamHook: layer '", name,
      "' has no parameters, and C++ modules report nothing else; name the "
      "layer before it",
      before.empty() ? std::string() : " ('" + before + "')");
}

/// Parameters are read at each run, since they may have been replaced.
inline NamedLayer Finder::layer_at_run() const {
  NamedLayer layer = layer_;
  if (layer.wanted) {
    for (const auto& item : view_.parameters()) {
      if (lies_in(owner_of(item.first), wanted_)) {
        layer.parameters.insert(item.second.unsafeGetTensorImpl());
      }
    }
  }
  return layer;
}

/// The shortest name of a module that returns the map: it holds the nearest
/// parameters below the map, and none of those between the map and the logits.
inline std::string Finder::layer_name(
    const Trace& trace, const torch::Tensor& logits, const NodeOutput& map) {
  const auto* nearest = parameter_below(trace, map);
  const auto above = parameters_above(logits, map);
  const auto known = [&](const c10::TensorImpl* impl) {
    return impl == nullptr || names_.count(impl) > 0;
  };
  if (!known(nearest) || !std::all_of(above.begin(), above.end(), known)) {
    names_.clear();
    for (const auto& item : view_.parameters()) {
      names_[item.second.unsafeGetTensorImpl()] = item.first;
    }
  }
  const auto found = names_.find(nearest);
  if (found == names_.end()) {
    return "";
  }
  const std::string owner = owner_of(found->second);
  for (auto dot = owner.find('.'); dot != std::string::npos;
       dot = owner.find('.', dot + 1)) {
    const std::string prefix = owner.substr(0, dot);
    if (std::none_of(above.begin(), above.end(), [&](const auto* impl) {
          const auto name = names_.find(impl);
          return name != names_.end() && lies_in(name->second, prefix);
        })) {
      return prefix;
    }
  }
  return owner;
}

/// The one map that the logits come from; throws when there is none or several.
inline Source Finder::pick(
    Trace& trace, const torch::Tensor& logits, Origin& origin) {
  constexpr const char* kFunction = "cyborg::CamHook::forward: ";
  if (logits.requires_grad() && logits.grad_fn()) {
    origin = origin_of(trace, logits);
  }
  drop_gates(trace, origin.sources);
  TORCH_CHECK_VALUE(
      !origin.map, kFunction, "the result ", logits.sizes(),
      " is a map itself, not logits [B, K]; give the loss "
      "such maps directly");
  TORCH_CHECK_VALUE(
      !origin.tokens, kFunction,
      "the logits come from tokens (a transformer, a recurrent or per-column "
      "layer works between the last map and the head): there is no map "
      "[B, C, *S] to read. Name a convolutional layer with "
      "CamHookOptions().layer(name), or use capture(features)");
  TORCH_CHECK_VALUE(
      origin.hidden.empty(), kFunction, "the map that ", origin.op,
      " read was made by the custom autograd function ", origin.hidden,
      ", which the hook cannot see into; use capture(features, weight), or "
      "name a layer before it with CamHookOptions().layer(name)");
  TORCH_CHECK_VALUE(
      !origin.sources.empty(), kFunction, why_nothing(trace, logits));
  if (origin.sources.size() > 1) {
    std::ostringstream list;
    std::set<std::string> names;
    for (const int id : origin.sources) {
      const auto& source = trace.sources[static_cast<size_t>(id)];
      const std::string name = layer_name(trace, logits, source.key);
      names.insert(name);
      list << "\n  layer '" << name << "' ";
      if (source.tensor.defined()) {
        list << source.tensor.sizes();
      }
      list << " through " << source.op;
    }
    TORCH_CHECK_VALUE(
        false, kFunction, "the logits come from ", origin.sources.size(),
        " maps; ",
        names.size() == 1 ? "the same layer ran several times, so observe the "
                            "forwards one by one, a hook.forward each (or, if "
                            "its output was split, use capture(features)):"
                          : "name one with CamHookOptions().layer(name), or "
                            "observe the forwards one by one:",
        list.str());
  }
  return trace.sources[static_cast<size_t>(origin.sources.front())];
}

/// Sets head, `exact`, `reason` and, from a guided head, `maps` of `seen`.
/// `read_by_head`: whether the logits come from `source` itself.
inline void Finder::read_head(
    const Trace& trace, const torch::Tensor& logits, const Source& source,
    bool read_by_head, Observation& seen) {
  const int64_t classes = logit_count(logits);
  Head head = head_of(trace, logits);
  const Mark* collapsed = head.weight.defined()
                              ? head.input
                              : mark_below(trace, node_output(logits));
  if (head.weight.defined() && head.weight.size(1) == seen.features.size(1)) {
    seen.weight = head.weight;
    seen.bias = head.bias;
  }
  if (!read_by_head) {
    seen.reason = "the head does not read this layer's output";
    return;
  }
  const std::string why =
      inexact(head, collapsed, source, classes, mean_check_);
  seen.exact = why.empty();
  for (const auto& made : trace.heads) {
    if (seen.exact && made.features == source.key && seen.weight.defined() &&
        made.weight.data_ptr() == seen.weight.data_ptr()) {
      seen.maps = made.maps;
    }
  }
  seen.reason = !seen.exact ? why
                : head.weight.defined()
                    ? "a linear head reads the mean over positions"
                    : "the logits are the mean over positions";
}

/// The observation of the named layer's output, which need not be what the head
/// reads; then CAM is not exact.
inline Observation Finder::of_layer(Trace& trace, const torch::Tensor& logits) {
  constexpr const char* kFunction = "cyborg::CamHook::forward: layer '";
  const auto& name = wanted_;
  const auto& output = trace.layer.output;
  TORCH_CHECK_VALUE(
      trace.layer.ran, kFunction, name,
      "' did not run under observation (not used, on another thread, its "
      "parameters frozen in gradient mode, or gradients off inside the "
      "callable)");
  TORCH_CHECK_VALUE(
      output.tensor.defined(), kFunction, name, "' returns no map [B, C, *S]");
  TORCH_CHECK_VALUE(
      !output.overwritten(), kFunction, name,
      "' returned a map that an in-place operator overwrote; "
      "make that operator (usually a ReLU) out of place, or "
      "name the module that holds both");
  TORCH_CHECK_VALUE(
      logits.requires_grad() && reaches(logits, output.key), kFunction, name,
      "' is not what the logits come from");
  Observation seen;
  seen.layer = name;
  seen.source = output.tensor;
  seen.channel_dim = output.channel;
  Origin origin = origin_of(trace, logits);
  drop_gates(trace, origin.sources);
  const bool same =
      !origin.tokens && origin.sources.size() == 1 &&
      trace.sources[static_cast<size_t>(origin.sources[0])].key == output.key;
  seen.reduction = origin.op.empty() ? "unknown" : origin.op;
  seen.features = seen.source;
  TORCH_CHECK_VALUE(
      output.channel > 0, kFunction, name,
      "' returns a map whose channel dimension is unclear; use "
      "capture(features)");
  if (output.channel != 1) {
    seen.features = seen.source.movedim(output.channel, 1);
  }
  read_head(trace, logits, output, same, seen);
  return seen;
}

inline Observation Finder::observe(Trace& trace, const torch::Tensor& logits) {
  constexpr const char* kFunction = "cyborg::CamHook::forward: ";
  TORCH_CHECK_VALUE(
      logits.defined(), kFunction, "the callable returned no tensor");
  TORCH_CHECK_VALUE(
      logits.dim() >= 1, kFunction,
      "expected logits [B, K] or [B], got a number; return the "
      "logits, not the loss");
  TORCH_CHECK_VALUE(
      logits.is_floating_point() && logits.size(0) > 0, kFunction,
      "expected logits [B, K] of floating point and "
      "at least one sample, got ",
      logits.sizes(), " of ", logits.scalar_type());
  TORCH_CHECK_VALUE(trace.operators > 0, kFunction, why_nothing(trace, logits));
  const at::AutoGradMode graph_on(true);  // views of features keep theirs
  Observation seen;
  if (trace.layer.wanted) {
    seen = of_layer(trace, logits);
  } else {
    Origin origin;
    const Source source = pick(trace, logits, origin);
    TORCH_CHECK_VALUE(
        source.tensor.defined(), kFunction, "the map that ", source.op,
        " collapsed was freed before it could be held; name "
        "its layer with CamHookOptions().layer(name)");
    TORCH_CHECK_VALUE(
        !source.overwritten(), kFunction, "the map ", source.tensor.sizes(),
        " that ", source.op,
        " collapsed was overwritten by an in-place operator "
        "(afterwards, or on a slice of it before); make that "
        "operator out of place");
    TORCH_CHECK_VALUE(
        source.channel > 0, kFunction, "the map ", source.tensor.sizes(),
        " has its axes moved in a way that hides its channels; "
        "use capture(features)");
    seen.source = source.tensor;
    seen.channel_dim = source.channel;
    seen.features = source.channel == 1
                        ? source.tensor
                        : source.tensor.movedim(source.channel, 1);
    seen.reduction = origin.op;
    seen.layer = layer_name(trace, logits, source.key);
    read_head(trace, logits, source, /*read_by_head=*/true, seen);
  }
  TORCH_CHECK_VALUE(
      logits.dim() <= 2, kFunction, "expected logits [B, K] or [B], got ",
      logits.sizes());
  TORCH_CHECK_VALUE(
      seen.features.size(0) == logits.size(0), kFunction, "the features found ",
      seen.features.sizes(), " hold ", seen.features.size(0),
      " samples, the logits ", logits.sizes(), " ", logits.size(0),
      ". Did part of the batch run on another thread (data_parallel), or does "
      "the network fold frames or crops into its batch?");
  seen.method = method_;
  TORCH_CHECK_VALUE(
      seen.method != CamMethod::kCam || seen.weight.defined() || seen.exact,
      kFunction, "CamMethod::kCam needs a linear head that reads ",
      seen.features.size(1), " channels, and there is none (", seen.reason,
      ")");
  return seen;
}

}  // namespace cyborg::detail
