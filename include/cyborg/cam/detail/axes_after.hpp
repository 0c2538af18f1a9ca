// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Chooses the rule for an operator, and carries it out. Also decides whether a
// tensor is a map: its dimensions are a batch, channels, and each position axis
// once.

#include <cyborg/cam/detail/axes_of_products.hpp>
#include <cyborg/cam/detail/axes_of_sizes.hpp>
#include <cyborg/cam/detail/axes_of_views.hpp>
#include <cyborg/cam/detail/operators.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cyborg::detail {

/// The axes of what an operator returned as `out`. At least one operand has
/// axes, unless the operator is a convolution. `agrees` compares values where
/// the shapes leave open what the arguments of the operator were (`Values` in
/// ambiguity.hpp).
template <class Agrees>
Axes axes_after(
    Rule rule, std::string_view node_name, Operands in, const Layout& out,
    const Agrees& agrees) {
  if (rule == Rule::kConvolution) {
    return after_convolution(operand(in, 0), out);
  }
  const Layout* first = rule == Rule::kCopy ? operand(in, 1) : operand(in, 0);
  const bool several = rule == Rule::kElementwise || rule == Rule::kCat ||
                       rule == Rule::kStack || rule == Rule::kProduct ||
                       rule == Rule::kAttention;
  if (!several && first == nullptr) {
    return after_unknown(in, out);
  }
  Axes axes = [&] {
    switch (rule) {
      case Rule::kElementwise:
        return after_elementwise(in, out);
      case Rule::kFirst:
      case Rule::kCopy:
      case Rule::kExpand:
        return after_elementwise({first}, out);
      case Rule::kReorder:
        return after_reorder(*first, out);
      case Rule::kReshape:
        return reshaped(first->axes, out.sizes);
      case Rule::kAsStrided:
        return after_as_strided(*first, out);
      case Rule::kSlice:
        return after_slice(*first, out);
      case Rule::kSelect:
        return after_select(*first, out);
      case Rule::kCat:
        return after_cat(in, out);
      case Rule::kStack:
        return after_stack(in, out, agrees);
      case Rule::kReduce:
        return after_reduce(*first, out, agrees);
      case Rule::kPool:
      case Rule::kResize:
        return after_resize(rule, node_name, *first, out, agrees);
      case Rule::kRoll:
        return after_roll(*first, out, agrees.shifts());
      case Rule::kProduct: {
        const size_t m = first_matrix(node_name);
        const bool linear = base_name(node_name) == "Linear";
        return after_product(
            operand(in, m), linear ? nullptr : operand(in, m + 1), out, linear);
      }
      case Rule::kAttention:
        return after_attention(in, out);
      default:
        return after_unknown(in, out);
    }
  }();
  // A position axis that an operand had and the output has not is collapsed. But
  // a window as high as the map, rows moved into channels, and a weight that
  // takes these make a map of one row.
  const bool windows =
      rule == Rule::kPool &&
      base_name(node_name).find("Adaptive") == std::string_view::npos;
  const bool weighs = rule == Rule::kProduct &&
                      std::count_if(in.begin(), in.end(), [](const auto* one) {
                        return one != nullptr;
                      }) == 1;
  const bool makes_axes =
      windows || weighs || rule == Rule::kResize || rule == Rule::kSlice;
  uint8_t had = 0;
  for (const Layout* one : in) {
    if (one != nullptr && makes_axes) {
      had = static_cast<uint8_t>(had | one->axes.collapsed);
    } else if (one != nullptr) {
      had = static_cast<uint8_t>(had | one->axes.collapsed | places(one->axes));
    }
  }
  axes.collapsed |= had;
  axes.collapsed &= static_cast<uint8_t>(~places(axes));
  return axes;
}

/// Which dimension of a map is the batch, which holds the channels and which
/// the position axes, in their order: [batch, channel, height, width]. Nothing
/// where the tensor is not a map.
///
/// A dimension of size 1 can be any axis of size 1. A position axis must be
/// complete: rows that were cropped, collapsed or shifted around the border do
/// not lie where the rows of the picture lie.
inline std::optional<Sizes> map_order(const Axes& axes) {
  const size_t rank = axes.dims.size();
  if (axes.spatial == 0 || rank != axes.spatial + 2 || axes.collapsed != 0) {
    return std::nullopt;
  }
  Sizes order(rank, -1);
  bool several = false;  // more than one position
  for (size_t d = 0; d < rank; ++d) {
    const Axis& axis = axes.dims[d];
    if (axis.empty()) {
      continue;
    }
    const Factor& factor = axis.front();
    size_t at = 0;
    const Role role = is_channels(axis) && has(axis, Role::kChannel)
                          ? Role::kChannel
                          : pure_role(axis);
    switch (role) {
      case Role::kBatch:
        if (axis.size() != 1 || !factor.complete()) {
          return std::nullopt;
        }
        break;
      case Role::kChannel:
        at = 1;
        break;
      case Role::kPosition:
        if (axis.size() != 1 || !factor.complete() || factor.shift != 0) {
          return std::nullopt;
        }
        at = 2 + factor.index;
        several = true;
        break;
      default:
        return std::nullopt;
    }
    if (at >= rank || order[at] >= 0) {
      return std::nullopt;
    }
    order[at] = static_cast<int64_t>(d);
  }
  size_t place = 0;
  for (size_t d = 0; d < rank; ++d) {
    if (axes.dims[d].empty()) {
      while (order[place] >= 0) {
        ++place;
      }
      order[place] = static_cast<int64_t>(d);
    }
  }
  return several ? std::optional<Sizes>(order) : std::nullopt;
}

}  // namespace cyborg::detail
