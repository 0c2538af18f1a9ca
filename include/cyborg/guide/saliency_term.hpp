// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/methods.hpp>
#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/detail/blend.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/distances.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/maps/normalize.hpp>

#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <torch/arg.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace cyborg {

/// Options of `SaliencyTerm`.
struct SaliencyTermOptions {
  /// The class whose map is compared, as in `SaliencyGuidedLossOptions`.
  TORCH_ARG(CamClass, cam_class) = CamClass::kLabel;
  /// The class with `CamClass::kFixed`, from 0.
  TORCH_ARG(int64_t, fixed_class) = 0;
  /// Normaliser of the model's maps. Default: the distance's own.
  TORCH_ARG(std::optional<Normalizer>, map_normalizer) = std::nullopt;
  /// Normaliser of people's maps. Default: the distance's own. With kNone a
  /// constant map also guides.
  TORCH_ARG(std::optional<Normalizer>, human_normalizer) = std::nullopt;

 public:
};

/// The distance between the model's map and people's map of each sample: a term
/// for `Guidance`. Any distance of <cyborg/guide/distances.hpp>, or your own,
/// becomes one; `Guidance::add` takes a distance alone, too.
///
/// A sample counts unless its human map is constant or has a NaN, its entry of
/// `Batch::annotated` is false, its label is not known (where the label's map
/// is compared), or its model map is constant or not finite. People's maps are
/// resized to the model's size; those that are smaller are enlarged.
///
/// With several labels a sample, maps [B, K, *S'] hold one map for each class.
/// Each positive label with a map is compared, and the sample's value is their
/// mean. The sample counts with the share of its positive labels that have one.
///
/// With `Batch::positions`, only the existing positions of each sample are
/// compared, one sample after the other; maps are not resized then.
///
/// Shapes: [B, *S] and [B, *S'] -> [B].
/// Gradient: to the model's map.
/// Throws: as `SaliencyGuidedLoss`.
/// Example:
///     guidance.add("pearson", 0.5, cyborg::SaliencyTerm<cyborg::Pearson>(
///         cyborg::SaliencyTermOptions().cam_class(CamClass::kPredicted)));
template <class Distance>
class SaliencyTerm {
 public:
  static constexpr unsigned kNeeds = needs::kNothing;

  explicit SaliencyTerm(
      SaliencyTermOptions options = {}, Distance distance = {})
      : options_(options), distance_(std::move(distance)) {
    TORCH_CHECK_VALUE(
        options_.cam_class() != CamClass::kAll, kName,
        ": expected the map of one class a sample, got CamClass::kAll");
  }

  PerSample operator()(const Seen& seen) const {
    const detail::AutocastDisabledGuard no_autocast;
    const torch::Tensor& people =
        kReadsWrong ? seen.batch.wrong : seen.batch.maps;
    if (seen.task.task() == Task::kMultiLabel &&
        options_.cam_class() == CamClass::kLabel) {
      return of_classes(seen, people);
    }
    detail::ModelMap model =
        seen.class_map(options_.cam_class(), options_.fixed_class());
    check(seen, model.values, model.sizes());
    model.values = detail::to_compute_type(model.values);
    PerSample found = compare(
        seen, detail::flat_maps(model), model.sizes(), people,
        seen.batch.annotated);
    if (options_.cam_class() == CamClass::kLabel ||
        options_.cam_class() == CamClass::kDifference) {
      found.usable = found.usable.logical_and(seen.known());
    }
    return found;
  }

 private:
  static constexpr const char* kName = "cyborg::SaliencyTerm";
  static constexpr bool kReadsWrong =
      detail::DistanceTraits<Distance>::reads_wrong();
  static constexpr const char* kPeople =
      kReadsWrong ? "masks of what is wrong" : "maps of people";

  Normalizer of_model() const {
    return options_.map_normalizer().value_or(Distance::map_normalizer);
  }
  Normalizer of_human() const {
    return options_.human_normalizer().value_or(Distance::human_normalizer);
  }

  /// Throws unless the maps fit the batch.
  void check(
      const Seen& seen, const torch::Tensor& values,
      at::IntArrayRef sizes) const {
    TORCH_CHECK_VALUE(
        values.defined(), kName, ": expected a map of the model, got none");
    TORCH_CHECK_VALUE(
        sizes.size() >= 2 && sizes[0] == seen.logits.size(0) &&
            values.numel() > 0 && values.is_floating_point(),
        kName, ": expected a map of the model [B, *S] of floating point",
        " for a batch of ", seen.logits.size(0), ", got ", sizes, " of ",
        values.scalar_type());
    TORCH_CHECK_VALUE(
        values.device() == seen.logits.device(), kName,
        ": expected a map of the model on ", seen.logits.device(), ", got ",
        values.device());
    detail::check_positions(kName, sizes, of_model(), of_human());
  }

  /// Compares flat maps [B, P] of `sizes` [B, *S].
  PerSample compare(
      const Seen& seen, const torch::Tensor& model, at::IntArrayRef sizes,
      const torch::Tensor& people, const torch::Tensor& annotated) const {
    const detail::HumanMaps human = detail::human_maps(
        kName, people, sizes, model, annotated, of_human(),
        detail::DistanceTraits<Distance>::resize(), kPeople);
    if (!seen.batch.positions.defined()) {
      return detail::sample_distances(
          kName, distance_, of_model(), of_human(), model, human);
    }
    return compare_positions(seen.batch.positions, model, sizes, people, human);
  }

  /// Compares each sample at the positions that exist.
  PerSample compare_positions(
      const torch::Tensor& positions, const torch::Tensor& model,
      at::IntArrayRef sizes, const torch::Tensor& people,
      const detail::HumanMaps& human) const {
    TORCH_CHECK_VALUE(
        positions.sizes() == sizes && positions.scalar_type() == at::kBool,
        kName, ": expected positions ", sizes, " of bool, got ",
        positions.sizes(), " of ", positions.scalar_type());
    std::vector<int64_t> given = people.sizes().vec();
    if (given.size() == sizes.size() + 1 && given[1] == 1) {
      given.erase(given.begin() + 1);  // [B, 1, *S]
    }
    TORCH_CHECK_VALUE(
        at::IntArrayRef(given) == sizes, kName, ": expected ", kPeople,
        " of the model's size ", sizes, " where positions are given, got ",
        people.sizes());
    const torch::Tensor exists = positions.flatten(1);
    std::vector<torch::Tensor> values, usable;
    for (int64_t b = 0; b < model.size(0); ++b) {
      const torch::Tensor at = exists[b].nonzero().squeeze(1);
      if (at.size(0) == 0) {
        usable.push_back(at::zeros({1}, positions.options()));
        values.push_back(  // zero, with the graph of the others
            detail::zero_unusable(model.narrow(0, b, 1), usable.back()).sum(1));
        continue;
      }
      const detail::HumanMaps one{
          human.maps.narrow(0, b, 1).index_select(1, at),
          human.annotated.defined() ? human.annotated.narrow(0, b, 1)
                                    : torch::Tensor()};
      const PerSample found = detail::sample_distances(
          kName, distance_, of_model(), of_human(),
          model.narrow(0, b, 1).index_select(1, at), one);
      values.push_back(found.value);
      usable.push_back(found.usable);
    }
    return {at::cat(values), at::cat(usable)};
  }

  /// Several labels a sample: compares the map of each positive label.
  PerSample of_classes(const Seen& seen, const torch::Tensor& people) const {
    const int64_t classes = seen.logits.size(1);
    const torch::Tensor positive =
        seen.batch.labels.reshape(seen.logits.sizes()).ge(0.5);
    TORCH_CHECK_VALUE(
        people.defined() && people.dim() >= 3 && people.size(1) == classes,
        kName, ": with several labels a sample, expected ", kPeople, " [B, ",
        classes, ", *S], one for each class, got ",
        people.defined() ? people.sizes() : at::IntArrayRef(),
        " (one map a sample needs CamClass::kFixed or kPredicted)");
    std::vector<torch::Tensor> values, usable;
    torch::Tensor first;  // the map of class 0, where it is not of a head
    for (int64_t k = 0; k < classes; ++k) {
      // A single logit speaks for class 1.
      detail::ModelMap model =
          seen.class_map(CamClass::kFixed, classes == 1 ? 1 : k);
      if (!model.weight.defined() && model.values.defined() &&
          model.values.dim() == people.dim() &&
          model.values.size(1) == classes) {
        model.values = model.values.select(1, k);  // given, of all classes
      } else if (!model.weight.defined() && k == 0) {
        first = model.values;
      } else if (!model.weight.defined() && first.defined()) {
        TORCH_CHECK_VALUE(
            !model.values.is_same(first), kName,
            ": with several labels a sample, expected maps of the model [B, ",
            classes, ", *S], one for each class, got ", first.sizes());
      }
      check(seen, model.values, model.sizes());
      model.values = detail::to_compute_type(model.values);
      torch::Tensor of_class = positive.select(1, k);
      if (seen.batch.annotated.defined()) {
        detail::check_per_sample(
            kName, "annotated", seen.batch.annotated, seen.logits);
        of_class = of_class.logical_and(seen.batch.annotated);
      }
      const PerSample found = compare(
          seen, detail::flat_maps(model), model.sizes(), people.select(1, k),
          of_class);
      values.push_back(found.value);
      usable.push_back(found.usable);
    }
    const torch::Tensor each = at::stack(values, /*dim=*/1);
    const torch::Tensor counted = at::stack(usable, /*dim=*/1);
    const torch::Tensor count = counted.sum(1).to(each.scalar_type());
    return {
        each.sum(1) / count.clamp_min(1),
        count / positive.sum(1).to(each.scalar_type()).clamp_min(1)};
  }

  SaliencyTermOptions options_;
  Distance distance_;
};

}  // namespace cyborg
