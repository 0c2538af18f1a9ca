// SPDX-License-Identifier: BSD-3-Clause
// How the time of `GuidedHead`, compared with the plain head, grows with the
// batch, the channels, the positions and the classes. Each is doubled five
// times.

#include "heads.hpp"
#include "program.hpp"
#include "tensors.hpp"

#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {

using json = nlohmann::json;

constexpr int kDoublings = 5;
constexpr double kGrowth = 1.10;  // last ratio / first ratio, at most

/// One size of the quantity that is doubled, and the measurements of that size.
struct Point {
  int64_t size;
  std::function<void()> guided, plain;
  std::vector<double> ours = {}, baseline = {}, ratio = {};
};

Point make_point(
    const std::string& name, int64_t size, const claims::Shape& shape,
    int64_t classes) {
  const auto c = std::make_shared<claims::Case>(shape, classes);
  const auto guided = [c] { return claims::guided_head(*c); };
  const auto plain = [c] {
    return claims::plain_head(*c, claims::Pool::kMean);
  };
  claims::expect_same(
      name, claims::value_and_gradients(guided, c->leaves()),
      claims::value_and_gradients(
          [&] { return claims::blend(plain(), claims::batched_saliency(*c)); },
          c->leaves()),
      claims::tolerance(torch::kFloat));
  return {
      size, claims::step(guided, c->leaves()),
      claims::step(plain, c->leaves())};
}

/// The claim for one quantity. `point_at(i)` makes point i, from 0 to 5.
claims::Claim scaling(
    const std::string& what, std::function<Point(int)> point_at) {
  const auto points = std::make_shared<std::vector<Point>>();
  claims::Claim claim{
      "scaling_" + what, "ratio to the plain head, last point",
      "ratio to the plain head, first point"};
  claim.target = kGrowth;
  claim.make = [points, point_at = std::move(point_at)]() -> claims::Sampler {
    for (int i = 0; i <= kDoublings; ++i) {
      points->push_back(point_at(i));
    }
    return [points](bool ours_first) -> claims::Pair {
      for (Point& point : *points) {
        const auto pair =
            claims::time_pair(point.guided, point.plain, ours_first);
        point.ours.push_back(pair.ours);
        point.baseline.push_back(pair.baseline);
        point.ratio.push_back(pair.ratio);
      }
      const Point &first = points->front(), &last = points->back();
      return {
          last.ours.back(), first.ours.back(),
          last.ratio.back() / first.ratio.back()};
    };
  };
  claim.more = [points, what](const claims::Result& /*result*/) {
    auto measured = json::array();
    for (const Point& point : *points) {
      measured.push_back(
          {{"size", point.size},
           {"ours_ms", 1e3 * claims::median(point.ours)},
           {"plain_ms", 1e3 * claims::median(point.baseline)},
           {"ratio", claims::median(point.ratio)}});
    }
    points->clear();
    return json{{"axis", what}, {"points", measured}};
  };
  return claim;
}

json measure(const claims::Program& program) {
  const auto twice = [](int64_t base, int i) { return base << i; };
  const std::vector<claims::Claim> all = {
      scaling(
          "B",
          [=](int i) {
            const int64_t b = twice(4, i);
            return make_point("scaling_B", b, {b, 1024, 7, 7}, 2);
          }),
      scaling(
          "C",
          [=](int i) {
            const int64_t c = twice(64, i);
            return make_point("scaling_C", c, {20, c, 7, 7}, 2);
          }),
      scaling(
          "P",
          [=](int i) {  // 7x7, 14x7, 14x14 ... 56x28
            const int64_t h = twice(7, (i + 1) / 2), w = twice(7, i / 2);
            return make_point("scaling_P", h * w, {8, 256, h, w}, 2);
          }),
      scaling("K", [=](int i) {
        const int64_t k = twice(2, i);
        return make_point("scaling_K", k, {20, 1024, 7, 7}, k);
      })};
  return {{"rows", claims::run(all, program.quick)}};
}

}  // namespace

int main(int argc, char** argv) {
  return claims::run_program(argc, argv, "scaling", measure);
}
