// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/group.hpp>

#include <c10/util/Exception.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cyborg::train::detail {

/// The parameters of a model, divided into buckets. The gradients of a bucket
/// are copied into one flat tensor and averaged over the ranks together.
///
/// Buckets start in a fixed order, the same on every rank, because all ranks
/// must make their exchanges in the same order. A bucket that is complete waits
/// for the buckets before it. `DataParallel` calls `mark_ready` for every
/// gradient of a backward, then `start_all` and `finish`. No function may run
/// at the same time as another.
class GradientBuckets {
 public:
  GradientBuckets() = default;

  /// Fills the buckets from the last parameter to the first, which is about
  /// the order in which backward finds the gradients. A bucket has one type,
  /// and more than `bucket_bytes` only when one parameter has.
  GradientBuckets(
      const std::vector<torch::Tensor>& parameters, int64_t bucket_bytes) {
    int64_t bytes = 0;
    for (auto at = parameters.rbegin(); at != parameters.rend(); ++at) {
      const int64_t size = at->numel() * at->element_size();
      if (buckets_.empty() || bytes + size > bucket_bytes ||
          at->scalar_type() != parameters_.back().tensor.scalar_type()) {
        buckets_.emplace_back();
        bytes = 0;
      }
      bytes += size;
      buckets_.back().members.push_back(parameters_.size());
      parameters_.push_back({*at, buckets_.size() - 1});
    }
    for (Bucket& bucket : buckets_) {
      auto count = static_cast<int64_t>(bucket.members.size());
      for (const size_t member : bucket.members) {
        count += parameters_[member].tensor.numel();
      }
      bucket.flat = at::zeros(
          {count},
          parameters_[bucket.members[0]].tensor.options().requires_grad(false));
    }
  }

  /// The number of buckets.
  size_t size() const { return buckets_.size(); }
  /// How many of them have started since the last `finish`.
  size_t started() const { return started_; }
  /// The number of parameters.
  size_t parameters() const { return parameters_.size(); }
  /// A parameter, in the order of the buckets.
  const torch::Tensor& parameter(size_t index) const {
    return parameters_[index].tensor;
  }

  /// Says that the gradient of a parameter is complete, and starts every bucket
  /// that can start.
  void mark_ready(size_t index, const Group& group) {
    if (!running_) {
      running_ = true;
      count_missing();
    }
    Parameter& parameter = parameters_[index];
    TORCH_CHECK(
        !parameter.ready,
        "cyborg::train::DataParallel: expected finish() after each backward, "
        "got a second backward before finish(); call finish() after each, or "
        "hold no_sync() during all but the last");
    parameter.ready = true;
    --buckets_[parameter.bucket].missing;
    while (started_ < buckets_.size() && buckets_[started_].missing == 0) {
      start(buckets_[started_++], group);
    }
  }

  /// Starts the buckets that have not started: those with a parameter that got
  /// no gradient, and those after them.
  void start_all(const Group& group) {
    while (started_ < buckets_.size()) {
      start(buckets_[started_++], group);
    }
  }

  /// Waits for every bucket, and writes the averages to the gradients. Then the
  /// next backward may begin.
  void finish() {
    for (Bucket& bucket : buckets_) {
      bucket.wait();
      take_averages(bucket);
    }
    for (Parameter& parameter : parameters_) {
      parameter.ready = false;
    }
    started_ = 0;
    running_ = false;
  }

 private:
  struct Parameter {
    torch::Tensor tensor;
    size_t bucket;       ///< where it is
    bool ready = false;  ///< whether its gradient is complete
  };

  struct Bucket {
    std::vector<size_t> members;  ///< indices of parameters
    /// The gradients of the members, one after the other, then one mark for
    /// each member: 1 where it has a gradient, else 0.
    torch::Tensor flat;
    int64_t missing = 0;  ///< gradients that are not complete yet
    Wait wait;            ///< waits for the average
  };

  /// Whether a parameter requires a gradient may change between steps.
  void count_missing() {
    for (Bucket& bucket : buckets_) {
      bucket.missing = std::count_if(
          bucket.members.begin(), bucket.members.end(),
          [this](size_t i) { return parameters_[i].tensor.requires_grad(); });
    }
  }

  /// Calls `visit` with each parameter of a bucket, its part of the flat
  /// tensor, in the parameter's shape, and its mark.
  template <class Visit>
  void each(Bucket& bucket, Visit visit) {
    int64_t at = 0;
    auto mark =
        bucket.flat.size(0) - static_cast<int64_t>(bucket.members.size());
    for (const size_t member : bucket.members) {
      torch::Tensor& tensor = parameters_[member].tensor;
      visit(
          tensor,
          bucket.flat.narrow(0, at, tensor.numel()).view(tensor.sizes()),
          bucket.flat.select(0, mark++));
      at += tensor.numel();
    }
  }

  void start(Bucket& bucket, const Group& group) {
    const at::NoGradGuard no_grad;
    each(bucket, [](const auto& tensor, const auto& part, const auto& mark) {
      const torch::Tensor& grad = tensor.grad();
      TORCH_CHECK_VALUE(
          !grad.defined() || grad.layout() == torch::kStrided,
          "cyborg::train::DataParallel: expected dense gradients, got one of "
          "layout ",
          grad.layout());
      mark.fill_(grad.defined() ? 1 : 0);
      grad.defined() ? part.copy_(grad) : part.zero_();
    });
    // Divided before the sum, so that the sum of a half type does not overflow.
    bucket.flat.div_(group.size());
    bucket.wait = group.start_sum(bucket.flat);
  }

  /// A mark above 0 says that some rank has a gradient.
  void take_averages(Bucket& bucket) {
    each(bucket, [](auto& tensor, const auto& part, const auto& mark) {
      if (tensor.grad().defined()) {
        tensor.mutable_grad().copy_(part);
      } else if (mark.template item<double>() > 0) {
        tensor.mutable_grad() = part.clone();
      }
    });
  }

  std::vector<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  size_t started_ = 0;    ///< buckets [0, started_) have started
  bool running_ = false;  ///< whether a gradient came since the last `finish`
};

}  // namespace cyborg::train::detail
