// SPDX-License-Identifier: BSD-3-Clause
#include "trainer.hpp"

#include "export.hpp"
#include "fingerprint.hpp"
#include "output_lock.hpp"
#include "recipe.hpp"
#include "resume.hpp"
#include "validation.hpp"
#include "watch.hpp"

#include <cyborg/io/file.hpp>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <stdexcept>
#include <utility>

namespace programs {

namespace {

at::Generator global_generator() {
  return at::globalContext().defaultGenerator(torch::kCPU);
}

bool resumes(const TrainOptions& options, const TrainingProcesses& processes) {
  return options.resume == Resume::kYes ||
         (options.resume == Resume::kAuto &&
          processes.any(std::filesystem::exists(options.out / "last.pt")));
}

Training start(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log, bool resumed) {
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  return resumed ? resume_training(options, processes, log)
                 : begin_training(options, processes, log);
}

}  // namespace

Trainer::Trainer(const TrainOptions& options)
    : options_(options),
      processes_(device_named(options.device)),
      resumed_(resumes(options, processes_)),
      log_(options.out, processes_.is_first(), options.quiet),
      training_(start(options, processes_, log_, resumed_)),
      settings_(training_.settings),
      state_(training_.state),
      learner_(
          settings_, training_.table.rows_of("train"), *training_.network,
          processes_),
      rows_(training_.table.rows_of("train")),
      table_(fingerprint(training_.table, settings_)),
      scoring_{
          processes_.device(), static_cast<size_t>(options.workers),
          static_cast<size_t>(settings_.batch)} {
  set_sample_weights(rows_, settings_);
  if (settings_.ema > 0) {
    average_ =
        std::make_unique<WeightAverage>(*training_.network, settings_.ema);
  }
  if (resumed_) {
    learner_.load_state(training_.optimizer);
    if (average_) {
      average_->load_state(training_.average);
    }
    global_generator().set_state(training_.random);
  } else {
    torch::manual_seed(
        settings_.seed + static_cast<uint64_t>(processes_.rank()));
  }
  at::globalContext().setDeterministicAlgorithms(
      settings_.deterministic, /*warn_only=*/false);
}

TrainResult Trainer::run() {
  catch_stop_signals();
  std::optional<OutputLock> lock;
  if (processes_.is_first()) {
    lock.emplace(options_.out);
  }
  if (resumed_) {
    log_.resume(state_);
  }
  log_.open();
  if (state_.epoch >= settings_.epochs || waited_long_enough()) {
    log_.print(fmt::format(
        "this training is finished: {} epochs, the best one is {}; scores and "
        "report are written again",
        state_.epoch, state_.best_epoch + 1));
  } else if (resumed_) {
    log_.print(fmt::format(
        "resumed at epoch {}, batch {}", state_.epoch + 1, state_.batch));
  }
  auto pictures = training_set(as_read(rows_, settings_), settings_);
  Loader loader(
      pictures, cyborg::data::PrefetchOptions()
                    .weights(sampler_weights(rows_, settings_))
                    .batch_size(static_cast<size_t>(settings_.batch))
                    .workers(static_cast<size_t>(options_.workers))
                    .ahead(static_cast<size_t>(options_.ahead))
                    .shuffle(true)
                    .seed(picture_order_seed(settings_))
                    .least_in_last(2)  // for batch normalisation
                    .world(static_cast<size_t>(processes_.size()))
                    .rank(static_cast<size_t>(processes_.rank())));
  bool stopped = false;
  while (!stopped && state_.epoch < settings_.epochs && !waited_long_enough()) {
    stopped = !train_epoch(pictures, loader);
  }
  for (const auto& left_out : pictures.dataset().skipped()) {
    log_.warn(left_out.path + ": " + left_out.reason + "; left out");
  }
  TrainResult result;
  result.settings = settings_;
  result.state = state_;
  result.log = log_.records();
  if (processes_.is_first()) {
    if (!stopped) {
      score(result);
    }
    result.stopped = !result.finished;
  }
  if (result.stopped) {
    log_.print(fmt::format(
        "stopped after step {} and saved. To continue: {}", state_.step,
        resume_command(options_, processes_.size())));
  }
  return result;
}

/// Scores validation and test pictures with the best weights. The result is
/// finished unless the process was asked to stop.
void Trainer::score(TrainResult& result) {
  auto best = load_trained(options_.out / "best.pt");
  best.network.to(processes_.device());
  for (const auto& [split, scored] :
       {std::pair("val", &result.validation), {"test", &result.test}}) {
    *scored = score_split(
        best.network, training_.table, split, settings_, scoring_, log_);
    if (scored->stopped) {
      return;
    }
  }
  write_export(best.network);
  result.finished = true;
}

/// Carries out --export.
void Trainer::write_export(Network& best) const {
  if (!options_.export_to.empty()) {
    best.to(torch::kCPU);
    export_network(
        best, first_picture(rows_, settings_).unsqueeze(0), options_.export_to);
    log_.print("wrote " + options_.export_to.string());
  }
}

void Trainer::end_step() {
  learner_.end_step();
  if (average_) {
    average_->update();
  }
  ++state_.step;
}

/// All processes call it; the first one writes. Where weights are not finite,
/// nothing is written and all processes throw. When it returns, the file is
/// there, so that each process may end.
void Trainer::save(const std::string& name) const {
  const auto wrong = learner_.not_finite();
  if (processes_.any(!wrong.empty())) {
    throw_weights_not_finite(state_.step, wrong);
  }
  const auto random =
      processes_.all_gather(global_generator().get_state().unsqueeze(0));
  if (processes_.is_first()) {
    write(name, random);
  }
  processes_.any(false);
}

/// `random`: the states of all processes' generators.
void Trainer::write(
    const std::string& name, const torch::Tensor& random) const {
  SavedTraining saved;
  saved.settings = settings_;
  saved.state = state_;
  saved.table = table_;
  saved.model = training_.network->state();
  saved.script = training_.script;
  if (name == "last.pt") {
    saved.optimizer = learner_.state();
    if (average_) {
      saved.average = average_->state();
    }
    saved.random = random;
  }
  write_training(options_.out / name, saved);
}

/// Whether --patience epochs have passed without a better one.
bool Trainer::waited_long_enough() const {
  return settings_.patience > 0 && state_.best_epoch >= 0 &&
         state_.epoch - 1 - state_.best_epoch >= settings_.patience;
}

/// Whether --stop-after is reached or any process was asked to stop. All
/// processes get the same answer, so that all stop after the same step.
bool Trainer::must_stop() const {
  const bool signalled = processes_.any(stop_signalled());
  return signalled ||
         (options_.stop_after > 0 && state_.step >= options_.stop_after);
}

}  // namespace programs
