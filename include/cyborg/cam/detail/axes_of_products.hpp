// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// The rules of axes for convolutions and products.

#include <cyborg/cam/detail/axes_of_views.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace cyborg::detail {

/// The axes of a convolution's output [B, K, *S] where its input was not made
/// of maps: a new map.
inline Axes new_map(const Layout& out) {
  Axes axes;
  axes.spatial = out.sizes.size() - 2;
  axes.dims.push_back(axis_of(whole(Role::kBatch, out.sizes[0])));
  axes.dims.push_back(axis_of(whole(Role::kChannel, out.sizes[1])));
  for (size_t d = 2; d < out.sizes.size(); ++d) {
    axes.dims.push_back(axis_of(whole(Role::kPosition, out.sizes[d], d - 2)));
  }
  return axes;
}

/// Whether a dimension holds channels: of one position each, or of a small
/// block of positions that were moved into the channels (space to depth).
inline bool is_channels(const Axis& axis) {
  return axis.empty() || pure_role(axis) == Role::kFree ||
         (has(axis, Role::kChannel) && !has(axis, Role::kUnknown) &&
          !has(axis, Role::kBatch));
}

/// kConvolution: new channels, and positions that lie as those of the input.
inline Axes after_convolution(const Layout* in, const Layout& out) {
  if (out.sizes.size() < 3) {
    return unknown_axes(out.sizes, 0);
  }
  if (in == nullptr) {
    return new_map(out);
  }
  if (in->sizes.size() != out.sizes.size()) {
    return unknown_axes(out.sizes, in->axes.spatial);
  }
  // A picture that was weighed by values without places is a picture still.
  bool picture = true;
  for (size_t d = 2; d < out.sizes.size(); ++d) {
    picture = picture && in->sizes[d] > 1 &&
              pure_role(in->axes.dims[d]) == Role::kFree;
  }
  if (picture) {
    return new_map(out);
  }
  // After one axis was collapsed, a convolution along the others makes a map
  // of fewer position axes (sound: frequencies averaged, then 1-D over time).
  bool fewer = out.sizes.size() - 2 != in->axes.spatial;
  for (size_t d = 2; d < out.sizes.size() && fewer; ++d) {
    fewer = in->axes.dims[d].size() == 1 &&
            pure_role(in->axes.dims[d]) == Role::kPosition &&
            in->axes.dims[d].front().complete();
  }
  if (fewer) {
    return new_map(out);
  }
  Axes axes = in->axes;
  axes.dims[1] = is_channels(in->axes.dims[1])
                     ? axis_of(whole(Role::kChannel, out.sizes[1]))
                     : unknown_axis(out.sizes[1]);
  for (size_t d = 2; d < out.sizes.size(); ++d) {
    const Axis& before = in->axes.dims[d];
    if (pure_role(before) == Role::kPosition && before.size() == 1 &&
        before.front().complete()) {
      Factor axis = whole(Role::kPosition, out.sizes[d], before.front().index);
      // By how much the new axis is shifted is not known, but that it is.
      axis.shift = before.front().shift == 0 ? 0 : 1;
      axes.dims[d] = axis_of(axis);
    } else if (out.sizes[d] != in->sizes[d]) {
      axes.dims[d] = out.sizes[d] == 1 ? Axis() : unknown_axis(out.sizes[d]);
      if (before.empty()) {  // one row that a transposed convolution enlarges
        complete_with_missing(axes, d, out.sizes[d], /*positions_only=*/true);
      }
    }
  }
  return axes;
}

/// The dimension that a product makes of an operand without axes (a weight):
/// new channels. When places were summed away while channels stay, it is a
/// mixture of places, which nobody can locate.
inline Axis new_channels(int64_t size, const Axis& summed, const Axes& kept) {
  const bool places = has(summed, Role::kPosition);
  const bool mixes =
      has(summed, Role::kUnknown) ||
      (places && (has(kept, Role::kChannel) || has(kept, Role::kPosition)) &&
       !has(summed, Role::kChannel));
  return mixes ? unknown_axis(size) : axis_of(whole(Role::kChannel, size));
}

/// kProduct: [.., n, m] x [.., m, p], or [.., m] x weight [p, m] for `linear`.
inline Axes after_product(
    const Layout* a, const Layout* b, const Layout& out, bool linear) {
  const size_t rank = out.sizes.size();
  const Layout* known = a ? a : b;
  const size_t inner = known->sizes.size();
  if (a != nullptr && b == nullptr && inner == 2 && rank == 1) {  // a vector
    return without(a->axes, 1U << 1);
  }
  if (inner < 2 || rank < 2 || inner != rank) {
    return unknown_axes(out.sizes, known->axes.spatial);
  }
  Axes axes;
  axes.spatial = known->axes.spatial;
  axes.collapsed = known->axes.collapsed;
  const size_t row = rank - 2;
  const size_t column = rank - 1;
  if (a != nullptr && b != nullptr && !linear) {
    if (b->sizes.size() != rank) {
      return unknown_axes(out.sizes, axes.spatial);
    }
    axes.spatial = std::max(axes.spatial, b->axes.spatial);
    axes.collapsed |= b->axes.collapsed;
    for (size_t d = 0; d < row; ++d) {
      axes.dims.push_back(agreed(a->axes.dims[d], b->axes.dims[d]));
    }
    axes.dims.push_back(a->axes.dims[row]);
    axes.dims.push_back(b->axes.dims[column]);
    return axes;
  }
  // The weight takes the place of the dimension that is summed away.
  const size_t at = a != nullptr ? column : row;
  axes = known->axes;
  axes.dims[at] = new_channels(
      out.sizes[at], known->axes.dims[at], without(known->axes, 1U << at));
  return axes;
}

/// kAttention: q [.., N, d], k [.., M, d], v [.., M, e] -> [.., N, e].
inline Axes after_attention(Operands in, const Layout& out) {
  const Layout* q = operand(in, 0);
  const Layout* v = operand(in, 2);
  const size_t rank = out.sizes.size();
  if (q == nullptr || v == nullptr || q->sizes.size() != rank ||
      v->sizes.size() != rank) {
    return unknown_axes(out.sizes, first_known(in)->axes.spatial);
  }
  Axes axes = q->axes;
  axes.dims.back() = v->axes.dims.back();
  return axes;
}

}  // namespace cyborg::detail
