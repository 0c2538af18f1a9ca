// SPDX-License-Identifier: BSD-3-Clause
#include "trainer.hpp"

#include "validation.hpp"
#include "watch.hpp"

#include "../common/progress.hpp"

#include <cyborg/io/file.hpp>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace programs {

namespace {

at::Generator global_generator() {
  return at::globalContext().defaultGenerator(torch::kCPU);
}

Training start(
    const TrainOptions& options, const TrainingProcesses& processes,
    const TrainingLog& log) {
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  return options.resume ? resume_training(options, processes)
                        : begin_training(options, processes, log);
}

}  // namespace

Trainer::Trainer(const TrainOptions& options)
    : options_(options),
      processes_(device_named(options.device)),
      log_(options.out, processes_.is_first(), options.quiet),
      training_(start(options, processes_, log_)),
      settings_(training_.settings),
      state_(training_.state),
      learner_(settings_, *training_.network, processes_),
      rows_(training_.table.rows_of("train")),
      scoring_{
          processes_.device(), static_cast<size_t>(options.workers),
          static_cast<size_t>(settings_.batch)} {
  if (options.resume) {
    learner_.load_state(training_.optimizer);
    global_generator().set_state(training_.random);
    log_.resume(state_);
    log_.print(fmt::format(
        "resumed at epoch {}, batch {}", state_.epoch + 1, state_.batch));
  } else {
    torch::manual_seed(
        settings_.seed + static_cast<uint64_t>(processes_.rank()));
  }
  at::globalContext().setDeterministicAlgorithms(
      settings_.deterministic, /*warn_only=*/false);
}

TrainResult Trainer::run() {
  catch_stop_signals();
  log_.open();
  auto pictures = training_set(
      settings_.alpha == 1 ? without_maps(rows_) : rows_, settings_);
  Loader loader(
      pictures, cyborg::data::PrefetchOptions()
                    .batch_size(static_cast<size_t>(settings_.batch))
                    .workers(static_cast<size_t>(options_.workers))
                    .ahead(static_cast<size_t>(options_.ahead))
                    .shuffle(true)
                    .seed(picture_order_seed(settings_))
                    .world(static_cast<size_t>(processes_.size()))
                    .rank(static_cast<size_t>(processes_.rank())));
  bool stopped = false;
  while (!stopped && state_.epoch < settings_.epochs && !waited_long_enough()) {
    stopped = !train_epoch(pictures, loader);
  }
  for (const auto& left_out : pictures.dataset().skipped()) {
    log_.warn(left_out.path + ": " + left_out.reason + "; left out");
  }
  TrainResult result{!stopped && processes_.is_first(),
                     settings_,
                     state_,
                     log_.records(),
                     {},
                     {}};
  if (stopped) {
    log_.print(fmt::format(
        "stopped after step {} and saved. To continue: train --resume --out {}",
        state_.step, options_.out.string()));
  }
  if (result.finished) {
    auto best = load_trained(options_.out / "best.pt");
    best.network.to(processes_.device());
    for (const auto& [split, scored] :
         {std::pair("val", &result.validation), {"test", &result.test}}) {
      *scored = score_split(
          best.network, training_.table, split, settings_, scoring_, log_);
    }
  }
  return result;
}

/// Trains the rest of an epoch. Returns false where the training was stopped.
bool Trainer::train_epoch(TrainingSet& pictures, Loader& loader) {
  const auto batches = static_cast<int64_t>(loader.size());
  training_.network->train(true);
  Progress progress(
      fmt::format("epoch {}/{}", state_.epoch + 1, settings_.epochs),
      batches - state_.batch, log_.quiet());
  const int64_t before = state_.pictures;
  pictures.epoch(static_cast<uint64_t>(state_.epoch));
  loader.epoch(static_cast<uint64_t>(state_.epoch));
  loader.skip(static_cast<size_t>(state_.batch));
  int64_t group = 0;  // batches of the current optimizer step
  int64_t done = 0;   // those of them whose gradients are there
  for (auto& batch : loader) {
    if (done == 0) {
      // The last step of an epoch may have fewer batches.
      group = std::min(settings_.accumulate, batches - state_.batch);
      learner_.begin_step(
          state_.epoch, std::min(state_.batch, batches - 1), batches);
    }
    learner_.backward(batch_total(batch, loader), group, done + 1 == group);
    const auto position = static_cast<int64_t>(loader.position());
    progress.add(
        position - state_.batch,
        fmt::format(
            "{:.0f} images/s, loss {:.4f}",
            static_cast<double>(state_.pictures - before) / progress.seconds(),
            state_.total / static_cast<double>(state_.pictures)));
    state_.batch = position;
    if (++done < group) {
      continue;
    }
    end_step();
    done = 0;
    const bool last = state_.batch >= batches;  // end_epoch saves
    if (must_stop()) {
      if (!last) {
        save("last.pt");
        return false;
      }
    } else if (
        options_.save_every > 0 && !last &&
        state_.step % options_.save_every == 0) {
      save("last.pt");
    }
  }
  check_no_batch_skipped(processes_.size(), state_.batch, batches);
  if (done > 0) {  // the other batches of the step could not be read
    end_step();
  }
  if (state_.pictures == 0) {
    throw std::runtime_error(
        "no picture of split train can be read; --check lists the reasons");
  }
  end_epoch();
  return !must_stop();
}

/// What to run backward from for a batch. Adds the batch, with those of the
/// other processes, to the sums of the epoch.
torch::Tensor Trainer::batch_total(
    const cyborg::data::GuidedExample& batch, const Loader& loader) {
  check_no_batch_skipped(
      processes_.size(), state_.batch,
      static_cast<int64_t>(loader.position()) - 1);
  const auto terms = learner_.loss_of(batch);
  const auto count = batch.target.size(0);
  const auto total =
      processes_.whole_batch_total(terms, count, settings_.alpha);
  const auto own = total.item<double>();
  const auto weight = static_cast<double>(count);
  const auto annotated =
      static_cast<double>(terms.annotated_count.item<int64_t>());
  const auto sums = processes_.sum(
      {own / static_cast<double>(processes_.size()),
       weight * terms.classification.item<double>(),
       annotated * terms.saliency.item<double>(), annotated, weight});
  if (!std::isfinite(own)) {
    throw_not_finite(
        state_.epoch + 1, static_cast<int64_t>(loader.position()),
        pictures_of_batch(loader));
  }
  if (!std::isfinite(sums[0])) {
    throw std::runtime_error(
        "the loss is not finite in another process, which names the pictures");
  }
  state_.total += sums[4] * sums[0];
  state_.classification += sums[1];
  state_.saliency += sums[2];
  state_.annotated += static_cast<int64_t>(sums[3]);
  state_.pictures += static_cast<int64_t>(sums[4]);
  return total;
}

/// Validates, writes log and checkpoints, and begins the next epoch.
void Trainer::end_epoch() {
  processes_.share_statistics();
  auto record = validate(
      *training_.network, training_.table, settings_, scoring_, processes_);
  const auto value = selection_value(record, settings_.select);
  record.update(state_.record());
  record["learning_rate"] = learner_.learning_rate();
  const bool better = !value || state_.best_epoch < 0 || *value >= state_.best;
  if (better) {
    state_.best = value.value_or(0);
    state_.best_epoch = state_.epoch;
  }
  state_.next_epoch();
  if (better) {
    save("best.pt");
  }
  log_.add(record);
  save("last.pt");
  log_.plot(record, state_.epoch);
  show_maps();
  log_.print_epoch(record, better && value);
}

/// Where the network looks in a few validation pictures, for TensorBoard.
void Trainer::show_maps() {
  if (settings_.alpha == 1 || !processes_.is_first()) {
    return;
  }
  auto rows = training_.table.rows_of("val");
  rows.resize(std::min<size_t>(rows.size(), 4));
  for (size_t i = 0; i < rows.size(); ++i) {
    try {
      const auto picture = dataset_of({rows[i]}, settings_).get(0).data;
      log_.show_map(
          fmt::format("map/{}", i), picture,
          learner_.map_of(picture, rows[i].label), state_.epoch);
    } catch (const cyborg::io::FileError&) {
      // With --skip-unreadable; validation has listed the picture.
    }
  }
}

void Trainer::end_step() {
  learner_.end_step();
  ++state_.step;
}

/// All processes call it; the first one writes.
void Trainer::save(const std::string& name) const {
  const auto random =
      processes_.all_gather(global_generator().get_state().unsqueeze(0));
  if (!processes_.is_first()) {
    return;
  }
  SavedTraining saved;
  saved.settings = settings_;
  saved.state = state_;
  saved.table = fingerprint(training_.table);
  saved.model = training_.network->state();
  saved.script = training_.script;
  if (name == "last.pt") {
    saved.optimizer = learner_.state();
    saved.random = random;
  }
  write_training(options_.out / name, saved);
}

/// The paths of the pictures of the batch that was read last.
std::vector<std::string> Trainer::pictures_of_batch(
    const Loader& loader) const {
  const auto order = loader.share(static_cast<uint64_t>(state_.epoch));
  const auto size = static_cast<size_t>(settings_.batch);
  const auto begin = (loader.position() - 1) * size;
  std::vector<std::string> paths;
  for (auto i = begin; i < std::min(order.size(), begin + size); ++i) {
    paths.push_back(rows_[order[i]].path);
  }
  return paths;
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
