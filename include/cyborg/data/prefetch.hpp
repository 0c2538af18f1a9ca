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
#include <cmath>
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
  /// Samples in a batch. Default 20, as in the published code.
  TORCH_ARG(size_t, batch_size) = 20;
  /// Threads that read batches while the program trains. With 0, the thread
  /// that asks for a batch reads it. Default 2.
  TORCH_ARG(size_t, workers) = 2;
  /// How many batches are read ahead of the one in use. So at most `ahead` + 1
  /// batches are in memory. Default 4.
  TORCH_ARG(size_t, ahead) = 4;
  /// Whether every epoch has a new order. Default false.
  TORCH_ARG(bool, shuffle) = false;
  /// The chance of each sample to be drawn, as a share of the sum. With it, an
  /// epoch has as many samples as before, drawn with replacement in the order
  /// of the seed: some come several times, some not at all. For rare classes:
  /// 1 / (samples of the class). Default: each sample comes once.
  TORCH_ARG(std::vector<double>, weights);
  /// The seed of the orders. The global generator is not used. The same seed
  /// and epoch give the same order on every machine. Default 0.
  TORCH_ARG(uint64_t, seed) = 0;
  /// Whether the last batch is left out if it has fewer samples. Default false.
  TORCH_ARG(bool, drop_last) = false;
  /// If the last batch would have fewer samples than this (and than
  /// `batch_size`), they join the batch before it. Batch normalisation needs 2
  /// where it has one position. Default 1: no batch is joined.
  TORCH_ARG(size_t, least_in_last) = 1;
  /// The number of processes that share each batch. The batches of all
  /// processes together are those of one process whose batch is `world` times
  /// as large. All processes have the same number of samples, also in a last,
  /// smaller batch, so up to `world` - 1 samples are left out. Default 1.
  TORCH_ARG(size_t, world) = 1;
  /// The number of this process, from 0 to `world` - 1. Default 0.
  TORCH_ARG(size_t, rank) = 0;

 public:
};

namespace detail {

/// A sampler that gives a fixed list of indices, once. Indices that would be a
/// last batch of fewer than `least` are given with the batch before them.
class ListSampler : public torch::data::samplers::Sampler<> {
 public:
  explicit ListSampler(std::vector<size_t> order, size_t least = 1)
      : order_(std::move(order)), least_(least) {}

  void reset(SizeHint /*new_size*/ = {}) override { next_ = 0; }

  decltype(std::declval<torch::data::samplers::Sampler<>&>().next(1)) next(
      size_t batch_size) override {
    const auto left = order_.size() - next_;
    if (left == 0) {
      return {};
    }
    const auto count =
        left < batch_size + std::min(least_, batch_size) ? left : batch_size;
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
  size_t least_;
  size_t next_ = 0;
};

/// The data set that is loaded: `DatasetType` with `Collate` after it, or
/// `DatasetType` itself if its batches are stacked already.
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

/// Reads batches of `GuidedExample` on other threads, while the program trains.
///
/// LibTorch's `DataLoader` does the work. This class adds:
/// - The order of the samples depends on a seed and on the number of the epoch.
/// - The batches have that order for any number of threads.
/// - After an epoch that was left early or ended with an exception, another one
///   can begin.
/// - An exception of the data set arrives unchanged, and not wrapped in
/// another.
/// - A batch of which every sample was skipped is left out.
/// - The batch in use is freed before the next one is fetched.
///
/// The data set may be any one of `GuidedExample`s, stacked or not. Each call
/// of `begin` starts an epoch. There is one epoch at a time.
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

    /// The end of every epoch.
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

    /// Calls `first`, which moves the iterator, and then goes to the next batch
    /// that has a sample. At the end and after an exception, this becomes the
    /// end iterator.
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

  /// Throws: `c10::ValueError` for a data set without a size, for a batch size
  /// of 0, for `ahead` 0 with threads, and for a rank that is not below
  /// `world`.
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
    check_weights();
  }

  /// Starts an epoch. If the last epoch was left early, its threads finish what
  /// they are reading, and it is thrown away.
  Iterator begin() {
    loader_ = nullptr;  // joins the threads of the last epoch
    auto rest = share(epoch_++);
    *position_ = std::exchange(skip_, 0);
    const auto skipped =
        *position_ >= size() ? rest.size() : *position_ * options_.batch_size();
    rest.erase(
        rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(skipped));
    loader_ = std::make_unique<Loader>(
        source_, detail::ListSampler(std::move(rest), least_in_last()),
        torch::data::DataLoaderOptions(options_.batch_size())
            .workers(options_.workers())
            // Without workers, LibTorch would lose the jobs.
            .max_jobs(options_.workers() == 0 ? 0 : options_.ahead())
            .enforce_ordering(true)
            .drop_last(options_.drop_last()));
    return Iterator(*loader_, position_);
  }

  Iterator end() { return Iterator(); }

  /// The number of batches in an epoch, if no batch is left out.
  size_t size() const noexcept {
    const auto batch = options_.batch_size();
    const auto whole = share_size() / batch, left = share_size() % batch;
    const bool last = left > 0 && !options_.drop_last() &&
                      (left >= least_in_last() || whole == 0);
    return whole + (last ? 1 : 0);
  }

  /// The number of the next epoch. The first is 0.
  uint64_t epoch() const noexcept { return epoch_; }

  /// Sets the number of the next epoch, to resume a training.
  void epoch(uint64_t number) noexcept { epoch_ = number; }

  /// Leaves out the first `batches` batches of the next epoch, and of no other.
  void skip(size_t batches) noexcept { skip_ = batches; }

  /// How many batches of this epoch came so far, with the one in use, with
  /// those that `skip` left out and with those without a sample. A training
  /// that resumes after the batch in use passes this number to `skip`.
  size_t position() const noexcept { return *position_; }

  /// The order of the samples of all processes in an epoch: the permutation, or
  /// the sample with `weights`, of that number (from 0) which a generator with
  /// the seed draws.
  std::vector<size_t> order(uint64_t epoch) const {
    std::vector<size_t> order(count_);
    std::iota(order.begin(), order.end(), size_t{0});
    if ((options_.shuffle() && count_ > 1) || !options_.weights().empty()) {
      const auto shuffled = permutation(epoch);
      const auto* index = shuffled.template data_ptr<int64_t>();
      std::transform(index, index + count_, order.begin(), [](int64_t i) {
        return static_cast<size_t>(i);
      });
    }
    return order;
  }

  /// The part of `order` that this process reads.
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
  /// `PrefetchOptions::least_in_last`; 1 if the last batch is dropped, because
  /// then none is joined to the one before.
  size_t least_in_last() const noexcept {
    return options_.drop_last() ? 1 : options_.least_in_last();
  }

  /// The number of samples in `share`.
  size_t share_size() const noexcept {
    const auto whole = options_.world() * options_.batch_size();
    return count_ / whole * options_.batch_size() +
           count_ % whole / options_.world();
  }

  void check_weights() const {
    const auto& weights = options_.weights();
    TORCH_CHECK_VALUE(
        weights.empty() || weights.size() == count_,
        "cyborg::data::Prefetcher: expected a weight for each of ", count_,
        " samples, got ", weights.size());
    double sum = 0;
    for (const double weight : weights) {
      TORCH_CHECK_VALUE(
          weight >= 0 && std::isfinite(weight),
          "cyborg::data::Prefetcher: expected weights >= 0, got ", weight);
      sum += weight;
    }
    TORCH_CHECK_VALUE(
        weights.empty() || sum > 0,
        "cyborg::data::Prefetcher: expected a weight above 0, got none");
  }

  /// The order that the generator draws next.
  torch::Tensor draw() const {
    const auto count = static_cast<int64_t>(count_);
    if (options_.weights().empty()) {
      return at::randperm(count, random_, at::kLong);
    }
    // Not at::multinomial, which has a limit of 2^24 samples.
    const auto ends =
        torch::tensor(options_.weights(), torch::kDouble).cumsum(/*dim=*/0);
    const auto points = at::rand({count}, random_, at::kDouble) * ends[-1];
    return at::searchsorted(ends, points, /*out_int32=*/false, /*right=*/true)
        .clamp_max(count - 1);
  }

  /// The permutation of an epoch. The generator draws all permutations up to
  /// it; for an earlier epoch it starts again.
  torch::Tensor permutation(uint64_t epoch) const {
    if (!random_.defined() || epoch + 1 < drawn_) {
      random_ = at::make_generator<at::CPUGeneratorImpl>(options_.seed());
      drawn_ = 0;
    }
    for (; drawn_ <= epoch; ++drawn_) {
      last_ = draw();
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
  mutable torch::Tensor last_;  // the last of these
  std::unique_ptr<Loader> loader_;
};

}  // namespace cyborg::data
