// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/guide/saliency_guided.hpp>
#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/world.hpp>

#include <torch/arg.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/nn/module.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

// Training by several processes that each see a part of every batch.

namespace cyborg::train {

/// Options of `Group`.
struct GroupOptions {
  /// What carries the tensors. Default kGloo; kNccl for models on GPUs.
  TORCH_ARG(Transport, transport) = Transport::kGloo;
  /// How long to wait for the other processes, to start and in every exchange.
  /// Default 60 s.
  TORCH_ARG(std::chrono::milliseconds, timeout) = std::chrono::seconds(60);

 public:
};

/// Processes that exchange tensors. Every process must make the same calls in
/// the same order.
///
/// A copy is the same group. Of one process, every call returns at once.
/// Throws: `c10::DistBackendError` when another process has ended, at once, or
/// does not answer within `timeout`. The group is then of no use: let the
/// exception end the program, and the others' end too. (NCCL ends the program
/// itself.)
/// Example:
///     const auto group = cyborg::train::Group::from_environment();
///     cyborg::train::DataParallel parallel(*net, group);
class Group {
 public:
  explicit Group(World world = {}, GroupOptions options = {})
      : world_(std::move(world)), options_(options) {
    TORCH_CHECK_VALUE(
        world_.size >= 1 && world_.rank >= 0 && world_.rank < world_.size,
        "cyborg::train::Group: expected a rank from 0 to size - 1, got rank ",
        world_.rank, " of ", world_.size);
    TORCH_CHECK_VALUE(
        options_.timeout().count() > 0,
        "cyborg::train::Group: expected timeout > 0, got ",
        options_.timeout().count(), " ms");
    link_ = detail::connect(world_, options_.transport(), options_.timeout());
  }

  static Group from_environment(GroupOptions options = {}) {
    return Group(World::from_environment(), options);
  }

  const World& world() const { return world_; }
  int rank() const { return world_.rank; }
  int size() const { return world_.size; }

  /// Where tensors must lie: the CPU or, with NCCL, this process's GPU.
  torch::Device device() const {
    return options_.transport() == Transport::kNccl
               ? torch::Device(
                     torch::kCUDA,
                     static_cast<c10::DeviceIndex>(world_.local_rank))
               : torch::Device(torch::kCPU);
  }

  /// Gives the tensors of rank 0 to all, in place: any type, on any device.
  /// Throws: where the ranks' tensors do not have as many bytes.
  void broadcast(const std::vector<torch::Tensor>& tensors) const {
    if (size() == 1) {
      return;
    }
    const at::NoGradGuard no_grad;
    std::vector<torch::Tensor> parts;
    int64_t bytes = 0;
    for (const torch::Tensor& tensor : tensors) {
      parts.push_back(to_bytes(tensor));
      bytes += parts.back().size(0);
    }
    check_same(
        gather_numbers({bytes}).select(1, 0), "tensors of as many bytes");
    if (bytes == 0) {
      return;
    }
    // Bytes that are zero everywhere else are summed without a rounding.
    torch::Tensor all = at::cat(parts);
    if (rank() != 0) {
      all.zero_();
    }
    link_->sum(all)();
    bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const int64_t count = parts[i].size(0);
      torch::Tensor tensor = tensors[i];
      tensor.copy_(from_bytes(all.narrow(0, bytes, count), tensor.scalar_type())
                       .view(tensor.sizes()));
      bytes += count;
    }
  }

  /// Replaces a tensor by its sum over all ranks, on each. No gradient.
  void all_reduce(torch::Tensor tensor) const {
    const at::NoGradGuard no_grad;
    const torch::Tensor sum = tensor.to(device()).contiguous();
    if (sum.numel() > 0) {
      link_->sum(sum)();
    }
    if (!sum.is_same(tensor)) {
      tensor.copy_(sum);
    }
  }

  /// The rows of all ranks, in the order of the ranks: scores, for a measure.
  ///
  /// Shapes: [N_r, *S] -> [sum of N_r, *S]. No gradient.
  /// Throws: where the ranks' rows differ in size; for a tensor without rows.
  torch::Tensor all_gather(const torch::Tensor& tensor) const {
    TORCH_CHECK_VALUE(
        tensor.dim() > 0,
        "cyborg::train::Group: expected rows [N, *S], got a tensor without "
        "dimensions");
    const at::NoGradGuard no_grad;
    std::vector<int64_t> sizes = tensor.sizes().vec();
    int64_t row = tensor.element_size();
    for (size_t i = 1; i < sizes.size(); ++i) {
      row *= sizes[i];
    }
    const torch::Tensor counts = gather_numbers({sizes[0], row});
    check_same(counts.select(1, 1), "rows of as many bytes");
    const torch::Tensor rows = counts.select(1, 0);
    sizes[0] = rows.sum().item<int64_t>();
    const int64_t before =
        rows.narrow(0, 0, rank()).sum().item<int64_t>() * row;
    const torch::Tensor mine = to_bytes(tensor);
    const torch::Tensor all = at::zeros({sizes[0] * row}, mine.options());
    all.narrow(0, before, mine.size(0)).copy_(mine);
    if (all.size(0) > 0) {
      link_->sum(all)();
    }
    return from_bytes(all, tensor.scalar_type())
        .view(sizes)
        .to(tensor.device());
  }

  /// Returns once every rank has called it.
  void barrier() const { gather_numbers({0}); }

  /// Leaves the group, so that the others' calls fail now and not after the
  /// timeout. What a process does that goes on after an error.
  void abort() const { link_->abort(); }

  /// What the group's exchanges are made of: starts to replace a contiguous
  /// tensor by its sum over all ranks. Call the result to wait for it.
  detail::Wait start_sum(const torch::Tensor& tensor) const {
    return link_->sum(tensor);
  }

  const c10::intrusive_ptr<detail::Link>& link() const { return link_; }

 private:
  torch::Tensor to_bytes(const torch::Tensor& tensor) const {
    return tensor.numel() == 0
               ? at::zeros({0}, at::dtype(at::kByte).device(device()))
               : tensor.detach().to(device()).contiguous().view({-1}).view(
                     at::kByte);
  }

  static torch::Tensor from_bytes(
      const torch::Tensor& bytes, at::ScalarType type) {
    return bytes.numel() == 0 ? at::zeros({0}, bytes.options().dtype(type))
                              : bytes.clone().view(type);
  }

  /// The numbers of all ranks [size, n].
  torch::Tensor gather_numbers(const std::vector<int64_t>& numbers) const {
    const torch::Tensor all = at::zeros(
        {size(), static_cast<int64_t>(numbers.size())},
        at::dtype(at::kLong).device(device()));
    all.select(0, rank()).copy_(torch::tensor(numbers, at::kLong));
    link_->sum(all)();
    return all.to(at::kCPU);
  }

  static void check_same(const torch::Tensor& numbers, const char* what) {
    for (int64_t i = 1; i < numbers.size(0); ++i) {
      const auto first = numbers[0].item<int64_t>();
      const auto other = numbers[i].item<int64_t>();
      TORCH_CHECK_VALUE(
          first == other, "cyborg::train::Group: expected ", what,
          " on every rank, got ", first, " on rank 0 and ", other, " on rank ",
          i);
    }
  }

  World world_;
  GroupOptions options_;
  c10::intrusive_ptr<detail::Link> link_;
};

/// Options of `DataParallel`.
struct DataParallelOptions {
  /// Gradients are exchanged in buckets of about this size. Default 25 MiB.
  TORCH_ARG(int64_t, bucket_bytes) = int64_t{25} << 20;

 public:
};

/// The same model in every process, trained as one: gives rank 0's parameters
/// and buffers to all, and averages the gradients of every backward,
///
///     grad = ( grad of rank 0 + ... + grad of rank R - 1 ) / R,
///
/// bucket by bucket, while backward still finds the gradients of earlier
/// layers. With a loss that is a mean over the rank's samples, and as many
/// samples on every rank, that is the gradient over the whole batch. A guided
/// loss weights its two terms by the share of annotated samples, so it must
/// have as many of these on every rank too; `whole_batch_total` has no such
/// need.
///
/// A parameter without a gradient counts as zero where another rank has one,
/// and stays without one where none has. A rank without samples calls
/// `finish()` alone. What the optimizer does is the same everywhere, because
/// the gradients are.
///
/// Every rank must have the same parameters, require the gradients of the same
/// ones, and use the group for nothing else between backward and `finish()`.
/// A parameter can be in one DataParallel at a time.
/// Throws: as `Group`; `c10::ValueError` for parameters that lie elsewhere than
/// `group.device()` or differ between ranks.
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
      fill_buckets(parameters, options.bucket_bytes());
      add_hooks();
    }
  }

  ~DataParallel() {
    for (const Parameter& parameter : parameters_) {
      torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
    }
  }
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  /// Waits for the averages and puts them in the gradients: after each
  /// backward, before the optimizer's step, on every rank.
  void finish() {
    const at::NoGradGuard no_grad;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      while (started_ < buckets_.size()) {
        start(buckets_[started_++]);
      }
    }
    for (Bucket& bucket : buckets_) {
      bucket.wait();
      take_averages(bucket);
    }
    for (Parameter& parameter : parameters_) {
      parameter.arrived = false;
    }
    started_ = 0;
    running_ = false;
  }

  /// While it lives, gradients only add up in this process. For several
  /// backwards a step: all but the last, which then averages the sums.
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
  NoSync no_sync() { return NoSync(paused_); }

  /// Gives rank 0's buffers to all: each rank's batch normalisation has seen
  /// other samples. Before a model is measured or saved.
  void sync_buffers() const { group_.broadcast(buffers_); }

  /// How many buckets there are.
  size_t buckets() const { return buckets_.size(); }

  /// How many of them are on their way, or there: after backward, before
  /// `finish()`.
  size_t started() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return started_;
  }

 private:
  struct Parameter {
    torch::Tensor tensor;
    size_t bucket;
    bool arrived = false;
  };

  struct Bucket {
    std::vector<size_t> members;
    torch::Tensor flat;  // the gradients, then for each 1 if there is one
    int64_t missing = 0;
    detail::Wait wait;
  };

  class Hook : public torch::autograd::PostAccumulateGradHook {
   public:
    Hook(DataParallel& owner, size_t index) : owner_(owner), index_(index) {}
    void operator()(const torch::Tensor& /*parameter*/) override {
      owner_.arrive(index_);
    }

   private:
    DataParallel& owner_;
    size_t index_;
  };

  /// From the last parameter to the first, which is about how gradients come.
  void fill_buckets(
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

  void add_hooks() {
    for (const Parameter& parameter : parameters_) {
      TORCH_CHECK_VALUE(
          !torch::autograd::impl::post_acc_grad_hooks(parameter.tensor),
          "cyborg::train::DataParallel: expected parameters without a hook, "
          "got one that another DataParallel has");
    }
    for (size_t i = 0; i < parameters_.size(); ++i) {
      torch::autograd::impl::set_post_acc_grad_hooks(
          parameters_[i].tensor, std::make_unique<Hook>(*this, i));
    }
  }

  /// A gradient is there: starts every bucket that is full, in their order,
  /// which is the same on every rank.
  void arrive(size_t index) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (paused_) {
      return;
    }
    if (!running_) {
      running_ = true;
      for (Bucket& bucket : buckets_) {
        bucket.missing = std::count_if(
            bucket.members.begin(), bucket.members.end(),
            [this](size_t i) { return parameters_[i].tensor.requires_grad(); });
      }
    }
    Parameter& parameter = parameters_[index];
    TORCH_CHECK(
        !parameter.arrived,
        "cyborg::train::DataParallel: a second backward before finish(): call "
        "finish() after each, or hold no_sync() during all but the last");
    parameter.arrived = true;
    --buckets_[parameter.bucket].missing;
    while (started_ < buckets_.size() && buckets_[started_].missing == 0) {
      start(buckets_[started_++]);
    }
  }

  /// Calls `visit` with each parameter and its part of the bucket.
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

  void start(Bucket& bucket) {
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
    // First, so that the sum of a half type does not overflow.
    bucket.flat.div_(group_.size());
    bucket.wait = group_.start_sum(bucket.flat);
  }

  void take_averages(Bucket& bucket) {
    each(bucket, [](auto& tensor, const auto& part, const auto& mark) {
      if (tensor.grad().defined()) {
        tensor.mutable_grad().copy_(part);
      } else if (mark.template item<double>() > 0) {
        tensor.mutable_grad() = part.clone();
      }
    });
  }

  Group group_;
  std::vector<torch::Tensor> buffers_;
  std::vector<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  mutable std::mutex mutex_;
  size_t started_ = 0;
  bool running_ = false;
  bool paused_ = false;
};

/// What a rank runs backward from so that `DataParallel` finds the gradient of
/// the guided loss over the whole batch, however samples and annotations are
/// spread over the ranks.
///
///     total_r = R / B ( (1 - (1 - alpha) n / B) B_r task_r
///                       + (1 - alpha) n_r S_r )
///
/// with B_r samples on rank r, n_r of them guided, and sums B and n: the mean
/// of total_r over the R ranks is the loss of all samples in one batch. It
/// exchanges two numbers.
///
/// Shapes: `terms` of this rank's `samples`; returns one number.
/// Throws: `c10::ValueError` for a loss of reduction kSum (whose gradients are
/// to be added) and for samples < 1; as `Group`.
/// Example:
///     auto terms = criterion(logits, labels, hook, maps);
///     cyborg::train::whole_batch_total(criterion, terms, labels.size(0),
///     group)
///         .backward();
template <class Distance>
torch::Tensor whole_batch_total(
    const SaliencyGuidedLoss<Distance>& criterion, const LossTerms& terms,
    int64_t samples, const Group& group) {
  TORCH_CHECK_VALUE(
      criterion.options().reduction() == Reduction::kMean,
      "cyborg::train::whole_batch_total: expected a loss of reduction kMean, "
      "got kSum");
  TORCH_CHECK_VALUE(
      samples > 0,
      "cyborg::train::whole_batch_total: expected samples > 0, got ", samples);
  const auto strength = 1 - criterion.alpha();
  const auto own = static_cast<double>(samples);
  const torch::Tensor guided = terms.annotated_count.to(at::kDouble);
  const torch::Tensor counts =
      at::stack({guided, at::full_like(guided, own)});  // n and B
  group.all_reduce(counts);
  const torch::Tensor batch = counts[1];
  const auto type = terms.classification.scalar_type();
  const torch::Tensor to_task =
      (1 - strength * counts[0] / batch) * own * group.size() / batch;
  const torch::Tensor to_saliency = strength * guided * group.size() / batch;
  return to_task.to(type) * terms.classification +
         to_saliency.to(type) * terms.saliency;
}

}  // namespace cyborg::train
