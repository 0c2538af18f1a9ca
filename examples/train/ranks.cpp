// SPDX-License-Identifier: BSD-3-Clause
#include "ranks.hpp"

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
        ": of several processes, each takes the GPU of its LOCAL_RANK; say "
        "cuda");
  }
  return cyborg::train::Group(
      world, cyborg::train::GroupOptions().transport(
                 device.is_cuda() ? cyborg::train::Transport::kNccl
                                  : cyborg::train::Transport::kGloo));
}

}  // namespace

Ranks::Ranks(torch::Device device)
    : group_(join(device)),
      device_(group_.size() == 1 ? device : group_.device()) {}

void Ranks::share(Network& network, bool sync_batch_norm) {
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

void Ranks::backward(const torch::Tensor& loss, bool step_follows) {
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

void Ranks::share_statistics() const {
  if (parallel_) {
    parallel_->sync_buffers();
  }
}

torch::Tensor Ranks::whole_batch(
    const cyborg::LossTerms& terms, int64_t samples, double alpha) const {
  if (size() == 1) {
    return terms.total;
  }
  // Of the loss, alpha alone matters here.
  const cyborg::CyborgL2Loss loss(
      cyborg::SaliencyGuidedLossOptions().alpha(alpha));
  return cyborg::train::whole_batch_total(loss, terms, samples, group_);
}

std::vector<double> Ranks::sum(const std::vector<double>& numbers) const {
  const auto all = torch::tensor(numbers, torch::kDouble);
  group_.all_reduce(all);
  const auto* begin = all.data_ptr<double>();
  return {begin, begin + all.numel()};
}

bool Ranks::any(bool one) const {
  return sum({one ? 1. : 0.})[0] > 0;
}

std::vector<cyborg::data::Row> Ranks::part(
    const std::vector<cyborg::data::Row>& rows) const {
  const auto count = static_cast<int64_t>(rows.size());
  return {
      rows.begin() + count * rank() / size(),
      rows.begin() + count * (rank() + 1) / size()};
}

torch::Tensor Ranks::gather(const torch::Tensor& rows) const {
  return size() == 1 ? rows : group_.all_gather(rows);
}

}  // namespace programs
