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
#include <ATen/ops/roll.h>
#include <ATen/ops/sum.h>
#include <c10/core/GradMode.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cyborg::detail {

/// The values that one operator read and made. They are looked at only in the
/// rare cases that several readings of its arguments fit the shapes, and for
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

  /// By how many entries a roll shifted dimension `dim`; nothing if that cannot
  /// be seen. The sums along the dimension show it.
  std::optional<int64_t> shift_of(size_t dim) const {
    if (!known()) {
      return std::nullopt;
    }
    const at::NoGradGuard no_graph;
    const auto sums = [&](const torch::Tensor& tensor) {
      const torch::Tensor rows =
          tensor.detach().to(at::kDouble).movedim(static_cast<int64_t>(dim), 0);
      return rows.dim() == 1 ? rows : rows.flatten(1).sum(1);
    };
    const torch::Tensor before = sums(in_);
    const torch::Tensor after = sums(out_);
    std::optional<int64_t> found;
    for (int64_t shift = 0; shift < before.size(0); ++shift) {
      if (close(before.roll({shift}, {0}), after)) {
        if (found) {
          return std::nullopt;  // equal sums: the values do not decide
        }
        found = shift;
      }
    }
    return found;
  }

 private:
  bool known() const {
    return in_.defined() && out_.defined() && in_.numel() > 0;
  }

  /// Whether two results are equal up to the rounding of the operands' type.
  bool close(const torch::Tensor& found, const torch::Tensor& wanted) const {
    const auto type = out_.scalar_type();
    const double part = type == at::kDouble  ? 1e-12
                        : type == at::kFloat ? 1e-5
                                             : 1e-2;
    const double size =
        wanted.nan_to_num(0, 0, 0).abs().to(at::kDouble).mean().item<double>();
    return at::allclose(
        found.to(at::kDouble), wanted.to(at::kDouble), part, part * size,
        /*equal_nan=*/true);
  }

  std::string_view name_;
  torch::Tensor in_;
  torch::Tensor out_;
};

}  // namespace cyborg::detail
