// SPDX-License-Identifier: BSD-3-Clause
//
// The kernels against plain autograd in float64: every length of a row, rows
// without a gradient, numbers that are not finite, slices and threads.
#include <cyborg/cam/head.hpp>
#include <cyborg/loss.hpp>

#include <torch/torch.h>

#include "catch.hpp"
#include "kernel_guards.hpp"
#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

using cyborg::CamClass;
using cyborg::detail::cache_bytes;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using kernel_guards::CacheGuard;
using kernel_guards::kNever;
using torch::Tensor;

namespace {

/// Logits and maps of a head, from the kernels or from ATen in float64.
struct Made {
  Tensor logits, maps;
};

/// All kernels: instruction set, and whether gradients go past the caches.
std::vector<std::tuple<InstructionSet, int64_t>> kernels() {
  return {
      {InstructionSet::kAvx2, kNever},
      {InstructionSet::kAvx2, 0},
      {InstructionSet::kPortable, kNever},
      {InstructionSet::kPortable, 0}};
}

/// One head, its labels (undefined: maps of all classes) and the gradients of
/// logits and maps.
struct RowsCase {
  Tensor features, weight, bias, target, logits_grad, maps_grad;

  RowsCase(
      int64_t batch, int64_t channels, int64_t positions, int64_t classes,
      bool labels, torch::Dtype type) {
    torch::manual_seed(41);
    const auto options = torch::dtype(type).requires_grad(true);
    features = torch::randn({batch, channels, positions}, options);
    weight = torch::randn({classes, channels}, options);
    bias = torch::randn({classes}, options);
    if (labels) {
      target = torch::randint(
          0, std::max<int64_t>(classes, 2), {batch}, torch::kLong);
    }
    logits_grad = torch::randn({batch, classes}, torch::dtype(type));
    maps_grad =
        labels ? torch::randn({batch, positions}, torch::dtype(type))
               : torch::randn({batch, classes, positions}, torch::dtype(type));
  }

  Made by_head() const {
    cyborg::GuidedHead head(weight.size(1), weight.size(0));
    head->weight = weight;
    head->bias = bias;
    const auto out = target.defined() ? head->guided(features, target)
                                      : head->guided(features, CamClass::kAll);
    return {out.logits, out.cam};
  }

  Made by_operators(const Tensor& f, const Tensor& w, const Tensor& b) const {
    const Tensor logits = f.mean(2).matmul(w.t()) + b;
    if (!target.defined()) {
      return {logits, torch::matmul(w, f)};  // [B, K, P]
    }
    std::vector<Tensor> maps;
    for (int64_t i = 0; i < f.size(0); ++i) {
      const auto label = target[i].item<int64_t>();
      const Tensor row = w.size(0) > 1 ? w[label] : w[0] * (2 * label - 1);
      maps.push_back(torch::matmul(row, f[i]));
    }
    return {logits, torch::stack(maps)};
  }

  /// Values, and the gradients of features, weight and bias.
  std::vector<Tensor> results(
      const Made& made, const std::vector<Tensor>& leaves) const {
    std::vector<Tensor> all = {made.logits, made.maps};
    const auto grads = torch::autograd::grad(
        {made.logits, made.maps}, leaves,
        {logits_grad.to(made.logits.dtype()), maps_grad.to(made.maps.dtype())});
    all.insert(all.end(), grads.begin(), grads.end());
    return all;
  }

  std::vector<Tensor> expected() const {
    std::vector<Tensor> leaves;
    for (const Tensor& leaf : {features, weight, bias}) {
      leaves.push_back(leaf.detach().to(torch::kDouble).requires_grad_());
    }
    return results(by_operators(leaves[0], leaves[1], leaves[2]), leaves);
  }

  void check() const {
    const auto right = expected();
    const bool exact = features.scalar_type() == torch::kDouble;
    int64_t compared = 0;
    for (const auto& [set, cache] : kernels()) {
      const InstructionSetGuard guard(set);
      const CacheGuard streaming(cache);
      const auto found = results(by_head(), {features, weight, bias});
      for (size_t i = 0; i < right.size(); ++i) {
        ++compared;
        const double size = std::max(1.0, right[i].abs().max().item<double>());
        const double off = support::distance(found[i], right[i]);
        if (!(off <= (exact ? 1e-12 : 1e-5) * size)) {
          FAIL_CHECK(
              "result " << i << " is off " << off << ", instructions "
                        << static_cast<int>(set) << ", cache " << cache);
        }
      }
    }
    CHECK(compared > 0);
  }
};

}  // namespace

TEST_CASE("Every position of a row of any length is summed once", "[kernels]") {
  std::vector<int64_t> lengths;
  for (int64_t n = 1; n <= 36; ++n) {  // around 1 to 4 vectors of any width
    lengths.push_back(n);
  }
  for (const int64_t n :
       {39, 40, 41, 47, 48, 49, 55, 56, 57, 63, 64, 65, 71, 72, 73, 127, 128,
        129, 160}) {
    lengths.push_back(n);
  }
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t length : lengths) {
      for (const bool labels : {true, false}) {
        CAPTURE(c10::toString(type), length, labels);
        RowsCase(2, 9, length, 3, labels, type).check();
      }
    }
  }
}

TEST_CASE("Any number of channels and classes is read", "[kernels]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t channels : {1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 600}) {
      for (int64_t classes = 1; classes <= 9; ++classes) {
        if (channels > 17 && classes % 4 != 1) {
          continue;
        }
        for (const bool labels : {true, false}) {
          CAPTURE(c10::toString(type), channels, classes, labels);
          RowsCase(3, channels, 12, classes, labels, type).check();
        }
      }
    }
  }
}

TEST_CASE("Labels that repeat add up in the weight's gradient", "[kernels]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t label : {0, 1, 2}) {
      RowsCase given(6, 21, 10, 3, true, type);
      given.target.fill_(label);
      given.check();
      RowsCase one(6, 21, 10, 1, true, type);
      one.target.fill_(label % 2);
      one.check();
    }
  }
}

TEST_CASE(
    "Maps without a gradient do not change the gradient of the mean",
    "[kernels]") {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    for (const int64_t length : {5, 12, 50, 80}) {
      // Bit k: class k has a gradient. Sample 1 never has one.
      for (int classes = 0; classes < 8; ++classes) {
        CAPTURE(c10::toString(type), length, classes);
        RowsCase all(3, 19, length, 3, false, type);
        for (int64_t k = 0; k < 3; ++k) {
          if ((classes >> k & 1) == 0) {
            all.maps_grad.select(1, k).zero_();
          }
        }
        all.maps_grad[1].zero_();
        all.check();
        RowsCase named(3, 19, length, 3, true, type);
        named.maps_grad[classes % 3].zero_();
        named.check();
      }
    }
  }
}

TEST_CASE("A number that is not finite stays in its row", "[kernels]") {
  int64_t compared = 0;
  // float32 rows of 50, which end in a vector that overlaps the one before.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t length : {3, 8, 50, 75}) {
    for (const float bad : {nan, infinity, -infinity}) {
      for (int64_t at = 0; at < length; ++at) {
        RowsCase given(2, 9, length, 2, true, torch::kFloat);
        {
          const torch::NoGradGuard off;
          given.features[1][4][at] = bad;
        }
        const auto right = given.expected();
        for (const auto& [set, cache] : kernels()) {
          const InstructionSetGuard guard(set);
          const CacheGuard streaming(cache);
          const auto found = given.results(
              given.by_head(), {given.features, given.weight, given.bias});
          for (size_t i = 0; i < right.size(); ++i) {
            ++compared;
            if (!torch::allclose(
                    found[i].to(torch::kDouble), right[i], 1e-4, 1e-4,
                    /*equal_nan=*/true)) {
              FAIL_CHECK(
                  "result " << i << " for " << bad << " at " << at << " of "
                            << length << ", instructions "
                            << static_cast<int>(set));
            }
          }
        }
      }
    }
  }
  CHECK(compared > 0);
}

TEST_CASE(
    "Kernels are recorded as cyborg's nodes, operators as ATen's",
    "[kernels]") {
  const auto kernel_of = [](int64_t classes, bool labels) {
    const RowsCase given(2, 4, 6, classes, labels, torch::kFloat);
    const auto node = given.by_head().maps.grad_fn();
    for (const auto& edge : node->next_edges()) {
      if (edge.function && edge.function->name() == "cyborg::FeaturePass") {
        return true;
      }
    }
    return node->name() == "cyborg::FeaturePass";
  };
  CHECK(kernel_of(9, true));
  CHECK(kernel_of(8, false));
  CHECK_FALSE(kernel_of(9, false));
  const InstructionSetGuard guard(InstructionSet::kNone);
  CHECK_FALSE(kernel_of(2, true));
}

TEST_CASE("Tensors without memory are left to the operators", "[kernels]") {
  const auto options = torch::dtype(torch::kFloat).device(torch::kMeta);
  const auto features = torch::empty({2, 4, 3, 3}, options).requires_grad_();
  cyborg::GuidedHead head(4, 2);
  head->weight = torch::empty({2, 4}, options).requires_grad_();
  head->bias = torch::empty({2}, options);
  const auto all = head->guided(features, CamClass::kAll);
  CHECK(all.cam.sizes() == at::IntArrayRef({2, 2, 3, 3}));
  CHECK(all.cam.is_meta());
  CHECK(head->forward(features).sizes() == at::IntArrayRef({2, 2}));
}
