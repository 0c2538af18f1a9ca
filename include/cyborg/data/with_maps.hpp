// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/data/example.hpp>

#include <torch/data/datasets/base.h>
#include <torch/data/example.h>
#include <torch/types.h>

#include <cstddef>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace cyborg::data {

/// Adds a human map to each sample of a `torch::data` data set of `Example<>`.
///
/// `maps` is a tensor [N, *S] with map i for sample i, or a function that
/// returns the map [*S] of an index. Several threads of the loader may call the
/// function at the same time. A map of NaN, or an undefined tensor from the
/// function, means that the sample is not annotated.
///
/// A data set of single samples (MNIST, with or without `.map(Normalize)`)
/// becomes one of single `GuidedExample`s; `Collate` stacks these. A data set
/// that is already stacked by `Stack<>()` becomes one of batches.
/// Throws: `c10::ValueError` if the tensor does not have one map for each
/// sample.
/// Example:
///     auto set = cyborg::data::WithMaps(mnist, maps).map(
///         cyborg::data::Collate());
///     auto loader = torch::data::make_data_loader(std::move(set), 64);
///     for (auto& batch : *loader)
///       step(batch.data, batch.target, batch.saliency);
template <class DatasetType>
class WithMaps : public torch::data::datasets::BatchDataset<
                     WithMaps<DatasetType>,
                     std::conditional_t<
                         std::is_same<
                             typename DatasetType::BatchType,
                             torch::data::Example<>>::value,
                         GuidedExample, std::vector<GuidedExample>>> {
 public:
  /// Whether the batches of the data set are stacked, and not vectors of
  /// samples.
  static constexpr bool kStacked = std::is_same<
      typename DatasetType::BatchType, torch::data::Example<>>::value;
  static_assert(
      kStacked || std::is_same<
                      typename DatasetType::BatchType,
                      std::vector<torch::data::Example<>>>::value,
      "cyborg::data::WithMaps: expected a stateless data set of Example<>, "
      "single or stacked by Stack<>()");
  using Batch =
      std::conditional_t<kStacked, GuidedExample, std::vector<GuidedExample>>;

  WithMaps(DatasetType dataset, torch::Tensor maps)
      : dataset_(std::move(dataset)) {
    const auto size = dataset_.size();
    TORCH_CHECK_VALUE(
        maps.defined() && maps.dim() >= 2 &&
            (!size.has_value() || static_cast<size_t>(maps.size(0)) == *size),
        "cyborg::data::WithMaps: expected maps [N, *S], one for each of the ",
        size.has_value() ? static_cast<int64_t>(*size) : -1, " samples, got ",
        maps.defined() ? maps.sizes() : at::IntArrayRef());
    map_of_ = [maps = std::move(maps)](size_t index) {
      return maps[static_cast<int64_t>(index)];
    };
  }

  WithMaps(
      DatasetType dataset, std::function<torch::Tensor(size_t index)> map_of)
      : dataset_(std::move(dataset)), map_of_(std::move(map_of)) {
    TORCH_CHECK_VALUE(
        map_of_, "cyborg::data::WithMaps: expected a function, got none");
  }

  /// One sample. A stacked data set does not have this function.
  GuidedExample get(size_t index) {
    static_assert(!kStacked, "a stacked data set has no single samples");
    return std::move(get_batch(index)[0]);
  }

  /// The samples of `indices`, stacked if those of the data set are.
  Batch get_batch(at::ArrayRef<size_t> indices) override {
    auto examples = dataset_.get_batch(indices);
    std::vector<torch::Tensor> maps;
    maps.reserve(indices.size());
    for (const auto index : indices) {
      maps.push_back(map_of_(index));
    }
    if constexpr (kStacked) {
      TORCH_CHECK_VALUE(
          examples.data.size(0) == static_cast<int64_t>(maps.size()),
          "cyborg::data::WithMaps: expected a batch of ", maps.size(),
          " samples, got ", examples.data.sizes());
      auto stacked =
          detail::stack_maps(std::move(maps), examples.data.sizes().slice(1));
      return {
          std::move(examples.data), std::move(examples.target),
          std::move(stacked)};
    } else {
      TORCH_CHECK_VALUE(
          examples.size() == maps.size(),
          "cyborg::data::WithMaps: expected a batch of ", maps.size(),
          " samples, got ", examples.size());
      Batch batch;
      batch.reserve(examples.size());
      for (size_t i = 0; i < examples.size(); ++i) {
        batch.push_back(
            {std::move(examples[i].data), std::move(examples[i].target),
             std::move(maps[i])});
      }
      return batch;
    }
  }

  detail::SizeHint size() const override { return dataset_.size(); }

  const DatasetType& dataset() const noexcept { return dataset_; }

 private:
  DatasetType dataset_;
  std::function<torch::Tensor(size_t)> map_of_;
};

}  // namespace cyborg::data
