// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The rules of axes for operators that change sizes: reductions, windows,
// padding, concatenation. What they did shows in the sizes.

#include <cyborg/cam/detail/axes_of_views.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
/// windows, of channels) is made anew.
inline Axes after_resize(const Layout& in, const Layout& out, bool pool) {
  if (in.sizes.size() != out.sizes.size()) {
    return unknown_axes(out.sizes, in.axes.spatial);
  }
  Axes axes = in.axes;
  for (size_t d = 0; d < out.sizes.size(); ++d) {
    const Axis& before = in.axes.dims[d];
    if (out.sizes[d] == in.sizes[d]) {
      continue;
    }
    const Role role = pure_role(before);
    const bool renewed = (role == Role::kPosition && before.size() == 1 &&
                          before.front().complete()) ||
                         role == Role::kFree ||
                         (role == Role::kChannel && !pool);
    if (renewed) {
      Factor factor = before.empty() ? whole(Role::kFree, 1) : before.front();
      const bool padded =
          !pool && factor.role == Role::kPosition && out.sizes[d] > in.sizes[d];
      factor.unpadded = padded ? in.sizes[d] : 0;
      factor.size = factor.extent = out.sizes[d];
      factor.step = 1;
      axes.dims[d] = axis_of(factor);
    } else {
      axes.dims[d] = out.sizes[d] == 1 ? Axis() : unknown_axis(out.sizes[d]);
    }
  }
  return axes;
}

/// kCat: one dimension is longer than that of each operand.
inline Axes after_cat(Operands in, const Layout& out) {
  Axes axes;
  bool first = true;
  for (const Layout* one : in) {
    if (one == nullptr || one->sizes.size() != out.sizes.size()) {
      continue;
    }
    Layout part = *one;
    for (size_t d = 0; d < out.sizes.size(); ++d) {
      if (part.sizes[d] == out.sizes[d]) {
        continue;
      }
      // A class token that is put before the positions spoils them.
      Axis& axis = part.axes.dims[d];
      const Role role = pure_role(axis);
      const bool known = role == Role::kChannel || role == Role::kBatch ||
                         (role == Role::kPosition && axis.size() == 1 &&
                          axis.front().complete());
      Factor factor = known ? axis.front() : Factor();
      factor.role = known                 ? factor.role
                    : role == Role::kFree ? Role::kFree
                                          : Role::kUnknown;
      factor.size = factor.extent = out.sizes[d];
      factor.step = 1;
      axis = axis_of(factor);
    }
    for (size_t d = 0; d < out.sizes.size(); ++d) {
      if (!first) {
        part.axes.dims[d] = agreed(axes.dims[d], part.axes.dims[d]);
      }
    }
    part.axes.spatial = std::max(part.axes.spatial, axes.spatial);
    axes = part.axes;
    first = false;
  }
  // Positions that some operand does not know are not a row of places.
  for (const Layout* one : in) {
    for (size_t d = 0; d < axes.dims.size(); ++d) {
      const bool blind = one == nullptr || one->sizes.size() <= d ||
                         (one->sizes[d] != out.sizes[d] &&
                          !has(one->axes.dims[d], Role::kPosition));
      const bool joined = std::any_of(in.begin(), in.end(), [&](const auto* o) {
        return o != nullptr && o->sizes.size() > d &&
               o->sizes[d] != out.sizes[d];
      });
      if (blind && joined && has(axes.dims[d], Role::kPosition)) {
        axes.dims[d] = unknown_axis(out.sizes[d]);
      }
    }
  }
  if (first) {
    return unknown_axes(out.sizes, 0);
  }
  Axes whole_axes = axes;
  for (size_t d = 0; d < axes.dims.size(); ++d) {
    const bool rows = std::all_of(in.begin(), in.end(), [&](const auto* one) {
      return one != nullptr && one->sizes.size() > d && one->sizes[d] == 1;
    });
    if (rows && out.sizes[d] > 1) {
      complete_with_missing(whole_axes, d, out.sizes[d]);
    }
  }
  return whole_axes;
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
