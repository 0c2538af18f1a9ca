// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The model's maps of the classes that a loss or a term compares.

#include <cyborg/cam/methods.hpp>
#include <cyborg/cam/observation.hpp>

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace cyborg::detail {

/// Whether a source of maps has a member `observation()`, as a `CamHook` has.
template <class Source, class = void>
struct has_observation : std::false_type {};
template <class Source>
struct has_observation<
    Source, std::void_t<decltype(std::declval<const Source&>().observation())>>
    : std::true_type {};

/// The maps that a source gives for the labels or, without labels, for the
/// predicted classes, in the unit of the logits. A source is a tensor of maps,
/// an `Observation`, something with an `observation()`, or something with a
/// function `cam` like that of an `Observation`.
template <class Source>
ModelMap map_of(
    const Source& source, const torch::Tensor& logits,
    const torch::Tensor& labels) {
  if constexpr (std::is_convertible_v<const Source&, torch::Tensor>) {
    return {source, {}, {}};
  } else if constexpr (std::is_same_v<Source, Observation>) {
    return labels.defined()
               ? map_of_labels(source, logits, labels)
               : map_of_labels(source, logits, predicted_classes(logits));
  } else if constexpr (has_observation<Source>::value) {
    return map_of(source.observation(), logits, labels);
  } else {
    return {
        labels.defined() ? source.cam(logits, labels)
                         : source.cam(logits, CamClass::kPredicted),
        {},
        {}};
  }
}

/// [B] int64, for each sample the class with the highest logit among the
/// others. `logits` [B, K] with K > 1.
inline torch::Tensor strongest_rivals(
    const torch::Tensor& logits, const torch::Tensor& classes) {
  return logits.detach()
      .scatter(
          /*dim=*/1, classes.unsqueeze(1),
          -std::numeric_limits<double>::infinity())
      .argmax(/*dim=*/1);
}

/// The maps of `first` minus those of `second`, which come from one source. A
/// class activation map is linear in the row of the head, so the rows are
/// subtracted and one pass computes the difference. A source that gives the
/// same tensor for two classes has the wanted maps already.
inline ModelMap difference_of(const ModelMap& first, const ModelMap& second) {
  if (!first.weight.defined() && first.values.is_same(second.values)) {
    return first;
  }
  if (!first.weight.defined()) {
    return {first.values - second.values, {}, {}};
  }
  const torch::Tensor rows = first.weight.index_select(0, first.index) -
                             second.weight.index_select(0, second.index);
  return {first.values, rows, at::arange(rows.size(0), first.index.options())};
}

/// The maps of the classes that `which` names. `maps_of` is called with the
/// classes [B], or with no tensor for the predicted ones; `classes()` returns
/// the labels [B]. `logits` [B, K].
///
/// One logit is already the difference of two classes, so that kDifference is
/// the label's map.
/// Throws: on behalf of `function`, for kAll and for a class out of range.
template <class MapsOf, class Classes>
ModelMap chosen_map(
    const char* function, const MapsOf& maps_of, const torch::Tensor& logits,
    const Classes& classes, CamClass which, int64_t fixed) {
  switch (which) {
    case CamClass::kLabel:
      return maps_of(classes());
    case CamClass::kPredicted:
      return maps_of(torch::Tensor());
    case CamClass::kDifference: {
      const torch::Tensor labels = classes();
      const ModelMap own = maps_of(labels);
      return logits.size(1) == 1
                 ? own
                 : difference_of(
                       own, maps_of(strongest_rivals(logits, labels)));
    }
    case CamClass::kFixed: {
      const int64_t highest = logits.size(1) == 1 ? 1 : logits.size(1) - 1;
      TORCH_CHECK_VALUE(
          fixed >= 0 && fixed <= highest, function,
          ": expected fixed_class in [0, ", highest, "], got ", fixed);
      return maps_of(at::full(
          {logits.size(0)}, fixed,
          logits.options().dtype(at::kLong).requires_grad(false)));
    }
    case CamClass::kAll:
      break;
  }
  TORCH_CHECK_VALUE(
      false, function,
      ": expected the map of one class a sample, got CamClass::kAll");
}

/// The maps of the classes that `which` names, from a source (see `map_of`).
/// Maps that are given as a tensor are those of the wanted classes already.
template <class Source>
ModelMap chosen_map_of(
    const char* function, const Source& source, const torch::Tensor& logits,
    const torch::Tensor& labels, CamClass which, int64_t fixed) {
  if constexpr (std::is_convertible_v<const Source&, torch::Tensor>) {
    return {source, {}, {}};
  } else {
    return chosen_map(
        function,
        [&](const torch::Tensor& classes) {
          return map_of(source, logits, classes);
        },
        logits, [&] { return labels; }, which, fixed);
  }
}

}  // namespace cyborg::detail
