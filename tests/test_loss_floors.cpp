// SPDX-License-Identifier: BSD-3-Clause
//
// Which maps are too flat to guide, by kernels and by operators, and task
// losses of another type.
#include <cyborg/cam/methods.hpp>
#include <cyborg/loss.hpp>

#include <torch/torch.h>

#include "catch.hpp"
#include "support.hpp"

#include <cstdint>
#include <vector>

using cyborg::Normalizer;
using cyborg::detail::InstructionSet;
using cyborg::detail::InstructionSetGuard;
using support::close;
using support::t;
using torch::Tensor;

namespace {

/// With the kernels of this machine, and with ATen's operators alone.
const std::vector<InstructionSet> kPaths = {
    InstructionSet::kAvx2, InstructionSet::kPortable, InstructionSet::kNone};

/// How many samples guide.
int64_t count(const Tensor& model, const Tensor& people) {
  return cyborg::CyborgL2Loss()
      .combine(t({1}), model, people)
      .annotated_count.item<int64_t>();
}

}  // namespace

TEST_CASE("A map far from zero that hardly varies guides nothing", "[loss]") {
  // The range is 5e-7 of the magnitude, which counts as rounding, or 2e-6,
  // which counts as a map. Both are above the floor of a model's map.
  for (const double offset : {-1000.0, 1000.0}) {
    for (const bool rounding : {true, false}) {
      const double step = rounding ? 5e-4 : 2e-3;
      const Tensor flat =
          t({offset, offset + step, offset + step / 2, offset}, {1, 2, 2});
      const Tensor map = t({0, 1, 2, 3}, {1, 2, 2});
      for (const auto path : kPaths) {
        const InstructionSetGuard guard(path);
        CAPTURE(offset, rounding, static_cast<int>(path));
        CHECK(count(flat, map) == (rounding ? 0 : 1));
        CHECK(count(map, flat) == (rounding ? 0 : 1));
        // People's maps of twice the size are checked before the resize.
        const Tensor large = flat.repeat_interleave(2, 1);
        CHECK(count(map, large.repeat_interleave(2, 2)) == (rounding ? 0 : 1));
      }
      for (const auto how :
           {Normalizer::kMinMax, Normalizer::kSum, Normalizer::kSoftmax}) {
        CAPTURE(offset, rounding, static_cast<int>(how));
        const Tensor out = cyborg::functional::normalize(flat, how);
        CHECK((out.abs().max().item<double>() == 0) == rounding);
      }
    }
  }
}

TEST_CASE("A model's map below the floor guides nothing", "[loss]") {
  for (const auto path : kPaths) {
    const InstructionSetGuard guard(path);
    for (const bool flat : {true, false}) {
      CAPTURE(static_cast<int>(path), flat);
      const double step = flat ? 0.9e-5 : 1.1e-5;
      const Tensor tiny = t({0, step, 0, step}, {1, 2, 2});
      const Tensor map = t({0, 1, 2, 3}, {1, 2, 2});
      CHECK(count(tiny, map) == (flat ? 0 : 1));
      CHECK(count(map, tiny) == 1);  // people's maps have no such floor
    }
  }
}

TEST_CASE(
    "The task's loss is blended in the type of the map", "[loss][dtype]") {
  torch::manual_seed(3);
  const Tensor map = torch::randn({5, 3, 2}, torch::kDouble);
  const Tensor human = torch::rand({5, 3, 2}, torch::kDouble);
  const auto expected = cyborg::CyborgL2Loss().combine(t({1.5}), map, human);
  for (const auto type : {torch::kFloat, torch::kHalf}) {
    const auto terms =
        cyborg::CyborgL2Loss().combine(t({1.5}).to(type), map, human);
    CHECK(terms.total.scalar_type() == torch::kDouble);
    CHECK(close(terms.total, expected.total));
    CHECK(terms.classification.scalar_type() == type);
  }
}
