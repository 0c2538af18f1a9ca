// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <torch/arg.h>

#include <limits>
#include <string>

namespace programs::report {

/// Options of `line_chart` and `dot_plot`.
///
/// Example:
///     auto svg = programs::report::line_chart(
///         lines, programs::report::PlotOptions().width(350).x_label("step"));
struct PlotOptions {
  /// Width in CSS pixels, 200 or more. Text keeps its size: for a narrow page,
  /// draw a narrow chart instead of shrinking a wide one. Default 720.
  TORCH_ARG(double, width) = 720;
  /// Height of a line chart's plotting area in CSS pixels, 50 or more. The
  /// height of a dot plot depends on its categories. Default 280.
  TORCH_ARG(double, height) = 280;
  /// Text under the horizontal axis. Default: none.
  TORCH_ARG(std::string, x_label) = "";
  /// Text above the vertical axis of a line chart. Default: none.
  TORCH_ARG(std::string, y_label) = "";
  /// Lowest value of the value axis. Default NaN: the lowest of the data.
  TORCH_ARG(double, low) = std::numeric_limits<double>::quiet_NaN();
  /// Highest value of the value axis. Default NaN: the highest of the data.
  TORCH_ARG(double, high) = std::numeric_limits<double>::quiet_NaN();
  /// Whether a line chart's value axis is logarithmic; values that are not
  /// above 0 then leave a gap. Default false.
  TORCH_ARG(bool, logarithmic) = false;
  /// What the chart shows, in words, for people who cannot see it.
  TORCH_ARG(std::string, description) = "";

 public:
};

}  // namespace programs::report
