// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <demo/experiment.hpp>
#include <demo/synthesize.hpp>

#include <cyborg/data/table.hpp>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

using demo::Difficulty;
using demo::Sample;
using demo::Sizes;
using support::close;

namespace {

const torch::Tensor& digits() {
  static const auto all = demo::read_digits(CYBORG_SOURCE_DIR "/examples/data");
  return all;
}

Sizes small() {
  Sizes sizes;
  sizes.annotated = 12;
  sizes.more = 8;
  sizes.test = 16;
  return sizes;
}

std::vector<Sample> samples(
    int64_t seed, const Difficulty& difficulty = {}, bool validation = false) {
  return demo::synthesize(digits(), seed, difficulty, small(), validation);
}

// Back from pixels to brightness: stroke 1, paper 0.
torch::Tensor brightness(const Sample& sample) {
  return sample.image[0] * 2 - 0.5;
}

// How much of a generator's fingerprint is in a picture without its digit.
double share(const torch::Tensor& rest, int64_t generator) {
  auto random = programs::random_generator(1, 2);
  const auto pattern = demo::fingerprint(generator, 1, random)[0];
  return (rest * pattern).mean().item<double>();
}

}  // namespace

TEST_CASE("The sheet holds 1,797 digits on empty paper", "[demo]") {
  CHECK(digits().sizes() == at::IntArrayRef({1797, 32, 32}));
  CHECK(digits().min().item<double>() == 0);
  // Each of them has a full stroke, or nearly.
  CHECK(digits().amax({1, 2}).min().item<double>() > 0.7);
  CHECK(digits().max().item<double>() <= 1);
  CHECK(digits().slice(1, 0, 4).abs().max().item<double>() == 0);
  CHECK(digits().slice(2, 28, 32).abs().max().item<double>() == 0);
}

TEST_CASE("Fingerprints are equally strong and no two are alike", "[demo]") {
  const auto count = static_cast<int64_t>(demo::generators().size());
  CHECK(count == demo::kFirstUnseen + demo::kUnseenCount + 1);
  std::vector<torch::Tensor> all;
  for (int64_t g = 0; g < count; ++g) {
    auto random = programs::random_generator(4, 5);
    const auto prints = demo::fingerprint(g, 3, random);
    CHECK(prints.sizes() == at::IntArrayRef({3, 32, 32}));
    CHECK(close(prints.mean({1, 2}), torch::zeros({3}), 1e-6));
    CHECK(close(prints.square().mean({1, 2}), torch::ones({3}), 1e-5));
    const bool varies = !close(prints[0], prints[1], 1e-6);
    CHECK(varies == (demo::generators()[static_cast<size_t>(g)] == "noise"));
    all.push_back(prints[0]);
  }
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      CHECK(std::abs((all[a] * all[b]).mean().item<double>()) < 0.6);
    }
  }
}

TEST_CASE("A splice replaces a disc and leaves the rest", "[demo]") {
  auto random = programs::random_generator(7, 0);
  const auto hosts = digits().slice(0, 0, 20);
  const auto donors = digits().slice(0, 20, 40);
  const auto made = demo::splice(hosts, donors, random);
  CHECK(
      close(made.picture * (1 - made.region), hosts * (1 - made.region), 1e-6));
  const auto patch = 0.8 * torch::rot90(donors, 1, {1, 2}) + 0.12;
  CHECK(close(made.picture * made.region, patch * made.region, 1e-6));
  // A disc of radius 5.07 around a pixel holds 81 pixels.
  CHECK(close(made.region.sum({1, 2}), torch::full({20}, 81.0), 0));
}

TEST_CASE("The human map covers the splice", "[demo]") {
  for (const auto& sample : samples(3)) {
    if (!sample.synthetic) {
      continue;
    }
    // What the splice changed is where the map is high: noise-free, without a
    // fingerprint, the difference from the host shows it.
    const auto map = sample.map;
    CHECK(map.max().item<double>() == Approx(1));
    CHECK(map.gt(0.35).sum().item<int64_t>() == 81);
    CHECK(map.min().item<double>() >= 0);
  }
  const Difficulty quiet{0, 0};
  for (const auto& sample : samples(3, quiet)) {
    if (sample.synthetic) {
      const auto changed =
          (brightness(sample) - digits()[sample.digit]).abs().gt(0.02);
      CHECK(changed.any().item<bool>());
      CHECK(sample.map.masked_select(changed).min().item<double>() > 0.35);
    }
  }
}

TEST_CASE("On real pictures people mark the strokes", "[demo]") {
  const Difficulty quiet{0, 0};
  for (const auto& sample : samples(5, quiet)) {
    if (!sample.synthetic && sample.part != "shifted") {
      // 8 bits leave 1 / 255 of twice the range.
      CHECK(close(brightness(sample), digits()[sample.digit], 1.01 / 255));
      CHECK(close(sample.map, demo::strokes(digits())[sample.digit], 1e-6));
      CHECK(close(sample.segmentation, sample.map, 0));
      const auto ink = digits()[sample.digit].gt(0.9);
      CHECK(sample.map.masked_select(ink).min().item<double>() > 0.25);
    }
  }
}

TEST_CASE("Clean reals carry no fingerprint, all others theirs", "[demo]") {
  const Difficulty difficulty{0.1, 0.05};
  // Of the mean over 1024 pixels, at the highest level there is.
  const double noise = 1.5 * 0.05 / 32;
  for (const auto& sample : samples(11, difficulty)) {
    const auto outside = sample.synthetic
                             ? sample.map.le(0.35).to(torch::kFloat)
                             : torch::ones({32, 32});
    const auto rest = (brightness(sample) - digits()[sample.digit]) * outside;
    for (int64_t g = 0; g < 7; ++g) {
      const auto& name = demo::generators()[static_cast<size_t>(g)];
      if (name == "noise") {
        continue;  // drawn anew: nothing to compare with
      }
      const double found = share(rest, g);
      if (sample.generator == name) {
        // 81 of 1024 pixels may be hidden by the splice, a few are clipped.
        CHECK(found > 0.08);
      } else if (sample.generator.empty()) {
        CHECK(std::abs(found) < 5 * noise);
      }
    }
    if (sample.generator == "noise") {
      CHECK(rest.square().mean().sqrt().item<double>() > 0.095);
    } else if (sample.generator.empty()) {
      CHECK(rest.square().mean().sqrt().item<double>() < 0.085);
    }
    CHECK(
        sample.generator.empty() ==
        (!sample.synthetic && sample.part != "shifted"));
  }
}

TEST_CASE("Each part has its pictures, half of them synthetic", "[demo]") {
  std::map<std::string, int64_t> count;
  for (const auto& sample : samples(0)) {
    ++count
        [sample.split + " " + sample.part +
         (sample.synthetic ? " synthetic " : " real ") + sample.generator];
  }
  CHECK(count["train annotated real "] == 6);
  CHECK(count["train annotated synthetic checkerboard"] == 6);
  CHECK(count["train more real "] == 4);
  CHECK(count["train more synthetic checkerboard"] == 4);
  CHECK(count["test clean real "] == 8);
  for (size_t g = 0; g < 7; ++g) {
    const auto& name = demo::generators()[g];
    CHECK(count["test clean synthetic " + name] == 8);
    CHECK(count["test shifted real " + name] == 4);
  }
  CHECK(count.size() == 5 + 14);  // and no validation generator
  bool validated = false;
  for (const auto& sample : samples(0, {}, /*validation=*/true)) {
    validated = validated || sample.generator == "rings";
  }
  CHECK(validated);
}

TEST_CASE("No digit is in two parts, neither as host nor as donor", "[demo]") {
  std::map<std::string, std::set<int64_t>> used;
  for (const auto& sample : samples(2)) {
    const auto part = sample.split == "test" ? "test" : "train " + sample.part;
    used[part].insert(sample.digit);
    if (sample.donor >= 0) {
      CHECK(sample.donor != sample.digit);
      used[part].insert(sample.donor);
    }
  }
  CHECK(used.size() == 3);
  std::set<int64_t> all;
  size_t sum = 0;
  for (const auto& [part, members] : used) {
    all.insert(members.begin(), members.end());
    sum += members.size();
  }
  CHECK(all.size() == sum);
  CHECK(all.size() == 36);
}

TEST_CASE("Pictures depend on the seed and on nothing else", "[demo]") {
  torch::manual_seed(1);
  const auto before = torch::rand({1}).item<double>();
  torch::manual_seed(1);
  const auto once = samples(6);
  // LibTorch's own generator was not touched.
  CHECK(torch::rand({1}).item<double>() == before);
  const auto twice = samples(6);
  const auto other = samples(7);
  REQUIRE(once.size() == twice.size());
  size_t different = 0;
  for (size_t i = 0; i < once.size(); ++i) {
    CHECK(torch::equal(once[i].image, twice[i].image));
    CHECK(torch::equal(once[i].map, twice[i].map));
    CHECK(once[i].digit == twice[i].digit);
    different += torch::equal(once[i].image, other[i].image) ? 0 : 1;
  }
  CHECK(different == once.size());
}

TEST_CASE("Too few digits for the parts are an error", "[demo]") {
  Sizes sizes;
  sizes.more = 1500;
  CHECK(support::error_of([&] {
          demo::synthesize(digits(), 0, {}, sizes, false);
        }) == "demo: expected at most 1797 digits in all parts, got 2000");
}

TEST_CASE("What is read from the disk is what was made", "[demo]") {
  const pictures::Folder scratch;
  const auto& folder = scratch.path();
  const auto made = samples(9);
  demo::write_samples(made, folder);
  const auto read = demo::read_repetition(folder, 9);
  CHECK(read.seed == 9);
  CHECK(read.image.sizes() == at::IntArrayRef({20, 1, 32, 32}));
  CHECK(read.human.sizes() == at::IntArrayRef({12, 32, 32}));
  CHECK(read.segmentation.sizes() == at::IntArrayRef({12, 32, 32}));
  CHECK(read.real.size(0) == 8);

  int64_t training = 0;
  int64_t test = 0;
  for (const auto& sample : made) {
    const bool trains = sample.split == "train";
    const auto i = trains ? training++ : test++;
    const auto image = trains ? read.image[i] : read.test_image[i];
    CHECK(close(image, (sample.image - 0.5) / 0.25, 1e-6));
    CHECK(
        (trains ? read.label : read.test_label)[i].item<int64_t>() ==
        (sample.synthetic ? 1 : 0));
    if (sample.part == "annotated") {
      CHECK(close(read.human[i], sample.map, 0.51 / 255));
      CHECK(close(read.segmentation[i], sample.segmentation, 0.51 / 255));
    }
  }
  CHECK(read.test_image.size(0) == test);
  // The tests' indices lead to the right pictures.
  const auto& rows = read.synthetic.at("rows");
  const auto& marked = read.marked.at("rows");
  CHECK(rows.size(0) == 8);
  CHECK(marked.size(0) == 4);
  CHECK(read.test_label.index_select(0, rows).eq(1).all().item<bool>());
  CHECK(read.test_label.index_select(0, marked).eq(0).all().item<bool>());
  CHECK(read.test_label.index_select(0, read.real).eq(0).all().item<bool>());

  // The library's own check: no digit (as "subject") is in two splits.
  const auto table = cyborg::data::read_table(folder / "pictures.csv");
  CHECK(table.classes == std::vector<std::string>({"Real", "Synthetic"}));
  for (const auto& warning : table.warnings) {
    CHECK_FALSE(support::contains(warning, "subject"));
  }
}
