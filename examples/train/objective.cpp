// SPDX-License-Identifier: BSD-3-Clause
#include "objective.hpp"

#include "../common/pictures.hpp"
#include "../common/random.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace programs {

namespace {

/// Numbers of purposes beside those of `RandomPurpose`.
constexpr uint64_t kTermNumbers = 4000;

/// The guided loss of a distance.
template <class Distance>
auto guided_loss(const Settings& settings, double alpha) {
  return [loss = cyborg::SaliencyGuidedLoss<Distance>(
              cyborg::SaliencyGuidedLossOptions()
                  .alpha(alpha)
                  .cam_class(settings.cam_class)
                  .map_normalizer(settings.map_normalizer)
                  .human_normalizer(settings.human_normalizer)
                  .reduction(settings.reduction))](
             const torch::Tensor& logits, const cyborg::CamHook& hook,
             const cyborg::Batch& batch) {
    return loss(
        logits, batch.labels, hook, batch.maps, /*annotated=*/{}, batch.weight);
  };
}

/// Adds the distance to human maps to a guidance.
template <class Distance>
void add_distance(cyborg::Guidance& guidance, const Settings& settings) {
  guidance.add(
      kSaliencyPart, 1 - settings.alpha,
      cyborg::SaliencyTerm<Distance>(
          cyborg::SaliencyTermOptions()
              .cam_class(settings.cam_class)
              .map_normalizer(settings.map_normalizer)
              .human_normalizer(settings.human_normalizer)),
      cyborg::Blend::kConvex);
}

/// Calls `use(distance)` with the distance of the loss.
template <class Use>
void with_distance(const Settings& settings, const Use& use) {
  switch (settings.loss) {
    case Loss::kCyborgL1:
      return use(cyborg::L1());
    case Loss::kCrossEntropy:  // no distance is computed; any one would do
    case Loss::kCyborgL2:
      return use(cyborg::L2());
    case Loss::kCyborgKL:
      return use(cyborg::KL());
  }
  throw std::logic_error("programs::Objective: unknown loss");
}

bool is_plain(const ObjectiveSettings& objective) {
  return objective.terms.empty() && objective.class_weights.empty() &&
         objective.focal == 0 && objective.label_smoothing == 0 &&
         objective.balance == cyborg::Balance::kFixed;
}

}  // namespace

torch::Tensor class_weights(
    const Settings& settings, const std::vector<cyborg::data::Row>& rows) {
  const auto& words = settings.objective.class_weights;
  const auto count = settings.classes.size();
  if (words.empty()) {
    return {};
  }
  std::vector<double> weights(count, 1);
  if (words.size() == 1 && words[0] == "balanced") {
    std::vector<double> pictures(count, 0);
    for (const auto& row : rows) {
      ++pictures[static_cast<size_t>(row.label)];
    }
    for (size_t k = 0; k < count; ++k) {  // with equal classes all are 1
      weights[k] = static_cast<double>(rows.size()) /
                   (static_cast<double>(count) * std::max(pictures[k], 1.0));
    }
    return torch::tensor(weights, torch::kFloat);
  }
  for (const auto& word : words) {
    const auto equals = word.rfind('=');
    const auto name = word.substr(0, equals);
    const auto found =
        std::find(settings.classes.begin(), settings.classes.end(), name);
    double factor = -1;
    if (equals == std::string::npos || found == settings.classes.end() ||
        !CLI::detail::lexical_cast(word.substr(equals + 1), factor) ||
        !std::isfinite(factor) || factor < 0) {
      std::string names;
      for (const auto& each : settings.classes) {
        names += (names.empty() ? "" : ", ") + each;
      }
      throw std::invalid_argument(fmt::format(
          "--class-weights: expected balanced, or NAME=FACTOR with a class "
          "({}) and a number from 0, got {}",
          names, word));
    }
    weights[static_cast<size_t>(found - settings.classes.begin())] = factor;
  }
  if (std::all_of(
          weights.begin(), weights.end(), [](double w) { return w == 0; })) {
    throw std::invalid_argument(
        "--class-weights: expected a class with a weight above 0");
  }
  return torch::tensor(weights, torch::kFloat);
}

Objective::Objective(
    const Settings& settings, const std::vector<cyborg::data::Row>& rows,
    Network& network, torch::Device device)
    : settings_(settings),
      random_(at::make_generator<at::CPUGeneratorImpl>(settings.seed)) {
  const auto& objective = settings.objective;
  const bool guided = settings.loss != Loss::kCrossEntropy;
  if (is_plain(objective)) {
    with_distance(settings, [&](auto distance) {
      plain_ = guided_loss<decltype(distance)>(
          settings, guided ? settings.alpha : 1);
    });
    return;
  }
  auto task = cyborg::TaskOptions()
                  .focal(objective.focal)
                  .label_smoothing(objective.label_smoothing);
  const auto weights = class_weights(settings, rows);
  if (weights.defined()) {
    task.class_weight(weights.to(device));
  }
  guidance_ = cyborg::Guidance(cyborg::GuidanceOptions()
                                   .task(task)
                                   .balance(objective.balance)
                                   .reduction(settings.reduction));
  if (guided && settings.alpha < 1) {
    with_distance(settings, [&](auto distance) {
      add_distance<decltype(distance)>(guidance_, settings);
    });
  }
  TermSurroundings surroundings;
  surroundings.low.clear();
  surroundings.high.clear();
  for (size_t c = 0; c < static_cast<size_t>(settings.channels); ++c) {
    const auto of = [&](const std::vector<double>& values, double none) {
      return values.empty() ? none : values.size() == 1 ? values[0] : values[c];
    };
    const double mean = of(settings.mean, 0),
                 deviation = of(settings.stddev, 1);
    surroundings.low.push_back((0 - mean) / deviation);
    surroundings.high.push_back((1 - mean) / deviation);
  }
  surroundings.while_attacking = [&network] {
    return network.evaluation_norms();
  };
  surroundings.generator = random_;
  for (const auto& term : objective.terms) {
    add_term(guidance_, term, surroundings);
  }
}

void Objective::at(double epoch, int64_t step, int64_t rank) {
  for (const auto& term : settings_.objective.terms) {
    guidance_.strength(term.kind, strength_at(term, epoch));
  }
  random_.set_current_seed(sequence_seed(
      sequence_seed(settings_.seed, kTermNumbers + static_cast<uint64_t>(rank)),
      static_cast<uint64_t>(step)));
}

cyborg::GuidanceTerms Objective::operator()(
    cyborg::CamHook& hook,
    const std::function<torch::Tensor(const torch::Tensor&)>& forward,
    const cyborg::Batch& batch) const {
  if (!plain_) {
    auto whole = batch;
    // In a batch that nobody marked, the terms count no sample.
    if (reads_wrong(settings_) && !whole.wrong.defined()) {
      const auto size = batch.images.sizes();
      whole.wrong = torch::full(
          {size[0], size[2], size[3]}, std::numeric_limits<double>::quiet_NaN(),
          batch.images.options().dtype(torch::kFloat));
    }
    return guidance_(hook, forward, whole);
  }
  // Without guidance no map is made, so that a network that has none can be
  // trained too.
  const bool guided = settings_.alpha < 1;
  const auto logits = guided
                          ? hook.forward([&] { return forward(batch.images); })
                          : forward(batch.images);
  if (guided) {
    hook.require();  // also where no sample of this batch has a map
  }
  const auto terms = plain_(logits.to(torch::kFloat), hook, batch);
  cyborg::GuidanceTerms found;
  found.total = terms.total;
  found.task = terms.classification;
  found.task_count = torch::full(
      {}, batch.labels.size(0),
      terms.classification.options().requires_grad(false));
  if (guided) {
    found.parts.push_back(
        {kSaliencyPart, terms.saliency, terms.annotated_count,
         1 - settings_.alpha, cyborg::Blend::kConvex});
  }
  return found;
}

}  // namespace programs
