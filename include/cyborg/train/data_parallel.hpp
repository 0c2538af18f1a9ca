// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/train/detail/gradient_buckets.hpp>
#include <cyborg/train/group.hpp>

#include <c10/util/Exception.h>
#include <torch/arg.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace cyborg::train {

/// Options of `DataParallel`.
struct DataParallelOptions {
  /// Gradients are exchanged in buckets of about this size. Default 25 MiB.
  TORCH_ARG(int64_t, bucket_bytes) = int64_t{25} << 20;

 public:
};

/// The same model in every process, trained as one: copies the parameters and
/// buffers of rank 0 to all ranks, and averages the gradients of every backward
/// over the R ranks,
///
///     grad = ( grad of rank 0 + ... + grad of rank R - 1 ) / R.
///
/// Gradients are exchanged in buckets, while backward still computes the
/// gradients of earlier layers. The average is the gradient over the whole
/// batch when the loss is a mean over the rank's samples and all ranks have the
/// same number of samples. A guided loss depends on the share of annotated
/// samples, so all ranks need the same number of these, too.
/// `whole_batch_total` needs neither.
///
/// A parameter that has no gradient on some ranks counts as zero there. It
/// stays without a gradient where no rank has one. A rank without samples calls
/// `finish()` without a backward. After `finish()` the gradients are the same
/// on all ranks, so the optimizers of all ranks make the same step.
///
/// Every rank must have the same parameters, require the gradients of the same
/// ones, and use the group for nothing else between backward and `finish()`.
/// A parameter can be in one DataParallel at a time. Needs LibTorch 2.1.
///
/// Throws: `c10::ValueError` for bucket_bytes < 1, and for parameters that lie
/// elsewhere than `group.device()`, differ in size between ranks, belong to
/// another DataParallel, or have sparse gradients; as `Group`.
/// Source: Li et al., "PyTorch Distributed: Experiences on Accelerating Data
/// Parallel Training", VLDB 2020.
/// Example:
///     cyborg::train::DataParallel parallel(*net, group);
///     auto terms = criterion(logits, labels, hook, maps);
///     optimizer.zero_grad();
///     terms.total.backward();
///     parallel.finish();
///     optimizer.step();
class DataParallel {
 public:
  explicit DataParallel(
      const torch::nn::Module& module, Group group,
      DataParallelOptions options = {})
      : DataParallel(
            module.parameters(), module.buffers(), std::move(group), options) {}

  /// For a model that is not a `torch::nn::Module`.
  DataParallel(
      const std::vector<torch::Tensor>& parameters,
      std::vector<torch::Tensor> buffers, Group group,
      DataParallelOptions options = {})
      : group_(std::move(group)), buffers_(std::move(buffers)) {
    TORCH_CHECK_VALUE(
        options.bucket_bytes() > 0,
        "cyborg::train::DataParallel: expected bucket_bytes > 0, got ",
        options.bucket_bytes());
    for (const torch::Tensor& parameter : parameters) {
      TORCH_CHECK_VALUE(
          parameter.device() == group_.device(),
          "cyborg::train::DataParallel: expected parameters on ",
          group_.device(), ", got one on ", parameter.device());
    }
    group_.broadcast(parameters);
    group_.broadcast(buffers_);
    if (group_.size() > 1) {
      gradients_ = detail::GradientBuckets(parameters, options.bucket_bytes());
      add_hooks();
    }
  }

  ~DataParallel() {
    for (size_t i = 0; i < gradients_.parameters(); ++i) {
      torch::autograd::impl::set_post_acc_grad_hooks(
          gradients_.parameter(i), nullptr);
    }
  }
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  /// Waits for the averages and writes them to the gradients. To be called on
  /// every rank after each backward and before the optimizer's step.
  ///
  /// Throws: as `Group`.
  void finish() {
    const at::NoGradGuard no_grad;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      gradients_.start_all(group_);
    }
    gradients_.finish();
  }

  /// While it lives, gradients are added up in this process only. See
  /// `no_sync`.
  class [[nodiscard]] NoSync {
   public:
    explicit NoSync(bool& paused) : paused_(paused), before_(paused) {
      paused_ = true;
    }
    ~NoSync() { paused_ = before_; }
    NoSync(const NoSync&) = delete;
    NoSync& operator=(const NoSync&) = delete;

   private:
    bool& paused_;
    bool before_;
  };

  /// Switches the exchange off while the result lives. For a step of several
  /// backwards: hold it during all but the last, which then averages the sums.
  ///
  /// Example:
  ///     {
  ///       const auto guard = parallel.no_sync();
  ///       first_loss.backward();
  ///     }
  ///     last_loss.backward();
  ///     parallel.finish();
  NoSync no_sync() { return NoSync(paused_); }

  /// Copies the buffers of rank 0 to all ranks. To be called before a model is
  /// measured or saved: the batch normalisation of each rank has seen other
  /// samples, so the running mean and variance differ.
  ///
  /// Throws: as `Group`.
  void sync_buffers() const { group_.broadcast(buffers_); }

  /// The number of buckets; 0 in a group of one process.
  size_t buckets() const { return gradients_.size(); }

  /// How many buckets have started their exchange since the last `finish()`.
  size_t started() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return gradients_.started();
  }

 private:
  /// What autograd calls after it has added to a parameter's gradient.
  class Hook : public torch::autograd::PostAccumulateGradHook {
   public:
    Hook(DataParallel& owner, size_t index) : owner_(owner), index_(index) {}
    void operator()(const torch::Tensor& /*parameter*/) override {
      owner_.gradient_is_ready(index_);
    }

   private:
    DataParallel& owner_;
    size_t index_;
  };

  /// Checks all parameters before it changes one, so that a constructor that
  /// throws leaves no hook behind.
  void add_hooks() {
    for (size_t i = 0; i < gradients_.parameters(); ++i) {
      TORCH_CHECK_VALUE(
          !torch::autograd::impl::post_acc_grad_hooks(gradients_.parameter(i)),
          "cyborg::train::DataParallel: expected parameters without a hook, "
          "got one that another DataParallel has");
    }
    for (size_t i = 0; i < gradients_.parameters(); ++i) {
      torch::autograd::impl::set_post_acc_grad_hooks(
          gradients_.parameter(i), std::make_unique<Hook>(*this, i));
    }
  }

  /// Autograd may call it from several threads at once.
  void gradient_is_ready(size_t index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!paused_) {
      gradients_.mark_ready(index, group_);
    }
  }

  Group group_;
  std::vector<torch::Tensor> buffers_;
  detail::GradientBuckets gradients_;
  mutable std::mutex mutex_;  ///< guards `gradients_` during a backward
  bool paused_ = false;       ///< whether a `NoSync` lives
};

}  // namespace cyborg::train
