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
      : vertical_(picture[0], map[0]), horizontal_(picture[1], map[1]) {}

  /// Adds the inside of a closed polygon, by the even-odd rule. An edge at the
  /// left or at the top is inside, one at the right or at the bottom is not.
  void add_polygon(const std::vector<Position>& corners) {
    std::vector<Edge> edges;
    edges.reserve(corners.size());
    for (size_t i = 0; i < corners.size(); ++i) {
      auto a = corners[i];
      auto b = corners[(i + 1) % corners.size()];
      if (a.y > b.y) {
        std::swap(a, b);
      }
      const Edge edge{
          a, b, vertical_.first_from(a.y), vertical_.first_from(b.y)};
      if (edge.begin < edge.end) {
        edges.push_back(edge);
      }
    }
    std::sort(edges.begin(), edges.end(), [](const Edge& e, const Edge& f) {
      return e.begin < f.begin;
    });
    std::vector<Edge> active;       // those that cross the row
    std::vector<double> crossings;  // where
    auto next = edges.cbegin();
    for (int64_t row = 0; next != edges.cend() || !active.empty(); ++row) {
      if (active.empty()) {
        row = next->begin;
      }
      for (; next != edges.cend() && next->begin == row; ++next) {
        active.push_back(*next);
      }
      crossings.clear();
      for (const auto& edge : active) {
        crossings.push_back(crossing(edge.a, edge.b, vertical_.at(row)));
      }
      std::sort(crossings.begin(), crossings.end());
      // A closed line crosses each row an even number of times.
      for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
        add(row, horizontal_.first_from(crossings[i]),
            horizontal_.first_from(crossings[i + 1]));
      }
      active.erase(
          std::remove_if(
              active.begin(), active.end(),
              [&](const Edge& edge) { return edge.end == row + 1; }),
          active.end());
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
        add(row, horizontal_.first_from(low), horizontal_.first_after(high));
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
    std::sort(spans_.begin(), spans_.end());
    auto span = spans_.cbegin();
    for (int64_t y = 0; y < vertical_.size; ++y) {
      for (int64_t s = 0; s < vertical_.samples; ++s) {
        span = count(span, y * vertical_.samples + s, counts);
      }
      counts.take([&](size_t x, int64_t n) {
        value[x] = share[static_cast<size_t>(n)];
      });
      value += horizontal_.size;
    }
    return map;
  }

 private:
  /// An edge that does not lie flat, from `a` down to `b`, and the rows
  /// [begin, end) of samples that it crosses.
  struct Edge {
    Position a, b;
    int64_t begin, end;
  };

  /// The samples [from, to) of a row of samples.
  struct Span {
    int64_t row, from, to;

    bool operator<(const Span& other) const {
      return row != other.row ? row < other.row : from < other.from;
    }
  };

  /// Where the line from `a` down to `b` is at the height `y`. No step
  /// overflows.
  static double crossing(Position a, Position b, double y) {
    const double part = (y - a.y) / (b.y - a.y);
    return (1 - part) * a.x + part * b.x;
  }

  void add(int64_t row, int64_t from, int64_t to) {
    if (from < to) {
      spans_.push_back({row, from, to});
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

  /// Counts the samples of a row, each once. Its spans begin at `span`; returns
  /// the first one after them.
  std::vector<Span>::const_iterator count(
      std::vector<Span>::const_iterator span, int64_t row,
      Counts& counts) const {
    const auto samples = horizontal_.samples;
    int64_t done = 0;
    for (; span != spans_.cend() && span->row == row; ++span) {
      const auto from = std::max(done, span->from);
      if (from >= span->to) {
        continue;
      }
      done = span->to;
      const auto first = from / samples;
      const auto last = (span->to - 1) / samples;
      const auto at = [](std::vector<int64_t>& list, int64_t i) -> int64_t& {
        return list[static_cast<size_t>(i)];
      };
      counts.begin = std::min(counts.begin, static_cast<size_t>(first));
      counts.end = std::max(counts.end, static_cast<size_t>(last) + 1);
      if (first == last) {
        at(counts.partly, first) += span->to - from;
        continue;
      }
      at(counts.partly, first) += (first + 1) * samples - from;
      at(counts.partly, last) += span->to - last * samples;
      at(counts.change, first + 1) += samples;
      at(counts.change, last) -= samples;
    }
    return span;
  }

  Axis vertical_;
  Axis horizontal_;
  std::vector<Span> spans_;
};

}  // namespace cyborg::human::detail
