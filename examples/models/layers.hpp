// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// What the networks of this folder share. Structure, names and initialisation
// are those of torchvision, so that its weights can be loaded by name.

#include <torch/nn/init.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>

namespace models {

/// A convolution that keeps the size, or divides it by the stride. It has no
/// bias, because a batch norm comes directly before or after it.
inline torch::nn::Conv2d convolution(
    int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel)
                               .stride(stride)
                               .padding(kernel / 2)
                               .bias(false));
}

/// A `torch::nn::BatchNorm2d` whose forward a program may replace, so that
/// several processes that train one network can compute its statistics
/// together.
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

/// Draws new weights for all convolutions in `module`, from a normal
/// distribution of variance 2 / fan. Then a convolution and the ReLU after it
/// keep the scale of the signal (kFanIn) or of the gradient (kFanOut).
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

/// Throws: `c10::ValueError` of `function` if `images` is not [B, 3, H, W].
inline void check_images(const char* function, const torch::Tensor& images) {
  TORCH_CHECK_VALUE(
      images.dim() == 4 && images.size(1) == 3, function,
      ": expected images [B, 3, H, W], got ", images.sizes());
}

}  // namespace models
