// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/precision.hpp>
#include <cyborg/guide/seen.hpp>
#include <cyborg/maps/normalize.hpp>

#include <torch/arg.h>

#include <cmath>
#include <cstdint>

namespace cyborg {

/// Options of `CamEntropy`.
struct CamEntropyOptions {
  /// The class whose map should be focused.
  TORCH_ARG(CamClass, cam_class) = CamClass::kLabel;
  /// The class with `CamClass::kFixed`, from 0.
  TORCH_ARG(int64_t, fixed_class) = 0;

 public:
};

/// The entropy of the model's map as a distribution, from 0 (one position) to 1
/// (no focus at all). It needs no map of people.
///
///     D = -sum p ln p / ln P,    p = softmax of the map
///
/// A strength of 0.1 is a good start: with a strength of 1 a small network may
/// give up the task. The published entropy is that of min-max maps, in which
/// one position is always 0, so that its gradient is NaN; a softmax has neither
/// fault.
///
/// A sample counts where its map is finite and, with the label's map, its label
/// is known.
///
/// Shapes: maps [B, *S] -> [B].
/// Range: [0, 1].
/// Gradient: to the model's map.
/// Throws: for a map of one position, and as `Seen::map`.
/// Source: the entropy term of "Improving Model's Focus Improves Performance
/// of Deep Learning-Based Synthetic Face Detectors" (arXiv:2303.00818), with
/// the softmax that it does not publish.
/// Example:
///     guidance.add("focus", 0.1, cyborg::CamEntropy());
struct CamEntropy {
  static constexpr unsigned kNeeds = needs::kNothing;
  CamEntropyOptions options = {};

  PerSample operator()(const Seen& seen) const {
    const detail::AutocastDisabledGuard no_autocast;
    torch::Tensor maps = detail::to_compute_type(
        seen.map(options.cam_class(), options.fixed_class()).flatten(1));
    TORCH_CHECK_VALUE(
        maps.size(1) > 1,
        "cyborg::CamEntropy: expected a map of more than one position, got ",
        maps.sizes());
    torch::Tensor positions;
    const double log_size = std::log(static_cast<double>(maps.size(1)));
    torch::Tensor sizes;
    if (seen.batch.positions.defined()) {
      positions = seen.batch.positions.flatten(1);
      TORCH_CHECK_VALUE(
          positions.sizes() == maps.sizes() &&
              positions.scalar_type() == at::kBool,
          "cyborg::CamEntropy: expected positions ", maps.sizes(),
          " of bool, got ", positions.sizes(), " of ", positions.scalar_type());
      maps = maps.masked_fill(positions.logical_not(), 0);
      sizes = positions.sum(1);
    }
    torch::Tensor usable =
        detail::usable_maps(maps, Normalizer::kNone, /*floor=*/0);
    torch::Tensor scores = detail::zero_unusable(maps, usable);
    if (positions.defined()) {
      // A position that does not exist has the probability 0, whose logarithm
      // is not taken.
      scores = scores.masked_fill(positions.logical_not(), -1e30);
      usable = usable.logical_and(sizes > 1);
    }
    const torch::Tensor log_p = scores.log_softmax(/*dim=*/1);
    torch::Tensor parts = log_p.exp() * log_p;
    if (positions.defined()) {
      parts = parts.masked_fill(positions.logical_not(), 0);
    }
    torch::Tensor entropy = -parts.sum(/*dim=*/1);
    entropy = sizes.defined()
                  ? entropy / sizes.clamp_min(2).to(maps.scalar_type()).log()
                  : entropy / log_size;
    if (options.cam_class() == CamClass::kLabel ||
        options.cam_class() == CamClass::kDifference) {
      usable = usable.logical_and(seen.known());
    }
    return {entropy, usable};
  }
};

}  // namespace cyborg
