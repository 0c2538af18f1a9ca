// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The processes that train one network: all that the training knows of them.

#include "../common/network.hpp"

#include <cyborg/data/table_types.hpp>
#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/train/distributed.hpp>

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace programs {

/// Those that the environment names (torchrun, ./dev ranks). Where it names
/// none, this process is alone, and nothing here costs anything. Every process
/// makes the same calls in the same order; when one ends, the others' next call
/// throws.
class Ranks {
 public:
  /// Joins them. Of several, each takes the GPU of its LOCAL_RANK for `cuda`.
  explicit Ranks(torch::Device device);

  torch::Device device() const { return device_; }
  int64_t size() const { return group_.size(); }
  int64_t rank() const { return group_.rank(); }
  /// Whether this one writes and prints.
  bool first() const { return rank() == 0; }

  /// Gives all the first one's weights, and averages gradients from now on.
  void share(Network& network, bool sync_batch_norm);

  /// Adds to the gradients; where a step follows, they then are the averages.
  void backward(const torch::Tensor& loss, bool step_follows);

  /// Gives all the first one's statistics of batch normalisation.
  void share_statistics() const;

  /// What to run backward from, so that the averages are the gradients of the
  /// batches of all taken as one; their mean is its loss.
  torch::Tensor whole_batch(
      const cyborg::LossTerms& terms, int64_t samples, double alpha) const;

  std::vector<double> sum(const std::vector<double>& numbers) const;
  bool any(bool one) const;

  /// This one's part of the rows; what all make of their parts, in the order
  /// of the rows.
  std::vector<cyborg::data::Row> part(
      const std::vector<cyborg::data::Row>& rows) const;
  torch::Tensor gather(const torch::Tensor& rows) const;

 private:
  cyborg::train::Group group_;
  torch::Device device_;
  std::unique_ptr<cyborg::train::DataParallel> parallel_;
};

}  // namespace programs
