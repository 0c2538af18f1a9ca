// SPDX-License-Identifier: BSD-3-Clause
#include "training.hpp"

#include "../common/random.hpp"

#include <cyborg/guide/guidance.hpp>
#include <cyborg/human/changed_pictures.hpp>
#include <cyborg/human/controls.hpp>
#include <cyborg/maps/resize.hpp>
#include <cyborg/measure/wrong_reason.hpp>

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>
#include <vector>

namespace methods {

namespace {

enum TrainingPurpose : uint64_t {
  kWeights = 3100,
  kOrder,
  kGuide,
  kFill,
  kMask
};

at::Generator generator(const Repetition& repetition, uint64_t purpose) {
  return programs::random_generator(
      static_cast<uint64_t>(repetition.seed), purpose);
}

torch::nn::Sequential make_network(Net net) {
  torch::nn::Sequential made;
  if (net == Net::kPerceptron) {
    made->push_back(torch::nn::Flatten());
    int64_t in = kSide * kSide;
    for (const int64_t out : {50, 30}) {
      made->push_back(torch::nn::Linear(in, out));
      made->push_back(torch::nn::ReLU());
      in = out;
    }
    made->push_back(torch::nn::Linear(in, kClasses));
    return made;
  }
  int64_t in = 1;
  for (const int64_t out : {16, 32, 64}) {
    made->push_back(torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in, out, /*kernel_size=*/3).padding(1)));
    if (out < 64) {  // before the ReLU, which then has less to do
      made->push_back(torch::nn::MaxPool2d(2));
    }
    made->push_back(torch::nn::ReLU());
    in = out;
  }
  made->push_back(torch::nn::AdaptiveAvgPool2d(1));
  made->push_back(torch::nn::Flatten());
  made->push_back(torch::nn::Linear(in, kClasses));
  return made;
}

/// Draws the weights: the perceptron's as published, N(0, 0.1); the others from
/// LibTorch's default distribution. All threads share the global generator, so
/// that it is not used.
void initialize(torch::nn::Sequential& network, Net net, at::Generator random) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : network->parameters()) {
    if (net == Net::kPerceptron) {
      if (parameter.dim() == 1) {
        parameter.zero_();
      } else {
        parameter.normal_(0, 0.1, random);
      }
    } else if (parameter.dim() > 1) {
      const double bound =
          1 / std::sqrt(static_cast<double>(parameter[0].numel()));
      parameter.uniform_(-bound, bound, random);
    } else {
      parameter.zero_();
    }
  }
}

/// Puts the filters in channels-last order. The pictures and maps of the network
/// then have this order too, in which LibTorch convolves and pools small
/// pictures in two thirds of the time.
void to_channels_last(torch::nn::Sequential& network) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : network->parameters()) {
    if (parameter.dim() == 4) {
      parameter.set_data(parameter.to(
          parameter.options(), /*non_blocking=*/false, /*copy=*/true,
          torch::MemoryFormat::ChannelsLast));
    }
  }
}

/// Maps and masks as the row sees them.
struct Guides {
  torch::Tensor maps, wrong;
};

Guides guides_of(const Row& row, const Repetition& repetition) {
  const Pictures& train = repetition.train;
  auto random = generator(repetition, kGuide);
  switch (row.guide) {
    case Guide::kTrue:
      break;
    case Guide::kShuffled: {
      const auto all = torch::ones({train.image.size(0)}, torch::kBool);
      const auto other = cyborg::human::shuffled_indices(all, random);
      return {
          train.stroke.index_select(0, other),
          train.wrong.index_select(0, other)};
    }
    case Guide::kInverted:
      return {
          cyborg::human::inverted(train.stroke),
          cyborg::human::inverted(train.wrong)};
    case Guide::kRandom:
      // As coarse as the network's maps: finer noise would be flat there.
      return {
          cyborg::human::random_like(
              cyborg::maps::resize(train.stroke, {7, 7}), random),
          train.wrong};
    case Guide::kCentre:
      return {
          cyborg::human::centre_gaussian(
              train.image.size(0), {kSide, kSide}, kSide / 5.0),
          train.wrong};
  }
  return {train.stroke, train.wrong};
}

/// Processor time of this thread, in milliseconds.
double thread_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 +
         static_cast<double>(now.tv_nsec) * 1e-6;
}

/// The maps [n, 28, 28] of the test pictures: of the predicted class, or the
/// gradient of all logarithms of probabilities where there is no map.
torch::Tensor test_maps(
    torch::nn::Sequential& network, Net net, const torch::Tensor& images) {
  if (net == Net::kPerceptron) {
    const auto x = images.detach().requires_grad_();
    const auto score = network->forward(x).log_softmax(1).sum();
    return torch::autograd::grad({score}, {x})[0].sum(1);
  }
  cyborg::CamHook hook(network);
  const torch::NoGradGuard no_grad;
  const auto logits = hook.forward([&] { return network->forward(images); });
  const auto maps = hook.cam(logits, cyborg::CamClass::kPredicted);
  return cyborg::maps::resize(maps.relu(), {kSide, kSide});
}

}  // namespace

Run run(
    const Row& row, const Repetition& repetition, Net net,
    const Recipe& recipe) {
  const Pictures& train = repetition.train;
  const Guides guides = guides_of(row, repetition);
  const auto& images = row.data == Data::kClean ? train.clean : train.image;
  auto network = make_network(net);
  initialize(network, net, generator(repetition, kWeights));
  to_channels_last(network);
  torch::optim::Adam optimizer(
      network->parameters(), torch::optim::AdamOptions(recipe.learning_rate));
  cyborg::CamHook hook(network);
  cyborg::Guidance guidance;
  if (row.term) {
    programs::TermSurroundings surroundings;
    surroundings.generator = generator(repetition, kMask);
    programs::add_term(guidance, *row.term, surroundings);
  }
  const auto forward = [&](const torch::Tensor& x) {
    return network->forward(x);
  };
  auto order = generator(repetition, kOrder);
  auto fill = generator(repetition, kFill);
  std::vector<double> times;
  for (int64_t epoch = 0; epoch < recipe.epochs; ++epoch) {
    const auto shuffled = torch::randperm(images.size(0), order, torch::kLong);
    for (const auto& some : shuffled.split(recipe.batch)) {
      const auto of = [&](const torch::Tensor& all) {
        return all.index_select(0, some);
      };
      cyborg::Batch batch{
          of(images), of(train.label), of(guides.maps), of(guides.wrong)};
      const double begin = thread_milliseconds();
      if (row.data == Data::kCounterExamples) {
        batch.images = torch::cat(
            {batch.images,
             cyborg::human::refilled(batch.images, batch.wrong, 0, 1, fill)});
        batch.labels = batch.labels.repeat({2});
      }
      const auto total =
          row.term ? guidance(hook, forward, batch).total
                   : torch::nn::functional::cross_entropy(
                         network->forward(batch.images), batch.labels);
      optimizer.zero_grad();
      total.backward();
      optimizer.step();
      times.push_back(thread_milliseconds() - begin);
    }
  }
  const Pictures& test = repetition.test;
  const auto& tested = row.data == Data::kClean ? test.clean : test.image;
  torch::Tensor right;
  {
    const torch::NoGradGuard no_grad;
    right = network->forward(tested).argmax(1).eq(test.label);
  }
  std::nth_element(
      times.begin(), times.begin() + static_cast<int64_t>(times.size() / 2),
      times.end());
  return {
      right.to(torch::kDouble).mean().item<double>(),
      cyborg::measure::wrong_reason(test_maps(network, net, tested), test.wrong)
          .score,
      times[times.size() / 2]};
}

}  // namespace methods
