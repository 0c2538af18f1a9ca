// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/detail/human_target.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/maps/normalize.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <torch/arg.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace cyborg {

/// How a map is compared with what is wanted, unwanted and unknown.
enum class TernaryForm {
  kGradia,  ///< mean |m - f+|: what is not wanted should be dark
  kHaics,   ///< cross entropy of m and f+ where people said something
  kResG,  ///< GRADIA with a blurred f+, and a hinge where people said something
};

/// Options of `Ternary`.
struct TernaryOptions {
  TORCH_ARG(TernaryForm, form) = TernaryForm::kGradia;
  /// The class whose map is compared.
  TORCH_ARG(CamClass, cam_class) = CamClass::kLabel;
  /// The class with `CamClass::kFixed`, from 0.
  TORCH_ARG(int64_t, fixed_class) = 0;
  /// Of kResG: the value of m that separates wanted from unwanted, in (0, 1).
  TORCH_ARG(double, threshold) = 0.5;
  /// Of kResG: how much disagreement is free, from 0. Default 0.1.
  TORCH_ARG(double, slack) = 0.1;

 public:
};

/// The difference between the model's map and two kinds of feedback: where to
/// look, and where not.
///
/// f is +1 where `Batch::maps` is above the middle of its range, -1 where
/// `Batch::wrong` is above 0.5, and 0 where people said nothing, or both. f+ is
/// 1 where f = 1, else 0. m is the model's map after min-max; masks are resized
/// to it by the nearest value.
///
///     kGradia  D = mean |m - f+|
///     kHaics   D = mean over f != 0 of -f+ ln m - (1 - f+) ln(1 - m)
///     kResG    D = mean |m - b| +
///                  max(0, mean over f != 0 of |tanh(5 (m - t)) - f| - slack),
///              b = f+ blurred by (1 2 1) / 4 along both axes, over its
///              maximum (f+ itself where a map has not two axes)
///
/// In kHaics m is kept in [1e-4, 1 - 1e-4], which bounds the gradient. Only one
/// of `maps` and `wrong` is needed. A sample counts where people said anything
/// at all, its model map is not flat, and its label is known.
///
/// Shapes: maps [B, *S], masks [B, *S'] or [B, 1, *S'] -> [B].
/// Gradient: to the model's map.
/// Throws: where there is neither `maps` nor `wrong`; for options out of range;
/// for a batch with `positions`.
/// Source: Gao et al., "RES: a robust framework for guiding visual
/// explanation", KDD 2022, and the two methods that it compares with. Departure
/// from its code: kHaics averages over the positions with feedback, where the
/// code averages over all and multiplies by their share.
/// Example:
///     guidance.add("res", 1, cyborg::Ternary{cyborg::TernaryOptions().form(
///         cyborg::TernaryForm::kResG)});
struct Ternary {
  static constexpr unsigned kNeeds = needs::kNothing;
  TernaryOptions options = {};

  /// Throws: for options that a term cannot have. `Guidance::add` calls it.
  void check() const {
    TORCH_CHECK_VALUE(
        options.threshold() > 0 && options.threshold() < 1 &&
            options.slack() >= 0 && std::isfinite(options.slack()),
        kName, ": expected threshold in (0, 1) and slack >= 0, got ",
        options.threshold(), " and ", options.slack());
  }

  PerSample operator()(const Seen& seen) const {
    check();
    TORCH_CHECK_VALUE(
        seen.batch.maps.defined() || seen.batch.wrong.defined(), kName,
        ": expected maps, or masks of what is wrong, got neither");
    TORCH_CHECK_VALUE(
        !seen.batch.positions.defined(), kName,
        ": the positions of samples of different sizes are not supported");
    const detail::AutocastDisabledGuard no_autocast;
    const torch::Tensor map = detail::to_compute_type(
        seen.map(options.cam_class(), options.fixed_class()));
    const torch::Tensor raw = map.flatten(1);
    torch::Tensor usable =
        detail::usable_maps(raw, Normalizer::kMinMax, detail::kModelFloor);
    const torch::Tensor m = detail::normalize_usable(
        detail::zero_unusable(raw, usable), usable, Normalizer::kMinMax);
    const torch::Tensor feedback = feedback_of(seen, map);
    const torch::Tensor said = feedback.ne(0);
    usable = usable.logical_and(said.any(1)).logical_and(seen.known());
    return {compare(m, feedback, said, map.sizes()), usable};
  }

 private:
  static constexpr const char* kName = "cyborg::Ternary";

  /// [B, P], +1, -1 and 0.
  static torch::Tensor feedback_of(const Seen& seen, const torch::Tensor& map) {
    const at::NoGradGuard no_grad;
    const auto above = [&](const torch::Tensor& given, const char* name,
                           bool scaled) {
      const detail::HumanMaps human = detail::human_maps(
          kName, given, map.sizes(), map, seen.batch.annotated,
          scaled ? Normalizer::kMinMax : Normalizer::kNone,
          maps::Resize::kNearest, name);
      const auto target = detail::normalized_target(
          human, scaled ? Normalizer::kMinMax : Normalizer::kNone);
      return target.maps.gt(0.5)
          .logical_and(target.usable.unsqueeze(1))
          .to(map.scalar_type());
    };
    torch::Tensor feedback = at::zeros_like(map.flatten(1));
    if (seen.batch.maps.defined()) {
      feedback = above(seen.batch.maps, "maps of people", true);
    }
    if (seen.batch.wrong.defined()) {
      feedback =
          feedback - above(seen.batch.wrong, "masks of what is wrong", false);
    }
    return feedback;
  }

  /// The distances [B] of maps m [B, P] of `sizes` [B, *S].
  torch::Tensor compare(
      const torch::Tensor& m, const torch::Tensor& feedback,
      const torch::Tensor& said, at::IntArrayRef sizes) const {
    const torch::Tensor wanted = feedback.clamp_min(0);
    const auto mean_where_said = [&](const torch::Tensor& values) {
      return values.masked_fill(said.logical_not(), 0).sum(1) /
             said.sum(1).clamp_min(1).to(values.scalar_type());
    };
    switch (options.form()) {
      case TernaryForm::kHaics: {
        constexpr double kSmallest = 1e-4;
        const torch::Tensor p = m.clamp(kSmallest, 1 - kSmallest);
        return mean_where_said(
            -(wanted * p.log() + (1 - wanted) * (1 - p).log()));
      }
      case TernaryForm::kResG: {
        const torch::Tensor disagreement = mean_where_said(
            (((m - options.threshold()) * 5).tanh() - feedback).abs());
        return (m - blurred(wanted, sizes)).abs().mean(1) +
               (disagreement - options.slack()).clamp_min(0);
      }
      case TernaryForm::kGradia:
        break;
    }
    return (m - wanted).abs().mean(1);
  }

  /// `wanted` [B, P] blurred and divided by its maximum. Maps that have not two
  /// dimensions, or one of size 1, are not blurred.
  static torch::Tensor blurred(
      const torch::Tensor& wanted, at::IntArrayRef sizes) {
    if (sizes.size() != 3 || sizes[1] < 2 || sizes[2] < 2) {
      return wanted;
    }
    const torch::Tensor line =
        at::tensor(at::ArrayRef<double>({0.25, 0.5, 0.25}), at::kDouble)
            .to(wanted.options());
    const torch::Tensor filter =
        (line.unsqueeze(1) * line.unsqueeze(0)).reshape({1, 1, 3, 3});
    const torch::Tensor soft =
        at::conv2d(
            at::reflection_pad2d(
                wanted.reshape({sizes[0], 1, sizes[1], sizes[2]}),
                {1, 1, 1, 1}),
            filter)
            .flatten(1);
    const torch::Tensor highest = soft.amax(1, /*keepdim=*/true);
    return soft / highest.masked_fill(highest.eq(0), 1);
  }
};

}  // namespace cyborg
