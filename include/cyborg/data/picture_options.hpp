// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace cyborg::data {

/// How the values of a human map are read from its file. Bright means salient.
enum class MapValues {
  /// The grey value. A map of colours is an error, because the brightness of
  /// the usual colour scales does not rise with the value: the peak of "jet" is
  /// dark. So is a map of one colour everywhere whose alpha channel differs.
  kGrey,
  /// As `kGrey`, but colour becomes grey as in pictures (ITU-R BT.601).
  kLuminance,
  /// The alpha channel: opaque means salient. A map without it is an error.
  kAlpha,
};

/// Which files are turned as their EXIF orientation says: cameras store the
/// picture as the sensor has it, and a tag that says how it was held.
enum class Orientation {
  kIgnore,   ///< none: all are used as they are stored
  kPicture,  ///< the pictures: for maps that were drawn on the turned picture
  kBoth,     ///< pictures and maps, each by its own tag
};

/// How the maps of several annotators become one.
enum class Combine {
  kMean,       ///< `human::mean_of`
  kUnion,      ///< `human::union_of`
  kAgreement,  ///< `human::agreement_weighted_of`
  kBox,        ///< `human::box_of_interest`
};

}  // namespace cyborg::data
