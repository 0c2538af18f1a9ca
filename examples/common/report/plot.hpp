// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "chart.hpp"
#include "plot_options.hpp"

#include <cyborg/io/text.hpp>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

// Charts as SVG text: a line chart, and dots with error bars. SVG needs no
// library to draw and stays sharp at any size.
//
// Colours are CSS variables (--series-0 ... --series-7, --ink, --grid) with
// default values. A page sets them for light and dark; a chart that is opened
// alone has the default values.

namespace programs::report {

/// One line of a line chart.
struct LineSeries {
  std::string name;       ///< shown in the legend
  std::vector<double> x;  ///< same length as y
  std::vector<double> y;  ///< NaN leaves a gap
  int colour = -1;  ///< one of eight, 0 to 7; -1: by its place in the chart
};

/// One row of dots, one dot a category.
struct DotSeries {
  std::string name;           ///< shown in the legend
  std::vector<double> value;  ///< one per category; NaN leaves the dot out
  std::vector<double> error;  ///< half length of the bar; empty: no bars
  int colour = -1;  ///< one of eight, 0 to 7; -1: by its place in the chart
};

/// Lines over a common horizontal axis, as an `<svg>` element.
///
/// Range: points that are NaN or infinite (or not above 0 on a logarithmic
///        axis) leave a gap; without any point the axes are drawn alone.
/// Throws: `c10::ValueError` for x and y of different lengths and for a chart
///         that is too small to read.
/// Example:
///   auto svg = programs::report::line_chart(
///       {{"loss", {0, 1, 2}, {0.7, 0.4, 0.2}}},
///       programs::report::PlotOptions().x_label("step"));
inline std::string line_chart(
    const std::vector<LineSeries>& series, const PlotOptions& options = {}) {
  constexpr const char* kName = "programs::report::line_chart";
  detail::check_size(kName, options);
  std::vector<std::string> names;
  std::vector<std::string> colours;
  std::vector<double> all_x;
  std::vector<double> all_y;
  for (const auto& one : series) {
    TORCH_CHECK_VALUE(
        one.x.size() == one.y.size(), kName,
        ": expected x and y of one length in '", one.name, "', got ",
        one.x.size(), " and ", one.y.size());
    names.push_back(one.name);
    colours.push_back(detail::series_colour(one.colour, colours.size()));
    all_x.insert(all_x.end(), one.x.begin(), one.x.end());
    all_y.insert(all_y.end(), one.y.begin(), one.y.end());
  }
  const auto [legend, legend_height] =
      detail::legend(names, colours, options.width());
  const double top = legend_height + (options.y_label().empty() ? 8 : 26);
  const double bottom = top + options.height();
  const auto x = detail::make_axis(
      all_x, PlotOptions(), /*logarithmic=*/false, 52, options.width() - 12);
  const auto y =
      detail::make_axis(all_y, options, options.logarithmic(), bottom, top);

  std::string body = legend;
  body += detail::text(0, top - 10, "start", options.y_label());
  const auto rows = detail::axis_ticks(y, options.height() / 45);
  for (const double value : rows) {
    const double step =
        y.logarithmic || rows.size() < 2 ? value : rows[1] - rows[0];
    body +=
        detail::line(
            x.first, y(value), x.last, y(value), detail::grid_colour()) +
        detail::text(
            x.first - 8, y(value) + 4, "end", detail::tick_text(value, step));
  }
  const auto columns = detail::axis_ticks(x, options.width() / 90);
  for (const double value : columns) {
    const double step = columns.size() < 2 ? value : columns[1] - columns[0];
    body += detail::text(
        x(value), bottom + 18, "middle", detail::tick_text(value, step));
  }
  body += detail::text(x.last, bottom + 38, "end", options.x_label());

  for (size_t i = 0; i < series.size(); ++i) {
    const auto& one = series[i];
    std::string path;
    bool pen_down = false;
    for (size_t k = 0; k < one.x.size(); ++k) {
      if (!x.shows(one.x[k]) || !y.shows(one.y[k])) {
        pen_down = false;
        continue;
      }
      const double height =  // what lies outside a given range stays inside
          std::clamp(y(one.y[k]), top, bottom);
      path += (pen_down ? "L" : "M") + detail::at_pixel(x(one.x[k])) + " " +
              detail::at_pixel(height);
      pen_down = true;
    }
    body += "<path d='" + path +
            "' style='fill:none;stroke-width:2;stroke:" + colours[i] +
            "'><title>" + cyborg::io::escape(one.name) + "</title></path>";
  }
  return detail::svg(options, bottom + 46, body);
}

/// Dots with error bars as an `<svg>` element: a group of lines for each
/// category, and in it a line for each series. Values grow to the right.
///
/// Range: a NaN value is not drawn, and neither is a NaN error; a bar that
///        leaves the range ends at its edge.
/// Throws: `c10::ValueError` for a series whose values do not match the
///         categories and for a chart that is too small to read.
/// Example:
///   auto svg = programs::report::dot_plot(
///       {"stripes", "noise"}, {{"guided", {0.99, 0.98}, {0.01, 0.01}}});
inline std::string dot_plot(
    const std::vector<std::string>& categories,
    const std::vector<DotSeries>& series, const PlotOptions& options = {}) {
  constexpr const char* kName = "programs::report::dot_plot";
  detail::check_size(kName, options);
  std::vector<std::string> names;
  std::vector<std::string> colours;
  std::vector<double> all;
  for (const auto& one : series) {
    TORCH_CHECK_VALUE(
        one.value.size() == categories.size() &&
            (one.error.empty() || one.error.size() == categories.size()),
        kName, ": expected ", categories.size(),
        " values and as many errors or none in '", one.name, "', got ",
        one.value.size(), " and ", one.error.size());
    names.push_back(one.name);
    colours.push_back(detail::series_colour(one.colour, colours.size()));
    for (size_t i = 0; i < one.value.size(); ++i) {
      const double error =
          one.error.empty() || !std::isfinite(one.error[i]) ? 0 : one.error[i];
      all.push_back(one.value[i] - error);
      all.push_back(one.value[i] + error);
    }
  }
  size_t longest = 0;
  for (const auto& category : categories) {
    longest = std::max(longest, category.size());
  }
  const auto [legend, legend_height] =
      detail::legend(names, colours, options.width());
  constexpr double kLine = 11;  // pixels from one series to the next
  const double group = kLine * static_cast<double>(series.size()) + 14;
  const double top = legend_height + 8;
  const double bottom = top + group * static_cast<double>(categories.size());
  const double left = 12 + 7.2 * static_cast<double>(longest);
  const auto x = detail::make_axis(
      all, options, /*logarithmic=*/false, left, options.width() - 14);

  std::string body = legend;
  const auto columns = detail::axis_ticks(x, (x.last - x.first) / 60);
  for (const double value : columns) {
    const double step = columns.size() < 2 ? value : columns[1] - columns[0];
    body +=
        detail::line(x(value), top, x(value), bottom, detail::grid_colour()) +
        detail::text(
            x(value), bottom + 18, "middle", detail::tick_text(value, step));
  }
  body += detail::text(x.last, bottom + 38, "end", options.x_label());
  for (size_t c = 0; c < categories.size(); ++c) {
    const double begin = top + group * static_cast<double>(c);
    body +=
        detail::text(left - 10, begin + group / 2 + 4, "end", categories[c]) +
        detail::line(0, begin, x.last, begin, detail::grid_colour());
    for (size_t i = 0; i < series.size(); ++i) {
      const double value = series[i].value[c];
      if (!x.shows(value)) {
        continue;
      }
      const auto& colour = colours[i];
      const double y = begin + 7 + kLine * (static_cast<double>(i) + 0.5);
      const auto inside = [&](double v) {
        return std::clamp(x(v), x.first, x.last);
      };
      std::string label = categories[c] + ", " + series[i].name + ": " +
                          cyborg::io::number(value, 4);
      body += "<g>";
      if (!series[i].error.empty() && std::isfinite(series[i].error[c])) {
        const double error = series[i].error[c];
        label += " ± " + cyborg::io::number(error, 4);
        body += detail::line(
            inside(value - error), y, inside(value + error), y, colour, 2);
      }
      body += "<circle cx='" + detail::at_pixel(inside(value)) + "' cy='" +
              detail::at_pixel(y) + "' r='4' style='fill:" + colour +
              "'/><title>" + cyborg::io::escape(label) + "</title></g>";
    }
  }
  return detail::svg(options, bottom + 46, body);
}

}  // namespace programs::report
