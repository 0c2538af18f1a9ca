// SPDX-License-Identifier: BSD-3-Clause
// `SaliencyGuidedLoss` with each distance, also one written in Python.
#include "common.hpp"
#include "distances.hpp"

#include <cyborg/cam/observation.hpp>
#include <cyborg/guide/saliency_guided.hpp>

#include <tuple>
#include <variant>

namespace torchcyborg {

namespace {

using cyborg::LossTerms;
using cyborg::Observation;
using cyborg::SaliencyGuidedLoss;
using cyborg::SaliencyGuidedLossOptions;

using Terms = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Source = std::variant<Tensor, Observation>;

Terms as_tuple(const LossTerms& terms) {
  return {
      terms.total, terms.classification, terms.saliency, terms.annotated_count};
}

/// Calls `use` with a criterion of this distance. Those that have kernels of
/// their own are named; the others differ in a function and two normalisers.
template <class Use>
Terms with_criterion(
    const Distance& distance, SaliencyGuidedLossOptions options,
    const Use& use) {
  if (distance.name == "l1") {
    return use(SaliencyGuidedLoss<cyborg::L1>(options));
  }
  if (distance.name == "l2") {
    return use(SaliencyGuidedLoss<cyborg::L2>(options));
  }
  if (distance.name == "kl") {
    return use(SaliencyGuidedLoss<cyborg::KL>(options));
  }
  options.map_normalizer(
      options.map_normalizer().value_or(distance.map_normalizer));
  options.human_normalizer(
      options.human_normalizer().value_or(distance.human_normalizer));
  return use(SaliencyGuidedLoss<AnyDistance>(options, {distance.function}));
}

SaliencyGuidedLossOptions options_of(
    double alpha, const std::string& cam_class, int64_t fixed_class,
    const std::optional<std::string>& map_normalizer,
    const std::optional<std::string>& human_normalizer,
    const std::string& reduction) {
  return SaliencyGuidedLossOptions()
      .alpha(alpha)
      .cam_class(chosen("cam_class", kClasses, cam_class))
      .fixed_class(fixed_class)
      .map_normalizer(normalizer_of("map_normalizer", map_normalizer))
      .human_normalizer(normalizer_of("human_normalizer", human_normalizer))
      .reduction(chosen("reduction", kReductions, reduction));
}

}  // namespace

void bind_loss(py::module_& module) {
  py::class_<SaliencyGuidedLossOptions>(
      module, "LossOptions", py::module_local())
      .def(
          py::init(&options_of), py::arg("alpha"), py::arg("cam_class"),
          py::arg("fixed_class"), py::arg("map_normalizer"),
          py::arg("human_normalizer"), py::arg("reduction"));

  py::class_<Distance>(module, "Distance", py::module_local())
      .def(py::init(&distance_of), py::arg("distance"));

  module.def(
      "check_loss",
      [](const Distance& distance, const SaliencyGuidedLossOptions& options) {
        with_criterion(distance, options, [](const auto&) { return Terms(); });
      });

  module.def(
      "saliency_guided_loss",
      [](const Distance& distance, const SaliencyGuidedLossOptions& options,
         const Tensor& logits, const Tensor& labels, const Source& source,
         const Given& maps, const Given& annotated, const Given& weight) {
        return with_criterion(distance, options, [&](const auto& criterion) {
          return as_tuple(std::visit(
              [&](const auto& from) {
                return criterion(
                    logits, labels, from, tensor_of(maps), tensor_of(annotated),
                    tensor_of(weight));
              },
              source));
        });
      },
      py::call_guard<py::gil_scoped_release>());

  module.def(
      "combine",
      [](const Distance& distance, const SaliencyGuidedLossOptions& options,
         const Tensor& task_loss, const Given& cam, const Given& maps,
         const Given& annotated, const Given& weight) {
        return with_criterion(distance, options, [&](const auto& criterion) {
          return as_tuple(criterion.combine(
              task_loss, tensor_of(cam), tensor_of(maps), tensor_of(annotated),
              tensor_of(weight)));
        });
      },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace torchcyborg
