// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

// Shapes with a sharp edge on a grid of samples. Every sample is inside or
// outside; the value of a map's position is the share of its samples that are
// inside. If the map is as large as the picture, each position has one sample,
// in its middle.
namespace cyborg::human::detail {

/// One axis of a map on its picture.
struct Axis {
  int64_t size;     ///< positions of the map
  int64_t samples;  ///< of each position
  double step;      ///< pixels of the picture from one sample to the next

  /// So many samples that none is more than a pixel from the next.
  Axis(int64_t picture, int64_t map)
      : size(map),
        samples((picture + map - 1) / map),
        step(
            static_cast<double>(picture) / static_cast<double>(map * samples)) {
  }

  int64_t count() const { return size * samples; }

  /// Where a sample lies on the picture.
  double at(int64_t sample) const {
    return (static_cast<double>(sample) + 0.5) * step;
  }

  /// The first sample at `x` or after it, from 0 to `count()`.
  int64_t first_from(double x) const {
    return bounded(std::ceil(x / step - 0.5));
  }

  /// The first sample after `x`, from 0 to `count()`.
  int64_t first_after(double x) const {
    return bounded(std::floor(x / step - 0.5) + 1);
  }

 private:
  int64_t bounded(double sample) const {
    return static_cast<int64_t>(
        std::clamp(sample, 0.0, static_cast<double>(count())));
  }
};

/// A position on the picture.
struct Position {
  double x;
  double y;
};

/// The union of shapes, as spans of samples in each row of samples.
class Spans {
 public:
  /// Sizes are {H, W}.
  Spans(at::IntArrayRef picture, at::IntArrayRef map)
      : vertical_(picture[0], map[0]),
        horizontal_(picture[1], map[1]),
        rows_(static_cast<size_t>(vertical_.count())) {}

  /// Adds the inside of a closed polygon, by the even-odd rule. An edge at the
  /// left or at the top is inside, one at the right or at the bottom is not.
  void add_polygon(const std::vector<Position>& corners) {
    std::vector<std::vector<double>> crossings(rows_.size());
    for (size_t i = 0; i < corners.size(); ++i) {
      auto a = corners[i];
      auto b = corners[(i + 1) % corners.size()];
      if (a.y > b.y) {
        std::swap(a, b);
      }
      const auto end = vertical_.first_from(b.y);
      for (auto row = vertical_.first_from(a.y); row < end; ++row) {
        crossings[static_cast<size_t>(row)].push_back(
            crossing(a, b, vertical_.at(row)));
      }
    }
    for (size_t row = 0; row < rows_.size(); ++row) {
      auto& xs = crossings[row];
      std::sort(xs.begin(), xs.end());
      for (size_t i = 0; i + 1 < xs.size(); i += 2) {
        add(row, horizontal_.first_from(xs[i]),
            horizontal_.first_from(xs[i + 1]));
      }
    }
  }

  /// Adds all samples that are at most `radius` from the line between `a` and
  /// `b`, which may be the same position.
  void add_line(Position a, Position b, double radius) {
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    const double across = length > 0 ? radius / length : 0;
    const double nx = -(b.y - a.y) * across;
    const double ny = (b.x - a.x) * across;
    const Position corners[] = {
        {a.x + nx, a.y + ny},
        {b.x + nx, b.y + ny},
        {b.x - nx, b.y - ny},
        {a.x - nx, a.y - ny}};
    const auto end = vertical_.first_after(std::max(a.y, b.y) + radius);
    for (auto row = vertical_.first_from(std::min(a.y, b.y) - radius);
         row < end; ++row) {
      const double y = vertical_.at(row);
      double low = std::numeric_limits<double>::infinity();
      double high = -low;
      const auto reach = [&](double x) {
        low = std::min(low, x);
        high = std::max(high, x);
      };
      for (const auto& cap : {a, b}) {
        const double inside = radius * radius - (y - cap.y) * (y - cap.y);
        if (inside >= 0) {
          reach(cap.x - std::sqrt(inside));
          reach(cap.x + std::sqrt(inside));
        }
      }
      for (size_t i = 0; length > 0 && i < 4; ++i) {
        auto p = corners[i];
        auto q = corners[(i + 1) % 4];
        if (p.y > q.y) {
          std::swap(p, q);
        }
        if (p.y <= y && y <= q.y && p.y < q.y) {
          reach(crossing(p, q, y));
        }
      }
      if (low <= high) {
        add(static_cast<size_t>(row), horizontal_.first_from(low),
            horizontal_.first_after(high));
      }
    }
  }

  /// The share of each position that is inside: [H, W] float64 in [0, 1].
  torch::Tensor shares() {
    const auto width = static_cast<size_t>(horizontal_.size);
    auto map = at::empty({vertical_.size, horizontal_.size}, at::kDouble);
    auto* value = map.data_ptr<double>();
    std::vector<int64_t> inside(width);
    for (int64_t y = 0; y < vertical_.size; ++y) {
      std::fill(inside.begin(), inside.end(), 0);
      for (int64_t s = 0; s < vertical_.samples; ++s) {
        count(rows_[static_cast<size_t>(y * vertical_.samples + s)], inside);
      }
      for (const auto n : inside) {
        *value++ = static_cast<double>(n) /
                   static_cast<double>(vertical_.samples * horizontal_.samples);
      }
    }
    return map;
  }

 private:
  using Span = std::pair<int64_t, int64_t>;  // [first, second)

  /// Where the line from `a` down to `b` is at the height `y`. No step
  /// overflows.
  static double crossing(Position a, Position b, double y) {
    const double part = (y - a.y) / (b.y - a.y);
    return (1 - part) * a.x + part * b.x;
  }

  void add(size_t row, int64_t from, int64_t to) {
    if (from < to) {
      rows_[row].emplace_back(from, to);
    }
  }

  /// Adds the samples of a row, each once, to those of the positions.
  void count(std::vector<Span>& spans, std::vector<int64_t>& inside) const {
    std::sort(spans.begin(), spans.end());
    int64_t done = 0;
    for (const auto& span : spans) {
      for (auto at = std::max(done, span.first); at < span.second;) {
        const auto position = at / horizontal_.samples;
        const auto end =
            std::min(span.second, (position + 1) * horizontal_.samples);
        inside[static_cast<size_t>(position)] += end - at;
        at = end;
      }
      done = std::max(done, span.second);
    }
  }

  Axis vertical_;
  Axis horizontal_;
  std::vector<std::vector<Span>> rows_;
};

}  // namespace cyborg::human::detail
