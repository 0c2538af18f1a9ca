// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The processes that train one network. The training knows of them through this
// class alone.

#include "../common/network.hpp"

#include <cyborg/data/table_types.hpp>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/train/distributed.hpp>

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace programs {

/// The processes that the environment names (torchrun and ./dev ranks set it).
/// Where it names none, this process is alone, and the functions here return at
/// once what they were given.
///
/// All processes call the same functions in the same order. When a process
/// ends, the next call of each other one throws.
class TrainingProcesses {
 public:
  /// Joins the other processes. With several ones and `cuda`, each process
  /// takes the GPU of its LOCAL_RANK.
  /// Throws: `std::invalid_argument` for `cuda:N` and several processes.
  explicit TrainingProcesses(torch::Device device);

  torch::Device device() const { return device_; }
  int64_t size() const { return group_.size(); }
  int64_t rank() const { return group_.rank(); }
  /// Whether this is the process that writes and prints.
  bool is_first() const { return rank() == 0; }

  /// Gives the first process's weights to all, and prepares the averages that
  /// `backward` takes. Lives no longer than `network`.
  void distribute(Network& network, bool sync_batch_norm);

  /// Runs backward and adds to the gradients. With `step_follows` the gradients
  /// are then the average over all processes.
  void backward(const torch::Tensor& loss, bool step_follows);

  /// Gives the first process's statistics of batch normalisation to all.
  void share_statistics() const;

  /// The loss to run backward from, so that the averaged gradients are those of
  /// one batch of all processes' pictures; the mean of these losses is the loss
  /// of that batch.
  torch::Tensor whole_batch_total(
      const cyborg::GuidanceTerms& terms, int64_t samples) const;

  /// The sums over all processes, number by number.
  std::vector<double> sum(const std::vector<double>& numbers) const;

  /// Whether it is true in any process.
  bool any(bool here) const;

  /// This process's part of the rows; the parts follow one another.
  std::vector<cyborg::data::Row> shard(
      const std::vector<cyborg::data::Row>& rows) const;

  /// The rows of all processes' tensors, one process after the other.
  torch::Tensor all_gather(const torch::Tensor& rows) const;

 private:
  cyborg::train::Group group_;
  torch::Device device_;
  std::unique_ptr<cyborg::train::DataParallel> parallel_;  // of several
};

}  // namespace programs
