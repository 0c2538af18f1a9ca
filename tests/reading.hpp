// SPDX-License-Identifier: BSD-3-Clause
#pragma once

// What the tests of the hook's tables share: one forward of a small network in
// float64, and whether the hook read it as it should.

#include "catch.hpp"
#include "networks.hpp"
#include "support.hpp"

#include <cyborg/cam/hook.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace reading {

using torch::Tensor;

using Change = std::function<Tensor(const Tensor&)>;
using Changes = std::vector<std::pair<const char*, Change>>;

/// 2 samples, 8 channels, 6 x 4 positions: no two dimensions alike.
inline Tensor pictures() {
  return torch::rand({2, 3, 6, 4}, torch::kDouble);
}

struct Seen {
  Tensor logits, maps;
  cyborg::Observation observation;
};

/// One forward in float64, whose head is `read`.
inline Seen look(networks::Headed& net, bool training = false) {
  net.to(torch::kDouble);
  net.train(training);
  cyborg::CamHook hook(net);
  Seen seen;
  seen.logits = hook.forward([&] { return net.forward(pictures()); });
  seen.observation = hook.observation();
  seen.maps = hook.cam(seen.logits, cyborg::CamClass::kAll);
  return seen;
}

constexpr const char* kMean = "a linear head reads the mean over positions";

/// Whether the features are the map `truth`, up to the order of its dimensions.
inline bool shows(const cyborg::Observation& seen, const Tensor& truth) {
  return seen.features.defined() && seen.features.is_alias_of(truth) &&
         seen.features.numel() == truth.numel() &&
         seen.features.storage_offset() == truth.storage_offset();
}

/// The map is what the network says, and CAM explains the logits to the digit.
inline void check_exact(networks::Headed& net, bool training = false) {
  const Seen seen = look(net, training);
  CHECK(shows(seen.observation, net.truth));
  CHECK(seen.observation.exact);
  CHECK(seen.observation.reason == kMean);
  REQUIRE(seen.observation.weight.defined());
  CHECK(support::close(seen.observation.weight, net.fc->weight, 0));
  Tensor logits = seen.maps.flatten(2).mean(2);
  if (seen.observation.bias.defined()) {
    logits = logits + seen.observation.bias;
  }
  if (!training) {  // dropout changes the logits
    CHECK(support::close(logits, seen.logits.reshape({2, 2})));
  }
}

/// The map is what the network says, and Grad-CAM answers.
inline void check_inexact(networks::Headed& net, const std::string& reason) {
  const Seen seen = look(net, /*training=*/true);
  CHECK(shows(seen.observation, net.truth));
  CHECK_FALSE(seen.observation.exact);
  CHECK(seen.observation.reason == reason);
  const Tensor score = seen.logits.select(1, 1);
  CHECK(support::close(
      seen.maps.select(1, 1), cyborg::functional::grad_cam(net.truth, score)));
}

inline Tensor pooled(const Tensor& x) {
  return x.mean({2, 3});
}

}  // namespace reading
