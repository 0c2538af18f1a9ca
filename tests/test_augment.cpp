// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"
#include "threads.hpp"

#include <cyborg/data/augment.hpp>
#include <cyborg/data/prefetch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::Augment;
using data::Augmented;
using data::AugmentOptions;
using data::GuidedExample;
using pictures::Folder;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

AugmentOptions still() {
  return AugmentOptions().horizontal_flip(0);
}

AugmentOptions everything() {
  return AugmentOptions()
      .vertical_flip(.5)
      .min_area(.5)
      .rotation(30)
      .scale(1.2)
      .brightness(.3)
      .contrast(.3)
      .saturation(.3);
}

/// Relative positions: x in the first channel, y in the second, [2, H, W].
Tensor positions(int64_t height, int64_t width) {
  const auto x = (torch::arange(width, torch::kDouble) + .5) / width;
  const auto y = (torch::arange(height, torch::kDouble) + .5) / height;
  return torch::stack(
      {x.expand({height, width}), y.unsqueeze(1).expand({height, width})});
}

/// How the positions change in the middle of a picture of them, in pixels:
/// dx/du, dx/dv, dy/du, dy/dv.
std::array<double, 4> slopes(const Tensor& picture) {
  const auto height = picture.size(1);
  const auto width = picture.size(2);
  const auto value = [&](int64_t c, int64_t v, int64_t u) {
    return picture[c][height / 2 + v][width / 2 + u].item<double>() *
           static_cast<double>(c == 0 ? width : height);
  };
  return {
      value(0, 0, 1) - value(0, 0, 0), value(0, 1, 0) - value(0, 0, 0),
      value(1, 0, 1) - value(1, 0, 0), value(1, 1, 0) - value(1, 0, 0)};
}

/// Relative centre of mass {x, y} of [H, W].
std::array<double, 2> centre(const Tensor& mass) {
  const auto at = positions(mass.size(0), mass.size(1));
  const auto sum = mass.sum();
  return {
      ((at[0] * mass).sum() / sum).item<double>(),
      ((at[1] * mass).sum() / sum).item<double>()};
}

bool at_border(const Tensor& mass) {
  return (mass[0].sum() + mass[-1].sum() + mass.select(1, 0).sum() +
          mass.select(1, -1).sum())
             .item<double>() > 0;
}

/// Pictures of waves with maps of another size; every third is not annotated.
/// Index `skipped` is left out, as a broken file would be.
class Source : public torch::data::datasets::BatchDataset<
                   Source, std::vector<GuidedExample>> {
 public:
  explicit Source(size_t count, size_t skipped = SIZE_MAX)
      : count_(count), skipped_(skipped) {}

  std::vector<GuidedExample> get_batch(at::ArrayRef<size_t> indices) override {
    std::vector<GuidedExample> batch;
    for (const auto index : indices) {
      if (index != skipped_) {
        const auto wave = [&](std::vector<int64_t> size) {
          const auto count = torch::arange(c10::multiply_integers(size));
          return (count * static_cast<double>(index + 1))
              .sin()
              .mul(.5)
              .add(.5)
              .to(torch::kFloat)
              .view(size);
        };
        batch.push_back(
            {wave({3, 40, 50}), torch::tensor(static_cast<int64_t>(index)),
             index % 3 == 2 ? cyborg::human::missing({20, 30})
                            : wave({20, 30})});
      }
    }
    return batch;
  }

  data::detail::SizeHint size() const override { return count_; }

 private:
  size_t count_;
  size_t skipped_;
};

/// The samples of one epoch by their index.
std::vector<GuidedExample> epoch_of(
    const Augmented<Source>& set, const data::PrefetchOptions& options) {
  data::Prefetcher<Augmented<Source>> loader(set, options);
  std::vector<GuidedExample> samples(*set.size());
  for (auto& batch : loader) {
    for (int64_t i = 0; i < batch.target.size(0); ++i) {
      samples[static_cast<size_t>(batch.target[i].item<int64_t>())] = {
          batch.data[i].clone(), batch.target[i].clone(),
          batch.saliency[i].clone()};
    }
  }
  return samples;
}

bool equal(
    const std::vector<GuidedExample>& a, const std::vector<GuidedExample>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(),
      [](const GuidedExample& x, const GuidedExample& y) {
        return x.data.defined() && y.data.defined() && x.data.equal(y.data) &&
               x.target.equal(y.target) &&
               x.saliency.nan_to_num(-9).equal(y.saliency.nan_to_num(-9));
      });
}

}  // namespace

TEST_CASE("A flip is exact, in picture and map", "[data][augment]") {
  const auto picture = t({1, 2, 3, 4, 5, 6}, {1, 2, 3}) / 10;
  const auto map = t({1, 2, 3, 4}, {2, 2});
  const auto check = [&](AugmentOptions options, const Tensor& picture_wanted,
                         const Tensor& map_wanted) {
    const auto out =
        Augment(std::move(options))({picture, labels({1}), map}, 5);
    CHECK(out.data.equal(picture_wanted / 10));
    CHECK(out.target.equal(labels({1})));
    CHECK(out.saliency.equal(map_wanted));
  };
  check(
      AugmentOptions().horizontal_flip(1), t({3, 2, 1, 6, 5, 4}, {1, 2, 3}),
      t({2, 1, 4, 3}, {2, 2}));
  check(
      still().vertical_flip(1), t({4, 5, 6, 1, 2, 3}, {1, 2, 3}),
      t({3, 4, 1, 2}, {2, 2}));
  check(
      AugmentOptions().horizontal_flip(1).vertical_flip(1),
      t({6, 5, 4, 3, 2, 1}, {1, 2, 3}), t({4, 3, 2, 1}, {2, 2}));
  check(still(), t({1, 2, 3, 4, 5, 6}, {1, 2, 3}), map);
}

TEST_CASE(
    "Seed and draw decide what happens, in every version", "[data][augment]") {
  // SplitMix64 from 0: its published first two numbers.
  CHECK(data::detail::mix(data::detail::kWeyl) == 0xE220A8397B1DCDAFULL);
  CHECK(data::detail::mix(data::detail::kWeyl * 2) == 0x6E789E6AA1B965F4ULL);
  const auto flips = [](AugmentOptions options) {
    const Augment augment(std::move(options));
    std::string list;
    for (uint64_t draw = 0; draw < 12; ++draw) {
      const auto out = augment({t({0, 1}, {1, 1, 2}), {}, {}}, draw);
      list += out.data[0][0][0].item<double>() == 1 ? '1' : '0';
    }
    return list;
  };
  CHECK(flips(AugmentOptions()) == "101000011001");
  CHECK(flips(AugmentOptions().seed(1)) == "110011000010");
  // Another choice changes nothing in this one.
  CHECK(flips(AugmentOptions().vertical_flip(.5)) == "101000011001");
}

TEST_CASE("The choices of a draw can be computed by hand", "[data][augment]") {
  // Choice k of a draw, in [0, 1), is number k of SplitMix64 from a state that
  // comes from seed and draw. It is written a second time here, so that no
  // later version can change how a picture is augmented.
  const auto mixed = [](uint64_t bits) {
    bits = (bits ^ bits >> 30U) * 0xBF58476D1CE4E5B9ULL;
    bits = (bits ^ bits >> 27U) * 0x94D049BB133111EBULL;
    return bits ^ bits >> 31U;
  };
  constexpr uint64_t kStep = 0x9E3779B97F4A7C15ULL;
  const auto options = AugmentOptions()
                           .horizontal_flip(0)
                           .min_area(.3)
                           .rotation(20)
                           .scale(1.4)
                           .brightness(.3)
                           .contrast(.4)
                           .saturation(.5)
                           .seed(17);
  CHECK(options.aspect() == 4.0 / 3);  // the default
  int turned = 0;
  for (const uint64_t draw : {0, 1, 2, 3, 99}) {
    INFO(draw);
    const uint64_t state = mixed(mixed(17 + kStep) ^ draw);
    const auto choice = [&](uint64_t k, double low, double high) {
      const double part =
          std::ldexp(static_cast<double>(mixed(state + k * kStep) >> 11U), -53);
      return low + (high - low) * part;
    };
    const double area = choice(3, .3, 1);
    const double widest = std::log(std::min(4.0 / 3, 1 / area));
    const double aspect = std::exp(choice(4, -widest, widest));
    const double w = std::sqrt(area * aspect), h = std::sqrt(area / aspect);
    const double x = choice(5, w - 1, 1 - w), y = choice(6, h - 1, 1 - h);
    const double angle = choice(7, -20, 20) * std::acos(-1.0) / 180;
    const double scale = std::exp(choice(8, -std::log(1.4), std::log(1.4)));
    const double bright = choice(9, .7, 1.3), contrast = choice(10, .6, 1.4),
                 saturation = choice(11, .5, 1.5);

    // Left and right are choice 1, top and bottom choice 2.
    const auto flipped = Augment(AugmentOptions().vertical_flip(.5).seed(17))(
                             {t({0, 1, 2, 3}, {1, 2, 2}), {}, {}}, draw)
                             .data[0][0][0]
                             .item<int64_t>();
    CHECK(flipped % 2 == (choice(1, 0, 1) < .5 ? 1 : 0));
    CHECK(flipped / 2 == (choice(2, 0, 1) < .5 ? 1 : 0));
    turned |= 1 << flipped;

    // In a picture of positions (48 x 24 pixels), each value says where it was
    // taken from. u and v are pixels from the middle.
    const auto geometry = AugmentOptions(options).brightness(0).contrast(0);
    const auto moved = Augment(AugmentOptions(geometry).saturation(0))(
                           {positions(24, 48), {}, {}}, draw)
                           .data;
    for (const auto& place : {std::pair{.5, .5}, {-2.5, 1.5}}) {
      const double u = place.first, v = place.second;
      const double du = u * w / scale, dv = v * h / scale;
      const auto value = [&](int64_t channel) {
        return moved[channel][static_cast<int64_t>(11.5 + v)]
                    [static_cast<int64_t>(23.5 + u)]
                        .item<double>();
      };
      const double wanted_x =
          .5 + x / 2 + (std::cos(angle) * du - std::sin(angle) * dv) / 48;
      const double wanted_y =
          .5 + y / 2 + (std::sin(angle) * du + std::cos(angle) * dv) / 24;
      CHECK(value(0) == Approx(wanted_x).margin(1e-9));
      CHECK(value(1) == Approx(wanted_y).margin(1e-9));
    }

    // Colour: brightness first, then contrast about the mean grey, then
    // saturation about each pixel's grey.
    const auto picture = torch::arange(12, torch::kDouble)
                             .mul(1.7)
                             .sin()
                             .mul(.1)
                             .add(.4)
                             .view({3, 2, 2});
    const auto grey = [](const Tensor& of) {
      return of[0] * .299 + of[1] * .587 + of[2] * .114;
    };
    auto wanted = picture * bright;
    const auto mean = grey(wanted).mean();
    wanted = mean + (wanted - mean) * contrast;
    wanted = grey(wanted) + (wanted - grey(wanted)) * saturation;
    const auto colours = AugmentOptions(options).min_area(1).rotation(0);
    const auto changed =
        Augment(AugmentOptions(colours).scale(1))({picture, {}, {}}, draw).data;
    CHECK(close(changed, wanted.clamp(0, 1)));
  }
  CHECK((turned & (turned - 1)) != 0);  // not always the same corner
}

TEST_CASE("A flip has the probability of its option", "[data][augment]") {
  const Augment augment(AugmentOptions().horizontal_flip(.2).vertical_flip(.7));
  double across = 0;
  double down = 0;
  double both = 0;
  const double count = 2000;
  for (uint64_t draw = 0; draw < 2000; ++draw) {
    const auto out = augment({t({0, 1, 2, 3}, {1, 2, 2}), {}, {}}, draw);
    const auto corner = out.data[0][0][0].item<int64_t>();
    across += corner % 2 == 1 ? 1 : 0;
    down += corner >= 2 ? 1 : 0;
    both += corner == 3 ? 1 : 0;
  }
  CHECK(across / count == Approx(.2).margin(.03));
  CHECK(down / count == Approx(.7).margin(.03));
  CHECK(both / count == Approx(.14).margin(.03));
}

TEST_CASE("A crop keeps the limits of area and aspect", "[data][augment]") {
  const Augment augment(still().min_area(.25).aspect(2));
  double smallest = 1;
  double widest = 1;
  double leftmost = 1;
  double rightmost = 0;
  for (uint64_t draw = 0; draw < 300; ++draw) {
    const auto picture = augment({positions(24, 32), {}, {}}, draw).data;
    const auto slope = slopes(picture);
    CHECK(std::abs(slope[1]) < 1e-9);
    CHECK(std::abs(slope[2]) < 1e-9);
    const double area = slope[0] * slope[3];
    const double aspect = slope[0] / slope[3];
    CHECK(area > .25 - 1e-9);
    CHECK(area < 1 + 1e-9);
    CHECK(aspect > .5 - 1e-9);
    CHECK(aspect < 2 + 1e-9);
    // The crop is inside the picture: at least half an input pixel is left at
    // the border.
    CHECK(picture.min().item<double>() >= .5 / 32);
    CHECK(picture.max().item<double>() <= 1 - .5 / 32);
    smallest = std::min(smallest, area);
    widest = std::max(widest, aspect);
    leftmost = std::min(leftmost, picture[0].min().item<double>());
    rightmost = std::max(rightmost, picture[0].max().item<double>());
  }
  CHECK(smallest < .27);
  CHECK(widest > 1.8);
  CHECK(leftmost < .02);
  CHECK(rightmost > .98);
}

TEST_CASE("A picture is rotated and not sheared", "[data][augment]") {
  const Augment augment(still().rotation(40));
  double most = 0;
  double least = 0;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    const auto slope = slopes(augment({positions(24, 48), {}, {}}, draw).data);
    // [cos -sin; sin cos], in pixels, though the picture is not square.
    CHECK(slope[0] == Approx(slope[3]).margin(1e-9));
    CHECK(slope[1] == Approx(-slope[2]).margin(1e-9));
    CHECK(slope[0] * slope[0] + slope[1] * slope[1] == Approx(1));
    const double degrees =
        std::atan2(slope[2], slope[0]) * 180 / std::acos(-1.0);
    most = std::max(most, degrees);
    least = std::min(least, degrees);
  }
  CHECK(most > 38);
  CHECK(most < 40 + 1e-9);
  CHECK(least < -38);
  CHECK(least > -40 - 1e-9);
}

TEST_CASE("A picture is enlarged or shrunk", "[data][augment]") {
  const Augment augment(still().scale(2));
  double most = 1;
  double least = 1;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    const auto slope = slopes(augment({positions(24, 48), {}, {}}, draw).data);
    CHECK(slope[0] == Approx(slope[3]));
    most = std::max(most, slope[0]);
    least = std::min(least, slope[0]);
  }
  CHECK(most > 1.9);
  CHECK(most < 2 + 1e-9);
  CHECK(least < .53);
  CHECK(least > .5 - 1e-9);
}

TEST_CASE(
    "Positions outside get the picture's mean, and 0 in the map",
    "[data][augment]") {
  const Augment augment(still().rotation(45).scale(1.5));
  const auto picture =
      torch::stack({torch::full({20, 30}, .25), torch::full({20, 30}, .5)});
  double outside = 0;
  for (uint64_t draw = 0; draw < 20; ++draw) {
    const auto out = augment({picture, {}, torch::ones({10, 10})}, draw);
    CHECK(close(out.data, picture, 1e-6));
    const auto map = out.saliency;
    CHECK(map.eq(0).logical_or(map.sub(1).abs().lt(1e-6)).all().item<bool>());
    CHECK(map[5][5].item<double>() == Approx(1));
    outside += map.eq(0).sum().item<double>();
  }
  CHECK(outside > 100);
}

TEST_CASE("Picture and map move together", "[data][augment]") {
  const Augment augment(AugmentOptions()
                            .vertical_flip(.5)
                            .min_area(.4)
                            .rotation(30)
                            .scale(1.3)
                            .seed(11));
  // A bright square that is not in the middle. One pixel of the map is 4 x 3
  // pixels of the picture.
  auto picture = torch::zeros({3, 96, 120});
  picture.slice(1, 24, 48).slice(2, 24, 48).fill_(1);
  auto map = torch::zeros({24, 40});
  map.slice(0, 6, 12).slice(1, 8, 16).fill_(1);
  int compared = 0;
  for (uint64_t draw = 0; draw < 200; ++draw) {
    const auto out = augment({picture, {}, map}, draw);
    const auto bright = out.data[1] * out.data[1].gt(.3);
    if (at_border(bright) || bright.sum().item<double>() == 0) {
      continue;  // the square is cut, at other pixels in each
    }
    const auto seen = centre(bright);
    const auto marked = centre(out.saliency);
    CHECK(std::abs(seen[0] - marked[0]) * 120 < 1);
    CHECK(std::abs(seen[1] - marked[1]) * 96 < 1);
    ++compared;
  }
  CHECK(compared > 60);
}

TEST_CASE("A map that is not annotated stays so", "[data][augment]") {
  const Augment augment(everything());
  auto partly = torch::ones({8, 8});
  partly[0][0] = std::nan("");
  const auto picture = torch::rand({3, 16, 16});
  for (uint64_t draw = 0; draw < 8; ++draw) {
    CHECK_FALSE(augment({picture, {}, {}}, draw).saliency.defined());
    for (const auto& map : {cyborg::human::missing({8, 8}), partly}) {
      const auto out = augment({picture, {}, map}, draw).saliency;
      CHECK(out.sizes() == map.sizes());
      CHECK(out.isnan().all().item<bool>());
    }
  }
}

TEST_CASE(
    "Several maps of one picture move in the same way", "[data][augment]") {
  const Augment augment(everything());
  const auto picture = torch::rand({3, 16, 16});
  auto maps = torch::rand({2, 8, 8}, torch::kDouble);
  for (uint64_t draw = 0; draw < 4; ++draw) {
    const auto both = augment({picture, {}, maps}, draw).saliency;
    CHECK(both.scalar_type() == torch::kDouble);
    CHECK(close(both[0], augment({picture, {}, maps[0]}, draw).saliency));
    CHECK(close(both[1], augment({picture, {}, maps[1]}, draw).saliency));
  }
}

TEST_CASE(
    "A change of colour changes neither map nor positions", "[data][augment]") {
  const auto picture = torch::rand({3, 6, 5}, torch::kDouble) * .4 + .3;
  const auto map = torch::rand({3, 3});
  const auto grey = picture[0] * .299 + picture[1] * .587 + picture[2] * .114;
  const auto changed = [&](const AugmentOptions& options, uint64_t draw) {
    const auto out = Augment(options)({picture, {}, map}, draw);
    CHECK(out.saliency.equal(map));
    CHECK_FALSE(out.data.equal(picture));
    return out.data;
  };
  const auto factor = [](const Tensor& out, const Tensor& in) {
    const double f = (out[0][0][0] / in[0][0][0]).item<double>();
    CHECK(f > .8 - 1e-9);
    CHECK(f < 1.2 + 1e-9);
    CHECK(close(out, in * f));
    return f;
  };
  double darkest = 1;
  double brightest = 1;
  for (uint64_t draw = 0; draw < 50; ++draw) {
    const double f = factor(changed(still().brightness(.2), draw), picture);
    darkest = std::min(darkest, f);
    brightest = std::max(brightest, f);
    factor(
        changed(still().contrast(.2), draw) - grey.mean(),
        picture - grey.mean());
    factor(changed(still().saturation(.2), draw) - grey, picture - grey);
  }
  CHECK(darkest < .83);
  CHECK(brightest > 1.17);

  const auto strong = still().brightness(1).contrast(1).saturation(1);
  for (uint64_t draw = 0; draw < 50; ++draw) {
    const auto out = changed(strong, draw);
    CHECK(out.min().item<double>() >= 0);
    CHECK(out.max().item<double>() <= 1);
  }
  // A grey picture has no colour to lose.
  const auto one = picture.narrow(0, 0, 1);
  CHECK(close(Augment(still().saturation(1))({one, {}, {}}, 3).data, one));
}

TEST_CASE("Mean and stddev come last", "[data][augment]") {
  const auto picture = torch::rand({3, 8, 8}, torch::kDouble);
  const auto plain = Augment(everything())({picture, {}, {}}, 4).data;
  const auto normal = Augment(everything().mean({.1, .2, .3}).stddev({.5}))(
      {picture, {}, {}}, 4);
  CHECK(close(normal.data, (plain - t({.1, .2, .3}, {3, 1, 1})) / .5));
}

TEST_CASE("An epoch is the same for any number of threads", "[data][augment]") {
  auto global = at::globalContext().defaultGenerator(at::kCPU);
  const auto before = global.get_state();
  const Augmented<Source> set(Source(13), everything());
  const auto options = data::PrefetchOptions().batch_size(4).ahead(3);
  const auto alone = epoch_of(set, data::PrefetchOptions(options).workers(0));
  for (const size_t workers : {1, 3}) {
    CHECK(equal(
        alone, epoch_of(
                   set, data::PrefetchOptions(options).workers(workers).shuffle(
                            workers == 3))));
  }
  std::vector<GuidedExample> many;
  CHECK(support::threads_of([&] {
          many = epoch_of(set, data::PrefetchOptions(options).workers(2));
        }) >= 2);
  CHECK(equal(alone, many));
  const auto threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 4 : 1);
  CHECK(equal(alone, epoch_of(set, options)));
  at::set_num_threads(threads);
  CHECK(global.get_state().equal(before));

  CHECK(alone[2].saliency.isnan().all().item<bool>());
  CHECK(alone[3].saliency.isfinite().all().item<bool>());
}

TEST_CASE("Another epoch gives other draws, in all copies", "[data][augment]") {
  Augmented<Source> set(Source(6), everything());
  auto copy = set;
  CHECK(set.epoch() == 0);
  const auto first = epoch_of(set, {});
  CHECK(equal(first, epoch_of(copy, {})));
  set.epoch(1);
  CHECK(copy.epoch() == 1);
  const auto second = epoch_of(copy, {});
  for (size_t i = 0; i < 6; ++i) {
    CHECK_FALSE(first[i].data.equal(second[i].data));
  }
  copy.epoch(0);
  CHECK(equal(first, epoch_of(set, {})));

  // The loader holds a copy: the epoch is set from outside.
  data::Prefetcher<Augmented<Source>> loader(set);
  set.epoch(1);
  for (auto& batch : loader) {
    CHECK(batch.data[0].equal(second[0].data));
  }
}

TEST_CASE("A skipped sample does not change the others", "[data][augment]") {
  const auto all =
      Augmented<Source>(Source(5), everything()).get_batch({0, 1, 2, 3, 4});
  auto some = Augmented<Source>(Source(5, /*skipped=*/1), everything())
                  .get_batch({0, 1, 2, 3, 4});
  REQUIRE(some.size() == 4);
  CHECK(some[0].data.equal(all[0].data));
  CHECK(some[1].data.equal(all[2].data));
  CHECK(some[3].data.equal(all[4].data));
}

TEST_CASE("Pictures from files are augmented", "[data][augment]") {
  const Folder folder;
  data::Row row;
  row.path = folder.write("a.png", pictures::png(2, 1, 8, 0, {255, 51}));
  row.saliency = {folder.write("m.png", pictures::png(2, 1, 8, 0, {0, 255}))};
  const auto flip = AugmentOptions().horizontal_flip(1).mean({.5}).stddev({.5});
  Augmented<data::PictureDataset> set(
      data::PictureDataset({row}, data::PictureDatasetOptions().channels(1)),
      flip);
  const auto sample = set.get(0);
  CHECK(close(sample.data, t({-.6, 1}, {1, 1, 2}), 1e-6));
  CHECK(close(sample.saliency, t({1, 0}, {1, 2}), 1e-6));
  CHECK(set.dataset().options().channels() == 1);

  // A sample and a batch of this one sample have the same draw.
  const data::PictureDataset plain(std::vector<data::Row>(4, row));
  const auto options = everything().seed(3);
  Augmented<data::PictureDataset> moved(plain, options);
  moved.epoch(2);
  for (const size_t index : {1, 3}) {
    const auto one = moved.get(index);
    const auto batch = moved.get_batch(std::vector<size_t>{index});
    REQUIRE(batch.size() == 1);
    CHECK(one.data.equal(batch[0].data));
    CHECK(one.saliency.equal(batch[0].saliency));
    CHECK(one.data.equal(
        Augment(options)(
            data::PictureDataset(plain).get(index), data::detail::mix(2, index))
            .data));
  }
  CHECK_FALSE(moved.get(1).data.equal(moved.get(3).data));

  for (const auto& with :
       {data::PictureDatasetOptions().mean({.5}),
        data::PictureDatasetOptions().stddev({.5})}) {
    CHECK(
        error_of([&] {
          Augmented<data::PictureDataset>(data::PictureDataset({row}, with));
        }) ==
        "cyborg::data::Augmented: expected pictures in [0, 1], got a "
        "PictureDataset with mean or stddev; give them to AugmentOptions");
  }
}

TEST_CASE(
    "Invalid options and shapes of Augment throw", "[data][augment][error]") {
  using O = AugmentOptions;
  const std::vector<std::pair<O, std::string>> refused{
      {O().horizontal_flip(1.5), "horizontal_flip in [0, 1], got 1.5"},
      {O().vertical_flip(-1), "vertical_flip in [0, 1], got -1"},
      {O().vertical_flip(2), "vertical_flip in [0, 1], got 2"},
      {O().min_area(0), "min_area in [1e-06, 1], got 0"},
      {O().min_area(1.1), "min_area in [1e-06, 1], got 1.1"},
      {O().aspect(.5), "aspect in [1, 1e+06], got 0.5"},
      {O().aspect(HUGE_VAL), "aspect in [1, 1e+06], got inf"},
      {O().rotation(std::nan("")), "rotation in [0, 180], got nan"},
      {O().rotation(181), "rotation in [0, 180], got 181"},
      {O().scale(.9), "scale in [1, 1e+06], got 0.9"},
      {O().brightness(2), "brightness in [0, 1], got 2"},
      {O().contrast(-.5), "contrast in [0, 1], got -0.5"},
      {O().saturation(1.25), "saturation in [0, 1], got 1.25"}};
  for (const auto& [options, expected] : refused) {
    const auto& wrong = options;
    CHECK(error_of([&] {
            Augment{wrong};
          }) == "cyborg::data::Augment: expected " + expected);
  }
  // The limits of each range are allowed.
  for (const auto& options :
       {O().horizontal_flip(0).vertical_flip(0).aspect(1).min_area(1e-6),
        O().rotation(180).brightness(1).contrast(1).saturation(1)}) {
    CHECK_NOTHROW(Augment{options});
  }
  CHECK(error_of([] {
          Augment(AugmentOptions().stddev({0}));
        }) == "cyborg::data::Augment: expected stddev > 0, got 0");
  const Augment augment(AugmentOptions().mean({1, 2}));
  CHECK(error_of([&] {
          augment({torch::zeros({3, 4, 4}), {}, {}}, 0);
        }) == "cyborg::data::Augment: expected 1 or 3 numbers in mean, got 2");
  CHECK(
      error_of([&] { augment({torch::zeros({4, 4}), {}, {}}, 0); }) ==
      "cyborg::data::Augment: expected a picture [C, H, W] of floating point, "
      "got [4, 4]");
  for (const auto& [picture, got] :
       {std::pair<Tensor, std::string>{
            torch::zeros({3, 4, 4}, torch::kByte), "[3, 4, 4]"},
        {torch::zeros({3, 0, 4}), "[3, 0, 4]"},
        {Tensor(), "[]"}}) {
    const auto& wrong = picture;
    CHECK(
        error_of([&] { augment({wrong, {}, {}}, 0); }) ==
        "cyborg::data::Augment: expected a picture [C, H, W] of floating "
        "point, got " +
            got);
  }
  CHECK(error_of([&] {
          augment({torch::zeros({3, 4, 4}), {}, torch::zeros({4})}, 0);
        }) == "cyborg::data::Augment: expected a human map [h, w], got [4]");
  CHECK(error_of([&] {
          augment({torch::zeros({3, 4, 4}), {}, torch::zeros({0, 4})}, 0);
        }) == "cyborg::data::Augment: expected a human map [h, w], got [0, 4]");
}
