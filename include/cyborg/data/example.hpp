// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cyborg/human/maps.hpp>

#include <torch/data/datasets/base.h>
#include <torch/data/transforms/collate.h>
#include <torch/data/transforms/stack.h>
#include <torch/types.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace cyborg::data {

/// One sample with its human map or, after collation, a batch of samples.
///
/// Shapes: in a sample data [C, *S], target of any shape (mostly 0-dim int64),
///         saliency, wrong [*S']; in a batch the same with B in front. The map
///         of a sample that is not annotated is NaN or undefined, and so is its
///         mask of what must not be used (1: wrong). weight is a 0-dim factor
///         of the sample's loss, in a batch [B]; undefined means 1.
struct GuidedExample {
  torch::Tensor data;
  torch::Tensor target;
  torch::Tensor saliency;
  torch::Tensor wrong = {};
  torch::Tensor weight = {};
};

namespace detail {

/// What `size()` of a data set returns: a `std::optional`, or LibTorch's own
/// type in older versions.
using SizeHint =
    decltype(std::declval<
                 const torch::data::datasets::BatchDataset<GuidedExample>&>()
                 .size());

/// Stacks the maps of a batch. Undefined maps become maps of NaN, which have
/// the size of the defined maps or, if there are none, of the pictures. `what`
/// is what they are called in errors.
inline torch::Tensor stack_maps(
    std::vector<torch::Tensor> maps, at::IntArrayRef picture,
    const char* what = "human maps") {
  std::vector<int64_t> size;
  at::TensorOptions options = at::kFloat;
  for (const auto& map : maps) {
    if (map.defined()) {
      size = map.sizes().vec();
      options = map.options();
      break;
    }
  }
  if (size.empty()) {
    size = picture.slice(picture.empty() ? 0 : 1).vec();
  }
  for (auto& map : maps) {
    if (!map.defined()) {
      map = human::missing(size, options);
    }
    TORCH_CHECK_VALUE(
        map.sizes() == at::IntArrayRef(size),
        "cyborg::data::Collate: expected ", what,
        " of one size in a batch, got ", at::IntArrayRef(size), " and ",
        map.sizes());
  }
  return at::stack(maps);
}

}  // namespace detail
}  // namespace cyborg::data

/// Stacks samples with human maps into a batch, as `Stack<>` does for samples
/// without maps: data [B, C, *S], target [B], saliency [B, *S'], wrong [B, *S'].
///
/// An undefined map becomes a map of NaN: not annotated. So does an undefined
/// mask, unless none of the batch has one: then `wrong` is undefined. From no
/// samples (a
/// data set that skips broken files may return none) come three undefined
/// tensors.
/// Throws: `c10::ValueError` for pictures or maps of different sizes.
/// Example:
///     auto loader = torch::data::make_data_loader(
///         cyborg::data::WithMaps(mnist, maps)
///             .map(torch::data::transforms::Stack<
///                  cyborg::data::GuidedExample>()),
///         torch::data::DataLoaderOptions(20));
template <>
struct torch::data::transforms::Stack<cyborg::data::GuidedExample>
    : public torch::data::transforms::Collation<cyborg::data::GuidedExample> {
  cyborg::data::GuidedExample apply_batch(
      std::vector<cyborg::data::GuidedExample> examples) override {
    if (examples.empty()) {
      return {};
    }
    std::vector<torch::Tensor> data;
    std::vector<torch::Tensor> target;
    std::vector<torch::Tensor> saliency;
    std::vector<torch::Tensor> wrong;
    std::vector<torch::Tensor> weight;
    bool any_wrong = false;
    bool any_weight = false;
    for (auto& example : examples) {
      TORCH_CHECK_VALUE(
          data.empty() || data[0].sizes() == example.data.sizes(),
          "cyborg::data::Collate: expected pictures of one size in a batch, "
          "got ",
          data.empty() ? at::IntArrayRef() : data[0].sizes(), " and ",
          example.data.sizes());
      data.push_back(std::move(example.data));
      target.push_back(std::move(example.target));
      saliency.push_back(std::move(example.saliency));
      any_wrong = any_wrong || example.wrong.defined();
      wrong.push_back(std::move(example.wrong));
      any_weight = any_weight || example.weight.defined();
      weight.push_back(
          example.weight.defined() ? std::move(example.weight)
                                   : at::scalar_tensor(1, at::kFloat));
    }
    auto maps =
        cyborg::data::detail::stack_maps(std::move(saliency), data[0].sizes());
    auto masks = any_wrong ? cyborg::data::detail::stack_maps(
                                 std::move(wrong), data[0].sizes(),
                                 "masks of what is wrong")
                           : torch::Tensor();
    return {
        at::stack(data), at::stack(target), std::move(maps), std::move(masks),
        any_weight ? at::stack(weight) : torch::Tensor()};
  }
};

namespace cyborg::data {

/// A shorter name for the collation of samples with human maps.
using Collate = torch::data::transforms::Stack<GuidedExample>;

}  // namespace cyborg::data
