// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "plot_options.hpp"

#include <cyborg/io/text.hpp>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

// What the charts of plot.hpp are made of: axes, ticks, a legend, the frame.
// Programs use plot.hpp.

namespace programs::report::detail {

// Blue, orange, green, pink, sky, brown, violet, grey: distinct for the
// colour-blind (after Okabe and Ito, 2008), and readable on white.
inline std::string series_colour(int chosen, size_t place) {
  static constexpr const char* kFallback[] = {"#0067b1", "#c65a00", "#00805e",
                                              "#b5428a", "#2b95cf", "#8a6d00",
                                              "#6b54c4", "#6f7378"};
  const size_t slot = (chosen >= 0 ? static_cast<size_t>(chosen) : place) % 8;
  return "var(--series-" + std::to_string(slot) + "," + kFallback[slot] + ")";
}

// A coordinate, to a tenth of a pixel: more digits would double the file and
// change nothing that one sees.
inline std::string at_pixel(double value) {
  return cyborg::io::number(value, 1);
}

// A range of values and the range of pixels that it is drawn on. A first pixel
// above the last one turns the axis round.
struct Axis {
  double low, high, first, last;
  bool logarithmic;

  double operator()(double value) const {
    const double a = logarithmic ? std::log10(low) : low;
    const double b = logarithmic ? std::log10(high) : high;
    const double v = logarithmic ? std::log10(value) : value;
    return first + (v - a) / (b - a) * (last - first);
  }
  bool shows(double value) const {
    return std::isfinite(value) && (!logarithmic || value > 0);
  }
};

// Round values between `low` and `high`, about `most` at most: multiples of 1,
// 2 or 5 times a power of ten.
inline std::vector<double> ticks(double low, double high, double most) {
  const double rough = (high - low) / most;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> out;
  const double begin = std::ceil(low / step - 1e-6);
  for (int i = 0; i < 100; ++i) {
    const double value = (begin + i) * step;
    if (value > high + 1e-6 * step) {
      break;
    }
    out.push_back(value);
  }
  return out;
}

// A tick's value, with enough decimals that its neighbour has another text.
inline std::string tick_text(double value, double step) {
  const double digits = std::ceil(-std::log10(step) - 1e-6);
  return cyborg::io::number(
      value, static_cast<int>(std::clamp(digits, 0.0, 10.0)));
}

// The axis that shows all values. The limits of `options` replace those of the
// values.
inline Axis make_axis(
    std::vector<double> values, const PlotOptions& options, bool logarithmic,
    double first, double last) {
  Axis axis{0, 1, first, last, logarithmic};
  values.erase(
      std::remove_if(
          values.begin(), values.end(),
          [&](double v) { return !axis.shows(v); }),
      values.end());
  if (values.empty()) {
    axis.low = logarithmic ? 0.1 : 0;  // an empty chart still has its axes
  } else {
    axis.low = *std::min_element(values.begin(), values.end());
    axis.high = *std::max_element(values.begin(), values.end());
  }
  if (axis.shows(options.low())) {
    axis.low = options.low();
  }
  if (axis.shows(options.high())) {
    axis.high = options.high();
  }
  if (!(axis.high > axis.low)) {  // a single value gets room around it
    const double room = axis.low == 0 ? 1 : std::abs(axis.low) * 0.5;
    axis.high = axis.low + room;
    axis.low = logarithmic ? axis.low / 2 : axis.low - room;
  }
  return axis;
}

// The ticks of an axis: about `most` round values, or powers of ten where it is
// logarithmic.
inline std::vector<double> axis_ticks(const Axis& axis, double most) {
  if (!axis.logarithmic) {
    return ticks(axis.low, axis.high, most);
  }
  std::vector<double> out;
  for (double e = std::ceil(std::log10(axis.low) - 1e-9);
       e <= std::log10(axis.high) + 1e-9; ++e) {
    out.push_back(std::pow(10.0, e));
  }
  return out.empty() ? std::vector<double>{axis.low, axis.high} : out;
}

inline std::string line(
    double x1, double y1, double x2, double y2, const std::string& colour,
    double width = 1) {
  return "<line x1='" + at_pixel(x1) + "' y1='" + at_pixel(y1) + "' x2='" +
         at_pixel(x2) + "' y2='" + at_pixel(y2) + "' style='stroke:" + colour +
         ";stroke-width:" + at_pixel(width) + "'/>";
}

inline std::string text(
    double x, double y, const std::string& anchor, const std::string& words) {
  return "<text x='" + at_pixel(x) + "' y='" + at_pixel(y) + "' text-anchor='" +
         anchor + "'>" + cyborg::io::escape(words) + "</text>";
}

// The names with their colours, in lines no longer than `limit` pixels: the
// drawing and its height.
inline std::pair<std::string, double> legend(
    const std::vector<std::string>& names,
    const std::vector<std::string>& colours, double limit) {
  std::string out;
  double x = 0;
  double y = 14;
  for (size_t i = 0; i < names.size(); ++i) {
    const double width = 30 + 7.6 * static_cast<double>(names[i].size());
    if (x > 0 && x + width > limit) {
      x = 0;
      y += 20;
    }
    out += "<circle cx='" + at_pixel(x + 7) + "' cy='" + at_pixel(y - 4) +
           "' r='5' style='fill:" + colours[i] + "'/>" +
           text(x + 17, y, "start", names[i]);
    x += width;
  }
  return {out, names.empty() ? 0 : y + 10};
}

// The whole drawing.
inline std::string svg(
    const PlotOptions& options, double height, const std::string& body) {
  const auto size = at_pixel(options.width()) + "' height='" + at_pixel(height);
  return "<svg xmlns='http://www.w3.org/2000/svg' role='img' width='" + size +
         "' viewBox='0 0 " + at_pixel(options.width()) + " " +
         at_pixel(height) +
         "' style='font:13px system-ui,sans-serif;fill:var(--ink,#1d2126)'>" +
         "<title>" + cyborg::io::escape(options.description()) + "</title>" +
         body + "</svg>";
}

inline const char* grid_colour() {
  return "var(--grid,#d9dde2)";
}

inline void check_size(const char* function, const PlotOptions& options) {
  TORCH_CHECK_VALUE(
      options.width() >= 200 && options.height() >= 50, function,
      ": expected a width of 200 or more and a height of 50 or more, got ",
      options.width(), " and ", options.height());
}

}  // namespace programs::report::detail
