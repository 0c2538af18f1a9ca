// SPDX-License-Identifier: BSD-3-Clause
#include "processes.hpp"

#include "../models/layers.hpp"

#include <cyborg/train/sync_batch_norm.hpp>

#include <stdexcept>

namespace programs {

namespace {

cyborg::train::Group join(torch::Device device) {
  auto world = cyborg::train::World::from_environment();
  if (world.size > 1 && device.has_index()) {
    throw std::invalid_argument(
        "--device " + device.str() +
        ": expected cuda with several processes: each takes the GPU of its "
        "LOCAL_RANK");
  }
  return cyborg::train::Group(
      world, cyborg::train::GroupOptions().transport(
                 device.is_cuda() ? cyborg::train::Transport::kNccl
                                  : cyborg::train::Transport::kGloo));
}

}  // namespace

TrainingProcesses::TrainingProcesses(torch::Device device)
    : group_(join(device)),
      device_(group_.size() == 1 ? device : group_.device()) {}

void TrainingProcesses::distribute(Network& network, bool sync_batch_norm) {
  if (sync_batch_norm) {
    network.each_batch_norm([this](models::BatchNormImpl& norm) {
      norm.instead = [&norm, group = group_](const torch::Tensor& images) {
        return cyborg::train::sync_batch_norm(norm, images, group);
      };
    });
  }
  if (size() > 1) {
    parallel_ = std::make_unique<cyborg::train::DataParallel>(
        network.parameters(), network.buffers(), group_);
  }
}

void TrainingProcesses::backward(const torch::Tensor& loss, bool step_follows) {
  if (!parallel_) {
    loss.backward();
  } else if (step_follows) {
    loss.backward();
    parallel_->finish();
  } else {
    const auto paused = parallel_->no_sync();
    loss.backward();
  }
}

void TrainingProcesses::share_statistics() const {
  if (parallel_) {
    parallel_->sync_buffers();
  }
}

torch::Tensor TrainingProcesses::whole_batch_total(
    const cyborg::GuidanceTerms& terms, int64_t samples) const {
  return size() == 1 ? terms.total
                     : cyborg::train::whole_batch_total(terms, samples, group_);
}

std::vector<double> TrainingProcesses::sum(
    const std::vector<double>& numbers) const {
  const auto all = torch::tensor(numbers, torch::kDouble);
  group_.all_reduce(all);
  const auto* begin = all.data_ptr<double>();
  return {begin, begin + all.numel()};
}

bool TrainingProcesses::any(bool here) const {
  return sum({here ? 1. : 0.})[0] > 0;
}

std::vector<cyborg::data::Row> TrainingProcesses::shard(
    const std::vector<cyborg::data::Row>& rows) const {
  const auto count = static_cast<int64_t>(rows.size());
  return {
      rows.begin() + count * rank() / size(),
      rows.begin() + count * (rank() + 1) / size()};
}

torch::Tensor TrainingProcesses::all_gather(const torch::Tensor& rows) const {
  return size() == 1 ? rows : group_.all_gather(rows);
}

}  // namespace programs
