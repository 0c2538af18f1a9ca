// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/detail/torch/tensor.hpp>

#include <ATen/ops/zeros.h>

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
    std::vector<std::pair<int64_t, double>> crossings;  // row and x
    for (size_t i = 0; i < corners.size(); ++i) {
      auto a = corners[i];
      auto b = corners[(i + 1) % corners.size()];
      if (a.y > b.y) {
        std::swap(a, b);
      }
      const auto end = vertical_.first_from(b.y);
      for (auto row = vertical_.first_from(a.y); row < end; ++row) {
        crossings.emplace_back(row, crossing(a, b, vertical_.at(row)));
      }
    }
    std::sort(crossings.begin(), crossings.end());
    // A closed line crosses each row an even number of times.
    for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
      add(static_cast<size_t>(crossings[i].first),
          horizontal_.first_from(crossings[i].second),
          horizontal_.first_from(crossings[i + 1].second));
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

  /// The share of each position that is inside: [H, W] float32 in [0, 1].
  torch::Tensor shares() {
    const auto most = vertical_.samples * horizontal_.samples;
    std::vector<float> share(static_cast<size_t>(most) + 1);
    for (size_t n = 0; n < share.size(); ++n) {
      share[n] = static_cast<float>(
          static_cast<double>(n) / static_cast<double>(most));
    }
    auto map = at::zeros({vertical_.size, horizontal_.size}, at::kFloat);
    auto* value = map.data_ptr<float>();
    Counts counts(static_cast<size_t>(horizontal_.size));
    for (int64_t y = 0; y < vertical_.size; ++y) {
      for (int64_t s = 0; s < vertical_.samples; ++s) {
        count(rows_[static_cast<size_t>(y * vertical_.samples + s)], counts);
      }
      counts.take([&](size_t x, int64_t n) {
        value[x] = share[static_cast<size_t>(n)];
      });
      value += horizontal_.size;
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

  /// How many samples of each position of a row of the map are inside.
  struct Counts {
    std::vector<int64_t> partly;  ///< of positions at the end of a span
    std::vector<int64_t> change;  ///< of what whole positions have, to the left

    size_t begin;  ///< the first position that has any
    size_t end = 0;

    explicit Counts(size_t width)
        : partly(width), change(width + 1), begin(width) {}

    /// Calls `use(position, count)` from the first to the last position that
    /// has any, and begins anew.
    template <class Use>
    void take(const Use& use) {
      int64_t whole = 0;
      for (size_t x = begin; x < end; ++x) {
        whole += change[x];
        use(x, whole + partly[x]);
        change[x] = partly[x] = 0;
      }
      if (begin < end) {
        change[end] = 0;
      }
      begin = partly.size();
      end = 0;
    }
  };

  /// Counts the samples of a row, each once.
  void count(std::vector<Span>& spans, Counts& counts) const {
    std::sort(spans.begin(), spans.end());
    const auto samples = horizontal_.samples;
    int64_t done = 0;
    for (const auto& span : spans) {
      const auto from = std::max(done, span.first);
      if (from >= span.second) {
        continue;
      }
      done = span.second;
      const auto first = from / samples;
      const auto last = (span.second - 1) / samples;
      const auto at = [](std::vector<int64_t>& list, int64_t i) -> int64_t& {
        return list[static_cast<size_t>(i)];
      };
      counts.begin = std::min(counts.begin, static_cast<size_t>(first));
      counts.end = std::max(counts.end, static_cast<size_t>(last) + 1);
      if (first == last) {
        at(counts.partly, first) += span.second - from;
        continue;
      }
      at(counts.partly, first) += (first + 1) * samples - from;
      at(counts.partly, last) += span.second - last * samples;
      at(counts.change, first + 1) += samples;
      at(counts.change, last) -= samples;
    }
  }

  Axis vertical_;
  Axis horizontal_;
  std::vector<std::vector<Span>> rows_;
};

}  // namespace cyborg::human::detail
