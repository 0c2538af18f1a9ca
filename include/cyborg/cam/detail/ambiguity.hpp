// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Decides by values what the arguments of an operator were, where the shapes
// leave it open: [B, C, h, w] with C = h = w, reduced to [B, C].

#include <cyborg/cam/detail/operators.hpp>
#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/allclose.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cyborg::detail {

/// The values that one operator read and made. They are looked at only in the
/// rare cases in which several values of its arguments fit the shapes, and for
/// rolls and paddings, whose arguments the shapes never show.
class Values {
 public:
  /// `in` is the first operand; it, or `out`, may be undefined (freed, or not
  /// reported). Then nothing agrees.
  Values(
      std::string_view node_name, const torch::Tensor& in,
      const torch::Tensor& out)
      : name_(base_name(node_name)), in_(in), out_(out) {}

  /// Whether `out` is what the operator makes of `in` with these arguments: for
  /// a reduction the set of its dimensions (bit d: dimension d), for a stack the
  /// new dimension, for a padding 0 (all of it behind) or 1 (half of it before).
  bool operator()(uint32_t arguments) const {
    if (!known()) {
      return false;
    }
    const at::NoGradGuard no_graph;
    const torch::Tensor in = in_.detach();
    const torch::Tensor out = out_.detach();
    if (name_ == "Stack") {
      return at::equal(in, out.select(static_cast<int64_t>(arguments), 0));
    }
    if (name_.find("Pad") != std::string_view::npos) {
      torch::Tensor inside = out;
      for (int64_t d = 0; d < in.dim(); ++d) {
        const int64_t more = out.size(d) - in.size(d);
        if (more < 0 || (arguments == 1 && more % 2 != 0)) {
          return false;
        }
        inside = inside.narrow(d, arguments == 1 ? more / 2 : 0, in.size(d));
      }
      return at::equal(inside, in);
    }
    std::vector<int64_t> dims;
    for (int64_t d = 0; d < in.dim(); ++d) {
      if ((arguments >> d & 1U) != 0) {
        dims.push_back(d);
      }
    }
    return name_ == "Mean"                     ? close(in.mean(dims), out)
           : name_ == "Sum"                    ? close(in.sum(dims), out)
           : name_ == "Amax" || name_ == "Max" ? close(in.amax(dims), out)
           : name_ == "Amin" || name_ == "Min" ? close(in.amin(dims), out)
           : name_ == "Logsumexp"              ? close(in.logsumexp(dims), out)
                                               : false;
  }

  /// By how many entries a roll shifted each dimension; nothing for a dimension
  /// where that cannot be seen. The sums along a dimension show it. Empty where
  /// a tensor is missing.
  std::vector<std::optional<int64_t>> shifts() const {
    std::vector<std::optional<int64_t>> found;
    if (!known()) {
      return found;
    }
    const at::NoGradGuard no_graph;
    const torch::Tensor in = in_.detach().to(at::kDouble);
    const torch::Tensor out = out_.detach().to(at::kDouble);
    for (int64_t d = 0; d < in.dim(); ++d) {
      const auto sums = [&](const torch::Tensor& tensor) {
        const torch::Tensor rows = tensor.movedim(d, 0);
        return (rows.dim() == 1 ? rows : rows.flatten(1).sum(1))
            .cpu()
            .contiguous();
      };
      found.push_back(shift_between(sums(in), sums(out)));
    }
    return found;
  }

 private:
  bool known() const {
    return in_.defined() && out_.defined() && in_.numel() > 0;
  }

  /// The largest difference that rounding in the operands' type explains, as a
  /// part of the values.
  double rounding() const {
    const auto type = out_.scalar_type();
    return type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : 1e-2;
  }

  /// The mean size of the finite values.
  static double size_of(const torch::Tensor& values) {
    return values.nan_to_num(0, 0, 0)
        .abs()
        .to(at::kDouble)
        .mean()
        .item<double>();
  }

  /// Whether two results are equal up to rounding.
  bool close(const torch::Tensor& found, const torch::Tensor& wanted) const {
    return at::allclose(
        found.to(at::kDouble), wanted.to(at::kDouble), rounding(),
        rounding() * size_of(wanted), /*equal_nan=*/true);
  }

  /// The one shift around the border that makes `after` of `before`, vectors of
  /// float64 on the CPU; nothing if there is none, or several.
  std::optional<int64_t> shift_between(
      const torch::Tensor& before, const torch::Tensor& after) const {
    const int64_t count = before.size(0);
    const double* from = before.data_ptr<double>();
    const double* to = after.data_ptr<double>();
    const double part = rounding();
    const double least = part * size_of(after);
    const auto same = [&](double a, double b) {
      return a == b || (std::isnan(a) && std::isnan(b)) ||
             std::abs(a - b) <= least + part * std::abs(b);
    };
    std::optional<int64_t> found;
    for (int64_t shift = 0; shift < count; ++shift) {
      int64_t i = 0;
      while (i < count && same(from[i], to[(i + shift) % count])) {
        ++i;
      }
      if (i == count && found) {
        return std::nullopt;  // equal sums: the values do not decide
      }
      if (i == count) {
        found = shift;
      }
    }
    return found;
  }

  std::string_view name_;
  torch::Tensor in_;
  torch::Tensor out_;
};

}  // namespace cyborg::detail
