// SPDX-License-Identifier: BSD-3-Clause
#include "catch.hpp"
#include "support.hpp"

#include "pictures.hpp"

#include <cyborg/data/with_maps.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace data = cyborg::data;
using data::Collate;
using data::GuidedExample;
using data::WithMaps;
using pictures::Folder;
using support::close;
using support::error_of;
using torch::Tensor;
using torch::data::DataLoaderOptions;
using torch::data::samplers::SequentialSampler;

namespace {

/// Like MNIST: picture i is filled with i, its label is i % 3.
class Digits : public torch::data::datasets::Dataset<Digits> {
 public:
  explicit Digits(size_t count) : count_(count) {}

  torch::data::Example<> get(size_t index) override {
    return {
        at::full({1, 4, 4}, static_cast<double>(index)),
        at::scalar_tensor(static_cast<int64_t>(index % 3), at::kLong)};
  }
  data::detail::SizeHint size() const override { return count_; }

 private:
  size_t count_;
};

/// A data set that leaves out a sample, but not in its size.
class Lossy : public Digits {
 public:
  using Digits::Digits;
  std::vector<torch::data::Example<>> get_batch(
      at::ArrayRef<size_t> indices) override {
    return Digits::get_batch(indices.slice(1));
  }
};

/// Map i is filled with 10 i.
Tensor maps_of(int64_t count) {
  return (at::arange(count, at::kFloat) * 10)
      .view({count, 1, 1})
      .repeat({1, 2, 2});
}

/// Every batch of a loader holds pictures, labels and maps that belong
/// together; returns the number of samples.
template <class Loader>
int64_t check_batches(Loader& loader) {
  int64_t count = 0;
  for (auto& batch : loader) {
    const auto n = batch.data.size(0);
    CHECK(batch.data.sizes() == at::IntArrayRef({n, 1, 4, 4}));
    CHECK(batch.saliency.sizes() == at::IntArrayRef({n, 2, 2}));
    const auto index = batch.data.flatten(1).select(1, 0);
    CHECK(close(batch.saliency.flatten(1).select(1, 3), index * 10, 0));
    CHECK(close(batch.target, index.to(at::kLong).remainder(3), 0));
    count += n;
  }
  return count;
}

}  // namespace

TEST_CASE("WithMaps adds a map to each sample", "[data][with_maps]") {
  auto set = WithMaps(Digits(5), maps_of(5));
  CHECK(*set.size() == 5);
  const auto sample = set.get(3);
  CHECK(close(sample.data, at::full({1, 4, 4}, 3.), 0));
  CHECK(sample.target.item<int64_t>() == 0);
  CHECK(close(sample.saliency, at::full({2, 2}, 30.), 0));
  const auto batch = set.get_batch(std::vector<size_t>{4, 1});
  REQUIRE(batch.size() == 2);
  CHECK(batch[0].saliency[0][0].item<float>() == 40);
  CHECK(batch[1].data[0][0][0].item<float>() == 1);
}

TEST_CASE(
    "The batches of a loader have data, target and saliency",
    "[data][with_maps]") {
  auto loader = torch::data::make_data_loader<SequentialSampler>(
      WithMaps(Digits(10), maps_of(10)).map(Collate()), DataLoaderOptions(4));
  CHECK(check_batches(*loader) == 10);

  SECTION("maps stay with their pictures when shuffled and on threads") {
    auto shuffled = torch::data::make_data_loader(
        WithMaps(Digits(50), maps_of(50))
            .map(torch::data::transforms::Stack<GuidedExample>()),
        DataLoaderOptions(4).workers(3));
    CHECK(check_batches(*shuffled) == 50);
  }
}

TEST_CASE("A data set keeps its transforms", "[data][with_maps]") {
  auto set = Digits(6).map(torch::data::transforms::Normalize<>(1.0, 2.0));
  auto guided = WithMaps(std::move(set), maps_of(6));
  CHECK(close(guided.get(5).data, at::full({1, 4, 4}, 2.), 0));
  CHECK(close(guided.get(5).saliency, at::full({2, 2}, 50.), 0));
}

TEST_CASE("A stacked data set stays stacked", "[data][with_maps]") {
  auto set =
      WithMaps(Digits(7).map(torch::data::transforms::Stack<>()), maps_of(7));
  STATIC_REQUIRE(std::is_same<decltype(set)::BatchType, GuidedExample>::value);
  auto loader = torch::data::make_data_loader<SequentialSampler>(
      std::move(set), DataLoaderOptions(3));
  CHECK(check_batches(*loader) == 7);
}

TEST_CASE(
    "A stacked batch without maps gets maps of NaN in the size of the pictures",
    "[data][with_maps]") {
  auto set = WithMaps(
      Digits(4).map(torch::data::transforms::Stack<>()),
      [](size_t /*index*/) { return Tensor(); });
  const auto batch = set.get_batch(std::vector<size_t>{3, 1});
  CHECK(batch.data.flatten(1).select(1, 0).equal(torch::tensor({3.F, 1.F})));
  CHECK(batch.saliency.sizes() == at::IntArrayRef({2, 4, 4}));
  CHECK(batch.saliency.isnan().all().item<bool>());
}

TEST_CASE("Maps can come from a function of the index", "[data][with_maps]") {
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto set = WithMaps(Digits(4), [calls](size_t index) {
    ++*calls;
    return index == 2 ? Tensor()
                      : at::full({2, 2}, 10. * static_cast<double>(index));
  });
  CHECK(*calls == 0);  // on demand
  CHECK(!set.get(2).saliency.defined());
  CHECK(*calls == 1);
  auto loader = torch::data::make_data_loader<SequentialSampler>(
      std::move(set).map(Collate()), DataLoaderOptions(4).workers(2));
  for (auto& batch : *loader) {
    CHECK(close(batch.saliency[3], at::full({2, 2}, 30.), 0));
    CHECK(batch.saliency[2].isnan().all().item<bool>());
  }
}

TEST_CASE("LibTorch's MNIST gets maps too", "[data][with_maps]") {
  const Folder folder;
  // The test set's files, as MNIST distributes them: pixels of picture i are
  // i % 256, its label is i % 10.
  std::string pictures_file =
      pictures::big_endian(2051) + pictures::big_endian(10000) +
      pictures::big_endian(28) + pictures::big_endian(28);
  std::string labels_file =
      pictures::big_endian(2049) + pictures::big_endian(10000);
  for (int i = 0; i < 10000; ++i) {
    pictures_file += std::string(28 * 28, static_cast<char>(i % 256));
    labels_file += static_cast<char>(i % 10);
  }
  folder.write("t10k-images-idx3-ubyte", pictures_file);
  folder.write("t10k-labels-idx1-ubyte", labels_file);
  auto set = WithMaps(
      torch::data::datasets::MNIST(
          folder.path().string(), torch::data::datasets::MNIST::Mode::kTest),
      [](size_t index) {
        return at::full({7, 7}, static_cast<double>(index));
      });
  CHECK(*set.size() == 10000);
  auto loader = torch::data::make_data_loader(
      std::move(set).map(Collate()), DataLoaderOptions(100));
  int64_t count = 0;
  bool together = true;
  for (auto& batch : *loader) {
    count += batch.data.size(0);
    const auto index = batch.saliency.flatten(1).select(1, 0);
    const auto pixel = batch.data.flatten(1).select(1, 0) * 255;
    together = together && close(pixel, index.remainder(256), 1e-3) &&
               close(batch.target, index.to(at::kLong).remainder(10), 0);
  }
  CHECK(count == 10000);
  CHECK(together);
}

TEST_CASE(
    "WithMaps throws unless there is one map for each sample",
    "[data][with_maps][error]") {
  CHECK(
      error_of([] { WithMaps(Digits(5), maps_of(4)); }) ==
      "cyborg::data::WithMaps: expected maps [N, *S], one for each of the 5 "
      "samples, got [4, 2, 2]");
  CHECK(
      error_of([] { WithMaps(Digits(5), at::rand({5})); }) ==
      "cyborg::data::WithMaps: expected maps [N, *S], one for each of the 5 "
      "samples, got [5]");
  CHECK(error_of([] {
          WithMaps(Digits(5), std::function<Tensor(size_t)>());
        }) == "cyborg::data::WithMaps: expected a function, got none");
  CHECK(
      error_of([] { WithMaps(Digits(5), Tensor()); }) ==
      "cyborg::data::WithMaps: expected maps [N, *S], one for each of the 5 "
      "samples, got []");
  // It is not known which sample was left out, so no map can be assigned.
  const std::vector<size_t> indices{0, 1, 2};
  CHECK(error_of([&] {
          WithMaps(Lossy(5), maps_of(5)).get_batch(indices);
        }) == "cyborg::data::WithMaps: expected a batch of 3 samples, got 2");
  CHECK(
      error_of([&] {
        WithMaps(
            torch::data::datasets::map(
                Lossy(5), torch::data::transforms::Stack<>()),
            maps_of(5))
            .get_batch(indices);
      }) ==
      "cyborg::data::WithMaps: expected a batch of 3 samples, got [2, 1, 4, "
      "4]");
}
