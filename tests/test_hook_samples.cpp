// SPDX-License-Identifier: BSD-3-Clause
// The map of a sample exists only where its logit depends on its own features.
#include "catch.hpp"
#include "hooked.hpp"
#include "support.hpp"
#include "tapped.hpp"

#include <cyborg/cam/hook.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace samples_test {

using cyborg::CamHook;
using support::contains;
using support::error_of;
using tapped::check_map;
using tapped::labels_for;
using tapped::net;
using tapped::Net;
using tapped::pictures;
using tapped::pooled;
using torch::Tensor;

const std::string kMixed = "the logit of a sample depends on the features of";

/// What `cam` says of the network's own logits; "" for a map.
std::string refusal(CamHook& hook, Net& network, const Tensor& x) {
  const Tensor logits = hook.forward([&] { return network.forward(x); });
  hook.require();
  return error_of([&] { hook.cam(logits, labels_for(logits)); });
}

/// The samples in another order, by operators whose axes are known.
const std::vector<std::function<Tensor(const Tensor&)>> kOrders = {
    [](const Tensor& z) {
      return torch::cat({z.slice(0, 1), z.slice(0, 0, 1)});
    },
    [](const Tensor& z) {
      auto rows = z.unbind(0);
      std::reverse(rows.begin(), rows.end());
      return torch::stack(rows);
    },
    [](const Tensor& z) { return z.roll(1, 0); },
    [](const Tensor& z) {
      const auto turn = torch::eye(z.size(0), z.options()).roll(1, 0);
      return turn.mm(z);
    }};

/// Ways to mix the pooled samples by a share; 0 leaves them as they are.
const std::vector<std::function<Tensor(const Tensor&, const Tensor&)>> kMixes =
    {[](const Tensor& m, const Tensor& share) {
       return m + share * torch::softmax(m.mm(m.t()), 1).mm(m);
     },
     [](const Tensor& m, const Tensor& share) {
       return m - share * m.mean(0, /*keepdim=*/true);
     },
     [](const Tensor& m, const Tensor& share) {
       return (1 - share) * m +
              share * torch::cat({m.slice(0, 1), m.slice(0, 0, 1)});
     }};

TEST_CASE(
    "A batch norm in evaluation mode hides no other order of the samples",
    "[hook]") {
  torch::manual_seed(1);
  for (const auto& order : kOrders) {
    torch::nn::BatchNorm1d norm(8);
    norm->to(torch::kDouble);
    auto one = net(
        [&](Net& n, Tensor f) { return order(n.fc(norm(pooled(n.tap(f))))); });
    CamHook hook(*one);
    norm->eval();
    CHECK(contains(refusal(hook, *one, pictures(4)), kMixed));
    CHECK(contains(refusal(hook, *one, pictures(2)), kMixed));
  }
  for (const auto& mix : kMixes) {
    torch::nn::BatchNorm1d norm(8);
    norm->to(torch::kDouble);
    norm->eval();
    const auto share = torch::tensor(.5, torch::kDouble);
    auto one = net([&](Net& n, Tensor f) {
      return n.fc(mix(norm(pooled(n.tap(f))), share));
    });
    CamHook hook(*one);
    CHECK(contains(refusal(hook, *one, pictures(4)), kMixed));
  }
}

TEST_CASE("Samples that are mixed later are seen later", "[hook]") {
  torch::manual_seed(2);
  for (const auto& mix : kMixes) {
    auto share = torch::zeros({}, torch::kDouble);
    auto one = net(
        [&](Net& n, Tensor f) { return n.fc(mix(pooled(n.tap(f)), share)); });
    CamHook hook(*one);
    const Tensor x = pictures(4);
    for (int i = 0; i < 2; ++i) {
      const Tensor logits = hook.forward([&] { return one->forward(x); });
      check_map(hook, *one, logits);
    }
    share.fill_(.5);
    {
      const torch::NoGradGuard evaluation;
      CHECK(contains(refusal(hook, *one, x), kMixed));
    }
    share.fill_(0);
    CHECK(refusal(hook, *one, x).empty());
    share.fill_(.5);
    CHECK(contains(refusal(hook, *one, x), kMixed));
    // Behind a named layer each eighth one is checked in training, and, once
    // that has failed, each one.
    CamHook named(*one, cyborg::CamHookOptions().layer("a"));
    share.fill_(0);
    CHECK(refusal(named, *one, x).empty());
    share.fill_(.5);
    int seen = 0;
    for (int i = 0; i < 8; ++i) {
      seen += contains(refusal(named, *one, x), kMixed) ? 1 : 0;
    }
    CHECK(seen == 2);
  }
}

TEST_CASE("An exchange of two samples is seen, whichever they are", "[hook]") {
  torch::manual_seed(3);
  for (int64_t first = 0; first < 6; ++first) {
    for (int64_t second = first + 1; second < 6; ++second) {
      auto one = net([&](Net& n, Tensor f) {
        auto rows = n.fc(pooled(n.tap(f))).tanh().unbind(0);
        std::swap(
            rows[static_cast<size_t>(first)],
            rows[static_cast<size_t>(second)]);
        return torch::stack(rows);
      });
      CamHook hook(*one);
      INFO(first << " and " << second);
      bool seen = false;
      // Samples of equal weight have other weights in the next forward.
      const torch::NoGradGuard evaluation;
      for (int i = 0; i < 4 && !seen; ++i) {
        seen = contains(refusal(hook, *one, pictures(6)), kMixed);
      }
      CHECK(seen);
    }
  }
}

TEST_CASE("Rounding in few bits is no mixing", "[hook]") {
  for (const auto type : {torch::kBFloat16, torch::kHalf}) {
    for (const int64_t batch : {2, 4, 16}) {
      for (int head = 0; head < 3; ++head) {
        torch::manual_seed(4 + batch);
        auto one = net([&](Net& n, Tensor f) {
          const Tensor m = pooled(n.tap(f));
          return head == 0   ? n.fc(m.tanh())
                 : head == 1 ? n.fc(m) * 2
                             : n.fc(torch::softmax(n.mix(m), 1));
        });
        one->to(type);
        CamHook hook(*one);
        INFO(type << ", " << batch << " samples, head " << head);
        CHECK(refusal(hook, *one, pictures(batch).to(type)).empty());
      }
    }
  }
}

TEST_CASE("A layer norm excuses no mixing, however small", "[hook]") {
  torch::manual_seed(6);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
  CamHook hook(*one);
  hook.forward([&] { return one->forward(pictures(4)); });
  const Tensor m = pooled(one->truth);
  const Tensor other = one->fc2(
      one->norm(m + 0.02 * torch::cat({m.slice(0, 1), m.slice(0, 0, 1)})));
  CHECK(
      contains(error_of([&] { hook.cam(other, labels_for(other)); }), kMixed));
}

TEST_CASE("A cast to a wider type and back hides no mixing", "[hook]") {
  torch::manual_seed(5);
  auto one = net([&](Net& n, Tensor f) {
    const Tensor m =
        pooled(n.tap(f)).to(torch::kFloat).to(torch::kDouble).tanh();
    return n.fc(m + 0.03 * torch::cat({m.slice(0, 1), m.slice(0, 0, 1)}));
  });
  CamHook hook(*one);
  CHECK(contains(refusal(hook, *one, pictures(4)), kMixed));
}

}  // namespace samples_test
