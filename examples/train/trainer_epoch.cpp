// SPDX-License-Identifier: BSD-3-Clause
// One epoch of the training loop.
#include "trainer.hpp"

#include "validation.hpp"
#include "watch.hpp"

#include "../common/progress.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace programs {

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
          state_.epoch, std::min(state_.batch, batches - 1), batches,
          state_.step);
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
  return end_epoch() && !must_stop();
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
  const auto total = processes_.whole_batch_total(terms, count);
  const auto own = total.item<double>();
  const auto weight = static_cast<double>(count);
  std::vector<double> numbers{
      own / static_cast<double>(processes_.size()),
      weight * terms.task.item<double>(), weight};
  for (const auto& part : terms.parts) {
    const auto counted = part.count.item<double>();
    numbers.push_back(counted * part.value.item<double>());
    numbers.push_back(counted);
  }
  const auto sums = processes_.sum(numbers);
  if (!std::isfinite(own)) {
    throw_not_finite(
        state_.epoch + 1, static_cast<int64_t>(loader.position()),
        pictures_of_batch(loader));
  }
  if (!std::isfinite(sums[0])) {
    throw std::runtime_error(
        "the loss is not finite in another process, which names the pictures");
  }
  state_.total += sums[2] * sums[0];
  state_.classification += sums[1];
  state_.pictures += static_cast<int64_t>(sums[2]);
  for (size_t i = 0; i < terms.parts.size(); ++i) {
    state_.add(terms.parts[i].name, sums[3 + 2 * i], sums[4 + 2 * i]);
  }
  return total;
}

/// Validates, writes log and checkpoints, and begins the next epoch. Returns
/// false where the training was stopped before that.
bool Trainer::end_epoch() {
  processes_.share_statistics();
  save("last.pt");  // so that no problem of the validation costs the epoch
  auto averaged = use(average_);
  auto validation = validate(
      *training_.network, training_.table, settings_, scoring_, processes_,
      log_);
  if (!validation) {
    return false;
  }
  warn_of_maps_without_guidance();
  auto& record = *validation;
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
  averaged.reset();
  log_.add(record);
  save("last.pt");
  log_.plot(record, state_.epoch);
  show_maps();
  log_.print_epoch(record, better && value);
  return true;
}

/// Maps that are the same everywhere guide nothing, and look like maps.
void Trainer::warn_of_maps_without_guidance() const {
  if (settings_.alpha == 1) {  // the terms count for themselves
    return;
  }
  const auto maps = std::count_if(rows_.begin(), rows_.end(), has_map);
  if (state_.annotated == 0) {
    log_.warn(fmt::format(
        "in epoch {} no picture had a human map that guides: it was trained "
        "without guidance",
        state_.epoch + 1));
  } else if (
      state_.epoch == 0 && settings_.sampler == Sampler::kAll &&
      settings_.min_area == 1 && state_.annotated + processes_.size() <= maps) {
    log_.warn(fmt::format(
        "{} pictures of the epoch were guided, and {} have human maps: the "
        "others are the same everywhere, or could not be read; --check lists "
        "them",
        state_.annotated, maps));
  }
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

/// The paths of the pictures of the batch that was read last.
std::vector<std::string> Trainer::pictures_of_batch(
    const Loader& loader) const {
  const auto order = loader.share(static_cast<uint64_t>(state_.epoch));
  const auto size = static_cast<size_t>(settings_.batch);
  const auto begin = (loader.position() - 1) * size;
  const auto end =
      loader.position() == loader.size() ? order.size() : begin + size;
  std::vector<std::string> paths;
  for (auto i = begin; i < end; ++i) {
    paths.push_back(rows_[order[i]].path);
  }
  return paths;
}

}  // namespace programs
