// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The two equalities of exactness, as flags read off values: the pooled vector
// is the mean of the map, and the logits are W x + b.

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/Context.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace cyborg::detail {

/// What the values say of an equality.
enum class Verdict : uint8_t { kUndecided, kHolds, kRefuted, kNotFinite };

/// The distance from 1 to the next number of a type.
inline double epsilon_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return std::ldexp(1.0, -10);
    default:
      return std::ldexp(1.0, -7);  // bfloat16
  }
}

/// The rounding of the factors of a matrix product whose result has this type.
/// PyTorch may be told to make products of float32 with less precision: TF32
/// on GPUs, bfloat16 (`torch.set_float32_matmul_precision`).
inline double product_epsilon_of(at::ScalarType type) {
  if (type != at::kFloat) {
    return epsilon_of(type);
  }
  try {
    switch (at::globalContext().float32MatmulPrecision()) {
      case at::Float32MatmulPrecision::HIGHEST:
        return epsilon_of(type);
      case at::Float32MatmulPrecision::HIGH:
        return std::ldexp(1.0, -10);
      case at::Float32MatmulPrecision::MEDIUM:
        break;
    }
  } catch (const c10::Error&) {
    // Newer releases have settings for each backend, and throw where these
    // differ from the common one. The largest rounding is assumed.
  }
  return epsilon_of(at::kBFloat16);
}

/// What the flags of an equality say. Away from the CPU each is an operator or
/// two, so the later forwards of a shape ask for the first one alone.
enum class Flags : uint8_t {
  kHolds,  // []: all errors are within the tolerance
  kAll,    // [3]: that, and what `verdict_of` needs besides
};

/// Sums over the positions of each sample and channel, in float64.
struct PositionSums {
  torch::Tensor mean;      // [B, C]
  torch::Tensor mean_abs;  // [B, C], the mean of |F|
  torch::Tensor spread;    // [B, C], largest minus smallest value; kAll only
};

/// `map` is [B, C, *S].
inline PositionSums position_sums(const torch::Tensor& map, Flags wanted) {
  const torch::Tensor rows = resolved_contiguous(map.flatten(2));
  PositionSums sums;
  if (!(map.is_cpu() && (map.scalar_type() == at::kFloat ||
                         map.scalar_type() == at::kDouble))) {
    const torch::Tensor wide = rows.to(at::kDouble);
    sums.mean = wide.mean(2);
    sums.mean_abs = wide.abs().mean(2);
    if (wanted == Flags::kAll) {
      sums.spread = wide.amax(2) - wide.amin(2);
    }
    return sums;
  }
  // Each value is read once: this runs in every forward pass.
  const auto options = map.options().dtype(at::kDouble).requires_grad(false);
  sums.mean = at::empty({rows.size(0), rows.size(1)}, options);
  sums.mean_abs = at::empty_like(sums.mean);
  sums.spread = at::empty_like(sums.mean);
  const auto sum_up = [&](auto* value) {
    const int64_t positions = rows.size(2);
    auto* mean = sums.mean.data_ptr<double>();
    auto* mean_abs = sums.mean_abs.data_ptr<double>();
    auto* spread = sums.spread.data_ptr<double>();
    for (int64_t r = 0; r < sums.mean.numel(); ++r, value += positions) {
      double sum = 0;
      double sum_abs = 0;
      auto low = value[0];
      auto high = value[0];
      for (int64_t s = 0; s < positions; ++s) {
        sum += static_cast<double>(value[s]);
        sum_abs += std::abs(static_cast<double>(value[s]));
        low = value[s] < low ? value[s] : low;
        high = value[s] > high ? value[s] : high;
      }
      mean[r] = sum / static_cast<double>(positions);
      mean_abs[r] = sum_abs / static_cast<double>(positions);
      spread[r] = static_cast<double>(high) - static_cast<double>(low);
    }
  };
  if (map.scalar_type() == at::kFloat) {
    sum_up(rows.data_ptr<float>());
  } else {
    sum_up(rows.data_ptr<double>());
  }
  return sums;
}

/// Whether all errors are within `tolerance`; for kAll also whether something
/// in `scale` exceeds it (so that a wrong value could be seen), and whether all
/// is finite.
inline torch::Tensor compare(
    const torch::Tensor& error, const torch::Tensor& tolerance,
    const torch::Tensor& scale, Flags wanted) {
  const torch::Tensor holds = error.le(tolerance).all();
  return wanted == Flags::kHolds ? holds
                                 : at::stack(
                                       {holds, scale.gt(tolerance).any(),
                                        at::isfinite(error).all()});
}

/// What the flags of kAll say. Waits for the device.
inline Verdict verdict_of(const torch::Tensor& flags) {
  const torch::Tensor here = flags.cpu();
  const bool* flag = here.data_ptr<bool>();
  return !flag[2]   ? Verdict::kNotFinite
         : !flag[0] ? Verdict::kRefuted
         : !flag[1] ? Verdict::kUndecided
                    : Verdict::kHolds;
}

/// Equality (1), as flags. `pooled` [B, C] was computed in its own type or, for
/// half types, in float32 and then rounded, `roundings` times. Sums of P
/// values in one chain err by sqrt(P) units or so.
inline torch::Tensor mean_flags(
    const torch::Tensor& map, const torch::Tensor& pooled, int roundings,
    Flags wanted = Flags::kAll) {
  const PositionSums sums = position_sums(map, wanted);
  const auto type = pooled.scalar_type();
  const bool half = type != at::kFloat && type != at::kDouble;
  const double positions =
      static_cast<double>(map.numel()) /
      static_cast<double>(std::max<int64_t>(1, sums.mean.numel()));
  const double unit = epsilon_of(half ? at::kFloat : type);
  torch::Tensor tolerance =
      sums.mean_abs * (unit * (4 + 2 * std::sqrt(positions)));
  if (half) {
    tolerance = tolerance + sums.mean.abs() * epsilon_of(type);
    if (roundings > 1) {
      tolerance = tolerance + sums.mean_abs * epsilon_of(type);
    }
  }
  return compare(
      (pooled.to(at::kDouble) - sums.mean).abs(), tolerance, sums.spread,
      wanted);
}

/// Equality (2), as flags, for x [B, C], logits [B, K]. Without a weight the
/// logits are x.
inline torch::Tensor head_flags(
    const torch::Tensor& x, const torch::Tensor& weight,
    const torch::Tensor& bias, const torch::Tensor& logits,
    Flags wanted = Flags::kAll) {
  const torch::Tensor wide = x.to(at::kDouble);
  torch::Tensor w, b;
  if (weight.defined()) {
    w = weight.detach().to(wide.options()).t();
  }
  if (bias.defined()) {
    // The copy of a bias, made before the forward, may be on another device.
    b = bias.detach().to(wide.options());
  }
  const auto applied = [](const torch::Tensor& to, const torch::Tensor& by,
                          const torch::Tensor& plus) {
    if (by.defined()) {
      return plus.defined() ? at::addmm(plus, to, by) : to.mm(by);
    }
    return plus.defined() ? to + plus : to;
  };
  const auto size_of = [](const torch::Tensor& value) {
    return value.defined() ? value.abs() : value;
  };
  const torch::Tensor found = applied(wide, w, b);
  const torch::Tensor size = applied(wide.abs(), size_of(w), size_of(b));
  const auto unit_of = [&](const torch::Tensor& tensor) {
    return weight.defined() ? product_epsilon_of(tensor.scalar_type())
                            : epsilon_of(tensor.scalar_type());
  };
  const double unit = std::max(
      {unit_of(logits), unit_of(x), weight.defined() ? unit_of(weight) : 0.0});
  // With a head of zeros all logits are zero, which is correct.
  const torch::Tensor scale =
      wanted == Flags::kAll ? at::full_like(size, HUGE_VAL) : torch::Tensor();
  return compare(
      (logits.to(at::kDouble).reshape(found.sizes()) - found).abs(),
      size * (4 * unit), scale, wanted);
}

}  // namespace cyborg::detail
