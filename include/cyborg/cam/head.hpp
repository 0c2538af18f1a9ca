// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/methods.hpp>

#include <torch/nn/cloneable.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <ostream>
#include <vector>

namespace cyborg {

/// Options of `GuidedHead`.
struct GuidedHeadOptions {
  GuidedHeadOptions(int64_t channels, int64_t classes)
      : channels_(channels), classes_(classes) {}
  /// Channels of the features.
  TORCH_ARG(int64_t, channels);
  /// Classes, or 1 for a single logit.
  TORCH_ARG(int64_t, classes);
  /// Whether the linear layer has a bias. Default true.
  TORCH_ARG(bool, bias) = true;

 public:
};

/// The logits of a batch and the maps of its labels.
struct GuidedHeadOutput {
  torch::Tensor logits;  ///< [B, K]
  torch::Tensor cam;     ///< [B, *S]
};

/// The end of a classifier: the mean over the positions, and a linear layer
/// whose weights are also those of the class activation map.
///
///     logits = W mean_s F[s] + b,    cam[s] = W[label] F[s]
///
/// `weight` [K, C] and `bias` [K] are named, shaped and initialised as those
/// of torch::nn::Linear, so that state dictionaries fit.
///
/// Example:
///
///     cyborg::GuidedHead head(512, 2);
///     auto out = head->guided(backbone->forward(images), labels);
///     auto terms = criterion(out.logits, labels, out.cam, maps);
class GuidedHeadImpl : public torch::nn::Cloneable<GuidedHeadImpl> {
 public:
  GuidedHeadImpl(int64_t channels, int64_t classes)
      : GuidedHeadImpl(GuidedHeadOptions(channels, classes)) {}

  /// Throws: when channels or classes are not positive.
  explicit GuidedHeadImpl(const GuidedHeadOptions& options_)
      : options(options_) {
    TORCH_CHECK_VALUE(
        options.channels() > 0 && options.classes() > 0,
        "cyborg::GuidedHead: expected channels and classes above 0, got ",
        options.channels(), " and ", options.classes());
    GuidedHeadImpl::reset();
  }

  void reset() override {
    weight = register_parameter(
        "weight", torch::empty({options.classes(), options.channels()}));
    bias = register_parameter(
        "bias",
        options.bias() ? torch::empty({options.classes()}) : torch::Tensor(),
        /*requires_grad=*/options.bias());
    reset_parameters();
  }

  /// Draws new parameters, as torch::nn::Linear does.
  void reset_parameters() {
    torch::nn::init::kaiming_uniform_(weight, /*a=*/std::sqrt(5.0));
    if (bias.defined()) {
      const double bound =
          1 / std::sqrt(static_cast<double>(options.channels()));
      torch::nn::init::uniform_(bias, -bound, bound);
    }
  }

  /// Shapes: `features` [B, C, *S] -> [B, K].
  /// Gradient: to the features and the parameters.
  /// Throws: on features that are not [B, C, *S].
  torch::Tensor forward(const torch::Tensor& features) {
    check("cyborg::GuidedHead::forward", features);
    std::vector<int64_t> positions(static_cast<size_t>(features.dim() - 2));
    std::iota(positions.begin(), positions.end(), 2);
    return torch::nn::functional::linear(
        features.mean(positions), weight, bias);
  }

  /// Shapes: `features` [B, C, *S], `labels` [B] -> logits [B, K], the maps
  /// of the labels' classes [B, *S] (see `functional::cam`).
  /// Gradient: to the features and the parameters.
  /// Throws: on shapes that do not fit and labels out of range on the CPU.
  GuidedHeadOutput guided(
      const torch::Tensor& features, const torch::Tensor& labels) {
    check("cyborg::GuidedHead::guided", features);
    return {forward(features), functional::cam(features, weight, labels)};
  }

  /// Copies the parameters of `linear` into this head.
  /// Throws: when its sizes or its bias do not fit.
  void from_linear(const torch::nn::Linear& linear) {
    const torch::NoGradGuard no_grad;
    TORCH_CHECK_VALUE(
        linear->weight.sizes() == weight.sizes() &&
            linear->bias.defined() == bias.defined(),
        "cyborg::GuidedHead::from_linear: expected weight ", weight.sizes(),
        bias.defined() ? " and a bias" : " and no bias", ", got ",
        linear->weight.sizes(),
        linear->bias.defined() ? " and a bias" : " and no bias");
    weight.copy_(linear->weight);
    if (bias.defined()) {
      bias.copy_(linear->bias);
    }
  }

  /// A linear layer with a copy of the parameters, their type and device.
  torch::nn::Linear to_linear() const {
    const torch::NoGradGuard no_grad;
    torch::nn::Linear linear(
        torch::nn::LinearOptions(options.channels(), options.classes())
            .bias(options.bias()));
    linear->to(weight.device(), weight.scalar_type());
    linear->weight.copy_(weight);
    if (bias.defined()) {
      linear->bias.copy_(bias);
    }
    return linear;
  }

  void pretty_print(std::ostream& stream) const override {
    stream << "cyborg::GuidedHead(channels=" << options.channels()
           << ", classes=" << options.classes()
           << ", bias=" << (options.bias() ? "true" : "false") << ")";
  }

  GuidedHeadOptions options;
  torch::Tensor weight;
  torch::Tensor bias;

 private:
  void check(const char* function, const torch::Tensor& features) const {
    detail::check_features(function, features);
    TORCH_CHECK_VALUE(
        features.size(1) == options.channels(), function,
        ": expected features of ", options.channels(), " channels, got ",
        features.sizes());
  }
};

TORCH_MODULE(GuidedHead);

}  // namespace cyborg
