// SPDX-License-Identifier: BSD-3-Clause
// The core of `CamHook`. It holds no Python object between two calls: what it
// needs to know of the module is asked for during a call alone.
#include "common.hpp"
#include "core.hpp"

#include <cyborg/cam/head.hpp>

#include <map>
#include <sstream>
#include <tuple>

namespace torchcyborg {

namespace {

using cyborg::Observation;

/// "label" needs labels, "predicted" and "all" do not.
Tensor cam_of(
    const Observation& seen, const Tensor& logits, const Given& labels,
    const std::string& which) {
  const auto of = chosen("which", kClasses, which);
  const py::gil_scoped_release others_run;
  if (of != CamClass::kLabel) {
    return seen.cam(logits, of);
  }
  TORCH_CHECK_VALUE(
      labels.has_value(),
      "cyborg::CamHook::cam: expected labels [B], or which=\"predicted\" or "
      "\"all\", got neither");
  return seen.cam(logits, *labels);
}

std::string printed(const Observation& seen) {
  std::ostringstream text;
  text << seen;
  return in_python(text.str());
}

/// Logits and maps of a `GuidedHead` with these parameters.
std::tuple<Tensor, Tensor> guided_head(
    const Tensor& features, const Tensor& weight, const Given& bias,
    const Given& labels, const std::optional<std::string>& which) {
  // The object has no state of its own but the parameters, which are replaced.
  using Key = std::tuple<int64_t, int64_t, bool>;
  static thread_local std::map<Key, cyborg::GuidedHead> made;
  const Key key{weight.size(1), weight.size(0), bias.has_value()};
  auto found = made.find(key);
  if (found == made.end()) {
    const at::NoGradGuard no_graph;
    found = made.emplace(
                    key, cyborg::GuidedHead(cyborg::GuidedHeadOptions(
                                                weight.size(1), weight.size(0))
                                                .bias(bias.has_value())))
                .first;
  }
  auto& head = *found->second;
  head.weight = weight;
  head.bias = tensor_of(bias);
  const auto forget = [&head] {
    head.weight = Tensor();
    head.bias = Tensor();
  };
  try {
    cyborg::GuidedHeadOutput out;
    if (labels) {
      out = head.guided(features, *labels);
    } else if (which) {
      out = head.guided(features, chosen("which", kClasses, *which));
    } else {
      out.logits = head.forward(features);
    }
    forget();
    return {out.logits, out.cam};
  } catch (...) {
    forget();
    throw;
  }
}

}  // namespace

Core::Core(
    Submodules submodules, const py::object& parameters,
    const std::string& layer, const std::string& method, bool detach_weights)
    : source_(std::make_shared<Source>()) {
  source_->submodules = std::move(submodules);
  const auto how = chosen("method", kMethods, method);
  asking(parameters, [&] {
    PythonModule module{source_};
    hook_ = std::make_unique<cyborg::CamHook>(
        module,
        cyborg::CamHookOptions().layer(layer).method(how).detach_weights(
            detach_weights));
  });
}

void Core::begin(const py::object& parameters) {
  asking(parameters, [&] { hook_->begin(); });
}

bool Core::end(
    std::vector<Given> results, std::string problem,
    const py::object& parameters) {
  std::vector<Tensor> tensors;
  for (const auto& one : results) {
    tensors.push_back(tensor_of(one));
  }
  bool recording = true;
  asking(parameters, [&] {
    recording = hook_->end(std::move(tensors), std::move(problem));
  });
  return recording;
}

void Core::cancel() {
  const py::gil_scoped_release others_run;
  hook_->cancel();
}

void bind_hook(py::module_& module) {
  py::class_<Observation>(module, "Observation", py::module_local())
      .def_property_readonly(
          "features", [](const Observation& seen) { return seen.features; })
      .def_property_readonly(
          "weight", [](const Observation& seen) { return seen.weight; })
      .def_property_readonly(
          "bias", [](const Observation& seen) { return seen.bias; })
      .def_property_readonly(
          "layer", [](const Observation& seen) { return seen.layer; })
      .def_property_readonly(
          "reduction", [](const Observation& seen) { return seen.reduction; })
      .def_property_readonly(
          "reason",
          [](const Observation& seen) { return in_python(seen.reason); })
      .def_property_readonly(
          "exact", [](const Observation& seen) { return seen.exact; })
      .def_property_readonly(
          "method",
          [](const Observation& seen) {
            return name_of(kMethods, seen.method);
          })
      .def_property_readonly(
          "defined", [](const Observation& seen) { return seen.defined(); })
      .def("require", [](const Observation& seen) { seen.require(); })
      .def(
          "cam", &cam_of, py::arg("logits"), py::arg("labels") = py::none(),
          py::kw_only(), py::arg("which") = "label")
      .def(
          "logit_scale",
          [](const Observation& seen, const Given& logits) {
            return logits ? seen.logit_scale(*logits) : seen.logit_scale();
          },
          py::arg("logits") = py::none())
      .def("__repr__", &printed);

  py::class_<Core>(module, "Core", py::module_local())
      .def(
          py::init<
              Submodules, const py::object&, const std::string&,
              const std::string&, bool>(),
          py::arg("submodules"), py::arg("parameters"), py::arg("layer"),
          py::arg("method"), py::arg("detach_weights"))
      .def("begin", &Core::begin)
      .def("end", &Core::end)
      .def("cancel", &Core::cancel)
      .def("clear", [](Core& core) { core.hook().clear(); })
      .def(
          "capture",
          [](Core& core, const Tensor& features, const Given& weight,
             const Given& bias) {
            core.hook().capture(features, tensor_of(weight), tensor_of(bias));
          })
      .def_property_readonly(
          "observing", [](Core& core) { return core.hook().observing(); })
      .def_property_readonly(
          "observation", [](Core& core) { return core.hook().observation(); });

  module.def(
      "guided_head", &guided_head, py::call_guard<py::gil_scoped_release>(),
      py::arg("features"), py::arg("weight"), py::arg("bias"),
      py::arg("labels"), py::arg("which"));
}

}  // namespace torchcyborg
