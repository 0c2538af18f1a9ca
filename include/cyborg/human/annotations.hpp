// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/maps/resize.hpp>

#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <cstddef>
#include <limits>
#include <vector>

/// Combines the maps of several annotators of the same pictures into one.
namespace cyborg::human {

namespace detail {

/// The maps of those annotators who gave any, in one tensor.
struct Annotators {
  torch::Tensor maps;          ///< [A, B, P]; a single picture has B = 1
  torch::Tensor valid;         ///< [A, B] bool: this map is not missing
  std::vector<int64_t> shape;  ///< the shape of the result
};

/// Stacks the defined ones of `maps`.
/// Throws: on behalf of `function`, for several shapes or none defined.
inline Annotators gather_annotators(
    const std::vector<torch::Tensor>& maps, const char* function) {
  std::vector<torch::Tensor> defined;
  for (const auto& map : maps) {
    if (map.defined()) {
      TORCH_CHECK_VALUE(
          map.dim() >= 2 &&
              (defined.empty() || map.sizes() == defined[0].sizes()),
          function, ": expected maps [H, W] or [B, *S] of one shape, got ",
          defined.empty() ? map.sizes() : defined[0].sizes(), " and ",
          map.sizes());
      defined.push_back(maps::detail::as_float_map(map));
    }
  }
  TORCH_CHECK_VALUE(
      !defined.empty(), function,
      ": expected the map of at least one annotator, got ", maps.size(),
      " undefined tensors");
  const auto shape = defined[0].sizes().vec();
  auto stack = at::stack(defined);
  // A single picture is a batch of one.
  stack = stack.dim() == 3 ? stack.flatten(/*start_dim=*/1).unsqueeze(1)
                           : stack.flatten(/*start_dim=*/2);
  return {stack, at::isfinite(stack).all(/*dim=*/-1), shape};
}

}  // namespace detail

/// The mean over the annotators of each picture. Annotators who did not
/// annotate a picture are left out.
///
///     mean_b = sum_a v_ab m_ab / sum_a v_ab
///
/// with v_ab = 1 where annotator a's map of picture b is finite, else 0. Where
/// nobody annotated, the map stays missing (NaN).
/// Shapes: one tensor an annotator, all [H, W] (one picture) or all [B, *S];
/// undefined tensors are annotators who saw none of these pictures. Returns
/// the same shape. Give a stack [A, B, *S] as `stack.unbind()`.
/// Range: that of the maps; float32 and float64 stay, other types become
/// float32.
/// Throws: `c10::ValueError` for maps of several shapes or none defined.
/// Example:
///     auto map = cyborg::human::mean_of({anna, ben, {}});
inline torch::Tensor mean_of(const std::vector<torch::Tensor>& maps) {
  const auto all = detail::gather_annotators(maps, "cyborg::human::mean_of");
  const auto valid = all.valid.unsqueeze(-1);
  const auto sum = all.maps.masked_fill(valid.logical_not(), 0).sum(/*dim=*/0);
  return sum.div(valid.sum(/*dim=*/0)).reshape(all.shape);  // 0 / 0 = NaN
}

/// The union over annotators: 1 where at least one of them marked a value above
/// `threshold`, else 0; missing (NaN) where nobody annotated the picture.
///
/// Shapes, Throws: as `mean_of`.
/// Range: 0, 1 and NaN.
/// Gradient: none.
/// Source: the area of interest (AOI) of "Grains of Saliency" as this project
/// understands it; how it was made is not published.
inline torch::Tensor union_of(
    const std::vector<torch::Tensor>& maps, double threshold = 0) {
  const auto all = detail::gather_annotators(maps, "cyborg::human::union_of");
  const auto marked = all.maps.gt(threshold)
                          .logical_and(all.valid.unsqueeze(-1))
                          .any(/*dim=*/0)
                          .to(all.maps.scalar_type());
  const auto nobody = all.valid.any(/*dim=*/0).logical_not().unsqueeze(-1);
  return marked.masked_fill(nobody, std::numeric_limits<double>::quiet_NaN())
      .reshape(all.shape);
}

/// The mean over the annotators, where those who agree with the others count
/// more.
///
///     w_a = max(0, correlation(m_a, mean of the others))
///     map = sum_a w_a m_a / sum_a w_a
///
/// An annotator whose map is constant, or the opposite of the others', has
/// weight 0. Where all weights are 0, and for a single annotator, it is
/// `mean_of`. The maps of all annotators should have the same scale.
/// Shapes, Throws: as `mean_of`. Missing (NaN) where nobody annotated.
/// Gradient: maps, for which the weights are constants.
inline torch::Tensor agreement_weighted_of(
    const std::vector<torch::Tensor>& maps) {
  const auto all =
      detail::gather_annotators(maps, "cyborg::human::agreement_weighted_of");
  const auto valid = all.valid.unsqueeze(-1);
  const auto values = all.maps.masked_fill(valid.logical_not(), 0);
  torch::Tensor weights;  // [A, B, 1]
  {
    const at::NoGradGuard no_grad;
    const auto exact = values.detach().to(at::kDouble);
    const auto others =
        exact.sum(/*dim=*/0, /*keepdim=*/true) - exact;  // a multiple of theirs
    const auto centred = [](const torch::Tensor& x) {
      return x - x.mean(/*dim=*/-1, /*keepdim=*/true);
    };
    const auto a = centred(exact);
    const auto b = centred(others);
    const auto product = (a * b).mean(/*dim=*/-1, /*keepdim=*/true);
    const auto scale = a.square().mean(/*dim=*/-1, /*keepdim=*/true).sqrt() *
                       b.square().mean(/*dim=*/-1, /*keepdim=*/true).sqrt();
    // Below it a deviation is the rounding of a constant map.
    const auto floor = 1e-12 * exact.square().mean().clamp_min(1e-300);
    const auto agreement = (product / scale)
                               .masked_fill(scale <= floor, 0)
                               .clamp_min(0)
                               .masked_fill(valid.logical_not(), 0);
    const auto nobody = agreement.sum(/*dim=*/0, /*keepdim=*/true).eq(0);
    weights = at::where(nobody, valid.to(at::kDouble), agreement)
                  .to(values.scalar_type());
  }
  return (values * weights)
      .sum(/*dim=*/0)
      .div(weights.sum(/*dim=*/0))
      .reshape(all.shape);
}

/// For each annotator, the mean over all others: with what one person's map is
/// compared to learn how well people agree.
///
/// Shapes: as `mean_of`; returns one map for each of `maps`, in their order.
/// Missing (NaN) where nobody else annotated.
/// Throws: as `mean_of`, and for fewer than two defined maps.
/// Example:
///     auto others = cyborg::human::leave_one_out_of({anna, ben, cho});
///     // others[0] is the mean of ben and cho
inline std::vector<torch::Tensor> leave_one_out_of(
    const std::vector<torch::Tensor>& maps) {
  detail::gather_annotators(maps, "cyborg::human::leave_one_out_of");
  size_t defined = 0;
  for (const auto& map : maps) {
    defined += map.defined() ? 1 : 0;
  }
  TORCH_CHECK_VALUE(
      defined >= 2,
      "cyborg::human::leave_one_out_of: expected the maps of at least two "
      "annotators, got ",
      defined);
  std::vector<torch::Tensor> others;
  for (size_t a = 0; a < maps.size(); ++a) {
    auto rest = maps;
    rest[a] = torch::Tensor();
    others.push_back(mean_of(rest));
  }
  return others;
}

}  // namespace cyborg::human
