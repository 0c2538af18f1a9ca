// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The training: an ordinary loop, and what lets it survive.

#include "options.hpp"
#include "ranks.hpp"

#include "../common/network.hpp"
#include "../common/pictures.hpp"
#include "../common/scoring.hpp"

#include <cyborg/data/prefetch.hpp>
#include <cyborg/data/table.hpp>
#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/report/event_file.hpp>

#include <torch/optim/optimizer.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace programs {

/// Where a training is: with the weights, the optimizer's state and the random
/// generator's, all that is needed to go on.
struct Place {
  int64_t epoch = 0;
  int64_t batch = 0;  ///< batches of the epoch that are done
  int64_t step = 0;   ///< optimizer steps in all
  int64_t best_epoch = -1;
  double best = 0;
  // Sums over the epoch so far.
  double total = 0, classification = 0, saliency = 0;
  int64_t annotated = 0, pictures = 0;
  int64_t ranks = 1;  ///< the processes that share a batch
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(
    Place, epoch, batch, step, best_epoch, best, total, classification,
    saliency, annotated, pictures, ranks)

/// What a training came to.
struct Outcome {
  /// Or it was asked to stop, and can go on; or the first of several processes
  /// does the rest.
  bool finished = false;
  Settings settings;
  Place place;
  std::vector<nlohmann::json> log;  ///< a record an epoch
  Scored validation, test;          ///< with the best epoch's weights
};

class Trainer {
 public:
  /// Reads the table and makes the network, or goes on with what is in
  /// `request.out`. Nothing is written yet.
  explicit Trainer(const Request& request);

  /// Trains, writes checkpoints and the log. Stops after a step on Ctrl-C. Of
  /// several processes, the first writes.
  Outcome run();

 private:
  using Loader = cyborg::data::Prefetcher<TrainingSet>;
  using Criterion = std::function<cyborg::LossTerms(
      const torch::Tensor&, const torch::Tensor&, const cyborg::CamHook&,
      const torch::Tensor&)>;

  void begin();
  void resume();
  void set_up();
  bool train_epoch(TrainingSet& pictures, Loader& loader);
  cyborg::LossTerms loss_of(const cyborg::data::GuidedExample& batch);
  void step_optimizer();
  void end_epoch();
  nlohmann::json validate();
  void show(const nlohmann::json& record);
  void save(const std::string& name) const;
  void log(const nlohmann::json& record);
  [[noreturn]] void not_finite(const Loader& loader, bool here) const;
  void check_in_step(int64_t done) const;
  bool stop_asked() const;
  void say(const std::string& line) const;
  void warn(const std::string& line) const;

  Request request_;
  Settings& settings_;
  Ranks ranks_;
  torch::Device device_;
  cyborg::data::Table table_;
  std::vector<cyborg::data::Row> rows_;
  std::unique_ptr<Network> network_;
  torch::Tensor script_;
  std::unique_ptr<cyborg::CamHook> hook_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  Criterion criterion_;
  std::unique_ptr<cyborg::report::EventWriter> events_;
  Place place_;
  std::vector<nlohmann::json> records_;
};

}  // namespace programs
