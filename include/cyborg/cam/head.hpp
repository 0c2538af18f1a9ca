// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/cam/detail/observer.hpp>
#include <cyborg/cam/methods.hpp>
#include <cyborg/detail/kernels/feature_pass.hpp>
#include <cyborg/detail/torch/precision.hpp>

#include <torch/nn/cloneable.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cmath>
#include <cstdint>
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

/// The logits of a batch and its maps, as `GuidedHead::guided` returns them.
struct GuidedHeadOutput {
  torch::Tensor logits;  ///< [B, K]
  torch::Tensor cam;     ///< [B, *S], or [B, K, *S] of all classes
};

/// The end of a classifier that also makes its class activation maps: the mean
/// over the positions, and a linear layer whose weights are those of the map.
///
///     logits = W mean_s F[s] + b,    cam[s] = W[label] F[s]
///
/// `weight` [K, C] and `bias` [K] have the names, shapes and initial values of
/// torch::nn::Linear, so that state dictionaries fit.
///
/// Example:
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

  /// Draws new random parameters, as torch::nn::Linear does.
  void reset_parameters() {
    torch::nn::init::kaiming_uniform_(weight, /*a=*/std::sqrt(5.0));
    if (bias.defined()) {
      const double bound =
          1 / std::sqrt(static_cast<double>(options.channels()));
      torch::nn::init::uniform_(bias, -bound, bound);
    }
  }

  /// The logits of `features`. When a `CamHook` observes and there are up to 8
  /// classes, the maps of all classes are made in the same pass, so that the
  /// hook has them for any label.
  ///
  /// Shapes: `features` [B, C, *S] -> [B, K].
  /// Gradient: to the features and the parameters.
  /// Throws: on features that are not [B, C, *S].
  torch::Tensor forward(const torch::Tensor& features) {
    check("cyborg::GuidedHead::forward", features);
    return detail::Observer::armed() && options.classes() <= detail::kFewRows
               ? of_all_classes(features).logits
               : without_maps(features);
  }

  /// Logits and maps of the labels' classes, in one pass over the features,
  /// whose gradient is also written in one pass.
  ///
  /// Shapes: `features` [B, C, *S], `labels` [B] -> logits [B, K], the maps
  /// of the labels' classes [B, *S] (see `functional::cam`).
  /// Gradient: to the features and the parameters.
  /// Throws: on shapes that do not fit, and on labels out of range where they
  /// are on the CPU.
  GuidedHeadOutput guided(
      const torch::Tensor& features, const torch::Tensor& labels) {
    constexpr const char* kFunction = "cyborg::GuidedHead::guided";
    check(kFunction, features);
    detail::check_labels(kFunction, labels, features, options.classes());
    return run(
        features, detail::class_map(features, weight, labels),
        detail::map_sizes(features), detail::HeadOutputs::kBoth);
  }

  /// The same with the maps of the predicted classes, or with those of all
  /// classes [B, K, *S].
  ///
  /// Throws: for a choice that needs the labels (kLabel, for example).
  GuidedHeadOutput guided(const torch::Tensor& features, CamClass which) {
    constexpr const char* kFunction = "cyborg::GuidedHead::guided";
    check(kFunction, features);
    TORCH_CHECK_VALUE(
        which == CamClass::kPredicted || which == CamClass::kAll, kFunction,
        ": CamClass::", detail::name_of(which),
        " needs the labels; call guided(features, labels)");
    if (which == CamClass::kAll || options.classes() <= detail::kFewRows) {
      GuidedHeadOutput out = of_all_classes(features);
      if (which == CamClass::kPredicted) {
        out.cam = functional::cam(
            out.cam, /*weight=*/{}, detail::predicted_classes(out.logits));
      }
      return out;
    }
    const torch::Tensor logits = without_maps(features);
    return {
        logits,
        functional::cam(features, weight, detail::predicted_classes(logits))};
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

  /// A linear layer with a copy of the parameters, in their type and on their
  /// device.
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
  /// Makes means and maps in one pass, reports them to the hooks of this
  /// thread, and makes the logits of the means. Maps of the labels' classes are
  /// not reported: a hook needs those of all classes.
  GuidedHeadOutput run(
      const torch::Tensor& features, const detail::ModelMap& model,
      at::IntArrayRef map_sizes, detail::HeadOutputs wanted) {
    detail::FeatureSums sums;
    {
      const detail::AutocastDisabledGuard no_autocast;
      sums = detail::feature_sums(model, wanted);
    }
    GuidedHeadOutput out;
    if (sums.maps.defined()) {
      out.cam = sums.maps.reshape(map_sizes);
    }
    detail::Observer::report(
        features, sums.pooled, weight,
        model.index.defined() ? torch::Tensor() : out.cam);
    out.logits = torch::nn::functional::linear(
        sums.pooled.to(features.scalar_type()), weight, bias);
    return out;
  }

  /// Features and all rows of the weight, in the type in which maps are made.
  detail::ModelMap all_rows(const torch::Tensor& features) const {
    const auto type = detail::compute_type(
        c10::promoteTypes(features.scalar_type(), weight.scalar_type()));
    return {features.to(type), weight.to(type), {}};
  }

  /// The logits alone.
  torch::Tensor without_maps(const torch::Tensor& features) {
    return run(features, all_rows(features), {}, detail::HeadOutputs::kMeans)
        .logits;
  }

  /// Logits and the maps of all classes.
  GuidedHeadOutput of_all_classes(const torch::Tensor& features) {
    std::vector<int64_t> sizes = features.sizes().vec();
    sizes[1] = options.classes();
    return run(features, all_rows(features), sizes, detail::HeadOutputs::kBoth);
  }

  /// Throws unless `features` are [B, channels, *S].
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
