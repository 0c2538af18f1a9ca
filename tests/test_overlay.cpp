// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/report/overlay.hpp>

#include <cmath>
#include <utility>

using cyborg::report::colorize;
using cyborg::report::Colormap;
using cyborg::report::overlay;
using cyborg::report::OverlayOptions;
using support::close;
using support::error_of;
using support::t;

namespace {

// The colour of one number.
torch::Tensor colour(double value, Colormap colormap) {
  return colorize(t({value}, {1, 1}), colormap).flatten();
}

double lightness(const torch::Tensor& rgb) {
  return (rgb[0] * 0.2126 + rgb[1] * 0.7152 + rgb[2] * 0.0722).item<double>();
}

}  // namespace

TEST_CASE("The first and the last colour are the published ones", "[report]") {
  const double n = 255;
  CHECK(close(
      colour(0, Colormap::kViridis), t({0x44 / n, 0x01 / n, 0x54 / n}), 1e-6));
  CHECK(close(
      colour(1, Colormap::kViridis), t({0xfd / n, 0xe7 / n, 0x25 / n}), 1e-6));
  CHECK(close(
      colour(.5, Colormap::kViridis), t({0x21 / n, 0x91 / n, 0x8c / n}), 1e-6));
  CHECK(close(
      colour(0, Colormap::kTurbo), t({0x30 / n, 0x12 / n, 0x3b / n}), 1e-6));
  CHECK(close(
      colour(1, Colormap::kTurbo), t({0x7a / n, 0x04 / n, 0x02 / n}), 1e-6));
  CHECK(close(colour(.25, Colormap::kGrey), t({.25, .25, .25}), 1e-6));
}

TEST_CASE("Jet is the piecewise linear rainbow", "[report]") {
  for (int i = 0; i <= 64; ++i) {
    const double x = i / 64.0;
    const auto ramp = [&](double centre) {
      return std::min(1.0, std::max(0.0, 1.5 - std::abs(4 * x - centre)));
    };
    // Up to one step of 8 bits, because the anchors are bytes.
    CHECK(close(
        colour(x, Colormap::kJet), t({ramp(3), ramp(2), ramp(1)}), 1 / 255.0));
  }
}

TEST_CASE("Viridis always becomes lighter", "[report]") {
  double last = -1;
  for (int i = 0; i <= 100; ++i) {
    const double now = lightness(colour(i / 100.0, Colormap::kViridis));
    CHECK(now > last);
    last = now;
  }
}

TEST_CASE("Numbers outside of [0, 1] have the colours of 0 and 1", "[report]") {
  for (const auto map : {Colormap::kViridis, Colormap::kJet}) {
    CHECK(close(colour(-3, map), colour(0, map)));
    CHECK(close(colour(HUGE_VAL, map), colour(1, map)));
  }
  CHECK(close(colour(std::nan(""), Colormap::kJet), t({.5, .5, .5}), 1e-7));
}

TEST_CASE("A map becomes a picture, and a batch of maps a batch", "[report]") {
  const auto maps = torch::rand({5, 2, 3});
  const auto all = colorize(maps);
  CHECK(all.sizes() == at::IntArrayRef({5, 3, 2, 3}));
  CHECK(close(all[4], colorize(maps[4]), 1e-7));
  CHECK(colorize(maps[0]).is_contiguous());
  CHECK(colorize(torch::rand({0, 4})).sizes() == at::IntArrayRef({3, 0, 4}));
  CHECK(
      error_of([] { colorize(torch::rand({1, 1, 2, 2})); }) ==
      "cyborg::report::colorize: expected a map [H, W] or maps [B, H, W], got "
      "[1, 1, 2, 2]");
}

TEST_CASE("An overlay mixes the grey picture and the map", "[report]") {
  const auto image = t({0, 1, .5, .25}, {1, 2, 2}).to(torch::kFloat);
  const auto map = t({-3, 1, 5, 1}, {2, 2});  // normalised: 0, .5, 1, .5
  const auto expected =
      0.75 * image.expand({3, 2, 2}) +
      0.25 * colorize(t({0, .5, 1, .5}, {2, 2}), Colormap::kGrey);
  CHECK(close(
      overlay(
          image, map, OverlayOptions().opacity(0.25).colormap(Colormap::kGrey)),
      expected, 1e-6));
  CHECK(close(
      overlay(image, map, OverlayOptions().opacity(0)), image.expand({3, 2, 2}),
      1e-7));
}

TEST_CASE("An overlay shows an RGB picture in grey", "[report]") {
  const auto image = t({.25, .5, .75}, {3, 1, 1}).to(torch::kFloat);
  CHECK(close(
      overlay(image, t({1}, {1, 1}), OverlayOptions().opacity(0)),
      t({.5, .5, .5}, {3, 1, 1}), 1e-6));
}

TEST_CASE("A small map is enlarged, and keeps its place", "[report]") {
  const auto picture = overlay(
      torch::zeros({1, 8, 8}), t({1, 0, 0, 0}, {2, 2}),
      OverlayOptions().opacity(1).colormap(Colormap::kGrey));
  CHECK(picture.sizes() == at::IntArrayRef({3, 8, 8}));
  CHECK(picture[0][0][0].item<double>() == Approx(1));
  CHECK(picture[0][7][7].item<double>() == Approx(0).margin(1e-6));
}

TEST_CASE("A constant map gives finite colours", "[report]") {
  const auto image = torch::rand({1, 4, 4});
  const auto flat = overlay(image, torch::full({2, 2}, 7.0));
  CHECK(at::isfinite(flat).all().item<bool>());
}

TEST_CASE("The overlay of a missing map is the grey picture", "[report]") {
  const auto image = torch::rand({3, 6, 6});
  const auto grey = image.mean(0, true).expand({3, 6, 6});
  for (const auto normalizer :
       {cyborg::Normalizer::kNone, cyborg::Normalizer::kMinMax,
        cyborg::Normalizer::kMax, cyborg::Normalizer::kSum,
        cyborg::Normalizer::kSoftmax}) {
    for (const auto type : {torch::kFloat, torch::kDouble}) {
      CHECK(close(
          overlay(
              image, torch::full({2, 3}, std::nan(""), type),
              OverlayOptions().opacity(1).normalizer(normalizer)),
          grey, 1e-6));
    }
  }
}

TEST_CASE(
    "Pixels of a map that are not known have no colour, and change no other",
    "[report]") {
  const auto image = t({0, 1, .5, .25}, {1, 2, 2}).to(torch::kFloat);
  const double nan = std::nan("");
  const auto options = OverlayOptions().opacity(1).colormap(Colormap::kJet);
  // Of the three known values -3, 1 and 5, normalised: 0, .5, 1.
  const auto picture = overlay(image, t({-3, nan, 5, 1}, {2, 2}), options);
  const auto expected = colorize(t({0, 0, 1, .5}, {2, 2}), Colormap::kJet);
  for (const auto& [y, x] :
       {std::pair(0, 0), std::pair(1, 0), std::pair(1, 1)}) {
    CHECK(close(
        picture.select(1, y).select(1, x), expected.select(1, y).select(1, x),
        1e-6));
  }
  CHECK(close(picture.select(1, 0).select(1, 1), t({1, 1, 1}), 1e-6));
  // A distribution over the known values: 1 / 4 and 3 / 4.
  const auto sum = overlay(
      torch::zeros({1, 1, 3}), t({1, 3, nan}, {1, 3}),
      OverlayOptions()
          .opacity(1)
          .colormap(Colormap::kGrey)
          .normalizer(cyborg::Normalizer::kSum));
  CHECK(close(sum[0][0], t({.25, .75, 0}), 1e-6));
  // An enlarged map keeps its value up to the middle between two pixels.
  const auto large = overlay(
      torch::zeros({1, 1, 8}), t({0, 1, nan, nan}, {1, 4}),
      OverlayOptions().opacity(1).colormap(Colormap::kGrey));
  CHECK(close(large[0][0], t({0, .25, .75, 1, 0, 0, 0, 0}), 1e-6));
}

TEST_CASE("An overlay rejects invalid arguments", "[report]") {
  CHECK(
      error_of([] { overlay(torch::rand({2, 4, 4}), torch::rand({4, 4})); }) ==
      "cyborg::report::overlay: expected an image [1, H, W] or [3, H, W] and a "
      "map [h, w], got [2, 4, 4] and [4, 4]");
  CHECK(error_of([] {
          overlay(
              torch::rand({1, 4, 4}), torch::rand({4, 4}),
              OverlayOptions().opacity(1.5));
        }) == "cyborg::report::overlay: expected opacity in [0, 1], got 1.5");
  for (const double infinite : {HUGE_VAL, -HUGE_VAL}) {
    CHECK(
        error_of([&] {
          overlay(torch::rand({1, 4, 4}), t({0, 1, infinite, 2}, {2, 2}));
        }) ==
        "cyborg::report::overlay: expected a map of finite values, or NaN "
        "where nothing is known, got an infinite value");
  }
}
