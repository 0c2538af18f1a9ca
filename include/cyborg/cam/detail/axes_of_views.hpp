// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The rules of axes for views, and for writing into a view: dimensions are
// recognised by their strides.

#include <cyborg/cam/detail/layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// An operator without a rule. Where no operand has places, none has appeared.
inline Axes after_unknown(Operands in, const Layout& out) {
  Axes axes = unknown_axes(out.sizes, first_known(in)->axes.spatial);
  const bool open = std::any_of(in.begin(), in.end(), [](const Layout* one) {
    return one != nullptr && is_open(one->axes);
  });
  if (!open) {
    for (size_t d = 0; d < out.sizes.size(); ++d) {
      axes.dims[d] = free_axis(out.sizes[d]);
    }
  }
  return axes;
}

/// kReorder: a dimension is recognised by its size and stride. Two dimensions
/// that share both hold repeated values, so their axes must be the same.
inline Axes after_reorder(const Layout& in, const Layout& out) {
  Axes axes;
  axes.spatial = in.axes.spatial;
  axes.collapsed = in.axes.collapsed;
  if (in.strides.empty() || out.strides.empty()) {
    return after_unknown({&in}, out);
  }
  for (size_t d = 0; d < out.sizes.size(); ++d) {
    const Axis* found = nullptr;
    bool clear = true;
    for (size_t e = 0; e < in.sizes.size(); ++e) {
      if (in.sizes[e] == out.sizes[d] && in.strides[e] == out.strides[d]) {
        clear = clear && (found == nullptr || *found == in.axes.dims[e]);
        found = &in.axes.dims[e];
      }
    }
    axes.dims.push_back(
        out.sizes[d] == 1 ? Axis()
        : found && clear  ? *found
                          : unknown_axis(out.sizes[d]));
  }
  return axes;
}

/// Every `step`-th entry of a dimension from `start` on, `size` of them.
struct Range {
  int64_t size = 1;
  int64_t step = 1;
  int64_t start = 0;
};

/// What a range makes of one factor.
inline Factor range_of(Factor factor, const Range& range) {
  if (factor.unpadded == range.size && factor.padded == range.start &&
      range.step == 1 && factor.step == 1) {
    // It takes a padding away: the axis is as it was before.
    const int64_t shift = factor.shift;
    factor = whole(factor.role, range.size, factor.index);
    factor.shift = shift;
    return factor;
  }
  factor.size = range.size;
  factor.offset += range.start * factor.step;
  factor.step *= range.step;
  return factor;
}

/// A range of an axis. A range of channels is as good as all.
inline Axis range_of(const Axis& axis, const Range& range) {
  if (axis.size() == 1) {
    return axis_of(range_of(axis.front(), range));
  }
  const bool known = !has(axis, Role::kUnknown) && !has(axis, Role::kBatch) &&
                     !has(axis, Role::kPosition);
  const Role role = has(axis, Role::kChannel) ? Role::kChannel : Role::kFree;
  return known ? axis_of(whole(role, range.size)) : unknown_axis(range.size);
}

/// Whether a range of one entry is a coarse axis, as that of a map of two rows
/// of which each second one is taken.
inline bool covers(const Axis& axis, const Range& range) {
  return axis.size() == 1 && range_of(axis.front(), range).complete();
}

/// kSlice.
inline Axes after_slice(const Layout& in, const Layout& out) {
  Axes axes = in.axes;
  if (out.sizes.size() != in.sizes.size() || in.strides.empty() ||
      out.strides.empty()) {
    return after_unknown({&in}, out);
  }
  for (size_t d = 0; d < out.sizes.size(); ++d) {
    if (out.sizes[d] != in.sizes[d]) {
      const int64_t stride = std::max<int64_t>(1, in.strides[d]);
      const Range range{
          out.sizes[d], std::max<int64_t>(1, out.strides[d] / stride),
          (out.offset - in.offset) / stride};
      axes.dims[d] = range_of(in.axes.dims[d], range);
      if (out.sizes[d] == 1 && !covers(in.axes.dims[d], range)) {
        axes.collapsed =
            static_cast<uint8_t>(axes.collapsed | places(in.axes.dims[d]));
      }
    }
  }
  return axes;
}

/// What remains of `in` without the dimensions of `mask`.
inline Axes without(const Axes& in, uint32_t mask) {
  Axes axes = in;
  axes.dims.clear();
  for (size_t d = 0; d < in.dims.size(); ++d) {
    if ((mask >> d & 1U) == 0) {
      axes.dims.push_back(in.dims[d]);
    }
  }
  return axes;
}

/// Whether all axes are the same, factor by factor.
inline bool same_dims(const Axes& a, const Axes& b) {
  return std::equal(a.dims.begin(), a.dims.end(), b.dims.begin(), b.dims.end());
}

/// Of several readings of an operator's arguments, the one that holds. `agrees`
/// compares values, and is asked only where the readings differ in their axes.
template <class Agrees>
Axes settle(
    const std::vector<std::pair<uint32_t, Axes>>& readings, const Layout& out,
    size_t spatial, const Agrees& agrees) {
  if (readings.empty()) {
    return unknown_axes(out.sizes, spatial);
  }
  const auto same = [&](const auto& reading) {
    return same_dims(reading.second, readings.front().second);
  };
  if (std::all_of(readings.begin(), readings.end(), same)) {
    return readings.front().second;
  }
  const Axes* found = nullptr;
  for (const auto& [arguments, axes] : readings) {
    if (agrees(arguments)) {
      if (found != nullptr && !same_dims(*found, axes)) {
        return unknown_axes(out.sizes, spatial);  // the values do not decide
      }
      found = &axes;
    }
  }
  return found ? *found : unknown_axes(out.sizes, spatial);
}

/// kSelect.
inline Axes after_select(const Layout& in, const Layout& out) {
  std::vector<std::pair<uint32_t, Axes>> readings;
  if (in.strides.empty() || out.strides.empty()) {
    return after_unknown({&in}, out);
  }
  for (uint32_t d = 0; d < in.sizes.size(); ++d) {
    bool fits = out.sizes.size() + 1 == in.sizes.size();
    for (size_t e = 0; e < out.sizes.size() && fits; ++e) {
      const size_t from = e < d ? e : e + 1;
      fits = in.sizes[from] == out.sizes[e] &&
             (out.sizes[e] == 1 || in.strides[from] == out.strides[e]);
    }
    if (fits) {
      readings.emplace_back(d, without(in.axes, 1U << d));
    }
  }
  return settle(readings, out, in.axes.spatial, [](uint32_t) { return true; });
}

/// kAsStrided: the dimension of `in` with the same stride, or a range of it.
inline Axes after_as_strided(const Layout& in, const Layout& out) {
  Axes axes;
  axes.spatial = in.axes.spatial;
  axes.collapsed = in.axes.collapsed;
  if (out.strides.empty() || in.strides.empty()) {
    return after_unknown({&in}, out);
  }
  for (size_t d = 0; d < out.sizes.size(); ++d) {
    Axis axis = unknown_axis(out.sizes[d]);
    for (size_t e = 0; e < in.sizes.size(); ++e) {
      if (in.sizes[e] > 1 && in.strides[e] == out.strides[d] &&
          in.sizes[e] >= out.sizes[d]) {
        axis = in.sizes[e] == out.sizes[d]
                   ? in.axes.dims[e]
                   : range_of(
                         in.axes.dims[e],
                         {out.sizes[d], 1,
                          (out.offset - in.offset) / in.strides[e]});
      }
    }
    axes.dims.push_back(axis);
  }
  return axes;
}

/// The entry of dimension `d` of `base` at which the view `part` begins. Only
/// the dimensions where they differ in size can be offset.
inline int64_t start_of(const Layout& part, const Layout& base, size_t d) {
  int64_t rest = part.offset - base.offset;
  for (size_t e = 0; e < base.sizes.size(); ++e) {
    // Of the slower dimensions, whole steps are taken off first.
    if (base.strides[e] > base.strides[d]) {
      rest %= base.strides[e];
    }
  }
  return base.strides[d] > 0 ? rest / base.strides[d] : 0;
}

/// The axes of a tensor `base` after `part`, a view into it, was written with
/// values of the axes `written`. `before`: the axes of the rest; null: nothing
/// is known of it (zeros). A range of an axis that is written tells what the
/// whole dimension is.
inline Axes after_write(
    const Layout* before, const Layout& base, const Layout& part,
    const Layout* written) {
  if (written == nullptr || written->sizes.size() > part.sizes.size()) {
    return before ? before->axes : unknown_axes(base.sizes, 0);
  }
  const Axes values = [&] {
    Combined result(part.sizes);
    return result.add(written->axes, written->sizes)
               ? result.take()
               : unknown_axes(part.sizes, written->axes.spatial);
  }();
  Axes axes = unknown_axes(base.sizes, values.spatial);
  axes.collapsed = values.collapsed;
  for (size_t d = 0; d < base.sizes.size(); ++d) {
    for (size_t e = 0; e < part.sizes.size(); ++e) {
      if (base.strides[d] == part.strides[e] && part.sizes[e] > 1 &&
          base.sizes[d] >= part.sizes[e] && values.dims[e].size() == 1) {
        Factor factor = values.dims[e].front();
        const int64_t start = start_of(part, base, d);
        factor.size = base.sizes[d];
        factor.offset -= start * factor.step;
        factor.extent = std::max(factor.extent, factor.size * factor.step);
        axes.dims[d] = axis_of(factor);
      } else if (
          base.strides[d] == part.strides[e] &&
          base.sizes[d] == part.sizes[e]) {
        axes.dims[d] = values.dims[e];
      }
    }
    if (before != nullptr) {
      axes.dims[d] = agreed(before->axes.dims[d], axes.dims[d]);
    }
  }
  for (size_t d = 0; d < base.sizes.size(); ++d) {
    for (size_t e = 0; e < part.sizes.size(); ++e) {
      if (has(axes.dims[d], Role::kUnknown) && part.sizes[e] == 1 &&
          base.strides[d] == part.strides[e] &&
          part.sizes.size() == base.sizes.size()) {
        complete_with_missing(axes, d, base.sizes[d]);
      }
    }
  }
  return axes;
}

/// kRoll. `shifts`: by how many entries each dimension was shifted, where that
/// can be seen; empty where nothing can. Samples that were shifted are not
/// understood.
inline Axes after_roll(
    const Layout& in, const Layout& out,
    const std::vector<std::optional<int64_t>>& shifts) {
  Axes axes = in.axes;
  for (size_t d = 0; d < axes.dims.size(); ++d) {
    Axis& axis = axes.dims[d];
    if (axis.empty()) {
      continue;
    }
    const auto shift = d < shifts.size() ? shifts[d] : std::nullopt;
    const bool places = pure_role(axis) == Role::kPosition && axis.size() == 1;
    if (!shift || (*shift != 0 && !places)) {
      return after_unknown({&in}, out);
    }
    if (places) {
      Factor& factor = axis.front();
      const int64_t length = factor.size * factor.step;
      factor.shift = (factor.shift + *shift * factor.step) % length;
    }
  }
  return axes;
}

}  // namespace cyborg::detail
