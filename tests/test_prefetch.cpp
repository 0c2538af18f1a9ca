// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"
#include "threads.hpp"

#include <cyborg/data/dataset.hpp>
#include <cyborg/data/prefetch.hpp>
#include <cyborg/data/with_maps.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::GuidedExample;
using data::Prefetcher;
using data::PrefetchOptions;
using pictures::Folder;
using support::contains;
using support::error_of;
using torch::Tensor;

namespace {

/// What a `NumberedSource` counts, over all its copies.
struct Counts {
  std::atomic<int> made{0};   ///< batches so far
  std::atomic<int> alive{0};  ///< batches in memory
  std::atomic<int> most{0};   ///< most batches in memory at once
};

/// A data set of batches whose data are their indices. Batches with an index in
/// `fails` throw; those with an index in `empties` have no sample. Batches of
/// later indices are ready sooner.
class NumberedSource : public torch::data::datasets::BatchDataset<
                           NumberedSource, GuidedExample> {
 public:
  explicit NumberedSource(size_t count) : count_(count) {}

  GuidedExample get_batch(at::ArrayRef<size_t> indices) override {
    const auto has = [&](const std::vector<size_t>& list) {
      return std::any_of(indices.begin(), indices.end(), [&](size_t i) {
        return std::find(list.begin(), list.end(), i) != list.end();
      });
    };
    std::this_thread::sleep_for(
        std::chrono::microseconds((count_ - indices[0]) * 20));
    ++counts->made;
    if (has(fails)) {
      throw std::out_of_range("no sample " + std::to_string(indices[0]));
    }
    if (has(empties)) {
      return {};
    }
    const int now = ++counts->alive;
    int most = counts->most;
    while (now > most && !counts->most.compare_exchange_weak(most, now)) {
    }
    auto* values = new std::vector<int64_t>(indices.begin(), indices.end());
    GuidedExample batch;
    batch.data = at::from_blob(
        values->data(), {static_cast<int64_t>(values->size())},
        [values, counts = counts](void*) {
          --counts->alive;
          delete values;
        },
        at::kLong);
    return batch;
  }

  data::detail::SizeHint size() const override {
    return has_size ? data::detail::SizeHint(count_) : data::detail::SizeHint();
  }

  bool has_size = true;
  std::shared_ptr<Counts> counts = std::make_shared<Counts>();
  std::vector<size_t> fails;
  std::vector<size_t> empties;

 private:
  size_t count_;
};

/// The indices of one epoch, batch by batch.
template <class Loader>
std::vector<std::vector<int64_t>> batches_of(Loader& loader) {
  std::vector<std::vector<int64_t>> batches;
  for (auto& batch : loader) {
    const auto* index = batch.data.template data_ptr<int64_t>();
    batches.emplace_back(index, index + batch.data.numel());
  }
  return batches;
}

}  // namespace

TEST_CASE(
    "Batches come in order for any number of threads", "[data][prefetch]") {
  for (const size_t workers : {0, 1, 2, 5}) {
    Prefetcher loader(
        NumberedSource(10),
        PrefetchOptions().batch_size(4).workers(workers).ahead(3));
    CHECK(loader.size() == 3);
    const auto expected =
        std::vector<std::vector<int64_t>>{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}};
    CHECK(batches_of(loader) == expected);
    CHECK(batches_of(loader) == expected);
  }
}

TEST_CASE("The order depends on seed and epoch alone", "[data][prefetch]") {
  auto global = at::globalContext().defaultGenerator(at::kCPU);
  const auto before = global.get_state();
  const auto options =
      PrefetchOptions().batch_size(7).shuffle(true).seed(3).ahead(2);
  Prefetcher one(NumberedSource(40), PrefetchOptions(options).workers(1));
  Prefetcher many(NumberedSource(40), PrefetchOptions(options).workers(4));
  Prefetcher other(NumberedSource(40), PrefetchOptions(options).seed(4));
  const auto first = batches_of(one);
  CHECK(first == batches_of(many));
  CHECK(first != batches_of(other));
  const auto second = batches_of(one);
  CHECK(second != first);
  CHECK(second == batches_of(many));
  CHECK(global.get_state().equal(before));

  SECTION("every sample comes once in an epoch") {
    std::vector<int64_t> all;
    for (const auto& batch : second) {
      all.insert(all.end(), batch.begin(), batch.end());
    }
    std::sort(all.begin(), all.end());
    REQUIRE(all.size() == 40);
    CHECK(all.front() == 0);
    CHECK(all.back() == 39);
    CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
  }
  SECTION("a resumed training begins at its epoch and batch") {
    Prefetcher resumed(NumberedSource(40), options);
    resumed.epoch(1);
    CHECK(resumed.epoch() == 1);
    CHECK(batches_of(resumed) == second);
    CHECK(resumed.epoch() == 2);
    // and from which batch on, in that epoch alone
    resumed.epoch(1);
    resumed.skip(4);
    CHECK(
        batches_of(resumed) ==
        std::vector<std::vector<int64_t>>(second.begin() + 4, second.end()));
    resumed.epoch(0);
    CHECK(batches_of(resumed) == first);
    resumed.skip(100);
    CHECK(batches_of(resumed).empty());
  }
}

TEST_CASE(
    "The order is that of LibTorch's permutations, epoch by epoch",
    "[data][prefetch]") {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
  std::vector<std::vector<size_t>> expected;
  for (int epoch = 0; epoch < 4; ++epoch) {
    const auto drawn = at::randperm(9, generator, at::kLong);
    const auto* index = drawn.data_ptr<int64_t>();
    expected.emplace_back(index, index + 9);
  }
  const Prefetcher loader(
      NumberedSource(9), PrefetchOptions().shuffle(true).seed(3));
  for (const uint64_t epoch : {0, 3, 1, 1, 2, 3, 0}) {  // forwards and back
    INFO(epoch);
    CHECK(loader.order(epoch) == expected[epoch]);
    CHECK(loader.share(epoch) == expected[epoch]);
  }
  const Prefetcher still(NumberedSource(3));
  CHECK(still.order(5) == std::vector<size_t>{0, 1, 2});
}

TEST_CASE(
    "By default a batch has 20 samples, as published", "[data][prefetch]") {
  const PrefetchOptions options;
  CHECK(options.batch_size() == 20);
  CHECK(options.workers() == 2);
  CHECK(options.ahead() == 4);
  CHECK_FALSE(options.shuffle());
  CHECK(options.seed() == 0);
  CHECK_FALSE(options.drop_last());
  Prefetcher loader(NumberedSource(45));
  CHECK(loader.size() == 3);
  const auto batches = batches_of(loader);
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].size() == 20);
  CHECK(batches[2].size() == 5);
}

TEST_CASE("Several processes share each batch", "[data][prefetch]") {
  // 23 samples, two processes of 5: two batches of 10, and 3 left: one each.
  const auto options = PrefetchOptions().shuffle(true).seed(5);
  Prefetcher whole(NumberedSource(23), PrefetchOptions(options).batch_size(10));
  const auto half = PrefetchOptions(options).batch_size(5).world(2);
  Prefetcher first(NumberedSource(23), PrefetchOptions(half).rank(0));
  Prefetcher second(NumberedSource(23), PrefetchOptions(half).rank(1));
  CHECK(first.size() == 3);
  CHECK(second.size() == 3);
  const auto all = batches_of(whole), a = batches_of(first),
             b = batches_of(second);
  REQUIRE(a.size() == 3);
  REQUIRE(b.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    auto both = a[i];
    both.insert(both.end(), b[i].begin(), b[i].end());
    auto expected = all[i];
    expected.resize(both.size());
    CHECK(both == expected);
  }
  CHECK(a[2].size() == 1);
  CHECK(b[2].size() == 1);
  CHECK(
      error_of([&] {
        Prefetcher(NumberedSource(3), PrefetchOptions(half).rank(2));
      }) ==
      "cyborg::data::Prefetcher: expected a rank below world, got 2 of 2");

  // Each process skips batches of its own.
  second.epoch(0);
  second.skip(2);
  CHECK(
      batches_of(second) ==
      std::vector<std::vector<int64_t>>(b.begin() + 2, b.end()));
  CHECK(second.position() == 3);
  Prefetcher whole_batches(
      NumberedSource(23), PrefetchOptions(half).rank(1).drop_last(true));
  CHECK(whole_batches.size() == 2);
  CHECK(
      batches_of(whole_batches) ==
      std::vector<std::vector<int64_t>>(b.begin(), b.begin() + 2));
  // 17 samples: 10, and of 7 three each.
  Prefetcher uneven(NumberedSource(17), half);
  CHECK(uneven.size() == 2);
  CHECK(uneven.share(0).size() == 8);
}

TEST_CASE(
    "At most `ahead` batches and the one in use are in memory",
    "[data][prefetch]") {
  for (const size_t workers : {0, 1, 4}) {
    NumberedSource source(60);
    const auto counts = source.counts;
    Prefetcher loader(
        source, PrefetchOptions().batch_size(2).workers(workers).ahead(3));
    for (auto& batch : loader) {
      CHECK(batch.data.defined());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(counts->made == 30);
    CHECK(counts->most >= 1);
    CHECK(counts->most <= (workers == 0 ? 1 : 4));
    CHECK(counts->alive == 0);
  }
}

TEST_CASE(
    "An exception arrives unchanged, after the batches before it",
    "[data][prefetch]") {
  for (const size_t workers : {0, 1, 3}) {
    NumberedSource source(12);
    source.fails = {6};
    Prefetcher loader(source, PrefetchOptions().batch_size(2).workers(workers));
    int seen = 0;
    const auto epoch = [&] {
      for (auto& batch : loader) {
        seen += batch.data.defined() ? 1 : 0;
      }
    };
    CHECK_THROWS_AS(epoch(), std::out_of_range);
    CHECK(seen == 3);
    CHECK(error_of(epoch) == "no sample 6");  // and again
    CHECK(seen == 6);
  }
}

TEST_CASE(
    "An epoch that is left early frees everything, and another can follow",
    "[data][prefetch]") {
  for (const size_t workers : {0, 3}) {
    NumberedSource source(100);
    const auto counts = source.counts;
    {
      Prefetcher loader(
          source, PrefetchOptions().batch_size(2).workers(workers).ahead(4));
      for (int epoch = 0; epoch < 3; ++epoch) {
        for (auto& batch : loader) {
          const auto first = batch.data[0].template item<int64_t>();
          CHECK(first <= 2);
          if (first == 2) {
            break;
          }
        }
      }
      CHECK(batches_of(loader).size() == 50);
    }
    CHECK(counts->alive == 0);
    CHECK(counts->made < 50 + 3 * 8);
  }
}

TEST_CASE("Batches without a sample are left out", "[data][prefetch]") {
  for (const size_t workers : {0, 2}) {
    NumberedSource source(10);
    source.empties = {0, 4, 9};
    Prefetcher loader(source, PrefetchOptions().batch_size(2).workers(workers));
    CHECK(
        batches_of(loader) ==
        std::vector<std::vector<int64_t>>{{2, 3}, {6, 7}});
    // They count in the position.
    std::vector<size_t> positions;
    for (auto& batch : loader) {
      CHECK(batch.data.defined());
      positions.push_back(loader.position());
    }
    CHECK(positions == std::vector<size_t>{2, 4});
    CHECK(loader.position() == 5);
    loader.skip(2);
    for (auto& batch : loader) {
      CHECK(batch.data[0].template item<int64_t>() == 6);
      CHECK(loader.position() == 4);
    }
  }
}

TEST_CASE("A smaller last batch can be left out", "[data][prefetch]") {
  Prefetcher loader(
      NumberedSource(10), PrefetchOptions().batch_size(4).drop_last(true));
  CHECK(loader.size() == 2);
  CHECK(batches_of(loader).size() == 2);
}

TEST_CASE(
    "A last batch that is too small joins the batch before it",
    "[data][prefetch]") {
  const auto sizes = [](size_t count, size_t batch, size_t least) {
    Prefetcher loader(
        NumberedSource(count),
        PrefetchOptions().batch_size(batch).least_in_last(least));
    std::vector<size_t> found;
    const auto batches = batches_of(loader);
    for (size_t i = 0; i < batches.size(); ++i) {
      found.push_back(batches[i].size());
      // The rest of an epoch is the same when it begins at this batch.
      loader.skip(i);
      CHECK(
          batches_of(loader) ==
          std::vector<std::vector<int64_t>>(
              batches.begin() + static_cast<std::ptrdiff_t>(i), batches.end()));
      CHECK(loader.position() == batches.size());
    }
    CHECK(loader.size() == found.size());
    loader.skip(found.size());
    CHECK(batches_of(loader).empty());
    return found;
  };
  using Sizes = std::vector<size_t>;
  CHECK(sizes(9, 4, 1) == Sizes{4, 4, 1});
  CHECK(sizes(9, 4, 2) == Sizes{4, 5});
  CHECK(sizes(10, 4, 2) == Sizes{4, 4, 2});
  CHECK(sizes(8, 4, 2) == Sizes{4, 4});
  CHECK(sizes(3, 2, 2) == Sizes{3});
  CHECK(sizes(10, 4, 9) == Sizes{4, 6});
  // There is no batch before the only one, and one is all of a batch of one.
  CHECK(sizes(1, 4, 2) == Sizes{1});
  CHECK(sizes(3, 1, 2) == Sizes{1, 1, 1});
  CHECK(PrefetchOptions().least_in_last() == 1);
  // Each of two processes has 5 and 1 samples.
  const auto half = PrefetchOptions().batch_size(5).world(2).least_in_last(2);
  Prefetcher second(NumberedSource(13), PrefetchOptions(half).rank(1));
  CHECK(second.size() == 1);
  CHECK(
      batches_of(second) ==
      std::vector<std::vector<int64_t>>{{5, 6, 7, 8, 9, 11}});
}

TEST_CASE("Samples are drawn with weights", "[data][prefetch]") {
  // One of ten is rare and has nine times the weight, as a class of its own.
  std::vector<double> weights(10, 1);
  weights[3] = 9;
  weights[7] = 0;
  const auto options = PrefetchOptions().weights(weights).seed(4);
  const Prefetcher loader(NumberedSource(10), options);
  std::vector<int64_t> counts(10, 0);
  const uint64_t epochs = 1700;
  for (uint64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto order = loader.order(epoch);
    REQUIRE(order.size() == 10);
    for (const auto index : order) {
      ++counts.at(index);
    }
  }
  // 17000 draws with probabilities 9/17, 0 and 1/17.
  CHECK(counts[7] == 0);
  CHECK(std::abs(static_cast<double>(counts[3]) - 9000) < 5 * 65);
  CHECK(std::abs(static_cast<double>(counts[0]) - 1000) < 5 * 31);
  CHECK(std::abs(static_cast<double>(counts[9]) - 1000) < 5 * 31);
  // Another object, and an earlier epoch, give the same order.
  const Prefetcher other(NumberedSource(10), options);
  CHECK(other.order(5) == loader.order(5));
  CHECK(loader.order(5) != loader.order(6));

  const auto error = [](std::vector<double> wrong) {
    return error_of([&] {
      Prefetcher(NumberedSource(2), PrefetchOptions().weights(wrong));
    });
  };
  const std::string expected = "cyborg::data::Prefetcher: expected ";
  CHECK(error({1}) == expected + "a weight for each of 2 samples, got 1");
  CHECK(error({1, -1}) == expected + "weights >= 0, got -1");
  CHECK(error({1, std::nan("")}) == expected + "weights >= 0, got nan");
  CHECK(error({0, 0}) == expected + "a weight above 0, got none");
}

TEST_CASE("An empty data set gives no batch", "[data][prefetch]") {
  Prefetcher loader(NumberedSource(0), PrefetchOptions().shuffle(true));
  CHECK(loader.size() == 0);
  CHECK(batches_of(loader).empty());
}

TEST_CASE(
    "Pictures that threads read are the same as without threads",
    "[data][prefetch]") {
  const Folder folder;
  std::vector<data::Row> rows;
  for (uint32_t i = 0; i < 23; ++i) {
    data::Row row;
    row.label = i;
    row.path = folder.write(
        std::to_string(i) + ".png",
        i % 5 == 4 ? "broken" : pictures::png(2, 2, 8, 0, {i, 0, 9, 255 - i}));
    row.saliency = {i % 2 == 0 ? row.path : ""};
    rows.push_back(row);
  }
  const auto batches = [&](size_t workers) {
    data::PictureDataset set(
        rows,
        data::PictureDatasetOptions().size({5, 5}).map_size({3, 3}).on_error(
            data::OnError::kSkip));
    Prefetcher loader(
        set, PrefetchOptions().batch_size(6).workers(workers).shuffle(true));
    std::vector<Tensor> all;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (auto& batch : loader) {
        all.push_back(batch.data);
        all.push_back(batch.target);
        all.push_back(batch.saliency.nan_to_num(-1));
      }
    }
    REQUIRE(set.skipped().size() == 4);
    CHECK(set.skipped()[3].index == 19);
    return all;
  };
  const auto alone = batches(0);
  REQUIRE(alone.size() == 24);
  for (const size_t workers : {1, 4}) {
    std::vector<Tensor> threads;
    CHECK(support::threads_of([&] { threads = batches(workers); }) >= 2);
    REQUIRE(threads.size() == alone.size());
    bool equal = true;
    for (size_t i = 0; i < alone.size(); ++i) {
      equal = equal && threads[i].equal(alone[i]);
    }
    CHECK(equal);
  }
}

TEST_CASE(
    "A broken picture ends the loop with an error that names it",
    "[data][prefetch][error]") {
  data::Row row;
  row.path = "none.png";
  Prefetcher loader(data::PictureDataset({row}));
  CHECK_THROWS_AS(loader.begin(), cyborg::io::FileError);
  CHECK(error_of([&] {
          loader.begin();
        }) == "cyborg::data::read_image: none.png: no such file");
}

TEST_CASE(
    "Invalid options of the prefetcher throw", "[data][prefetch][error]") {
  CHECK(error_of([] {
          Prefetcher(NumberedSource(1), PrefetchOptions().batch_size(0));
        }) == "cyborg::data::Prefetcher: expected batch_size > 0, got 0");
  CHECK(
      error_of(
          [] { Prefetcher(NumberedSource(1), PrefetchOptions().ahead(0)); }) ==
      "cyborg::data::Prefetcher: expected ahead > 0 with 2 workers, got 0");
  CHECK_NOTHROW(
      Prefetcher(NumberedSource(1), PrefetchOptions().workers(0).ahead(0)));
  NumberedSource endless(1);
  endless.has_size = false;
  CHECK(error_of([&] {
          Prefetcher loader(endless);
        }) == "cyborg::data::Prefetcher: expected a data set with a size");
}
