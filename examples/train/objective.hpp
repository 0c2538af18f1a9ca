// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What a training minimises: the task's loss, the distance to human maps, and
// the terms that were asked for.

#include "../common/network.hpp"
#include "../common/settings.hpp"

#include <cyborg/data/table_types.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/saliency_guided.hpp>

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace programs {

/// The name of the distance to human maps among the parts of the loss.
inline constexpr const char* kSaliencyPart = "saliency";

/// The loss of a batch.
///
/// With nothing but the distance that `settings.loss` names it is
/// `SaliencyGuidedLoss`, whose kernels read the features once; with anything
/// else it is a `Guidance` of the same value.
class Objective {
 public:
  /// `rows` are the training pictures, for class weights.
  Objective(
      const Settings& settings, const std::vector<cyborg::data::Row>& rows,
      Network& network, torch::Device device);

  /// Sets what depends on the time: the strengths of the terms at `epoch` (a
  /// fraction within one), and the random numbers of step `step`, which are
  /// other ones in each process `rank`.
  void at(double epoch, int64_t step, int64_t rank);

  /// The loss of a batch, all on the device. `forward` runs the network.
  /// Throws: where the loss compares maps and the network has none.
  cyborg::GuidanceTerms operator()(
      cyborg::CamHook& hook,
      const std::function<torch::Tensor(const torch::Tensor&)>& forward,
      const cyborg::Batch& batch) const;

 private:
  /// The loss with `SaliencyGuidedLoss` alone.
  using Plain = std::function<cyborg::LossTerms(
      const torch::Tensor&, const cyborg::CamHook&, const cyborg::Batch&)>;

  const Settings& settings_;
  Plain plain_;  // empty where the guidance is used
  cyborg::Guidance guidance_;
  at::Generator random_;
};

/// The factors of the classes [K] that `settings` name; undefined for none.
/// Throws: `std::invalid_argument` for names and numbers that make no sense.
torch::Tensor class_weights(
    const Settings& settings, const std::vector<cyborg::data::Row>& rows);

}  // namespace programs
