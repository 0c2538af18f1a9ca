// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// One operation for each row of the hook's table of operators: what leaves a
// node of that name on the graph. Nothing of cyborg is included.

#include "grammar.hpp"

#include <torch/torch.h>

#include <vector>

namespace grammar {

/// The operations, by the place at which they stand in a network.
inline std::vector<Operation> operations() {
  using T = const Tensor&;
  const auto gate = [](T x) { return x.tanh() * .9; };  // in (-1, 1)
  std::vector<Operation> all;
  const auto add = [&](const char* row, std::function<Tensor(T)> run,
                       int64_t rank = 0) {
    all.push_back({row, rank, Operation::kMap, std::move(run)});
  };
  // Arithmetic.
  add("Add", [](T x) { return x + 1; });
  add("Sub", [](T x) { return x - 1; });
  add("Rsub", [](T x) { return torch::rsub(x, 1); });
  add("Mul", [](T x) { return x * 2; });
  add("Div", [](T x) { return x / 2; });
  add("Neg", [](T x) { return -x; });
  add("Pow", [](T x) { return x.pow(2); });
  add("Sqrt", [](T x) { return (x * x + 1).sqrt(); });
  add("Rsqrt", [](T x) { return (x * x + 1).rsqrt(); });
  add("Reciprocal", [](T x) { return (x * x + 1).reciprocal(); });
  add("Abs", [](T x) { return x.abs(); });
  add("Sign", [](T x) { return x.sign(); });
  add("Sgn", [](T x) { return x.sgn(); });
  add("Exp", [=](T x) { return gate(x).exp(); });
  add("Exp2", [=](T x) { return gate(x).exp2(); });
  add("Expm1", [=](T x) { return gate(x).expm1(); });
  add("Log", [](T x) { return (x * x + 1).log(); });
  add("Log1P", [](T x) { return (x * x).log1p(); });
  add("Log2", [](T x) { return (x * x + 1).log2(); });
  add("Log10", [](T x) { return (x * x + 1).log10(); });
  add("Sin", [](T x) { return x.sin(); });
  add("Cos", [](T x) { return x.cos(); });
  add("Tan", [=](T x) { return gate(x).tan(); });
  add("Asin", [=](T x) { return gate(x).asin(); });
  add("Acos", [=](T x) { return gate(x).acos(); });
  add("Atan", [](T x) { return x.atan(); });
  add("Atan2", [](T x) { return torch::atan2(x, x * x + 1); });
  add("Sinh", [=](T x) { return gate(x).sinh(); });
  add("Cosh", [=](T x) { return gate(x).cosh(); });
  add("Tanh", [](T x) { return x.tanh(); });
  add("Asinh", [](T x) { return x.asinh(); });
  add("Acosh", [](T x) { return (x * x + 2).acosh(); });
  add("Atanh", [=](T x) { return gate(x).atanh(); });
  add("Sinc", [](T x) { return x.sinc(); });
  add("Erf", [](T x) { return x.erf(); });
  add("Erfc", [](T x) { return x.erfc(); });
  add("Erfinv", [=](T x) { return gate(x).erfinv(); });
  add("Logit", [](T x) { return (x.sigmoid() * .8 + .1).logit(); });
  add("Xlogy", [](T x) { return torch::xlogy(x, x * x + 2); });
  add("Hypot", [](T x) { return torch::hypot(x, x * x + 1); });
  add("Logaddexp", [=](T x) { return torch::logaddexp(gate(x), x.sin()); });
  add("Logaddexp2", [=](T x) { return torch::logaddexp2(gate(x), x.sin()); });
  add("Floor", [](T x) { return (x * 3).floor(); });
  add("Ceil", [](T x) { return (x * 3).ceil(); });
  add("Round", [](T x) { return (x * 3).round(); });
  add("Trunc", [](T x) { return (x * 3).trunc(); });
  add("Frac", [](T x) { return x.frac(); });
  add("Remainder", [](T x) { return x.remainder(.7); });
  add("Fmod", [](T x) { return x.fmod(.7); });
  add("Maximum", [](T x) { return torch::maximum(x, x.sin()); });
  add("Minimum", [](T x) { return torch::minimum(x, x.sin()); });
  add("Fmax", [](T x) { return torch::fmax(x, x.sin()); });
  add("Fmin", [](T x) { return torch::fmin(x, x.sin()); });
  add("Lerp", [](T x) { return torch::lerp(x, x.sin(), .3); });
  add("Addcmul", [](T x) { return torch::addcmul(x, x, x.sin(), .5); });
  add("Addcdiv", [](T x) { return torch::addcdiv(x, x, x * x + 1, .5); });
  add("Where", [](T x) { return torch::where(x.detach() > 0, x, x.sin()); });
  add("MaskedFill", [](T x) { return x.masked_fill(x.detach() < -.2, -.2); });
  add("NanToNum", [](T x) { return x.nan_to_num(1.); });
  add("Tril", [](T x) { return x.tril(1); }, 2);
  add("Triu", [](T x) { return x.triu(-1); }, 2);
  // Activations.
  add("Relu", [](T x) { return x.relu(); });
  add("LeakyRelu", [](T x) { return torch::leaky_relu(x, .1); });
  add("RreluWithNoise", [](T x) { return torch::rrelu(x, .1, .3, true); });
  add("PreluKernel", [](T x) { return torch::prelu(x, x.new_full({1}, .2)); });
  add("Elu", [](T x) { return torch::elu(x); });
  add("Celu", [](T x) { return torch::celu(x, 1.5); });
  add("Gelu", [](T x) { return torch::gelu(x); });
  add("Silu", [](T x) { return torch::silu(x); });
  add("Mish", [](T x) { return torch::mish(x); });
  add("Sigmoid", [](T x) { return x.sigmoid(); });
  add("LogSigmoid", [](T x) { return torch::log_sigmoid(x); });
  add("Softplus", [](T x) { return torch::softplus(x); });
  add("Softshrink", [](T x) { return torch::softshrink(x, .1); });
  add("Hardshrink", [](T x) { return torch::hardshrink(x, .1); });
  add("Hardtanh", [](T x) { return torch::hardtanh(x); });
  add("Hardswish", [](T x) { return torch::hardswish(x); });
  add("Hardsigmoid", [](T x) { return torch::hardsigmoid(x); });
  add("Threshold", [](T x) { return torch::threshold(x, .1, 0); });
  add("Clamp", [](T x) { return x.clamp(-1, 1); });
  add("ClampMin", [](T x) { return x.clamp_min(-1); });
  add("ClampMax", [](T x) { return x.clamp_max(1); });
  add("Softmax", [](T x) { return x.softmax(1); });
  add("LogSoftmax", [](T x) { return x.log_softmax(1); });
  add("Glu", [](T x) { return torch::glu(torch::cat({x, x.sin()}, 1), 1); });
  // Copies, casts, dropout, norms.
  add("Clone", [](T x) { return x.clone(); });
  add("ToCopy", [](T x) { return x.to(torch::kFloat).to(torch::kDouble); });
  add("Copy", [](T x) { return torch::zeros_like(x).copy_(x); });
  add("NativeDropout",
      [](T x) { return std::get<0>(at::native_dropout(x, .3, true)); });
  add("NegView", [](T x) { return at::_neg_view(x); });
  add("Lift", [](T x) { return at::lift(x); });
  add("SafeSoftmax", [](T x) { return at::_safe_softmax(x, 1); });
  add("MaskedSoftmax", [](T x) {
    return at::_masked_softmax(x, torch::zeros_like(x, torch::kBool), 1);
  });
  add("FakeQuantizePerTensorAffineCachemask", [](T x) {
    return torch::fake_quantize_per_tensor_affine(x, .1, 0, -128, 127);
  });
  add("FakeQuantizePerChannelAffineCachemask", [](T x) {
    return torch::fake_quantize_per_channel_affine(
               x.to(torch::kFloat), torch::full({x.size(1)}, .1),
               torch::zeros({x.size(1)}, torch::kInt), 1, -128, 127)
        .to(torch::kDouble);
  });
  add("FusedRmsNorm", [](T x) {
    return torch::rms_norm(x.movedim(1, -1), {x.size(1)}).movedim(-1, 1);
  });
  add(
      "ChannelShuffle", [](T x) { return at::native_channel_shuffle(x, 2); },
      2);
  add("NativeBatchNorm", [](T x) {
    const Tensor one = x.new_ones({x.size(1)});
    return torch::batch_norm(x, one, one, one, one, false, .1, .1, false);
  });
  add("NativeGroupNorm", [](T x) { return torch::group_norm(x, 2); });
  add("NativeLayerNorm", [](T x) {
    return torch::layer_norm(x.movedim(1, -1), {x.size(1)}).movedim(-1, 1);
  });
  // Views.
  add(
      "Permute",
      [](T x) {
        return x.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
      },
      2);
  add("Transpose",
      [](T x) { return x.transpose(1, 2).contiguous().transpose(1, 2); });
  add("View", [](T x) {
    const Tensor y = x.contiguous();
    return y.view({x.size(0), x.size(1), -1}).view(x.sizes());
  });
  add("UnsafeView",
      [](T x) { return at::_unsafe_view(x.contiguous().clone(), x.sizes()); });
  add("ReshapeAlias",
      [](T x) { return x.contiguous().flatten(2).reshape(x.sizes()); });
  add("Unsqueeze", [](T x) { return x.unsqueeze(1).flatten(1, 2); });
  add("Squeeze", [](T x) { return x.unsqueeze(2).squeeze(2); });
  add(
      "Expand",
      [](T x) {
        return x.unsqueeze(2).expand({-1, -1, 2, -1, -1}).flatten(1, 2);
      },
      2);
  add("AsStrided", [](T x) {
    const Tensor y = x.contiguous();
    return y.as_strided(y.sizes(), y.strides());
  });
  add("Alias", [](T x) { return at::alias(x); });
  add("NarrowCopy", [](T x) { return at::narrow_copy(x, 1, 0, 2); });
  add("Slice", [](T x) { return x.slice(1, 1); });
  add("Select", [](T x) { return x.unsqueeze(1).select(1, 0); });
  add("Unbind", [](T x) { return x.unsqueeze(1).unbind(1)[0]; });
  add("Split", [](T x) { return torch::cat(x.split(1, 1), 1); });
  add("SplitWithSizes", [](T x) {
    return torch::cat(x.split_with_sizes({1, x.size(1) - 1}, 1), 1);
  });
  add("UnsafeSplit", [](T x) { return torch::cat(x.unsafe_split(1, 1), 1); });
  add("UnsafeSplitWithSizes", [](T x) {
    return torch::cat(x.unsafe_split_with_sizes({1, x.size(1) - 1}, 1), 1);
  });
  add("Cat", [](T x) { return torch::cat({x, x.sin()}, 1); });
  add("Stack", [](T x) { return torch::stack({x, x.sin()}, 2).flatten(1, 2); });
  // Positions that stay shifted are no map.
  add("Roll", [](T x) { return x.roll(1, 2).sin().roll(-1, 2); });
  add(
      "PixelShuffle",
      [](T x) {
        return torch::pixel_shuffle(torch::cat({x, x, x, x.sin()}, 1), 2);
      },
      2);
  add(
      "PixelUnshuffle",
      [](T x) {
        return torch::pixel_unshuffle(
            torch::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}), 2);
      },
      2);
  add(
      "T",
      [](T x) {
        std::vector<Tensor> samples;
        for (const Tensor& one : x.unbind(0)) {
          samples.push_back(one.t().contiguous().t());
        }
        return torch::stack(samples, 0);
      },
      1);
  // Products that mix the channels of each position: a convolution of one.
  const auto mix = [](T x) {
    return torch::eye(x.size(1), x.options()).roll(1, 0) + .1;
  };
  add(
      "Baddbmm",
      [=](T x) {
        const Tensor w = mix(x).unsqueeze(0).expand({x.size(0), -1, -1});
        return torch::baddbmm(x.new_ones({1}), w, x);
      },
      1);
  // Windows, borders, other sizes.
  add("AvgPool2D", [](T x) { return torch::avg_pool2d(x, 2); }, 2);
  add("AvgPool3D", [](T x) { return torch::avg_pool3d(x, 2); }, 3);
  add("MaxPool2DWithIndices", [](T x) { return torch::max_pool2d(x, 2); }, 2);
  add("MaxPool3DWithIndices", [](T x) { return torch::max_pool3d(x, 2); }, 3);
  add(
      "AdaptiveAvgPool2D",
      [](T x) { return torch::adaptive_avg_pool2d(x, {3, 2}); }, 2);
  add(
      "AdaptiveAvgPool3D",
      [](T x) { return torch::adaptive_avg_pool3d(x, {2, 3, 2}); }, 3);
  add(
      "AdaptiveMaxPool2D",
      [](T x) { return std::get<0>(torch::adaptive_max_pool2d(x, {3, 2})); },
      2);
  add(
      "AdaptiveMaxPool3D",
      [](T x) { return std::get<0>(torch::adaptive_max_pool3d(x, {2, 3, 2})); },
      3);
  add(
      "FractionalMaxPool2D",
      [](T x) {
        return std::get<0>(torch::fractional_max_pool2d(
            x, {2, 2}, {2, 2},
            torch::full({x.size(0), x.size(1), 2}, .4, x.options())));
      },
      2);
  add(
      "FractionalMaxPool3D",
      [](T x) {
        return std::get<0>(torch::fractional_max_pool3d(
            x, {2, 2, 2}, {2, 2, 2},
            torch::full({x.size(0), x.size(1), 3}, .4, x.options())));
      },
      3);
  add("ConstantPadNd", [](T x) { return torch::constant_pad_nd(x, {1, 2}); });
  add(
      "ReflectionPad1D", [](T x) { return torch::reflection_pad1d(x, {1, 2}); },
      1);
  add(
      "ReflectionPad2D",
      [](T x) { return torch::reflection_pad2d(x, {1, 2, 0, 1}); }, 2);
  add(
      "ReflectionPad3D",
      [](T x) { return torch::reflection_pad3d(x, {1, 2, 0, 1, 1, 0}); }, 3);
  add(
      "ReplicationPad1D",
      [](T x) { return torch::replication_pad1d(x, {1, 2}); }, 1);
  add(
      "ReplicationPad2D",
      [](T x) { return torch::replication_pad2d(x, {1, 2, 0, 1}); }, 2);
  add(
      "ReplicationPad3D",
      [](T x) { return torch::replication_pad3d(x, {1, 2, 0, 1, 1, 0}); }, 3);
  add(
      "UpsampleNearest1D",
      [](T x) { return torch::upsample_nearest1d(x, 2 * x.size(2)); }, 1);
  add(
      "UpsampleNearest2D",
      [](T x) {
        return torch::upsample_nearest2d(x, {2 * x.size(2), x.size(3)});
      },
      2);
  add(
      "UpsampleNearest3D",
      [](T x) {
        return torch::upsample_nearest3d(
            x, {2 * x.size(2), x.size(3), x.size(4)});
      },
      3);
  add(
      "UpsampleNearestExact1D",
      [](T x) { return at::_upsample_nearest_exact1d(x, 2 * x.size(2)); }, 1);
  add(
      "UpsampleNearestExact2D",
      [](T x) {
        return at::_upsample_nearest_exact2d(x, {2 * x.size(2), x.size(3)});
      },
      2);
  add(
      "UpsampleNearestExact3D",
      [](T x) {
        return at::_upsample_nearest_exact3d(
            x, {2 * x.size(2), x.size(3), x.size(4)});
      },
      3);
  add(
      "UpsampleLinear1D",
      [](T x) { return torch::upsample_linear1d(x, 2 * x.size(2), false); }, 1);
  add(
      "UpsampleBilinear2D",
      [](T x) {
        return torch::upsample_bilinear2d(x, {2 * x.size(2), x.size(3)}, false);
      },
      2);
  add(
      "UpsampleBilinear2DAa",
      [](T x) {
        return at::_upsample_bilinear2d_aa(
            x, {x.size(2), 2 * x.size(3)}, false);
      },
      2);
  add(
      "UpsampleBicubic2D",
      [](T x) {
        return torch::upsample_bicubic2d(x, {2 * x.size(2), x.size(3)}, false);
      },
      2);
  add(
      "UpsampleBicubic2DAa",
      [](T x) {
        return at::_upsample_bicubic2d_aa(x, {x.size(2), 2 * x.size(3)}, false);
      },
      2);
  add(
      "UpsampleTrilinear3D",
      [](T x) {
        return torch::upsample_trilinear3d(
            x, {2 * x.size(2), x.size(3), x.size(4)}, false);
      },
      3);
  // One axis of positions is taken away before the mean of the others.
  const auto collapse = [&](const char* row, std::function<Tensor(T)> run) {
    all.push_back({row, 0, Operation::kCollapse, std::move(run)});
  };
  collapse("Mean", [](T x) { return x.mean(-1); });
  collapse("Sum", [](T x) { return x.sum(-1); });
  collapse("Nansum", [](T x) { return x.nansum({-1}); });
  collapse("Amax", [](T x) { return x.amax(-1); });
  collapse("Amin", [](T x) { return x.amin(-1); });
  collapse("Max", [](T x) { return std::get<0>(x.max(-1)); });
  collapse("Min", [](T x) { return std::get<0>(x.min(-1)); });
  collapse("Logsumexp", [](T x) { return x.logsumexp(-1); });
  collapse("Norm", [](T x) { return x.norm(2, {-1}); });
  collapse("LinalgVectorNorm", [](T x) {
    return torch::linalg_vector_norm(x, 2, {-1});
  });
  collapse("Var", [](T x) { return x.var({-1}, /*unbiased=*/false); });
  collapse("Std", [](T x) { return x.std({-1}, /*unbiased=*/false); });
  collapse("VarMean", [](T x) {
    const auto [var, mean] = torch::var_mean(x, {-1}, /*unbiased=*/false);
    return var + mean;
  });
  collapse("StdMean", [](T x) {
    const auto [std, mean] = torch::std_mean(x, {-1}, /*unbiased=*/false);
    return std + mean;
  });
  collapse("Median", [](T x) { return std::get<0>(x.median(-1)); });
  collapse("Nanmedian", [](T x) { return std::get<0>(x.nanmedian(-1)); });
  collapse("Mode", [](T x) { return std::get<0>(x.mode(-1)); });
  collapse("Prod", [](T x) { return x.prod(-1); });
  // The mean is [B, C]; the head makes [B, 3] of it with a matrix [3, C].
  const auto head = [&](const char* row, std::function<Tensor(T, T)> run) {
    Operation one{row, 0, Operation::kHead, {}};
    one.head = std::move(run);
    all.push_back(one);
  };
  head("Mm", [](T x, T w) { return torch::mm(x, w.t()); });
  head("Addmm", [](T x, T w) {
    return torch::addmm(x.new_ones({3}), x, w.t());
  });
  head("Bmm", [](T x, T w) {
    return torch::bmm(
               x.unsqueeze(1), w.t().unsqueeze(0).expand({x.size(0), -1, -1}))
        .squeeze(1);
  });
  head("Mv", [](T x, T w) {
    return torch::stack({x.mv(w[0]), x.mv(w[1]), x.mv(w[2])}, 1);
  });
  head("Addmv", [](T x, T w) {
    const Tensor one = x.new_ones({1});
    return torch::stack(
        {torch::addmv(one, x, w[0]), torch::addmv(one, x, w[1]),
         torch::addmv(one, x, w[2])},
        1);
  });
  return all;
}

}  // namespace grammar
