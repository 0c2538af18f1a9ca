// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// Declared here, so that this header need not include torch/enum.h. A program
// that uses torch::kMean has included it.
namespace torch::enumtype {
struct kMean;
struct kSum;
}  // namespace torch::enumtype

namespace cyborg {

/// How the samples of a batch become one number.
enum class Reduction {
  kMean,  ///< the mean: the loss does not depend on the batch's size
  kSum,   ///< the sum: B times the mean
};

/// Converts from a `Reduction`, torch::kMean or torch::kSum, so that an option
/// takes any of them.
class ReductionChoice {
 public:
  ReductionChoice(Reduction value) : value_(value) {}
  ReductionChoice(const torch::enumtype::kMean&) : value_(Reduction::kMean) {}
  ReductionChoice(const torch::enumtype::kSum&) : value_(Reduction::kSum) {}
  operator Reduction() const { return value_; }

 private:
  Reduction value_;
};

}  // namespace cyborg
