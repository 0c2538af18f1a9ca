// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// A tensor as the rules of axes see it, and the axes of element-wise results.

#include <cyborg/cam/detail/axes.hpp>

#include <c10/util/ArrayRef.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace cyborg::detail {

/// How a tensor lies in memory, and what its dimensions are.
struct Layout {
  Sizes sizes;
  Sizes strides;  // empty: not known
  int64_t offset = 0;
  Axes axes;
};

/// The operands of an operator, in the order of the edges of its node. Null:
/// an operand that was not made of maps (a parameter, a constant, nothing).
using Operands = c10::ArrayRef<const Layout*>;

/// The operand with this index; null if there are fewer.
inline const Layout* operand(Operands in, size_t i) {
  return i < in.size() ? in[i] : nullptr;
}

/// The first operand that was made of maps; null if there is none.
inline const Layout* first_known(Operands in) {
  for (const Layout* one : in) {
    if (one != nullptr) {
      return one;
    }
  }
  return nullptr;
}

/// What one dimension is, of which two operands of an element-wise operator
/// have an opinion: a known opinion wins over an unknown one, a contradiction
/// makes the dimension unknown. Of two ranges of the same axis the complete one
/// wins: a padded and cropped branch is added to its shortcut.
inline Axis agreed(const Axis& a, const Axis& b) {
  const Role left = pure_role(a);
  const Role right = pure_role(b);
  if (left == Role::kFree || has(a, Role::kUnknown)) {
    return right == Role::kFree && left != Role::kFree ? a : b;
  }
  if (right == Role::kFree || has(b, Role::kUnknown) || a == b) {
    return a;
  }
  const bool same =
      left == right && left != Role::kUnknown &&
      a.front().index == b.front().index &&
      a.front().shift == b.front().shift &&
      (left != Role::kPosition || (a.size() == 1 && b.size() == 1));
  if (!same) {
    return unknown_axis(size_of(a));
  }
  return b.size() == 1 && b.front().complete() ? b : a;
}

/// The axes of an element-wise result of `sizes`: dimensions are compared from
/// the last one on, and dimensions of size 1 fit everything.
class Combined {
 public:
  explicit Combined(c10::IntArrayRef sizes) : sizes_(sizes) {
    for (const int64_t size : sizes) {
      axes_.dims.push_back(unknown_axis(size));
    }
  }

  /// Takes one operand. Returns false if its shape does not fit.
  bool add(const Axes& operand, c10::IntArrayRef sizes) {
    if (sizes.size() > sizes_.size()) {
      return false;
    }
    const size_t shift = sizes_.size() - sizes.size();
    for (size_t d = 0; d < sizes.size(); ++d) {
      if (sizes[d] != 1 && sizes[d] != sizes_[shift + d]) {
        return false;
      }
    }
    for (size_t d = 0; d < sizes_.size(); ++d) {
      Axis& axis = axes_.dims[d];
      if (d < shift || sizes[d - shift] == 1) {
        // The operand repeats its values along this dimension.
        axis = any_ ? axis : free_axis(sizes_[d]);
      } else {
        const Axis& other = operand.dims[d - shift];
        axis = any_ ? agreed(axis, other) : other;
      }
    }
    any_ = true;
    axes_.spatial = std::max(axes_.spatial, operand.spatial);
    axes_.collapsed |= operand.collapsed;
    return true;
  }

  Axes take() {
    axes_.collapsed &= static_cast<uint8_t>(~places(axes_));
    return std::move(axes_);
  }

 private:
  c10::IntArrayRef sizes_;
  Axes axes_;
  bool any_ = false;  // an operand was taken
};

/// kElementwise, kExpand.
inline Axes after_elementwise(Operands in, const Layout& out) {
  Combined result(out.sizes);
  for (const Layout* one : in) {
    if (one != nullptr && !result.add(one->axes, one->sizes)) {
      return unknown_axes(out.sizes, one->axes.spatial);
    }
  }
  return result.take();
}

/// Gives dimension `d` the one role of a map that no other dimension has. Parts
/// of one sample (or channel, or row) do not show which role their dimension
/// has, but the other dimensions do. Nothing is changed where two roles are
/// missing.
/// `positions_only`: the operator changes neither samples nor channels.
inline void complete_with_missing(
    Axes& axes, size_t d, int64_t size, bool positions_only = false) {
  if (axes.spatial == 0 || axes.dims.size() != axes.spatial + 2) {
    return;
  }
  std::vector<bool> missing(axes.dims.size(), true);
  missing[0] = missing[1] = !positions_only;
  for (size_t i = 0; i < axes.spatial; ++i) {
    // What was collapsed is not made again by repeating it.
    missing[2 + i] = (axes.collapsed >> i & 1U) == 0;
  }
  for (size_t e = 0; e < axes.dims.size(); ++e) {
    const Axis& axis = axes.dims[e];
    if (e == d || axis.empty()) {
      continue;
    }
    const Role role = pure_role(axis);
    if (role == Role::kFree || role == Role::kUnknown) {
      return;
    }
    missing
        [role == Role::kBatch     ? 0
         : role == Role::kChannel ? 1
                                  : 2 + axis.front().index] = false;
  }
  if (std::count(missing.begin(), missing.end(), true) != 1) {
    return;
  }
  const auto place = static_cast<size_t>(
      std::find(missing.begin(), missing.end(), true) - missing.begin());
  axes.dims[d] = axis_of(
      place < 2 ? whole(place == 0 ? Role::kBatch : Role::kChannel, size)
                : whole(Role::kPosition, size, place - 2));
}

}  // namespace cyborg::detail
