// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

namespace cyborg {

/// A batch of a training: pictures, labels, and what people said about them.
/// Everything but `images` and `labels` may be undefined. `images` may be
/// undefined, too, where no term needs it.
///
/// Example:
///     cyborg::Batch batch{images, labels, maps};
struct Batch {
  /// [B, ...], what the network takes.
  torch::Tensor images = {};
  /// What the task wants (`TaskOptions::task`): [B] classes as integers, where
  /// -100 means that the class is not known; [B, K] shares of classes or
  /// several labels, as floating point; [B] or [B, K] numbers of a regression.
  torch::Tensor labels = {};
  /// [B, *S'] or [B, 1, *S'], where people look: high means look here. A map
  /// with a NaN, or a constant one, says nothing.
  torch::Tensor maps = {};
  /// [B, *S'] or [B, 1, *S'] in [0, 1], what must not be used: 1 means wrong. A
  /// mask with a NaN says nothing; zeros say that nothing is wrong.
  torch::Tensor wrong = {};
  /// [B] bool, whether people annotated the sample. Where it is false, `maps`
  /// and `wrong` are not read. Default: all.
  torch::Tensor annotated = {};
  /// [B], not negative: a factor of the sample's whole loss. Default: 1.
  torch::Tensor weight = {};
  /// [B, *S] bool, which positions of the model's map exist, where samples have
  /// different sizes (graphs, sequences). Default: all.
  torch::Tensor positions = {};
};

/// What a term returns: one number a sample. A term never reduces.
struct PerSample {
  /// [B], the loss of each sample.
  torch::Tensor value = {};
  /// [B], bool, or shares in [0, 1]: whether, or how much, a sample counts.
  /// The value of a sample that does not count is not used, but its derivative
  /// is computed: it must be finite. So mask what goes into a root, a logarithm
  /// or a division, not what comes out. Undefined: all count.
  torch::Tensor usable = {};
};

/// What a term needs, beyond the logits and the hook's observation. A term
/// says it with a constant:
///
///     static constexpr unsigned kNeeds = needs::kInputGradient;
namespace needs {
constexpr unsigned kNothing = 0;
/// The pictures require a gradient in the forward pass (`Seen::images`).
constexpr unsigned kInputGradient = 1;
/// The network is run again (`Seen::forward`).
constexpr unsigned kForward = 2;
}  // namespace needs

}  // namespace cyborg
