// SPDX-License-Identifier: BSD-3-Clause
//
// CAM is called exact only where the values prove it: that the pooled vector is
// the mean of the map, and that the head is W x + b. Each number is that of
// plain autograd in float64.
#include "tapped.hpp"

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace exactness_test {

using cyborg::CamHook;
using hooked::printed;
using support::contains;
using support::error_of;
using tapped::check_map;
using tapped::labels_for;
using tapped::Net;
using tapped::net;
using tapped::pictures;
using tapped::pooled;
using torch::Tensor;

namespace {

/// How a linear head may be written, of pooled features [B, 8].
using Head = std::function<Tensor(Net&, const Tensor&)>;

std::shared_ptr<Net> headed_by(const Head& head, int64_t classes = 3) {
  return net(
      [=](Net& n, Tensor f) { return head(n, pooled(n.tap(f))); }, 8, classes);
}

/// One forward of `n` under `hook`; its map is right. Returns whether CAM was
/// exact.
bool is_exact(CamHook& hook, Net& n, const Tensor& x) {
  const Tensor logits = hook.forward([&] { return n.forward(x); });
  check_map(hook, n, logits);
  return hook.observation().exact;
}

/// A network in bfloat16 whose pooling reads a window of `window` rows and
/// columns of a map of `size`; 0: all of it. The map is not negative, as after
/// a ReLU, and its values are alike, so that all means are close.
bool is_exact_in_half(
    int64_t size, int64_t window, uint64_t seed, at::ScalarType type,
    bool mean = false) {
  torch::manual_seed(seed);
  auto one = net([=](Net& n, Tensor f) {
    n.tap(f);
    return n.fc(
        mean          ? pooled(f)
        : window == 0 ? torch::adaptive_avg_pool2d(f, {1, 1}).flatten(1)
                      : torch::avg_pool2d(f, {window, window}).flatten(1));
  });
  one->to(type);
  CamHook hook(*one);
  const auto x = torch::randn({2, 3, size, size}).to(type);
  hook.forward([&] { return one->forward(x); });
  CHECK(hook.observation().features.is_same(one->truth));
  return hook.observation().exact;
}

}  // namespace

TEST_CASE(
    "Dropout in place changes what is exact in training alone", "[hook]") {
  using Drop = std::function<Tensor(Net&, Tensor)>;
  const std::vector<std::pair<const char*, Drop>> drops = {
      {"the mean, in place",
       [](Net& n, Tensor e) {
         return torch::dropout_(e, .5, n.is_training());
       }},
      {"the mean",
       [](Net& n, Tensor e) { return torch::dropout(e, .5, n.is_training()); }},
      {"the mean before it is flattened, in place",
       [](Net& n, Tensor e) {
         Tensor row = e.view({e.size(0), 8, 1, 1});
         return torch::dropout_(row, .5, n.is_training()).flatten(1);
       }},
  };
  torch::manual_seed(1);
  for (const auto& [name, drop] : drops) {
    INFO(name);
    const auto change = drop;
    for (const bool training_first : {true, false}) {
      CAPTURE(training_first);
      auto dropped = net([=](Net& n, Tensor f) {
        const Tensor e =
            torch::adaptive_avg_pool2d(n.tap(f), {1, 1}).flatten(1);
        return n.fc(change(n, e));
      });
      CamHook hook(*dropped);
      for (const bool training :
           {training_first, !training_first, training_first, !training_first}) {
        CAPTURE(training);
        dropped->train(training);
        const Tensor logits =
            hook.forward([&] { return dropped->forward(pictures(4)); });
        INFO(printed(hook));
        CHECK(hook.observation().exact);
        // The map is W F, without the mask of the dropout, in both modes.
        const Tensor labels = labels_for(logits);
        const Tensor wanted =
            (dropped->fc->weight.index_select(0, labels).unsqueeze(2).unsqueeze(
                 3) *
             dropped->truth)
                .sum(1);
        const Tensor maps = hook.cam(logits, labels);
        CHECK(tapped::error_of_values(maps, wanted) < tapped::kClose);
        CHECK(
            tapped::error_of_values(
                dropped->slope_of(maps), dropped->slope_of(wanted)) <
            tapped::kClose);
        if (!training) {
          check_map(hook, *dropped, logits);
        }
      }
    }
  }
}

TEST_CASE("Dropout of the map in place is a map of its own", "[hook]") {
  torch::manual_seed(2);
  for (const bool training_first : {true, false}) {
    CAPTURE(training_first);
    auto one = net([](Net& n, Tensor f) {
      Tensor dropped = n.b(f);
      torch::dropout_(dropped, .5, n.is_training());
      return n.fc(pooled(n.tap(dropped)));
    });
    CamHook hook(*one);
    for (const bool training : {training_first, !training_first}) {
      CAPTURE(training);
      one->train(training);
      CHECK(is_exact(hook, *one, pictures(4)));
    }
  }
}

TEST_CASE("A window that leaves positions out is never the mean", "[hook]") {
  torch::manual_seed(3);
  struct Window {
    int64_t size, rows, columns;
  };
  for (const auto& w : std::vector<Window>{
           {7, 6, 6},
           {7, 7, 6},
           {7, 5, 7},
           {14, 13, 13},
           {28, 27, 27},
           {4, 3, 3}}) {
    CAPTURE(w.size, w.rows, w.columns);
    for (const bool window_first : {true, false}) {
      CAPTURE(window_first);
      auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
      CamHook hook(*one);
      bool window = window_first;
      for (int i = 0; i < 4; ++i, window = !window) {
        CAPTURE(i, window);
        one->rest = [&, window](Net& n, Tensor f) {
          n.tap(f);
          const Tensor p = window ? torch::avg_pool2d(f, {w.rows, w.columns})
                                  : torch::avg_pool2d(f, {w.size, w.size});
          CHECK(p.numel() == f.size(0) * 8);
          return n.fc(p.flatten(1));
        };
        CHECK(is_exact(hook, *one, pictures(2, w.size, w.size)) == !window);
        if (window) {
          CHECK(contains(
              hook.observation().reason,
              "did not average every position exactly once"));
        }
      }
    }
  }
}

TEST_CASE("A window may grow and a size may change under one hook", "[hook]") {
  torch::manual_seed(4);
  // Fixed windows of 7 x 7, as old networks have: exact for one size alone.
  auto one = net([](Net& n, Tensor f) {
    return n.fc(torch::avg_pool2d(n.tap(f), 7).flatten(1));
  });
  CamHook hook(*one);
  for (const int64_t size : {7, 8, 7, 10, 13, 7}) {
    CAPTURE(size);
    CHECK(is_exact(hook, *one, pictures(2, size, size)) == (size == 7));
  }
}

TEST_CASE(
    "In bfloat16 a window is never the mean, and the mean always is",
    "[hook]") {
  for (const auto type : {torch::kBFloat16, torch::kFloat}) {
    INFO(c10::toString(type));
    for (const auto& [size, window] :
         std::vector<std::pair<int64_t, int64_t>>{{7, 6}, {14, 13}, {28, 27}}) {
      CAPTURE(size, window);
      int64_t windows = 0;
      int64_t means = 0;
      for (uint64_t seed = 0; seed < 20; ++seed) {
        windows += is_exact_in_half(size, window, seed, type) ? 1 : 0;
        means += is_exact_in_half(size, 0, seed, type) ? 1 : 0;
        means += is_exact_in_half(size, size, seed, type) ? 1 : 0;
        means += is_exact_in_half(size, 0, seed, type, /*mean=*/true) ? 1 : 0;
      }
      CHECK(windows == 0);
      CHECK(means == 60);
    }
  }
}

TEST_CASE("The arithmetic of the head is read", "[hook]") {
  torch::manual_seed(5);
  struct Case {
    const char* name;
    bool exact;
    Head head;
  };
  const std::vector<Case> cases = {
      {"addmm", true,
       [](Net& n, const Tensor& e) {
         return torch::addmm(n.fc->bias, e, n.fc->weight.t());
       }},
      {"addmm with alpha", false,
       [](Net& n, const Tensor& e) {
         return torch::addmm(n.fc->bias, e, n.fc->weight.t(), 1, 10);
       }},
      {"addmm with a negative alpha", false,
       [](Net& n, const Tensor& e) {
         return torch::addmm(n.fc->bias, e, n.fc->weight.t(), 1, -1);
       }},
      {"addmm with beta", false,
       [](Net& n, const Tensor& e) {
         return torch::addmm(n.fc->bias, e, n.fc->weight.t(), .5, 1);
       }},
      {"addmm without its bias", false,
       [](Net& n, const Tensor& e) {
         return torch::addmm(n.fc->bias, e, n.fc->weight.t(), 0, 1);
       }},
      {"a product and a bias", true,
       [](Net& n, const Tensor& e) {
         return e.mm(n.fc->weight.t()) + n.fc->bias;
       }},
      {"a bias and a product", true,
       [](Net& n, const Tensor& e) {
         return n.fc->bias + e.mm(n.fc->weight.t());
       }},
      {"add with alpha", false,
       [](Net& n, const Tensor& e) {
         return torch::add(e.mm(n.fc->weight.t()), n.fc->bias, 3);
       }},
      {"add with alpha at the product", false,
       [](Net& n, const Tensor& e) {
         return torch::add(n.fc->bias, e.mm(n.fc->weight.t()), 3);
       }},
      {"a further bias", false,
       [](Net& n, const Tensor& e) { return n.fc(e) + n.fc2->bias; }},
      {"a further bias of one number", false,
       [](Net& n, const Tensor& e) { return n.fc(e) + 1; }},
      {"a bias that is subtracted", false,
       [](Net& n, const Tensor& e) {
         return e.mm(n.fc->weight.t()) - n.fc->bias;
       }},
      {"a temperature", false,
       [](Net& n, const Tensor& e) { return n.fc(e) / .07; }},
      {"the negative", false, [](Net& n, const Tensor& e) { return -n.fc(e); }},
      {"a scaled weight", true,
       [](Net& n, const Tensor& e) {
         return torch::linear(e, 2 * n.fc->weight, n.fc->bias);
       }},
      {"a 1 x 1 convolution", true,
       [](Net& n, const Tensor& e) {
         return torch::conv2d(
                    e.unsqueeze(2).unsqueeze(3),
                    n.fc->weight.unsqueeze(2).unsqueeze(3), n.fc->bias)
             .flatten(1);
       }},
      {"classes in another order", false,
       [](Net& n, const Tensor& e) { return n.fc(e).flip({1}); }},
      {"classes left out", false,
       [](Net& n, const Tensor& e) { return n.fc(e).slice(1, 1); }},
      {"a scaled mean", false,
       [](Net& n, const Tensor& e) { return n.fc(2 * e); }},
      {"a shifted mean", false,
       [](Net& n, const Tensor& e) { return n.fc(e + 1); }},
      {"a mean with channels in another order", false,
       [](Net& n, const Tensor& e) { return n.fc(e.flip({1})); }},
      {"the batch in another order and back", false,
       [](Net& n, const Tensor& e) { return n.fc(e.flip({0})).flip({0}); }},
      {"a rectified mean", false,
       [](Net& n, const Tensor& e) { return n.fc(torch::relu(e - .2)); }},
      {"baddbmm", false,
       [](Net& n, const Tensor& e) {
         const auto b = e.size(0);
         return torch::baddbmm(
                    n.fc->bias.view({1, 1, 3}).expand({b, 1, 3}),
                    e.unsqueeze(1),
                    n.fc->weight.t().unsqueeze(0).expand({b, 8, 3}), 1, 2)
             .squeeze(1);
       }},
      {"an in-place scale of the mean", false,
       [](Net& n, const Tensor& e) {
         Tensor scaled = e;
         scaled.mul_(3);
         return n.fc(scaled);
       }},
      {"an in-place scale of the logits", false,
       [](Net& n, const Tensor& e) { return n.fc(e).mul_(3); }},
      {"an in-place scale of one logit", false,
       [](Net& n, const Tensor& e) {
         Tensor z = n.fc(e);
         z.select(1, 1).mul_(-2);
         return z;
       }},
  };
  for (const auto& c : cases) {
    INFO(c.name);
    auto one = headed_by(c.head);
    CamHook hook(*one);
    CHECK(is_exact(hook, *one, pictures(4)) == c.exact);
  }
}

TEST_CASE("A head of zeros has an exact map of zeros", "[hook]") {
  torch::manual_seed(6);
  for (const bool bias : {true, false}) {
    CAPTURE(bias);
    for (const auto& [rows, columns] :
         std::vector<std::pair<int64_t, int64_t>>{{6, 4}, {8, 8}}) {
      auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
      {
        const torch::NoGradGuard off;
        one->fc->weight.zero_();
        if (!bias) {
          one->fc->bias.zero_();
        }
      }
      CamHook hook(*one);
      const Tensor x = pictures(8, rows, columns);
      const Tensor logits = hook.forward([&] { return one->forward(x); });
      INFO(printed(hook));
      CHECK(hook.observation().exact);
      const Tensor labels = labels_for(logits);
      const Tensor maps = hook.cam(logits, labels);
      CHECK(maps.sizes() == at::IntArrayRef({8, rows, columns}));
      CHECK(maps.abs().max().item<double>() == 0);
      // Its gradient is not 0: the weight learns.
      CHECK(
          tapped::error_of_values(
              one->slope_of(maps), one->slope_of(one->map_of(tapped::score_of(
                                       logits, labels)))) < tapped::kClose);
    }
  }
  // A head of zeros does not bless a window.
  auto window = net([](Net& n, Tensor f) {
    return n.fc(torch::avg_pool2d(n.tap(f), {5, 4}).flatten(1));
  });
  {
    const torch::NoGradGuard off;
    window->fc->weight.zero_();
  }
  CamHook hook(*window);
  hook.forward([&] { return window->forward(pictures()); });
  CHECK_FALSE(hook.observation().exact);
}

TEST_CASE("A constant map proves nothing, and blesses nothing", "[hook]") {
  torch::manual_seed(7);
  for (const double value : {0., 1.}) {
    CAPTURE(value);
    bool window = true;
    auto one = net([&](Net& n, Tensor f) {
      n.tap(f);
      return n.fc(window ? torch::avg_pool2d(f, {5, 4}).flatten(1) : pooled(f));
    });
    const Tensor weight = one->a->weight.detach().clone();
    CamHook hook(*one);
    const auto constant = [&](bool yes) {
      const torch::NoGradGuard off;
      one->a->weight.copy_(yes ? torch::zeros_like(weight) : weight);
      one->a->bias.fill_(yes ? value : .1);
    };
    constant(true);
    const Tensor x = pictures();
    Tensor logits = hook.forward([&] { return one->forward(x); });
    CHECK_FALSE(hook.observation().exact);
    INFO(printed(hook));
    CHECK(
        (contains(hook.observation().reason, "proves nothing") ||
         contains(
             hook.observation().reason,
             "did not average every position exactly once")));
    hook.cam(logits, labels_for(logits));  // does not throw
    constant(false);
    CHECK_FALSE(is_exact(hook, *one, x));  // a window is a window
    window = false;
    CHECK(is_exact(hook, *one, x));
    constant(true);
    logits = hook.forward([&] { return one->forward(x); });
    hook.cam(logits, labels_for(logits));
    CHECK_FALSE(hook.observation().exact);
    CHECK(
        hook.observation().reason ==
        "the map is constant, so its mean proves nothing");
    constant(false);
    CHECK(is_exact(hook, *one, x));
  }
}

TEST_CASE("A batch that is not finite decides nothing for the next", "[hook]") {
  torch::manual_seed(8);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, infinity, -infinity}) {
    CAPTURE(bad);
    for (const bool window : {true, false}) {
      CAPTURE(window);
      auto one = net([=](Net& n, Tensor f) {
        n.tap(f);
        return n.fc(
            window ? torch::avg_pool2d(f, {5, 4}).flatten(1) : pooled(f));
      });
      CamHook hook(*one);
      Tensor broken = pictures();
      broken[0][1][2][3] = bad;
      const Tensor logits = hook.forward([&] { return one->forward(broken); });
      INFO(printed(hook));
      CHECK_FALSE(hook.observation().exact);
      CHECK(
          hook.observation().reason ==
          "the features or logits are not finite, so nothing is proven");
      CHECK(
          hook.cam(logits, labels_for(logits)).sizes() ==
          at::IntArrayRef({2, 6, 4}));
      CHECK(is_exact(hook, *one, pictures()) == !window);
      hook.forward([&] { return one->forward(broken); });
      CHECK_FALSE(hook.observation().exact);
      CHECK(is_exact(hook, *one, pictures()) == !window);
    }
  }
  // A weight that is not finite is the network's, not the mean's.
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
  {
    const torch::NoGradGuard off;
    one->fc->weight[0][0] = nan;
  }
  CamHook hook(*one);
  hook.forward([&] { return one->forward(pictures()); });
  CHECK(contains(hook.observation().reason, "not finite"));
}

TEST_CASE(
    "Products are compared with the precision that PyTorch may use", "[hook]") {
  // A GPU may round the factors of a product of float32 to 10 bits (TF32), and
  // some processors to 7 (bfloat16). Here the rounding is made by hand.
  torch::manual_seed(16);
  const Tensor x = torch::rand({4, 64}) + 0.1;
  const Tensor weight = torch::randn({3, 64});
  const auto rounded = [](const Tensor& values, int bits) {
    const auto kept = std::get<0>(torch::frexp(values)) * (1 << (bits + 1));
    const auto power = std::get<1>(torch::frexp(values)) - (bits + 1);
    return torch::ldexp(kept.round(), power);
  };
  const auto verdict = [&](const std::string& precision, const Tensor& logits) {
    at::globalContext().setFloat32MatmulPrecision(precision);
    const auto flags = cyborg::detail::head_flags(x, weight, {}, logits);
    at::globalContext().setFloat32MatmulPrecision("highest");
    return cyborg::detail::verdict_of(flags);
  };
  using cyborg::detail::Verdict;
  const auto product = [&](int bits) {
    return rounded(x, bits).mm(rounded(weight, bits).t());
  };
  const Tensor full = x.mm(weight.t());
  for (const char* precision : {"highest", "high", "medium"}) {
    INFO(precision);
    CHECK(verdict(precision, full) == Verdict::kHolds);
    CHECK(verdict(precision, full * 1.2) == Verdict::kRefuted);
  }
  CHECK(verdict("highest", product(10)) == Verdict::kRefuted);
  CHECK(verdict("high", product(10)) == Verdict::kHolds);
  CHECK(verdict("high", product(7) + 0.3) == Verdict::kRefuted);
  CHECK(verdict("medium", product(7)) == Verdict::kHolds);
}

TEST_CASE("Maps in every memory format are exact", "[hook]") {
  torch::manual_seed(9);
  using Lay = std::function<Tensor(Net&, const Tensor&)>;
  const std::vector<std::pair<const char*, Lay>> layouts = {
      {"channels last",
       [](Net&, const Tensor& f) {
         return f.contiguous(at::MemoryFormat::ChannelsLast);
       }},
      {"a convolution in channels last",
       [](Net& n, const Tensor& f) {
         return n.b(f.contiguous(at::MemoryFormat::ChannelsLast));
       }},
      {"a slice of the channels with a step",
       [](Net&, const Tensor& f) {
         return torch::cat({f, f}, 1).slice(1, 0, 16, 2);
       }},
      {"transposed twice in memory",
       [](Net&, const Tensor& f) {
         return f.transpose(2, 3).contiguous().transpose(2, 3);
       }},
      {"expanded columns",
       [](Net&, const Tensor& f) {
         return torch::relu(f.narrow(3, 0, 1).expand(f.sizes()) + f);
       }},
      {"a negative view",
       [](Net&, const Tensor& f) { return at::_neg_view(f); }},
      {"a negative view of channels last",
       [](Net&, const Tensor& f) {
         return at::_neg_view(f.contiguous(at::MemoryFormat::ChannelsLast));
       }},
      {"a negative view, negated",
       [](Net&, const Tensor& f) { return at::_neg_view(f).neg(); }},
  };
  for (const auto& [name, lay] : layouts) {
    INFO(name);
    const auto change = lay;
    using Pool = std::function<Tensor(const Tensor&)>;
    const std::vector<std::pair<const char*, Pool>> pools = {
        {"mean", [](auto& f) { return pooled(f); }},
        {"adaptive",
         [](auto& f) {
           return torch::adaptive_avg_pool2d(f, {1, 1}).flatten(1);
         }},
        {"window",
         [](auto& f) { return torch::avg_pool2d(f, {6, 4}).flatten(1); }},
    };
    for (const auto& [pool_name, pool] : pools) {
      INFO(pool_name);
      const auto average = pool;
      auto one = net(
          [=](Net& n, Tensor f) { return n.fc(average(n.tap(change(n, f)))); });
      CamHook hook(*one);
      const std::string error =
          error_of([&] { CHECK(is_exact(hook, *one, pictures(4))); });
      CHECK(error.empty());
      INFO(error);
    }
  }
}

}  // namespace exactness_test
