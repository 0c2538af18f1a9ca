// SPDX-License-Identifier: BSD-3-Clause
// Maps of what people mark, against numbers worked out by hand and against
// SciPy, scikit-image and pycocotools (tests/golden/rasterize.py).
#include "catch.hpp"
#include "support.hpp"

#include <cyborg/human/draw.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/human/published.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

namespace human = cyborg::human;
using human::DrawOptions;
using human::GaussianWidth;
using nlohmann::json;
using support::close;
using support::contains;
using support::error_of;
using support::t;
using torch::Tensor;

namespace {

const json& golden() {
  static const json all = [] {
    std::ifstream file(std::string(CYBORG_TEST_DIR) + "/golden/rasterize.json");
    return json::parse(file);
  }();
  return all;
}

std::vector<int64_t> numbers(const json& values) {
  return values.get<std::vector<int64_t>>();
}

Tensor tensor_of(const json& values, std::vector<int64_t> shape) {
  return torch::tensor(values.get<std::vector<double>>(), torch::kDouble)
      .reshape(shape);
}

/// Rows of numbers: [[x, y], ...].
Tensor rows_of(const json& rows) {
  std::vector<double> values;
  for (const auto& row : rows) {
    for (const auto& value : row) {
      values.push_back(value);
    }
  }
  return torch::tensor(values, torch::kDouble)
      .reshape({static_cast<int64_t>(rows.size()), -1});
}

Tensor of_runs(const json& runs, const std::vector<int64_t>& size) {
  return human::mask_of_runs(numbers(runs), size).to(torch::kFloat);
}

DrawOptions sum() {
  return DrawOptions().accumulate(human::Accumulate::kSum);
}

}  // namespace

TEST_CASE("Three ways to name a width give three numbers", "[human][draw]") {
  CHECK(GaussianWidth::standard_deviation(10).sigma() == 10);
  CHECK(
      std::abs(
          GaussianWidth::full_width_at_half_maximum(25).sigma() - 10.6165) <
      1e-4);
  // One degree from 57 cm away is 0.99485 cm.
  CHECK(
      std::abs(GaussianWidth::visual_angle(1, 57, 38).sigma() - 37.8044) <
      1e-3);
  CHECK(
      error_of([] { GaussianWidth::standard_deviation(-1); }) ==
      "cyborg::human::GaussianWidth::standard_deviation: expected a standard "
      "deviation of 0, or of 0.01 to 1e6 pixels, got -1 (-1 pixels)");
  CHECK_FALSE(error_of([] {
                GaussianWidth::standard_deviation(
                    std::numeric_limits<double>::quiet_NaN());
              }).empty());
  CHECK_FALSE(error_of([] {
                GaussianWidth::full_width_at_half_maximum(1e-300);
              }).empty());
  CHECK(
      error_of([] { GaussianWidth::visual_angle(180, 57, 38); }) ==
      "cyborg::human::GaussianWidth::visual_angle: expected degrees in [0, "
      "180), distance > 0 and pixels_per_cm > 0, got 180, 57 and 38");
}

TEST_CASE(
    "A full width at half maximum of 25 is one half at distance 12.5",
    "[human][draw]") {
  const auto width = GaussianWidth::full_width_at_half_maximum(25);
  // From the middle of pixel 0 to x = 13: 12.5 pixels.
  const auto map = human::draw_points(t({13, .5}, {1, 2}), {1, 40}, width);
  CHECK(map.sizes() == at::IntArrayRef({1, 40}));
  CHECK(map.scalar_type() == torch::kFloat);
  CHECK(std::abs(map[0][0].item<double>() - .5) < 1e-7);
  CHECK(std::abs(map[0][25].item<double>() - .5) < 1e-7);
}

TEST_CASE(
    "Gaussians are exact to the border and sum up as SciPy's do",
    "[human][draw]") {
  const auto& g = golden()["gaussian"];
  const auto size = numbers(g["size"]);
  const auto width = GaussianWidth::standard_deviation(g["sigma"]);
  const auto expected = tensor_of(g["map"], size);
  const auto points = rows_of(g["points"]);
  CHECK(close(human::draw_points(points, size, width), expected, 1e-6));
  // A batch is its pictures, one after the other.
  const auto both = human::draw_points(
      std::vector<Tensor>{points.narrow(0, 0, 0), points}, size, width);
  CHECK(both[0].abs().max().item<double>() == 0);
  CHECK(close(both[1], expected, 1e-6));
}

TEST_CASE(
    "A Gaussian that is narrower than a position is not lost in it",
    "[human][draw]") {
  const auto& g = golden()["coarse"];
  const auto size = numbers(g["size"]);
  const auto map = human::draw_points(
      rows_of(json::array({g["point"]})), numbers(g["picture"]),
      GaussianWidth::standard_deviation(g["sigma"]), DrawOptions().size(size));
  CHECK(close(map, tensor_of(g["map"], size), 1e-7));
}

TEST_CASE(
    "A map of another size shows the same part of the picture",
    "[human][draw]") {
  // Twice as wide and half as high: the same values where the middles meet.
  const auto width = GaussianWidth::standard_deviation(4);
  const auto points = t({10, 6, 1}, {1, 3});
  const auto map =
      human::draw_points(points, {12, 20}, width, DrawOptions().size({4, 60}));
  // Position (1, 31) has its middle at x = 31.5 / 3 = 10.5, y = 1.5 * 3 = 4.5.
  CHECK(
      std::abs(map[1][31].item<double>() - std::exp(-(.25 + 2.25) / (2 * 16))) <
      1e-7);
}

TEST_CASE("Points are summed, or the largest counts", "[human][draw]") {
  const auto width = GaussianWidth::standard_deviation(2);
  const auto points = t({2.5, .5, 3, 4.5, .5, 5}, {2, 3});
  const double near = std::exp(-4.0 / 8);  // two pixels away
  CHECK(
      std::abs(
          human::draw_points(points, {1, 8}, width)[0][2].item<double>() -
          (3 + 5 * near)) < 1e-6);
  const auto largest = human::draw_points(
      points, {1, 8}, width,
      DrawOptions().accumulate(human::Accumulate::kMaximum));
  CHECK(std::abs(largest[0][2].item<double>() - 5 * near) < 1e-6);
  CHECK(std::abs(largest[0][4].item<double>() - 5) < 1e-6);
}

TEST_CASE("A map is normalised only if that is asked for", "[human][draw]") {
  const auto width = GaussianWidth::standard_deviation(0);
  const auto points = t({.5, .5, 3, 2.5, .5, 1}, {2, 3});
  const auto drawn = [&](cyborg::Normalizer normalizer) {
    return human::draw_points(
        points, {1, 3}, width, DrawOptions().normalizer(normalizer));
  };
  CHECK(close(drawn(cyborg::Normalizer::kNone), t({3, 0, 1}, {1, 3})));
  CHECK(
      close(drawn(cyborg::Normalizer::kMax), t({1, 0, 1. / 3}, {1, 3}), 1e-7));
  CHECK(close(drawn(cyborg::Normalizer::kSum), t({.75, 0, .25}, {1, 3}), 1e-7));
}

TEST_CASE(
    "Width 0 counts the points of each position, the border included",
    "[human][draw]") {
  const auto map = human::draw_points(
      t({0, 0, .9, .9, 4, 2, 2, 1}, {4, 2}), {2, 4},
      GaussianWidth::standard_deviation(0));
  CHECK(close(map, t({2, 0, 0, 0, 0, 0, 1, 1}, {2, 4})));
}

TEST_CASE(
    "Points outside of the picture draw nothing, and neither do none",
    "[human][draw]") {
  const auto width = GaussianWidth::standard_deviation(5);
  const auto zero = torch::zeros({4, 6});
  for (const auto& points :
       {t({-.01, 2}, {1, 2}), t({2, 4.01}, {1, 2}), t({1e9, -1e9}, {1, 2}),
        torch::zeros({0, 2}), torch::zeros({0, 3}), t({3, 2, 0}, {1, 3})}) {
    CHECK(close(human::draw_points(points, {4, 6}, width), zero));
  }
}

TEST_CASE(
    "Points that are no numbers, or beyond all pictures, are refused",
    "[human][draw][error]") {
  const auto width = GaussianWidth::standard_deviation(5);
  const auto error = [&](const Tensor& points) {
    return error_of([&] { human::draw_points(points, {4, 6}, width); });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(
      error(t({1, 2, nan, 3}, {2, 2})) ==
      "cyborg::human::draw_points: expected finite numbers of at most 1e9, got "
      "nan in row 1 of the points");
  CHECK(contains(error(t({1e300, 2}, {1, 2})), "got 1e+300 in row 0"));
  CHECK(contains(error(t({-HUGE_VAL, 2}, {1, 2})), "got -inf in row 0"));
  CHECK(contains(error(t({1, 2, nan}, {1, 3})), "got nan in row 0"));
  CHECK(
      error(t({1, 2, -1}, {1, 3})) ==
      "cyborg::human::draw_points: expected weights >= 0, got -1");
  CHECK(
      error(t({1, 2, 3, 4}, {1, 4})) ==
      "cyborg::human::draw_points: expected points [N, 2], got [1, 4]");
  CHECK(contains(error(Tensor()), "expected points [N, 2], got []"));
  CHECK(contains(
      error_of([&] { human::draw_points(t({1, 2}, {1, 2}), {0, 6}, width); }),
      "expected sizes {H, W} from 1 to 1048576, got [0, 6] for the picture and "
      "[0, 6] for the map"));
  CHECK(contains(
      error_of(
          [&] { human::draw_points(std::vector<Tensor>(), {4, 6}, width); }),
      "expected the points of at least one picture, got none"));
}

TEST_CASE(
    "Polygons are those of scikit-image, and nearly those of pycocotools",
    "[human][draw]") {
  const auto& g = golden()["polygons"];
  const auto size = numbers(g["size"]);
  for (const auto& polygon : g["polygons"]) {
    const auto corners = rows_of(polygon["corners"]);
    const auto map = human::draw_polygons({corners}, size);
    CHECK(close(map, of_runs(polygon["runs"], size)));
    // pycocotools rounds corners to a fifth of a pixel: pixels differ only at
    // edges.
    const auto differs = map.ne(of_runs(polygon["coco"], size)).nonzero();
    for (int64_t i = 0; i < differs.size(0); ++i) {
      const double y = differs[i][0].item<double>() + .5;
      const double x = differs[i][1].item<double>() + .5;
      double nearest = HUGE_VAL;
      for (int64_t k = 0; k < corners.size(0); ++k) {
        const auto a = corners[k];
        const auto d = corners[(k + 1) % corners.size(0)] - a;
        const auto p = t({x, y}) - a;
        const double along =
            ((p * d).sum() / (d * d).sum()).clamp(0, 1).item<double>();
        nearest = std::min(nearest, (p - along * d).norm().item<double>());
      }
      CHECK(nearest < .3);
    }
    // A map of a third of the size has the shares.
    const auto shares = human::draw_polygons(
        {corners}, size, DrawOptions().size({size[0] / 3, size[1] / 3}));
    CHECK(close(
        shares, tensor_of(polygon["shares"], {size[0] / 3, size[1] / 3}),
        1e-6));
  }
}

TEST_CASE("Shapes that share an edge share no position", "[human][draw]") {
  const auto left = t({0, 0, 2.5, 0, 2.5, 3, 0, 3}, {4, 2});
  const auto right = t({2.5, 0, 5, 0, 5, 3, 2.5, 3}, {4, 2});
  const auto a = human::draw_polygons({left}, {3, 5});
  const auto b = human::draw_polygons({right}, {3, 5});
  CHECK(close(a + b, torch::ones({3, 5})));
  CHECK(close(a[0], t({1, 1, 0, 0, 0})));  // the middle of pixel 2 is the edge
  CHECK(
      close(human::draw_polygons({left, right}, {3, 5}), torch::ones({3, 5})));
}

TEST_CASE(
    "A corner or an edge on the middle of a row is counted once",
    "[human][draw]") {
  const auto upper = t({0, 0, 4, 0, 4, 1.5, 0, 1.5}, {4, 2});
  const auto lower = t({0, 1.5, 4, 1.5, 4, 3, 0, 3}, {4, 2});
  const auto a = human::draw_polygons({upper}, {3, 4});
  const auto b = human::draw_polygons({lower}, {3, 4});
  CHECK(close(a + b, torch::ones({3, 4})));
  CHECK(close(a[1], torch::zeros({4})));  // the edge at the bottom is outside
  // A diamond, whose corners at the left and at the right are on a middle.
  CHECK(close(
      human::draw_polygons(
          {t({0, 1.5, 2, -.5, 4, 1.5, 2, 3.5}, {4, 2})}, {3, 4}),
      t({0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0}, {3, 4})));
}

TEST_CASE(
    "A polygon that lies over itself is even-odd, several are a union or a sum",
    "[human][draw]") {
  // A star of five points crosses itself: its middle is outside.
  std::vector<double> star;
  for (int i = 0; i < 5; ++i) {
    const double angle = std::acos(-1.0) * (0.5 + 4 * i / 5.0);
    star.push_back(10 + 9 * std::cos(angle));
    star.push_back(10 - 9 * std::sin(angle));
  }
  const auto map = human::draw_polygons(
      {torch::tensor(star, torch::kDouble).reshape({5, 2})}, {20, 20});
  CHECK(map[10][10].item<double>() == 0);
  CHECK(map[3][10].item<double>() == 1);

  const auto boxes = t({0, 0, 3, 2, 1, 0, 4, 2}, {2, 4});
  CHECK(close(human::draw_boxes(boxes, {2, 4})[0], t({1, 1, 1, 1})));
  CHECK(close(human::draw_boxes(boxes, {2, 4}, sum())[0], t({1, 2, 2, 1})));
}

TEST_CASE(
    "Boxes are cut at the border, and have shares on smaller maps",
    "[human][draw]") {
  CHECK(close(
      human::draw_boxes(t({-1e9, 1, 2, 1e9}, {1, 4}), {3, 4}),
      t({0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0}, {3, 4})));
  // A map of 1 x 2 for 2 x 4 pixels: 3 of 8 pixels are inside at the left.
  CHECK(close(
      human::draw_boxes(
          t({1, 0, 3, 1}, {1, 4}), {2, 4}, DrawOptions().size({1, 2})),
      t({.25, .25}, {1, 2})));
  // A line covers no middle of a pixel, and what is outside is not drawn.
  CHECK(close(
      human::draw_boxes(t({1, 1, 1, 3, 9, 9, 11, 11}, {2, 4}), {4, 4}),
      torch::zeros({4, 4})));
  CHECK(close(
      human::draw_boxes(torch::zeros({0, 4}), {4, 4}), torch::zeros({4, 4})));
  CHECK(
      error_of([] { human::draw_boxes(t({5, 5, 2, 9}, {1, 4}), {9, 9}); }) ==
      "cyborg::human::draw_boxes: expected boxes x0, y0, x1, y1 with x0 <= x1 "
      "and y0 <= y1, got 5, 5, 2, 9 in row 0");
  CHECK(contains(
      error_of([] { human::draw_boxes(t({0, 0, 1e300, 2}, {1, 4}), {9, 9}); }),
      "expected finite numbers of at most 1e9, got 1e+300 in row 0 of the "
      "boxes"));
}

TEST_CASE(
    "A polygon needs three corners and finite numbers",
    "[human][draw][error]") {
  CHECK(
      error_of(
          [] { human::draw_polygons({t({0, 0, 5, 5}, {2, 2})}, {9, 9}); }) ==
      "cyborg::human::draw_polygons: expected a polygon of at least 3 corners, "
      "got 2");
  CHECK(contains(
      error_of([] {
        human::draw_polygons({t({0, 0, 5, 5, 1e300, 0}, {3, 2})}, {9, 9});
      }),
      "got 1e+300 in row 2 of the corners of a polygon"));
  // Far corners are no error, and take no longer.
  CHECK(close(
      human::draw_polygons(
          {t({-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9}, {4, 2})}, {9, 9}),
      torch::ones({9, 9})));
  CHECK(close(human::draw_polygons({}, {2, 2}), torch::zeros({2, 2})));
}

TEST_CASE(
    "Strokes have the width of their brush and round ends", "[human][draw]") {
  const auto& g = golden()["strokes"];
  const auto size = numbers(g["size"]);
  for (const auto& stroke : g["strokes"]) {
    CHECK(close(
        human::draw_strokes(
            {{rows_of(stroke["line"]), stroke["width"].get<double>()}}, size),
        of_runs(stroke["runs"], size)));
  }
}

TEST_CASE("A stroke of one point, or of no length, is a dot", "[human][draw]") {
  const auto dot = human::draw_strokes({{t({2.5, 2.5}, {1, 2}), 3}}, {5, 5});
  CHECK(dot.sum().item<double>() == 9);  // the corners are 1.41 away
  CHECK(close(
      human::draw_strokes({{t({2.5, 2.5, 2.5, 2.5}, {2, 2}), 3}}, {5, 5}),
      dot));
  CHECK(
      human::draw_strokes({{t({2.5, 2.5}, {1, 2}), 2}}, {5, 5})
          .sum()
          .item<double>() == 5);
  // The thinnest brush marks a row of pixels wherever it is.
  for (const double y : {1.0, 1.3, 1.5, 1.9}) {
    const auto line =
        human::draw_strokes({{t({0, y, 9, y}, {2, 2}), 1}}, {4, 9});
    CHECK(line.amax(0).sum().item<double>() == 9);
  }
  // Far away it draws nothing, and takes no longer.
  CHECK(close(
      human::draw_strokes({{t({1e9, 1e9, 1e9, -1e9}, {2, 2}), 4}}, {5, 5}),
      torch::zeros({5, 5})));
  CHECK(close(
      human::draw_strokes({{t({-1e9, 2, 1e9, 2}, {2, 2}), 2}}, {4, 3}),
      t({0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0}, {4, 3})));
}

TEST_CASE("Strokes that cannot be drawn are refused", "[human][draw][error]") {
  CHECK(
      error_of(
          [] { human::draw_strokes({{t({1, 1}, {1, 2}), .5}}, {5, 5}); }) ==
      "cyborg::human::draw_strokes: expected a width from 1 to 1e9 pixels, got "
      "0.5");
  CHECK(
      error_of(
          [] { human::draw_strokes({{torch::zeros({0, 2}), 2}}, {5, 5}); }) ==
      "cyborg::human::draw_strokes: expected a stroke of at least one point, "
      "got none");
  CHECK(contains(
      error_of([] {
        human::draw_strokes({{t({1, std::nan("")}, {1, 2}), 2}}, {5, 5});
      }),
      "got nan in row 0 of the points of a stroke"));
  CHECK_FALSE(error_of([] {
                human::draw_strokes(
                    {{t({1, 1}, {1, 2}), std::nan("")}}, {5, 5});
              }).empty());
}

TEST_CASE("Run lengths are those of pycocotools", "[human][draw]") {
  for (const auto& mask : golden()["masks"]) {
    const auto size = numbers(mask["size"]);
    const auto map = human::mask_of_runs(numbers(mask["runs"]), size);
    CHECK(map.scalar_type() == torch::kBool);
    for (int64_t y = 0; y < size[0]; ++y) {
      const auto row = mask["rows"][static_cast<size_t>(y)].get<std::string>();
      for (int64_t x = 0; x < size[1]; ++x) {
        REQUIRE(map[y][x].item<bool>() == (row[static_cast<size_t>(x)] == '1'));
      }
    }
  }
  CHECK(
      error_of([] { human::mask_of_runs({1, 4}, {2, 2}); }) ==
      "cyborg::human::mask_of_runs: expected runs >= 0 that add up to 4 "
      "pixels, "
      "got 4 after 1 pixels");
  CHECK(
      error_of([] { human::mask_of_runs({1, 2}, {2, 2}); }) ==
      "cyborg::human::mask_of_runs: expected runs that add up to 4 pixels, got "
      "3");
  CHECK_FALSE(error_of([] { human::mask_of_runs({5, -1}, {2, 2}); }).empty());
  CHECK_FALSE(error_of([] {
                human::mask_of_runs(
                    {1, std::numeric_limits<int64_t>::max()}, {2, 2});
              }).empty());
}

TEST_CASE("A mask is 1 where it is not 0", "[human][draw]") {
  const auto mask = at::tensor({0, 3, 0, 0, 0, 255, 0, 1}, at::kByte);
  CHECK(close(
      human::draw_mask(mask.view({2, 4})),
      t({0, 1, 0, 0, 0, 1, 0, 1}, {2, 4})));
  CHECK(close(
      human::draw_mask(mask.view({2, 4}), DrawOptions().size({1, 2})),
      t({.5, .25}, {1, 2})));
  CHECK(
      error_of([] { human::draw_mask(t({0, std::nan("")}, {1, 2})); }) ==
      "cyborg::human::draw_mask: expected finite values, got NaN or infinity");
}

TEST_CASE("ClickMe's blur is the published one", "[human][draw]") {
  const auto& g = golden()["clickme"];
  const auto size = numbers(g["size"]);
  const auto source = tensor_of(g["source"], size);
  CHECK(close(human::clickme_blur(source), tensor_of(g["map"], size), 1e-9));
  const auto both = human::clickme_blur(
      at::stack({source, human::missing(size, at::kDouble)}));
  CHECK(close(both[0], tensor_of(g["map"], size), 1e-9));
  CHECK(both[1].isnan().all().item<bool>());
}

TEST_CASE(
    "ViSaRL's map is one half 12.5 pixels from a click, and 1 at the click",
    "[human][draw]") {
  const auto map = human::visarl_map(at::tensor({100, 50}).view({1, 2}));
  CHECK(map.sizes() == at::IntArrayRef({400, 400}));
  CHECK(map[50][100].item<double>() == 1);
  const double twelve = std::exp(-4 * std::log(2.0) * 144 / 625);
  CHECK(std::abs(map[62][100].item<double>() - twelve) < 1e-6);
  // Weights are relative.
  const auto two = human::visarl_map(t({20, 20, 4, 300, 300, 2}, {2, 3}));
  CHECK(std::abs(two[300][300].item<double>() - .5) < 1e-6);
  CHECK(
      close(human::visarl_map(torch::zeros({0, 2})), torch::zeros({400, 400})));
}
