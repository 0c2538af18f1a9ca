// SPDX-License-Identifier: BSD-3-Clause
#include "experiment.hpp"

#include "synthesize.hpp"

#include "../models/detector.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/human/controls.hpp>
#include <cyborg/human/maps.hpp>
#include <cyborg/loss.hpp>
#include <cyborg/measure/detection.hpp>

#include <torch/optim/adam.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace demo {

namespace {

torch::Tensor indices(const std::vector<int64_t>& values) {
  return torch::tensor(values, torch::kLong);
}

// The human maps that a row trains with.
torch::Tensor training_maps(const Row& row, const Repetition& repetition) {
  const auto& human = repetition.human;
  const auto count = human.size(0);
  const auto label = repetition.label.slice(/*dim=*/0, 0, count);
  auto random = programs::random_generator(
      static_cast<uint64_t>(repetition.seed), programs::kControlMaps);
  switch (row.maps) {
    case Maps::kHuman:
      return human;
    case Maps::kSegmentation:
      return repetition.segmentation;
    case Maps::kShuffled:
      return cyborg::human::shuffled_within_class(human, label, random);
    case Maps::kInverted:
      return cyborg::human::inverted(human);
    case Maps::kRandom:
      // As coarse as the network's maps: the mean of finer noise, when it is
      // made smaller, would be a flat map.
      return cyborg::human::random_like(
          cyborg::maps::resize(human, {8, 8}), random);
  }
  return human;
}

// Adds a point to a curve every few steps: the mean over these steps.
class CurveWriter {
 public:
  explicit CurveWriter(Curve& curve) : curve_(curve) {}

  void add(double classification, double saliency) {
    classification_ += classification / kWindow;
    saliency_ += saliency / kWindow;
    if (++step_ % kWindow == 0) {
      curve_.step.push_back(static_cast<double>(step_));
      curve_.classification.push_back(std::exchange(classification_, 0));
      curve_.saliency.push_back(std::exchange(saliency_, 0));
    }
  }

 private:
  static constexpr int64_t kWindow = 10;
  Curve& curve_;
  double classification_ = 0;
  double saliency_ = 0;
  int64_t step_ = 0;
};

// The training loop of all rows: an ordinary loop, and four lines for guidance.
// With alpha = 1 the loss is the cross entropy.
template <class Criterion>
void train(
    models::Detector& net, const Row& row, const Repetition& repetition,
    const Sizes& sizes, Curve& curve,
    const std::function<void(int64_t)>& stepped) {
  const auto image = repetition.image.slice(/*dim=*/0, 0, row.train_images);
  const auto label = repetition.label.slice(/*dim=*/0, 0, row.train_images);
  const auto map = training_maps(row, repetition);
  torch::optim::Adam optimizer(
      net->parameters(), torch::optim::AdamOptions(kLearningRate));
  auto random = programs::random_generator(
      static_cast<uint64_t>(repetition.seed), programs::kPictureOrder);
  CurveWriter writer(curve);

  cyborg::CamHook hook(*net);
  const Criterion criterion(
      cyborg::SaliencyGuidedLossOptions().alpha(row.alpha));

  net->train();
  for (int64_t step = 0; step < row.steps;) {
    const auto epoch = torch::randperm(row.train_images, random, torch::kLong);
    for (const auto& batch : epoch.split(sizes.batch)) {
      if (step == row.steps) {
        break;
      }
      const auto x = image.index_select(/*dim=*/0, batch);
      const auto y = label.index_select(/*dim=*/0, batch);
      const auto maps =
          row.alpha < 1 ? map.index_select(/*dim=*/0, batch) : torch::Tensor();

      const auto logits = hook.forward([&] { return net->forward(x); });
      const auto terms = criterion(logits, y, hook, maps);
      optimizer.zero_grad();
      terms.total.backward();
      optimizer.step();

      writer.add(
          terms.classification.template item<double>(),
          terms.saliency.template item<double>());
      ++step;
      if (stepped) {
        stepped(1);
      }
    }
  }
}

}  // namespace

std::vector<Row> protocol_rows(const Sizes& sizes) {
  const auto n = sizes.annotated;
  const auto all = sizes.annotated + sizes.more;
  const auto steps = sizes.steps;
  const auto many = sizes.long_steps;
  return {
      {"ce", Distance::kNone, Maps::kHuman, n, steps, 1},
      {"ce_long", Distance::kNone, Maps::kHuman, n, many, 1},
      {"ce_7x", Distance::kNone, Maps::kHuman, all, many, 1},
      {"cyborg_l1", Distance::kL1, Maps::kHuman, n, steps, kAlphaL1},
      {"cyborg_l2", Distance::kL2, Maps::kHuman, n, steps, kAlphaL2},
      {"cyborg_kl", Distance::kKL, Maps::kHuman, n, steps, kAlphaKL},
      {"cyborg_segmentation", Distance::kKL, Maps::kSegmentation, n, steps,
       kAlphaKL},
      {"control_shuffled", Distance::kKL, Maps::kShuffled, n, steps, kAlphaKL},
      {"control_inverted", Distance::kKL, Maps::kInverted, n, steps, kAlphaKL},
      {"control_random", Distance::kKL, Maps::kRandom, n, steps, kAlphaKL}};
}

Repetition read_repetition(const std::filesystem::path& folder, int64_t seed) {
  const auto pictures = cyborg::data::read_table(folder / "pictures.csv");
  const auto segmentation =
      cyborg::data::read_table(folder / "segmentation.csv");
  // All at once: a repetition's pictures are 14 MB.
  const auto read = [](const std::vector<cyborg::data::Row>& rows) {
    cyborg::data::PictureDataset dataset(
        rows,
        cyborg::data::PictureDatasetOptions().channels(1).mean({0.5}).stddev(
            {0.25}));
    std::vector<size_t> all(rows.size());
    std::iota(all.begin(), all.end(), size_t{0});
    return cyborg::data::Collate().apply_batch(dataset.get_batch(all));
  };
  Repetition out;
  out.seed = seed;

  const auto training_rows = pictures.rows_of("train");
  const auto training = read(training_rows);
  const auto annotated = std::count_if(
      training_rows.begin(), training_rows.end(),
      [](const auto& row) { return row.group == "annotated"; });
  out.image = training.data;
  out.label = training.target;
  out.human = training.saliency.slice(/*dim=*/0, 0, annotated);
  out.segmentation = read(segmentation.rows).saliency;

  const auto test_rows = pictures.rows_of("test");
  const auto test = read(test_rows);
  out.test_image = test.data;
  out.test_label = test.target;
  out.test_map = test.saliency;
  std::vector<int64_t> real;
  std::map<std::string, std::vector<int64_t>> synthetic;
  std::map<std::string, std::vector<int64_t>> marked;
  const std::string shifted = "shifted-";
  for (size_t i = 0; i < test_rows.size(); ++i) {
    const auto& row = test_rows[i];
    auto& members = row.label == 1 ? synthetic[row.attack]
                    : row.group == "clean"
                        ? real
                        : marked[row.group.substr(shifted.size())];
    members.push_back(static_cast<int64_t>(i));
  }
  out.real = indices(real);
  for (const auto& [generator, members] : synthetic) {
    out.synthetic[generator] = indices(members);
  }
  for (const auto& [generator, members] : marked) {
    out.marked[generator] = indices(members);
  }
  return out;
}

Run run(
    const Row& row, const Repetition& repetition, const Sizes& sizes,
    const std::vector<std::string>& tested, const torch::Tensor& shown,
    const std::function<void(int64_t)>& stepped) {
  Run out;
  models::Detector net;
  auto random = programs::random_generator(
      static_cast<uint64_t>(repetition.seed), programs::kInitialWeights);
  net->initialize(random);
  const auto with = [&](auto trainer) {
    trainer(net, row, repetition, sizes, out.curve, stepped);
  };
  switch (row.distance) {
    case Distance::kNone:  // alpha = 1: any distance gives the cross entropy
    case Distance::kKL:
      with(train<cyborg::CyborgKLLoss>);
      break;
    case Distance::kL1:
      with(train<cyborg::CyborgL1Loss>);
      break;
    case Distance::kL2:
      with(train<cyborg::CyborgL2Loss>);
      break;
  }

  net->eval();
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> parts;
  for (const auto& part : repetition.test_image.split(/*split_size=*/256)) {
    const auto logits = net->forward(part);
    parts.push_back(logits.select(/*dim=*/1, 1) - logits.select(/*dim=*/1, 0));
  }
  const auto score = torch::cat(parts);
  const auto auc = [&](const torch::Tensor& reals,
                       const torch::Tensor& synthetics) {
    const auto members = torch::cat({reals, synthetics});
    return cyborg::measure::roc_auc(
        score.index_select(/*dim=*/0, members),
        repetition.test_label.index_select(/*dim=*/0, members));
  };
  const auto& real = repetition.real;
  for (const auto& generator : tested) {
    const auto& synthetic = repetition.synthetic.at(generator);
    out.clean.push_back(auc(real, synthetic));
    // Every second real gives way to one that carries the fingerprint.
    const auto half = real.slice(/*dim=*/0, 0, real.size(0), /*step=*/2);
    out.shifted.push_back(
        auc(torch::cat({half, repetition.marked.at(generator)}), synthetic));
  }
  if (shown.defined()) {
    cyborg::CamHook hook(*net);
    const auto x = repetition.test_image.index_select(/*dim=*/0, shown);
    const auto y = repetition.test_label.index_select(/*dim=*/0, shown);
    const auto logits = hook.forward([&] { return net->forward(x); });
    out.maps = hook.cam(logits, y).detach();
  }
  return out;
}

}  // namespace demo
