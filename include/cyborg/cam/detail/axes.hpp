// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the dimensions of a traced tensor are: batch, channels, positions. And
// the arithmetic of views: how dimensions are split, merged and reordered.

#include <c10/util/ArrayRef.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace cyborg::detail {

/// The sizes of a tensor.
using Sizes = c10::SmallVector<int64_t, 5>;

/// A copy of the sizes.
inline Sizes sizes_from(c10::IntArrayRef sizes) {
  return {sizes.begin(), sizes.end()};
}

/// What moving along a dimension means.
enum class Role : uint8_t {
  kBatch,     // another sample
  kChannel,   // another feature of the same position
  kPosition,  // another place; `Factor::index` says along which axis
  kFree,      // the same values again (a dimension that was expanded)
  kUnknown    // not understood
};

/// A part of an axis of a map.
///
/// Entry i of the factor is entry `offset + i * step` of the axis, which has
/// `extent` entries. The whole axis has `size == extent` and `step == 1`. A reshape
/// splits an axis of 14 rows into 2 windows of 7 rows: the factors (size 2,
/// step 7) and (size 7, step 1).
struct Factor {
  Role role = Role::kUnknown;
  uint8_t index = 0;  // kPosition: 0 for height, 1 for width (of 2-D maps)
  int64_t size = 1;
  int64_t step = 1;
  int64_t offset = 0;
  int64_t extent = 1;
  int64_t shift = 0;     // by how much it was rolled around the border
  int64_t unpadded = 0;  // the extent before padding; 0: not padded
  int64_t padded = 0;    // how many entries the padding put before it

  bool same_axis(const Factor& other) const {
    return role == other.role && index == other.index && shift == other.shift &&
           extent == other.extent && unpadded == other.unpadded &&
           padded == other.padded;
  }
  bool operator==(const Factor& other) const {
    return same_axis(other) && size == other.size && step == other.step &&
           offset == other.offset;
  }
  /// Whether the factor goes over its axis from end to end. A coarse axis (each
  /// second row) does. A crop does not.
  bool complete() const {
    return offset >= 0 && offset < step && size * step > extent - step &&
           size * step < extent + step;
  }
};

/// A whole axis.
inline Factor whole(Role role, int64_t size, size_t index = 0) {
  Factor axis;
  axis.role = role;
  axis.index = static_cast<uint8_t>(index);
  axis.size = size;
  axis.extent = size;
  return axis;
}

/// The factors of one dimension, the slowest first. Invariants: their sizes
/// multiply to the size of the dimension, no factor has size 1, and neighbours
/// that are one piece of an axis are one factor. A dimension of size 1 has no
/// factors.
using Axis = c10::SmallVector<Factor, 2>;

/// The axes of a tensor, one for each dimension.
struct Axes {
  c10::SmallVector<Axis, 5> dims;
  /// The number of position axes of the map that the tensor was made of; 0: of
  /// no map.
  size_t spatial = 0;
  /// Bit i: position axis i was collapsed, and no dimension holds it any more.
  uint8_t collapsed = 0;
};

/// Appends a factor to an axis and keeps its invariants.
inline void append(Axis& axis, const Factor& factor) {
  if (factor.size == 1) {
    return;
  }
  if (!axis.empty()) {
    Factor& last = axis.back();
    const bool one_piece =
        last.same_axis(factor) && last.role != Role::kUnknown &&
        (last.role == Role::kFree || last.step == factor.step * factor.size);
    if (one_piece ||
        (last.role == Role::kUnknown && factor.role == Role::kUnknown)) {
      last.size *= factor.size;
      last.step = factor.step;
      last.offset += factor.offset;
      return;
    }
  }
  axis.push_back(factor);
}

/// A dimension of one role; empty for size 1.
inline Axis axis_of(const Factor& factor) {
  Axis axis;
  append(axis, factor);
  return axis;
}

/// An axis of which nothing is known but its size.
inline Axis unknown_axis(int64_t size) {
  Factor factor;
  factor.size = size;
  return axis_of(factor);
}

/// An axis along which the same values repeat.
inline Axis free_axis(int64_t size) {
  Factor factor;
  factor.role = Role::kFree;
  factor.size = size;
  return axis_of(factor);
}

/// The product of the sizes of its factors.
inline int64_t size_of(const Axis& axis) {
  int64_t size = 1;
  for (const Factor& factor : axis) {
    size *= factor.size;
  }
  return size;
}

/// Whether a factor of the axis has this role.
inline bool has(const Axis& axis, Role role) {
  return std::any_of(axis.begin(), axis.end(), [&](const Factor& factor) {
    return factor.role == role;
  });
}

/// Whether a factor of any axis has this role.
inline bool has(const Axes& axes, Role role) {
  return std::any_of(axes.dims.begin(), axes.dims.end(), [&](const Axis& axis) {
    return has(axis, role);
  });
}

/// The role of a dimension whose factors all have the same one and, for
/// positions, lie on the same axis; kUnknown otherwise, kFree for size 1.
inline Role pure_role(const Axis& axis) {
  if (axis.empty()) {
    return Role::kFree;
  }
  const Factor& first = axis.front();
  const bool pure =
      std::all_of(axis.begin(), axis.end(), [&](const Factor& factor) {
        return factor.role == first.role && factor.index == first.index;
      });
  return pure ? first.role : Role::kUnknown;
}

/// Whether some entries along the tensor are places, or may be.
inline bool is_open(const Axes& axes) {
  return has(axes, Role::kPosition) || has(axes, Role::kUnknown);
}

/// Bit i: the dimension holds a part of position axis i.
inline uint8_t places(const Axis& axis) {
  uint8_t found = 0;
  for (const Factor& factor : axis) {
    if (factor.role == Role::kPosition) {
      found = static_cast<uint8_t>(found | 1U << factor.index);
    }
  }
  return found;
}

/// The same for all dimensions.
inline uint8_t places(const Axes& axes) {
  uint8_t found = 0;
  for (const Axis& axis : axes.dims) {
    found = static_cast<uint8_t>(found | places(axis));
  }
  return found;
}

/// Every dimension unknown.
inline Axes unknown_axes(c10::IntArrayRef sizes, size_t spatial) {
  Axes axes;
  axes.spatial = spatial;
  for (const int64_t size : sizes) {
    axes.dims.push_back(unknown_axis(size));
  }
  return axes;
}

/// The axes after a reshape to `sizes`, which keeps the values in row-major
/// order. What does not split evenly becomes unknown.
inline Axes reshaped(const Axes& before, c10::IntArrayRef sizes) {
  c10::SmallVector<Factor, 8> factors;  // all of them, the slowest first
  for (const Axis& axis : before.dims) {
    factors.append(axis.begin(), axis.end());
  }
  Axes after;
  after.spatial = before.spatial;
  after.collapsed = before.collapsed;
  size_t next = 0;
  bool lost = false;
  for (const int64_t size : sizes) {
    Axis axis;
    int64_t wanted = size;
    while (wanted > 1 && !lost) {
      if (next == factors.size()) {
        lost = true;
        break;
      }
      Factor& factor = factors[next];
      if (wanted % factor.size == 0) {
        append(axis, factor);
        wanted /= factor.size;
        ++next;
      } else if (factor.size % wanted == 0) {
        Factor outer = factor;
        outer.size = wanted;
        factor.size /= wanted;
        factor.offset = 0;
        outer.step = factor.step * factor.size;
        append(axis, outer);
        wanted = 1;
      } else {
        lost = true;
      }
    }
    after.dims.push_back(lost ? unknown_axis(size) : axis);
  }
  return after;
}

}  // namespace cyborg::detail
