// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <c10/util/Exception.h>

#include <cmath>

namespace cyborg::human {

/// How wide the Gaussian is that stands for a click or a fixation.
///
/// Publications give this number in three ways, and the difference is large: a
/// full width at half maximum of 25 pixels is a standard deviation of 10.6.
/// Each way has a maker of its own, so that none is taken for another.
/// Example:
///     auto width = GaussianWidth::full_width_at_half_maximum(25);
///     width.sigma();  // 10.616
class GaussianWidth {
 public:
  /// The standard deviation, in pixels of the picture: at this distance from
  /// its centre the Gaussian is exp(-1/2) = 0.607.
  ///
  /// Range: 0 (no Gaussian: the pixel of the point alone), or 0.01 to 1e6.
  /// Throws: `c10::ValueError` for another number.
  static GaussianWidth standard_deviation(double pixels) {
    return {pixels, "standard_deviation", "pixels", pixels};
  }

  /// The full width at half maximum, in pixels of the picture: at half this
  /// distance from its centre the Gaussian is 1/2.
  ///
  ///     sigma = width / (2 sqrt(2 ln 2)) = width / 2.3548
  ///
  /// Range, Throws: as `standard_deviation`, of sigma.
  static GaussianWidth full_width_at_half_maximum(double pixels) {
    return {
        pixels / (2 * std::sqrt(2 * std::log(2.0))),
        "full_width_at_half_maximum", "pixels", pixels};
  }

  /// A visual angle, which is the standard deviation as the eye sees it.
  ///
  ///     sigma = 2 distance tan(degrees / 2) pixels_per_cm
  ///
  /// `distance`: from the eye to the screen, in cm. `pixels_per_cm`: pixels of
  /// the picture on one cm of the screen; if the picture was shown enlarged,
  /// this is not the number of the screen's pixels.
  /// Range: degrees in [0, 180); distance and pixels_per_cm > 0.
  /// Throws: `c10::ValueError` for other numbers.
  /// Example:
  ///     // One degree, 57 cm away, on a screen with 38 pixels a cm: 37.8
  ///     auto width = GaussianWidth::visual_angle(1, 57, 38);
  static GaussianWidth visual_angle(
      double degrees, double distance, double pixels_per_cm) {
    TORCH_CHECK_VALUE(
        degrees >= 0 && degrees < 180 && distance > 0 && pixels_per_cm > 0,
        "cyborg::human::GaussianWidth::visual_angle: expected degrees in "
        "[0, 180), distance > 0 and pixels_per_cm > 0, got ",
        degrees, ", ", distance, " and ", pixels_per_cm);
    return {
        2 * distance * std::tan(degrees / 360 * std::acos(-1.0)) *
            pixels_per_cm,
        "visual_angle", "degrees", degrees};
  }

  /// The standard deviation in pixels of the picture.
  double sigma() const noexcept { return sigma_; }

 private:
  GaussianWidth(double sigma, const char* maker, const char* unit, double given)
      : sigma_(sigma) {
    TORCH_CHECK_VALUE(
        sigma == 0 || (sigma >= 0.01 && sigma <= 1e6),
        "cyborg::human::GaussianWidth::", maker,
        ": expected a standard deviation of 0, or of 0.01 to 1e6 pixels, got ",
        sigma, " (", given, " ", unit, ")");
  }

  double sigma_;
};

}  // namespace cyborg::human
