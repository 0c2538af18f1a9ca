// SPDX-License-Identifier: BSD-3-Clause
#include "synthesize.hpp"

#include "../common/digits.hpp"

#include <cyborg/data/image.hpp>
#include <cyborg/io/file.hpp>

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

namespace demo {

namespace {

constexpr double kSpread = 3.5;  // of the annotator's Gaussian, in pixels
constexpr double kEdge = 0.35;   // of it, where the splice ends: radius 5.1

// A stroke's brightness is 1 and the paper's 0; fingerprints and noise go
// beyond both, so half a stroke of room is left on either side.
torch::Tensor to_pixels(const torch::Tensor& brightness) {
  return ((brightness + 0.5) / 2 * 255).round().clamp(0, 255) / 255;
}

// Row and column of every pixel, each [32, 32].
std::pair<torch::Tensor, torch::Tensor> rows_and_columns() {
  const auto line = torch::arange(kSide, torch::kFloat);
  return {
      line.reshape({kSide, 1}).expand({kSide, kSide}),
      line.reshape({1, kSide}).expand({kSide, kSide})};
}

torch::Tensor pattern(const std::string& name) {
  const auto [y, x] = rows_and_columns();
  const auto every = [](const torch::Tensor& t, int64_t period) {
    return t.remainder(period).lt(1).to(torch::kFloat);
  };
  if (name == "checkerboard") {
    return every(y + x, 2);
  } else if (name == "rows") {
    return every(y, 3);
  } else if (name == "columns") {
    return every(x, 3);
  } else if (name == "diagonals") {
    return every(y + x, 4);
  } else if (name == "waves") {
    return torch::sin(0.8 * x) * torch::sin(0.8 * y);
  } else if (name == "blocks") {
    return every((y / 2).floor() + (x / 2).floor(), 2);
  }
  TORCH_CHECK(name == "rings", "demo: no generator is called '", name, "'");
  const auto centre = (kSide - 1) / 2.0;
  return torch::cos(
      1.6 * ((y - centre).square() + (x - centre).square()).sqrt());
}

}  // namespace

const std::vector<std::string>& generators() {
  static const std::vector<std::string> names = {
      "checkerboard",  // seen
      "rows",         "columns", "diagonals", "waves",
      "blocks",       "noise",   "rings"};  // validation
  return names;
}

torch::Tensor fingerprint(int64_t index, int64_t n, torch::Generator& random) {
  const auto& name = generators().at(static_cast<size_t>(index));
  auto out = name == "noise"
                 ? torch::randn({n, kSide, kSide}, random, torch::kFloat)
                 : pattern(name).expand({n, kSide, kSide});
  out = out - out.mean({1, 2}, /*keepdim=*/true);
  return out / out.square().mean({1, 2}, /*keepdim=*/true).sqrt();
}

torch::Tensor read_digits(const std::filesystem::path& folder) {
  const auto large = at::upsample_bilinear2d(
      programs::read_digits(folder), {24, 24}, /*align_corners=*/false);
  return at::constant_pad_nd(large.squeeze(1), {4, 4, 4, 4}).clamp(0, 1);
}

Spliced splice(
    const torch::Tensor& pictures, const torch::Tensor& donors,
    torch::Generator& random) {
  const auto n = pictures.size(0);
  const auto place = [&] {  // far enough from the edge to be seen whole
    return torch::randint(
        kSide / 4, kSide - kSide / 4, {n, 1, 1}, random, torch::kFloat);
  };
  const auto centre_y = place();
  const auto centre_x = place();
  const auto [y, x] = rows_and_columns();
  const auto map = torch::exp(
      -((y - centre_y).square() + (x - centre_x).square()) /
      (2 * kSpread * kSpread));
  const auto region = map.gt(kEdge).to(torch::kFloat);
  const auto patch = 0.8 * torch::rot90(donors, 1, {1, 2}) + 0.12;
  return {pictures * (1 - region) + patch * region, region, map};
}

torch::Tensor strokes(const torch::Tensor& pictures) {
  const auto wide = at::avg_pool2d(
      pictures.unsqueeze(1), /*kernel_size=*/5, /*stride=*/1, /*padding=*/2);
  return (wide / wide.amax({2, 3}, /*keepdim=*/true).clamp_min(1e-6))
      .squeeze(1);
}

namespace {

// Makes the pictures of one call of `synthesize` and adds them to its list.
class PictureMaker {
 public:
  PictureMaker(
      const torch::Tensor& digits, const Difficulty& difficulty,
      std::vector<Sample>& out)
      : digits_(digits), difficulty_(difficulty), out_(out) {}

  // Real pictures of the digits; `generator` < 0: without a fingerprint.
  void reals(
      const torch::Tensor& hosts, const Sample& like, int64_t generator,
      torch::Generator random) {
    const auto clean = digits_.index_select(/*dim=*/0, hosts);
    const auto ink = strokes(clean);
    emit(hosts, {}, like, generator, clean, ink, ink, random);
  }

  // Synthetic pictures: a splice from another digit of `part`, then the
  // generator's fingerprint over all of it.
  void synthetics(
      const torch::Tensor& hosts, const torch::Tensor& part, const Sample& like,
      int64_t generator, torch::Generator random) {
    const auto n = part.size(0);
    auto donors = hosts.clone();
    for (int64_t i = 0; i < hosts.size(0); ++i) {
      const auto self = part.eq(hosts[i]).nonzero()[0][0].item<int64_t>();
      const auto step =
          torch::randint(1, n, {1}, random, torch::kLong).item<int64_t>();
      donors[i] = part[(self + step) % n];  // any but the host itself
    }
    const auto made = splice(
        digits_.index_select(/*dim=*/0, hosts),
        digits_.index_select(/*dim=*/0, donors), random);
    emit(
        hosts, donors, like, generator, made.picture, made.map,
        strokes(made.picture), random);
  }

 private:
  void emit(
      const torch::Tensor& hosts, const torch::Tensor& donors,
      const Sample& like, int64_t generator, torch::Tensor picture,
      const torch::Tensor& map, const torch::Tensor& segmentation,
      torch::Generator& random) {
    const auto n = hosts.size(0);
    if (generator >= 0) {
      picture =
          picture + difficulty_.fingerprint * fingerprint(generator, n, random);
    }
    // Cameras differ: were all pictures equally noisy, more of anything over
    // the whole picture would give every generator away, known or not.
    const auto level = difficulty_.noise *
                       (0.5 + torch::rand({n, 1, 1}, random, torch::kFloat));
    picture = picture +
              level * torch::randn({n, kSide, kSide}, random, torch::kFloat);
    const auto pixels = to_pixels(picture);
    for (int64_t i = 0; i < n; ++i) {
      auto sample = like;
      sample.generator =
          generator < 0 ? "" : generators().at(static_cast<size_t>(generator));
      sample.digit = hosts[i].item<int64_t>();
      sample.donor = donors.defined() ? donors[i].item<int64_t>() : -1;
      sample.synthetic = donors.defined();
      sample.image = pixels[i].unsqueeze(0);
      sample.map = map[i];
      sample.segmentation = segmentation[i];
      out_.push_back(std::move(sample));
    }
  }

  const torch::Tensor& digits_;
  const Difficulty& difficulty_;
  std::vector<Sample>& out_;
};

}  // namespace

std::vector<Sample> synthesize(
    const torch::Tensor& digits, int64_t seed, const Difficulty& difficulty,
    const Sizes& sizes, bool validation) {
  TORCH_CHECK(
      sizes.annotated + sizes.more + sizes.test <= digits.size(0),
      "demo: expected at most ", digits.size(0), " digits in all parts, got ",
      sizes.annotated + sizes.more + sizes.test);
  uint64_t purpose = 0;  // a random sequence of its own for every block
  const auto random = [&] {
    return programs::random_generator(static_cast<uint64_t>(seed), purpose++);
  };
  auto shuffle = random();
  const auto order = torch::randperm(digits.size(0), shuffle, torch::kLong);

  std::vector<Sample> out;
  PictureMaker maker(digits, difficulty, out);
  int64_t begin = 0;
  const auto part = [&](int64_t count) {
    begin += count;
    return order.slice(/*dim=*/0, begin - count, begin);
  };
  const auto even = [](const torch::Tensor& t) {
    return t.slice(/*dim=*/0, 0, t.size(0), /*step=*/2);
  };
  const auto odd = [](const torch::Tensor& t) {
    return t.slice(/*dim=*/0, 1, t.size(0), /*step=*/2);
  };
  Sample like{};
  like.split = "train";
  for (const auto& [name, count] :
       {std::pair{"annotated", sizes.annotated}, {"more", sizes.more}}) {
    like.part = name;
    const auto digits_here = part(count);
    maker.reals(even(digits_here), like, /*generator=*/-1, random());
    maker.synthetics(odd(digits_here), digits_here, like, kSeen, random());
  }
  like.split = "test";
  const auto test = part(sizes.test);
  like.part = "clean";
  maker.reals(even(test), like, /*generator=*/-1, random());
  const auto tested = kFirstUnseen + kUnseenCount + (validation ? 1 : 0);
  for (int64_t generator = 0; generator < tested; ++generator) {
    like.part = "clean";
    maker.synthetics(odd(test), test, like, generator, random());
    like.part = "shifted";
    maker.reals(odd(even(test)), like, generator, random());
  }
  return out;
}

void write_samples(
    const std::vector<Sample>& samples, const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  for (const auto* name : {"train", "test", "maps", "segmentations"}) {
    fs::create_directories(folder / name);
  }
  const auto write = [&](const std::string& name, const torch::Tensor& image) {
    // Not through a temporary name and a sync, as `data::write_png` would:
    // nobody reads these pictures before they are all there.
    std::ofstream file(folder / name, std::ios::binary | std::ios::trunc);
    file << cyborg::data::encode_png(image);
    file.close();
    TORCH_CHECK(
        file.good(), "demo: cannot write '", (folder / name).string(), "'");
  };
  const std::string head = "split,class,path,saliency,attack,group,subject\n";
  std::string pictures = head;
  std::string segmentation = head;
  size_t index = 0;
  std::map<std::string, int64_t> shown;
  for (const auto& sample : samples) {
    auto number = std::to_string(index++);
    number.insert(0, 4 - std::min<size_t>(number.size(), 4), '0');
    const auto name = number + "-" + sample.part + "-" +
                      (sample.synthetic ? "synthetic" : "real") +
                      (sample.generator.empty() ? "" : "-" + sample.generator) +
                      ".png";
    const auto path = sample.split + "/" + name;
    write(path, sample.image);
    // Maps of the pictures that are trained on with guidance, and of a few of
    // each kind of test, to be looked at. The others have none: that is what 7
    // times the pictures, but not 7 times the annotations, means.
    std::string map;
    const auto kind = sample.part + sample.generator +
                      (sample.synthetic ? " synthetic" : " real");
    if (sample.part == "annotated" ||
        (sample.part == "clean" && shown[kind]++ < kShown)) {
      map = "maps/" + name;
      write(map, sample.map);
    }
    const auto row = [&](const std::string& saliency) {
      return sample.split + "," + (sample.synthetic ? "Synthetic," : "Real,") +
             path + "," + saliency + "," +
             (sample.synthetic ? sample.generator : "") + "," + sample.part +
             (sample.part == "shifted" ? "-" + sample.generator : "") +
             ",digit" + std::to_string(sample.digit) + "\n";
    };
    pictures += row(map);
    if (sample.part == "annotated") {
      // A real picture's strokes are what the annotator draws as well.
      auto strokes_of_it = map;
      if (sample.synthetic) {
        strokes_of_it = "segmentations/" + name;
        write(strokes_of_it, sample.segmentation);
      }
      segmentation += row(strokes_of_it);
    }
  }
  cyborg::io::write_file(folder / "pictures.csv", pictures);
  cyborg::io::write_file(folder / "segmentation.csv", segmentation);
}

}  // namespace demo
