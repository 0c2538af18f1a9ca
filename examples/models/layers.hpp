// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the networks of this folder share. They have the structure, the names
// and the initialisation of torchvision's, so that its weights fit by name.

#include <torch/nn/init.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>

namespace models {

/// A convolution that keeps the size, or divides it by the stride. No bias:
/// batch norm stands before or behind it.
inline torch::nn::Conv2d convolution(
    int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                               .stride(stride)
                               .padding(kernel / 2)
                               .bias(false));
}

/// `torch::nn::BatchNorm2d` whose forward a program may replace: several
/// processes that train one network take their statistics together.
class BatchNormImpl : public torch::nn::BatchNormImplBase<2, BatchNormImpl> {
  using Base = torch::nn::BatchNormImplBase<2, BatchNormImpl>;

 public:
  using Base::Base;

  torch::Tensor forward(const torch::Tensor& x) {
    return instead ? instead(x) : Base::forward(x);
  }

  std::function<torch::Tensor(const torch::Tensor&)> instead;

 private:
  void _check_input_dim(const torch::Tensor& input) override {
    TORCH_CHECK_VALUE(
        input.dim() == 4, "models::BatchNorm: expected [B, C, H, W], got ",
        input.sizes());
  }
};
TORCH_MODULE(BatchNorm);

/// Draws the weights of all convolutions in `module` anew, from a normal
/// distribution of variance 2 / fan: a ReLU behind it keeps the scale of the
/// signal (kFanIn) or of the gradient (kFanOut).
/// Source: He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2.
inline void draw_convolutions(
    const torch::nn::Module& module, torch::nn::init::FanModeType fan) {
  for (const auto& child : module.modules(/*include_self=*/false)) {
    if (const auto* convolution = child->as<torch::nn::Conv2d>()) {
      torch::nn::init::kaiming_normal_(
          convolution->weight, /*a=*/0, fan, torch::kReLU);
    }
  }
}

/// Throws: when `images` is not [B, 3, H, W].
inline void check_images(const char* function, const torch::Tensor& images) {
  TORCH_CHECK_VALUE(
      images.dim() == 4 && images.size(1) == 3, function,
      ": expected images [B, 3, H, W], got ", images.sizes());
}

}  // namespace models
