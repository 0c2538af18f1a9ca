// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The rules of axes for operators that change sizes: reductions, windows,
// padding, concatenation. What they did shows in the sizes.

#include <cyborg/cam/detail/axes_of_views.hpp>
#include <cyborg/cam/detail/operators.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// kReduce. Which dimensions were reduced shows in the sizes. Where several
/// readings fit ([B, C, h, w] with C = h = w), `agrees(mask)` decides.
template <class Agrees>
Axes after_reduce(const Layout& in, const Layout& out, const Agrees& agrees) {
  if (in.sizes.size() == out.sizes.size()) {  // keepdim, or nothing reduced
    Axes axes = in.axes;
    for (size_t d = 0; d < in.sizes.size(); ++d) {
      if (out.sizes[d] != in.sizes[d]) {
        axes.dims[d] = out.sizes[d] == 1 ? Axis() : unknown_axis(out.sizes[d]);
      }
    }
    return axes;
  }
  std::vector<std::pair<uint32_t, Axes>> readings;
  for (uint32_t mask = 1; mask < 1U << in.sizes.size(); ++mask) {
    Sizes left;
    for (size_t d = 0; d < in.sizes.size(); ++d) {
      if ((mask >> d & 1U) == 0) {
        left.push_back(in.sizes[d]);
      }
    }
    if (left == out.sizes) {
      readings.emplace_back(mask, without(in.axes, mask));
    }
  }
  return settle(readings, out, in.axes.spatial, agrees);
}

/// kPool and kResize: where the size changes, an axis of positions (or, without
/// windows, of channels) is made anew. Padding can be taken away again, and may
/// be negative: then it is a crop. A GLU halves channels alone.
template <class Agrees>
Axes after_resize(
    Rule rule, std::string_view node_name, const Layout& in, const Layout& out,
    const Agrees& agrees) {
  const bool pool = rule == Rule::kPool;
  const bool pads = node_name.find("Pad") != std::string_view::npos;
  const bool glu = base_name(node_name) == "Glu";
  // Where the padding begins: behind each axis, or half of it before.
  const bool behind = pads && agrees(0);
  const bool around = pads && !behind && agrees(1);
  if (in.sizes.size() != out.sizes.size()) {
    return unknown_axes(out.sizes, in.axes.spatial);
  }
  Axes axes = in.axes;
  // A padding that takes away on one side what it adds on the other.
  const bool shifts = pads && !behind && !around && out.sizes == in.sizes;
  for (size_t d = 0; d < out.sizes.size(); ++d) {
    const Axis& before = in.axes.dims[d];
    const Role role = pure_role(before);
    if (out.sizes[d] == in.sizes[d]) {
      if (shifts && role == Role::kPosition) {
        axes.dims[d] = unknown_axis(out.sizes[d]);
      }
      continue;
    }
    const bool crops = pads && out.sizes[d] < in.sizes[d];
    const bool renewed = (role == Role::kPosition && before.size() == 1 &&
                          before.front().complete() && !glu && !crops) ||
                         role == Role::kFree ||
                         (role == Role::kChannel && !pool);
    if (renewed) {
      if (before.empty()) {  // one row, or one value that is repeated
        axes.dims[d] = free_axis(out.sizes[d]);
        complete_with_missing(axes, d, out.sizes[d], /*positions_only=*/true);
        continue;
      }
      Factor factor = before.front();
      factor.unpadded = behind || around ? in.sizes[d] : 0;
      factor.padded = around ? (out.sizes[d] - in.sizes[d]) / 2 : 0;
      factor.size = factor.extent = out.sizes[d];
      factor.step = 1;
      factor.offset = 0;
      axes.dims[d] = axis_of(factor);
    } else {
      axes.dims[d] = out.sizes[d] == 1 ? Axis() : unknown_axis(out.sizes[d]);
    }
  }
  return axes;
}

/// Joins two neighbouring parts of a dimension. Channels and samples are
/// renumbered. Rows are one axis only if the second part begins where the first
/// ends: halves of a map that were treated apart. Two maps side by side, a class
/// token before the positions, and parts in another order are unknown.
inline Axis joined(const Axis& a, const Axis& b) {
  const int64_t size = size_of(a) + size_of(b);
  const Role left = pure_role(a);
  const Role right = pure_role(b);
  if (left == Role::kFree || right == Role::kFree) {
    const Role other = left == Role::kFree ? right : left;
    const bool known = other == Role::kChannel || other == Role::kBatch ||
                       other == Role::kFree;
    return known ? axis_of(whole(other, size)) : unknown_axis(size);
  }
  if (left == right && (left == Role::kChannel || left == Role::kBatch)) {
    return axis_of(whole(left, size));
  }
  if (left == Role::kPosition && a.size() == 1 && b.size() == 1 &&
      a.front().same_axis(b.front()) && a.front().step == b.front().step &&
      a.front().offset + a.front().size * a.front().step == b.front().offset) {
    Factor both = a.front();
    both.size = size;
    return axis_of(both);
  }
  return unknown_axis(size);
}

/// kCat: one dimension is longer than that of each operand. An operand without
/// axes (null) may be joined along the channels or samples alone.
inline Axes after_cat(Operands in, const Layout& out) {
  const size_t rank = out.sizes.size();
  Axes axes = unknown_axes(out.sizes, 0);
  std::vector<bool> along(rank, false);  // the dimension that is joined
  bool all_known = true;
  for (const Layout* one : in) {
    all_known = all_known && one != nullptr && one->sizes.size() == rank;
    for (size_t d = 0; d < rank; ++d) {
      along[d] = along[d] || (one != nullptr && one->sizes.size() == rank &&
                              one->sizes[d] != out.sizes[d]);
    }
  }
  bool first = true;
  bool single_rows = all_known;  // each part has one entry along the dimension
  for (const Layout* one : in) {
    if (one == nullptr || one->sizes.size() != rank) {
      continue;
    }
    axes.spatial = std::max(axes.spatial, one->axes.spatial);
    for (size_t d = 0; d < rank; ++d) {
      const Axis& part = one->axes.dims[d];
      Axis& axis = axes.dims[d];
      if (along[d]) {
        axis = first ? part : joined(axis, part);
        single_rows = single_rows && one->sizes[d] == 1;
      } else {
        axis = first ? part : agreed(axis, part);
      }
    }
    first = false;
  }
  for (size_t d = 0; d < rank; ++d) {
    if (!along[d]) {
      continue;
    }
    const Role role = pure_role(axes.dims[d]);
    if (single_rows) {
      complete_with_missing(axes, d, out.sizes[d]);
    } else if (!all_known) {
      axes.dims[d] = role == Role::kChannel || role == Role::kBatch
                         ? axis_of(whole(role, out.sizes[d]))
                         : unknown_axis(out.sizes[d]);
    }
  }
  return axes;
}

/// kStack: a dimension more, along which neither samples nor places change.
template <class Agrees>
Axes after_stack(Operands in, const Layout& out, const Agrees& agrees) {
  const Layout* some = first_known(in);
  std::vector<std::pair<uint32_t, Axes>> readings;
  for (uint32_t d = 0; d < out.sizes.size(); ++d) {
    Sizes rest = out.sizes;
    rest.erase(rest.begin() + d);
    if (out.sizes[d] != static_cast<int64_t>(in.size()) ||
        rest != some->sizes) {
      continue;
    }
    Layout each;
    each.sizes = rest;
    each.axes = after_elementwise(in, each);
    each.axes.dims.insert(
        each.axes.dims.begin() + d,
        axis_of(whole(Role::kChannel, out.sizes[d])));
    readings.emplace_back(d, each.axes);
  }
  return settle(readings, out, some->axes.spatial, agrees);
}

}  // namespace cyborg::detail
