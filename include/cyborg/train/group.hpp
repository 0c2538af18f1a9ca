// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/train/detail/link.hpp>
#include <cyborg/train/transport.hpp>
#include <cyborg/train/world.hpp>

#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/arg.h>
#include <torch/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace cyborg::train {

/// Options of `Group`.
struct GroupOptions {
  /// What carries the tensors. Default kGloo; kNccl for models on GPUs.
  TORCH_ARG(Transport, transport) = Transport::kGloo;
  /// How long to wait for the other processes, at the start and in every
  /// exchange. Default 60 s.
  TORCH_ARG(std::chrono::milliseconds, timeout) = std::chrono::seconds(60);

 public:
};

/// The processes ("ranks") of a world, and the exchange of tensors between
/// them. Every process must make the same calls in the same order.
///
/// A copy of a group is the same group, with the same connection. In a group of
/// one process every call returns at once, and no tensor changes.
///
/// Throws: the constructor, `c10::ValueError` for a rank outside of
/// [0, size), a timeout of 0 or less, and a transport that this program does
/// not have; `c10::Error` where several processes were started and the program
/// was built for one. The constructor and every exchange throw
/// `c10::DistBackendError` at once when another process has ended, and after
/// `timeout` when another process does not answer. After this error the group
/// cannot be used: let the exception end the program, so that the other
/// processes end, too. (NCCL ends the program itself.)
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

  /// The group of the world that the launcher describes in the environment:
  /// one process where it describes none.
  ///
  /// Throws: as `World::from_environment` and the constructor.
  static Group from_environment(GroupOptions options = {}) {
    return Group(World::from_environment(), options);
  }

  /// The world that the group was made from.
  const World& world() const { return world_; }
  /// The number of this process, from 0 to `size()` - 1.
  int rank() const { return world_.rank; }
  /// The number of processes.
  int size() const { return world_.size; }

  /// The device of the tensors that are exchanged: the CPU or, with NCCL, this
  /// process's GPU.
  torch::Device device() const {
    return options_.transport() == Transport::kNccl
               ? torch::Device(
                     torch::kCUDA,
                     static_cast<c10::DeviceIndex>(world_.local_rank))
               : torch::Device(torch::kCPU);
  }

  /// Replaces the values of the tensors by those of rank 0, on every rank.
  ///
  /// Shapes: any, and any type, on any device; the same on every rank.
  /// Gradient: none.
  /// Throws: `c10::ValueError` where the tensors of another rank have more or
  /// fewer bytes than those of rank 0; as `Group`.
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
        gather_numbers({bytes}).select(1, 0),
        "tensors with the same number of bytes");
    if (bytes == 0) {
      return;
    }
    // A sum in which all ranks but one have bytes of 0 keeps every bit.
    torch::Tensor all = at::cat(parts);
    if (rank() != 0) {
      all.zero_();
    }
    link_->sum(all)();
    bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const int64_t count = parts[i].size(0);
      const torch::Tensor& tensor = tensors[i];
      tensor.copy_(from_bytes(all.narrow(0, bytes, count), tensor.scalar_type())
                       .view(tensor.sizes()));
      bytes += count;
    }
  }

  /// Replaces a tensor by its sum over all ranks, on every rank.
  ///
  /// Shapes: any, the same on every rank; any type that the transport can add.
  /// Gradient: none; `sum_over_ranks` has one.
  /// Throws: as `Group`.
  void all_reduce(const torch::Tensor& tensor) const {
    const at::NoGradGuard no_grad;
    const torch::Tensor sum = tensor.to(device()).contiguous();
    if (sum.numel() > 0) {
      link_->sum(sum)();
    }
    if (!sum.is_same(tensor)) {
      tensor.copy_(sum);
    }
  }

  /// The rows of all ranks, in the order of the ranks. For example the scores
  /// of all samples, for a measure.
  ///
  /// Shapes: [N_r, *S] on rank r -> [N_0 + ... + N_(R-1), *S]; N_r may be 0.
  /// Range: any type; it is the type of the result.
  /// Gradient: none.
  /// Throws: `c10::ValueError` where a row of another rank has more or fewer
  /// bytes than one of rank 0, and for a tensor without dimensions; as
  /// `Group`.
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
    check_same(counts.select(1, 1), "rows with the same number of bytes");
    const torch::Tensor rows = counts.select(1, 0);
    sizes[0] = rows.sum().item<int64_t>();
    const int64_t before =
        rows.narrow(0, 0, rank()).sum().item<int64_t>() * row;
    // Each rank writes its rows to their place among zeros, and all are added.
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

  /// Waits until every rank has called it.
  ///
  /// Throws: as `Group`.
  void barrier() const { gather_numbers({0}); }

  /// Leaves the group, so that the calls of the other ranks fail at once and
  /// not only after the timeout. For a process that goes on after an error.
  void abort() const { link_->abort(); }

  /// Starts to replace a contiguous tensor on `device()` by its sum over all
  /// ranks. The result waits for the end when it is called. The other exchanges
  /// are made of this one.
  detail::Wait start_sum(const torch::Tensor& tensor) const {
    return link_->sum(tensor);
  }

  /// The connection, which a graph of autograd may keep after the group.
  const c10::intrusive_ptr<detail::Link>& link() const { return link_; }

 private:
  /// The bytes of a tensor, on `device()`.
  torch::Tensor to_bytes(const torch::Tensor& tensor) const {
    return tensor.numel() == 0
               ? at::zeros({0}, at::dtype(at::kByte).device(device()))
               : tensor.detach().to(device()).contiguous().view({-1}).view(
                     at::kByte);
  }

  /// The numbers of this type that the bytes are. They are cloned first: a view
  /// as a wider type needs bytes that are aligned for it.
  static torch::Tensor from_bytes(
      const torch::Tensor& bytes, at::ScalarType type) {
    return bytes.numel() == 0 ? at::zeros({0}, bytes.options().dtype(type))
                              : bytes.clone().view(type);
  }

  /// The numbers of all ranks, [size, n], on the CPU.
  torch::Tensor gather_numbers(const std::vector<int64_t>& numbers) const {
    const torch::Tensor all = at::zeros(
        {size(), static_cast<int64_t>(numbers.size())},
        at::dtype(at::kLong).device(device()));
    all.select(0, rank()).copy_(torch::tensor(numbers, at::kLong));
    link_->sum(all)();
    return all.to(at::kCPU);
  }

  /// Throws unless all ranks have the number of rank 0. The numbers are the
  /// same everywhere, so all ranks throw or none does.
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

}  // namespace cyborg::train
