// SPDX-License-Identifier: BSD-3-Clause
// The time to load a picture with its human map, from files to normalised
// batches, compared with the time to train a ResNet-18 on it; and what it adds
// to draw the map of polygons.

#include "program.hpp"

#include "models/resnet.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/loss.hpp>

#include <torch/optim/sgd.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace {

namespace data = cyborg::data;
namespace fs = std::filesystem;
namespace stb = cyborg::data::detail::stb;

constexpr int64_t kHeight = 375, kWidth = 500, kSide = 224;
constexpr int64_t kFiles = 32;
constexpr int64_t kTimes = 4;  // how often an epoch reads each file
constexpr int64_t kBatch = 8;

/// A picture [3, H, W] that compresses like a photograph: structure of all
/// sizes (the larger, the stronger), an edge, and the noise of a sensor.
torch::Tensor photograph(int64_t number) {
  torch::manual_seed(static_cast<uint64_t>(number));
  auto image = torch::full({3, kHeight, kWidth}, 0.5);
  for (int64_t side = 4; side <= 128; side *= 2) {
    image += data::resize_image(
                 torch::randn({3, side, side}) / std::sqrt(side),
                 {kHeight, kWidth}) *
             0.35;
  }
  const auto x = torch::linspace(-1, 1, kWidth).view({1, kWidth});
  const auto y = torch::linspace(-1, 1, kHeight).view({kHeight, 1});
  image += 0.2 * (x * x + y * y < 0.5);
  return (image + 0.012 * torch::randn_like(image)).clamp(0, 1);
}

/// The human map of a picture [H, W]: a soft spot.
torch::Tensor spot(int64_t number) {
  const auto x = torch::linspace(-1, 1, kWidth).view({1, kWidth});
  const auto y = torch::linspace(-1, 1, kHeight).view({kHeight, 1});
  const double middle = static_cast<double>(number % 7) / 7 - 0.4;
  return torch::exp(-6 * ((x - middle).square() + (y + middle).square()));
}

void write_jpeg(const fs::path& path, const torch::Tensor& image) {
  const auto pixels =
      (image * 255).round().to(torch::kByte).permute({1, 2, 0}).contiguous();
  std::string bytes;
  const auto append = [](void* to, void* from, int size) {
    static_cast<std::string*>(to)->append(
        static_cast<const char*>(from), static_cast<size_t>(size));
  };
  stb::stbi_write_jpg_to_func(
      append, &bytes, static_cast<int>(kWidth), static_cast<int>(kHeight), 3,
      pixels.data_ptr<uint8_t>(), /*quality=*/90);
  cyborg::io::write_file(path, bytes, "bench_loader");
}

/// The rows of an epoch. Files that do not exist yet are written.
std::vector<data::Row> files_in(
    const fs::path& folder, const std::string& extension) {
  std::vector<data::Row> rows;
  for (const char* part : {"jpg", "png", "maps"}) {
    fs::create_directories(folder / part);
  }
  for (int64_t i = 0; i < kFiles; ++i) {
    const auto name = fmt::format("{:03}", i);
    const auto picture = folder / extension / (name + "." + extension);
    const auto map = folder / "maps" / (name + ".png");
    if (!fs::exists(map)) {
      data::write_png(map, spot(i));
    }
    if (!fs::exists(picture)) {
      if (extension == "jpg") {
        write_jpeg(picture, photograph(i));
      } else {
        data::write_png(picture, photograph(i));
      }
    }
    data::Row row;
    row.label = i % 2;
    row.path = picture.string();
    row.saliency = {map.string()};
    rows.push_back(row);
  }
  for (int64_t i = kFiles; i < kFiles * kTimes; ++i) {
    rows.push_back(rows[static_cast<size_t>(i - kFiles)]);
  }
  return rows;
}

data::PictureDataset pictures(const fs::path& folder, const std::string& kind) {
  return data::PictureDataset(
      files_in(folder, kind), data::PictureDatasetOptions()
                                  .size({kSide, kSide})
                                  .mean({.485, .456, .406})
                                  .stddev({.229, .224, .225}));
}

/// Guided training of a ResNet-18 on one batch.
struct Training {
  explicit Training(data::GuidedExample batch_)
      : batch(std::move(batch_)),
        net(models::resnet18(/*classes=*/2)),
        hook(*net),
        optimizer(
            net->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9)) {}

  void step() {
    const auto logits = hook.forward([&] { return net->forward(batch.data); });
    optimizer.zero_grad();
    criterion(logits, batch.target, hook, batch.saliency).total.backward();
    optimizer.step();
  }

  data::GuidedExample batch;
  models::ResNet net;
  cyborg::CamHook hook;
  cyborg::CyborgL2Loss criterion;
  torch::optim::SGD optimizer;
};

/// The claim that to load a picture takes no longer than to train on it.
claims::Claim claim(
    const fs::path& folder, const std::string& kind, size_t workers) {
  using Loader = data::Prefetcher<data::PictureDataset>;
  claims::Claim made{
      fmt::format("loader_{}_workers{}", kind, workers),
      fmt::format("a picture and its map, {} workers", workers),
      "a ResNet-18 step, per picture",
      {},
      /*target=*/1.0};
  made.pairs = {5, 31};
  made.warm_up = 1;
  made.make = [=]() -> claims::Sampler {
    const auto loader = std::make_shared<Loader>(
        pictures(folder, kind),
        data::PrefetchOptions().batch_size(kBatch).workers(workers));
    const auto training = std::make_shared<Training>(*loader->begin());
    return [=](bool ours_first) {
      auto pair = claims::time_pair(
          [&] {
            for (const auto& batch : *loader) {
              benchmark::DoNotOptimize(batch.data.data_ptr());
            }
          },
          [&] { training->step(); }, ours_first);
      pair.ours /= kFiles * kTimes;
      pair.baseline /= kBatch;
      pair.ratio = pair.ours / pair.baseline;
      return pair;
    };
  };
  made.more = [=](const claims::Result& result) -> nlohmann::json {
    return {
        {"images_per_s", 1 / claims::median(result.ours)},
        {"step_images_per_s", 1 / claims::median(result.baseline)}};
  };
  return made;
}

/// The rows of `count` pictures, each with three polygons of 20 corners of its
/// own, and without maps in files.
std::vector<data::Row> with_polygons(
    const fs::path& folder, const std::string& kind, size_t count) {
  const auto files = files_in(folder, kind);
  torch::manual_seed(19);
  std::vector<data::Row> rows;
  for (size_t i = 0; i < count; ++i) {
    auto row = files[i % files.size()];
    row.saliency.clear();
    auto marks = std::make_shared<data::Annotation>();
    for (int k = 0; k < 3; ++k) {
      const auto angle =
          torch::arange(20, torch::kDouble) * (2 * std::acos(-1.0) / 20);
      const auto radius = 20 + 60 * torch::rand({20}, torch::kDouble);
      const auto middle = torch::rand({2}, torch::kDouble);
      marks->polygons.push_back(torch::stack(
          {middle[0] * kWidth + radius * angle.cos(),
           middle[1] * kHeight + radius * angle.sin()},
          /*dim=*/1));
    }
    row.annotations = {marks};
    rows.push_back(row);
  }
  return rows;
}

/// The claim that polygons add a tenth at most to the time of the loader. It
/// reads on one thread, so that this is the processor's time.
claims::Claim polygon_claim(
    const fs::path& folder, const std::string& kind, size_t count) {
  claims::Claim made{
      fmt::format("loader_{}_polygons", kind),
      "a picture and the map of three polygons",
      "a picture without a map",
      {},
      /*target=*/1.1};
  made.pairs = {5, 31};
  made.warm_up = 1;
  made.make = [=]() -> claims::Sampler {
    const auto rows = with_polygons(folder, kind, count);
    auto plain = rows;
    for (auto& row : plain) {
      row.annotations.clear();
    }
    const auto loader = [&](std::vector<data::Row> some) {
      return std::make_shared<data::Prefetcher<data::PictureDataset>>(
          data::PictureDataset(
              std::move(some), data::PictureDatasetOptions()
                                   .size({kSide, kSide})
                                   .mean({.485, .456, .406})
                                   .stddev({.229, .224, .225})),
          data::PrefetchOptions().batch_size(kBatch).workers(0));
    };
    const auto ours = loader(rows);
    const auto baseline = loader(plain);
    return [=](bool ours_first) {
      const auto read = [](auto& all) {
        for (const auto& batch : *all) {
          benchmark::DoNotOptimize(batch.saliency.data_ptr());
        }
      };
      auto pair = claims::time_pair(
          [&] { read(ours); }, [&] { read(baseline); }, ours_first);
      pair.ours /= static_cast<double>(count);
      pair.baseline /= static_cast<double>(count);
      return pair;
    };
  };
  return made;
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder =
      (fs::temp_directory_path() / "cyborg-bench-loader").string();
  size_t marked = kFiles * kTimes;
  const auto measure = [&](const claims::Program& program) -> nlohmann::json {
    std::vector<claims::Claim> all;
    for (const char* kind : {"jpg", "png"}) {
      for (const size_t workers : {0, 1, 2}) {
        all.push_back(claim(folder, kind, workers));
      }
      all.push_back(polygon_claim(folder, kind, marked));
    }
    return {{"rows", claims::run(all, program.quick)}};
  };
  return claims::run_program(argc, argv, "loader", measure, [&](CLI::App& app) {
    app.add_option(
           "--files", folder,
           "folder of the pictures; written if they are missing")
        ->capture_default_str();
    app.add_option(
           "--marked", marked, "pictures with polygons, which share the files")
        ->capture_default_str();
  });
}
