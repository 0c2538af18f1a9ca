// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/example.hpp>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/arg.h>
#include <torch/data/dataloader.h>
#include <torch/data/datasets/map.h>
#include <torch/data/samplers/base.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Options of `Prefetcher`.
struct PrefetchOptions {
  /// Samples in a batch. Default 20, as published.
  TORCH_ARG(size_t, batch_size) = 20;
  /// Threads that decode while the program trains; 0: the program's own
  /// thread decodes each batch when it asks for it. Default 2.
  TORCH_ARG(size_t, workers) = 2;
  /// Batches decoded or being decoded beyond the one in use, so at most
  /// `ahead` + 1 are in memory. Default 4.
  TORCH_ARG(size_t, ahead) = 4;
  /// Whether every epoch has a new order. Default false.
  TORCH_ARG(bool, shuffle) = false;
  /// Where the orders come from; the global generator is not touched. The same
  /// seed and epoch give the same order on every machine. Default 0.
  TORCH_ARG(uint64_t, seed) = 0;
  /// Whether a last batch of fewer samples is left out. Default false.
  TORCH_ARG(bool, drop_last) = false;
  /// The processes that share each batch, and which of them this one is. The
  /// batches of all, side by side, are those of one process with `world` times
  /// the batch size; of a last, smaller one each has as many, so that up to
  /// `world` - 1 samples are left out. Default 1.
  TORCH_ARG(size_t, world) = 1;
  /// From 0. Default 0.
  TORCH_ARG(size_t, rank) = 0;

 public:
};

namespace detail {

/// Hands out a given order of indices.
class ListSampler : public torch::data::samplers::Sampler<> {
 public:
  explicit ListSampler(std::vector<size_t> order) : order_(std::move(order)) {}

  void reset(SizeHint /*new_size*/ = {}) override { next_ = 0; }

  decltype(std::declval<torch::data::samplers::Sampler<>&>().next(1)) next(
      size_t batch_size) override {
    const auto count = std::min(batch_size, order_.size() - next_);
    if (count == 0) {
      return {};
    }
    const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(next_);
    next_ += count;
    return std::vector<size_t>(
        begin, begin + static_cast<std::ptrdiff_t>(count));
  }

  void save(torch::serialize::OutputArchive& /*archive*/) const override {
    TORCH_CHECK(
        false,
        "cyborg::data::Prefetcher: the order is not saved; "
        "set seed and epoch instead");
  }
  void load(torch::serialize::InputArchive& /*archive*/) override {
    TORCH_CHECK(
        false,
        "cyborg::data::Prefetcher: the order is not loaded; "
        "set seed and epoch instead");
  }

 private:
  std::vector<size_t> order_;
  size_t next_ = 0;
};

/// `DatasetType` with `Collate` behind it where its samples are not stacked.
template <class DatasetType, bool kStacked>
struct Collated {
  using type = torch::data::datasets::MapDataset<DatasetType, Collate>;
  static type make(DatasetType dataset) {
    return {std::move(dataset), Collate()};
  }
};

template <class DatasetType>
struct Collated<DatasetType, true> {
  using type = DatasetType;
  static type make(DatasetType dataset) { return dataset; }
};

}  // namespace detail

/// Batches of `GuidedExample`, decoded on threads ahead of training.
///
/// LibTorch's own `DataLoader` does the work. What this adds: an order that
/// comes from a seed and the epoch's number; batches in that order whatever
/// the number of threads; an epoch that was left halfway or ended in an
/// exception can be followed by another; a data set's exception arrives as
/// itself, not wrapped; batches of which every sample was skipped are left out;
/// and the batch in use is freed before the next one is taken.
///
/// Takes any data set of `GuidedExample`s, stacked or not. Every iteration
/// (`begin`) is an epoch; one at a time.
/// Example:
///     cyborg::data::Prefetcher loader(
///         train, cyborg::data::PrefetchOptions().shuffle(true).seed(7));
///     for (int epoch = 0; epoch < 50; ++epoch)
///       for (auto& batch : loader)
///         step(batch.data, batch.target, batch.saliency);
template <class DatasetType>
class Prefetcher {
  using Collated = detail::Collated<
      DatasetType,
      std::is_same<typename DatasetType::BatchType, GuidedExample>::value>;
  using Source = typename Collated::type;
  using Loader = torch::data::StatelessDataLoader<Source, detail::ListSampler>;

 public:
  /// An input iterator over the batches of one epoch.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = GuidedExample;
    using difference_type = std::ptrdiff_t;
    using pointer = GuidedExample*;
    using reference = GuidedExample&;

    /// The end.
    Iterator() : inner_(nullptr), end_(nullptr) {}

    Iterator(Loader& loader, std::shared_ptr<size_t> position)
        : inner_(std::make_shared<Inner>(loader.begin())),
          end_(std::make_shared<Inner>(loader.end())),
          position_(std::move(position)) {
      settle([] {});
    }

    GuidedExample& operator*() const { return **inner_; }
    GuidedExample* operator->() const { return &**inner_; }
    Iterator& operator++() {
      **inner_ = GuidedExample();  // frees the batch that was in use
      settle([this] { ++*inner_; });
      return *this;
    }
    bool operator==(const Iterator& other) const {
      return inner_ == other.inner_;
    }
    bool operator!=(const Iterator& other) const { return !(*this == other); }

   private:
    using Inner = torch::data::Iterator<GuidedExample>;

    /// Moves by `first`, then on to the next batch that holds a sample.
    template <class First>
    void settle(First first) {
      try {
        first();
        while (*inner_ != *end_) {
          ++*position_;
          if ((**inner_).data.defined()) {
            return;
          }
          ++*inner_;
        }
        inner_ = nullptr;
      } catch (const torch::data::WorkerException& error) {
        inner_ = nullptr;
        std::rethrow_exception(error.original_exception);
      } catch (...) {
        inner_ = nullptr;
        throw;
      }
    }

    std::shared_ptr<Inner> inner_;
    std::shared_ptr<Inner> end_;
    std::shared_ptr<size_t> position_;
  };

  /// Throws: `c10::ValueError` for a data set without a size, a batch size of
  /// 0, or 0 batches ahead with threads.
  explicit Prefetcher(DatasetType dataset, PrefetchOptions options = {})
      : source_(Collated::make(std::move(dataset))), options_(options) {
    const auto size = source_.size();
    TORCH_CHECK_VALUE(
        size.has_value(),
        "cyborg::data::Prefetcher: expected a data set with a size");
    count_ = *size;
    TORCH_CHECK_VALUE(
        options_.batch_size() > 0,
        "cyborg::data::Prefetcher: expected batch_size > 0, got 0");
    TORCH_CHECK_VALUE(
        options_.workers() == 0 || options_.ahead() > 0,
        "cyborg::data::Prefetcher: expected ahead > 0 with ",
        options_.workers(), " workers, got 0");
    TORCH_CHECK_VALUE(
        options_.rank() < options_.world(),
        "cyborg::data::Prefetcher: expected a rank below world, got ",
        options_.rank(), " of ", options_.world());
  }

  /// Starts an epoch. One that was left halfway is given up: what its threads
  /// are decoding is finished and thrown away.
  Iterator begin() {
    loader_ = nullptr;  // joins the threads of the last epoch
    auto rest = share(epoch_++);
    *position_ = std::exchange(skip_, 0);
    const auto skipped =
        std::min(*position_ * options_.batch_size(), rest.size());
    rest.erase(
        rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(skipped));
    loader_ = std::make_unique<Loader>(
        source_, detail::ListSampler(std::move(rest)),
        torch::data::DataLoaderOptions(options_.batch_size())
            .workers(options_.workers())
            // Jobs scheduled without workers would be lost.
            .max_jobs(options_.workers() == 0 ? 0 : options_.ahead())
            .enforce_ordering(true)
            .drop_last(options_.drop_last()));
    return Iterator(*loader_, position_);
  }

  Iterator end() { return Iterator(); }

  /// Batches in an epoch in which nothing is skipped.
  size_t size() const noexcept {
    const auto batch = options_.batch_size();
    const auto count = share_size();
    return options_.drop_last() ? count / batch : (count + batch - 1) / batch;
  }

  /// The number of the next epoch, from 0.
  uint64_t epoch() const noexcept { return epoch_; }

  /// Sets the number of the next epoch, to go on where a training stopped.
  void epoch(uint64_t number) noexcept { epoch_ = number; }

  /// Leaves out so many batches at the beginning of the next epoch alone.
  void skip(size_t batches) noexcept { skip_ = batches; }

  /// Batches of the epoch so far: the one in use, those before it, and among
  /// them those left out. What `skip` needs to go on behind the one in use.
  size_t position() const noexcept { return *position_; }

  /// The order of the samples in an epoch, those of all processes: the
  /// epoch-th permutation (from 0) that a generator with the seed draws.
  std::vector<size_t> order(uint64_t epoch) const {
    std::vector<size_t> order(count_);
    std::iota(order.begin(), order.end(), size_t{0});
    if (options_.shuffle() && count_ > 1) {
      const auto shuffled = permutation(epoch);
      const auto* index = shuffled.template data_ptr<int64_t>();
      std::transform(index, index + count_, order.begin(), [](int64_t i) {
        return static_cast<size_t>(i);
      });
    }
    return order;
  }

  /// The part of the order that this process has.
  std::vector<size_t> share(uint64_t epoch) const {
    const auto all = order(epoch);
    const auto world = options_.world(), batch = options_.batch_size();
    if (world == 1) {
      return all;
    }
    std::vector<size_t> own;
    for (size_t begin = 0; begin < all.size(); begin += world * batch) {
      const auto each = std::min(batch, (all.size() - begin) / world);
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(
                                           begin + options_.rank() * each);
      own.insert(own.end(), first, first + static_cast<std::ptrdiff_t>(each));
    }
    return own;
  }

 private:
  size_t share_size() const noexcept {
    const auto whole = options_.world() * options_.batch_size();
    return count_ / whole * options_.batch_size() +
           count_ % whole / options_.world();
  }

  torch::Tensor permutation(uint64_t epoch) const {
    if (!random_.defined() || epoch + 1 < drawn_) {
      random_ = at::make_generator<at::CPUGeneratorImpl>(options_.seed());
      drawn_ = 0;
    }
    for (; drawn_ <= epoch; ++drawn_) {
      last_ = at::randperm(static_cast<int64_t>(count_), random_, at::kLong);
    }
    return last_;
  }

  Source source_;
  PrefetchOptions options_;
  size_t count_ = 0;
  uint64_t epoch_ = 0;
  size_t skip_ = 0;
  std::shared_ptr<size_t> position_ = std::make_shared<size_t>(0);
  mutable at::Generator random_;  // has drawn `drawn_` permutations
  mutable uint64_t drawn_ = 0;
  mutable torch::Tensor last_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace cyborg::data
