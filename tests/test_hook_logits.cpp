// SPDX-License-Identifier: BSD-3-Clause
//
// The logits that a map is asked for are recognised: those that the network
// returned, views and samples of these, and others that were computed from the
// features. All else is refused. Each number is that of plain autograd in
// float64.
#include "tapped.hpp"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <c10/util/Exception.h>

#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace logits_test {

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using cyborg::CamMethod;
using hooked::printed;
using support::contains;
using support::error_of;
using tapped::check_map;
using tapped::error_of_values;
using tapped::kClose;
using tapped::labels_for;
using tapped::Net;
using tapped::net;
using tapped::pictures;
using tapped::pooled;
using torch::Tensor;

namespace {

const std::string kCam = "cyborg::Observation::cam: ";

/// relu(conv) -> mean -> linear: CAM is exact.
std::shared_ptr<Net> plain(int64_t classes = 3) {
  return net(
      [](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); }, 8, classes);
}

/// relu(conv) -> largest value -> linear: Grad-CAM answers.
std::shared_ptr<Net> largest(int64_t classes = 3) {
  return net(
      [](Net& n, Tensor f) { return n.fc(n.tap(f).amax({2, 3})); }, 8, classes);
}

/// Why there is no map of `logits`; empty when there is one.
std::string why_not(const CamHook& hook, const Tensor& logits) {
  return error_of([&] { hook.cam(logits, labels_for(logits)); });
}

using Change = std::function<Tensor(const Tensor&)>;
using Changes = std::vector<std::pair<const char*, Change>>;

/// What a program may compute from logits of 3 classes, sample by sample.
Changes computed() {
  return {
      {"the negative", [](auto& z) { return -z; }},
      {"twice", [](auto& z) { return 2 * z; }},
      {"divided by a temperature", [](auto& z) { return z / .07; }},
      {"without the first class", [](auto& z) { return z.slice(1, 1); }},
      {"without the last class", [](auto& z) { return z.slice(1, 0, 2); }},
      {"every second class", [](auto& z) { return z.slice(1, 0, 3, 2); }},
      {"one class", [](auto& z) { return z.select(1, 1); }},
      {"one class as a column", [](auto& z) { return z.narrow(1, 1, 1); }},
      {"the first class", [](auto& z) { return z.select(1, 0); }},
      {"the first class as a column",
       [](auto& z) { return z.narrow(1, 0, 1); }},
      {"classes in another order", [](auto& z) { return z.flip({1}); }},
      {"classes in another order, by an index",
       [](auto& z) { return z.index_select(1, torch::tensor({2, 0, 1})); }},
      {"classes sorted", [](auto& z) { return std::get<0>(z.sort(1)); }},
      {"log softmax", [](auto& z) { return torch::log_softmax(z, 1); }},
      {"softmax", [](auto& z) { return torch::softmax(z, 1); }},
      {"less their mean", [](auto& z) { return z - z.mean(1, true); }},
      {"a class more",
       [](auto& z) { return torch::cat({z, z.sum(1, true)}, 1); }},
      {"a margin at the label",
       [](auto& z) {
         const Tensor hot = torch::one_hot(labels_for(z), 3).to(z.dtype());
         return 30 * ((z / 100).acos() + .5 * hot).cos();
       }},
  };
}

/// The same logits in another form.
Changes same() {
  return {
      {"the tensor itself", [](auto& z) { return z; }},
      {"an alias", [](auto& z) { return at::alias(z); }},
      {"a view", [](auto& z) { return z.view({-1, 3}); }},
      {"a view and back", [](auto& z) { return z.view({-1}).view({-1, 3}); }},
      {"squeezed", [](auto& z) { return z.unsqueeze(1).squeeze(1); }},
      {"expanded", [](auto& z) { return z.expand({-1, 3}); }},
      {"copied", [](auto& z) { return z.clone(); }},
      {"a slice of everything", [](auto& z) { return z.slice(0, 0, 9); }},
      {"transposed twice", [](auto& z) { return z.t().t(); }},
  };
}

/// Parts of a batch of 4 samples, as views.
const std::vector<std::tuple<const char*, int64_t, int64_t>>& ranges() {
  static const std::vector<std::tuple<const char*, int64_t, int64_t>> all = {
      {"the first sample", 0, 1}, {"the first two", 0, 2},
      {"the first three", 0, 3},  {"samples 1 to 3", 1, 3},
      {"samples 1 and 2", 1, 2},  {"the last sample", 3, 1},
      {"all samples", 0, 4},
  };
  return all;
}

/// Collects warnings while it lives, also those that are given once.
class Warnings : public c10::WarningHandler {
 public:
  Warnings() : always_(c10::WarningUtils::get_warnAlways()), guard_(this) {
    c10::WarningUtils::set_warnAlways(true);
  }
  ~Warnings() override { c10::WarningUtils::set_warnAlways(always_); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;

  void process(const c10::Warning& warning) override {
    text += warning.msg() + "\n";
  }

  std::string text;

 private:
  bool always_;
  c10::WarningUtils::WarningHandlerGuard guard_;
};

c10::IValue dictionary(
    const std::vector<std::pair<std::string, Tensor>>& items) {
  c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
  for (const auto& [name, value] : items) {
    dict.insert(name, value);
  }
  return dict;
}

}  // namespace

TEST_CASE("Every tensor of a result has its own map", "[hook]") {
  // Each returns two tensors, and taps the map of each.
  struct Two {
    const char* name;
    std::function<std::vector<Tensor>(Net&, Tensor, std::vector<Tensor>&)> run;
  };
  const std::vector<Two> cases = {
      {"the mean and the logits",
       [](Net& n, Tensor f, auto& taps) {
         taps = {f, f};
         const Tensor e = pooled(f);
         return std::vector<Tensor>{e, n.fc(e)};
       }},
      {"the logits and the mean",
       [](Net& n, Tensor f, auto& taps) {
         taps = {f, f};
         const Tensor e = pooled(f);
         return std::vector<Tensor>{n.fc(e), e};
       }},
      {"two heads with as many classes",
       [](Net& n, Tensor f, auto& taps) {
         taps = {f, f};
         const Tensor e = pooled(f);
         return std::vector<Tensor>{n.fc(e), n.fc2(e)};
       }},
      {"two heads, the second of the largest value",
       [](Net& n, Tensor f, auto& taps) {
         taps = {f, f};
         return std::vector<Tensor>{n.fc(pooled(f)), n.fc2(f.amax({2, 3}))};
       }},
      {"an auxiliary head of an earlier map, first",
       [](Net& n, Tensor f, auto& taps) {
         const Tensor g = torch::relu(n.b(f));
         taps = {f, g};
         return std::vector<Tensor>{n.fc2(pooled(f)), n.fc(pooled(g))};
       }},
      {"an auxiliary head of an earlier and smaller map, last",
       [](Net& n, Tensor f, auto& taps) {
         const Tensor g = torch::relu(n.b(torch::avg_pool2d(f, 2)));
         taps = {g, f};
         return std::vector<Tensor>{n.fc(pooled(g)), n.fc2(pooled(f))};
       }},
      {"one classifier of two maps",
       [](Net& n, Tensor f, auto& taps) {
         const Tensor g = torch::relu(n.b(f));
         taps = {f, g};
         return std::vector<Tensor>{n.fc(pooled(f)), n.fc(pooled(g))};
       }},
  };
  torch::manual_seed(1);
  for (const auto& [name, run] : cases) {
    INFO(name);
    const auto two = run;
    std::vector<Tensor> taps, made;
    auto both = net([&](Net& n, Tensor f) {
      made = two(n, f, taps);
      return made[0];
    });
    both->order = {0, 1, 2, 3};
    CamHook hook(*both);
    for (const bool recording : {true, false}) {
      CAPTURE(recording);
      const at::AutoGradMode mode(recording);
      const auto result = hook.forward([&] {
        both->forward(pictures(4));
        return made;
      });
      REQUIRE(result.size() == 2);
      for (const size_t i : {size_t{0}, size_t{1}}) {
        CAPTURE(i);
        both->truth = taps[i];
        check_map(hook, *both, result[i], made[i]);
      }
    }
  }
}

TEST_CASE("Logits computed from the logits have their own map", "[hook]") {
  torch::manual_seed(2);
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    const auto one = exact ? plain() : largest();
    CamHook hook(*one);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures(4)); });
    CHECK(hook.observation().exact == exact);
    for (const auto& [name, change] : computed()) {
      INFO(name);
      check_map(hook, *one, change(logits));
    }
  }
}

TEST_CASE("A head outside the hook has its own map", "[hook]") {
  torch::manual_seed(3);
  // The network returns the embedding, and the program adds the head.
  auto body = net([](Net& n, Tensor f) { return pooled(n.tap(f)); });
  CamHook hook(*body);
  const Tensor e = hook.forward([&] { return body->forward(pictures(4)); });
  check_map(hook, *body, e);
  check_map(hook, *body, body->fc(e));
  check_map(hook, *body, body->fc2(torch::relu(e - .1)));
  const Tensor cosine = torch::linear(
      torch::nn::functional::normalize(e),
      torch::nn::functional::normalize(body->fc->weight));
  check_map(hook, *body, cosine);
  const Tensor hot = torch::one_hot(labels_for(cosine), 3).to(torch::kDouble);
  check_map(hook, *body, 30 * (cosine.acos() + .5 * hot).cos());  // ArcFace
  check_map(hook, *body, 30 * (cosine - .35 * hot));              // CosFace
  // Distances to prototypes.
  check_map(
      hook, *body,
      -(e.unsqueeze(1) - body->fc->weight.unsqueeze(0)).pow(2).sum(2));
  // The network itself returns cosines, of which the margin is made.
  auto cosines = net([](Net& n, Tensor f) {
    return torch::linear(
        torch::nn::functional::normalize(pooled(n.tap(f))),
        torch::nn::functional::normalize(n.fc->weight));
  });
  CamHook margin(*cosines);
  const Tensor z =
      margin.forward([&] { return cosines->forward(pictures(4)); });
  check_map(margin, *cosines, z);
  check_map(margin, *cosines, 30 * (z.acos() + .5 * hot).cos());
}

TEST_CASE(
    "CamMethod::kCam has no map of logits that it has not seen", "[hook]") {
  const auto one = plain();
  CamHook hook(*one, CamHookOptions().method(CamMethod::kCam));
  const Tensor logits = hook.forward([&] { return one->forward(pictures()); });
  check_map(hook, *one, logits);
  CHECK(contains(
      why_not(hook, -logits),
      kCam + "CamMethod::kCam needs the logits that the network returned"));
}

TEST_CASE("Samples that meet others are refused", "[hook][error]") {
  torch::manual_seed(4);
  // Not the labels 0, 1, 2, ...: the similarity of a sample to itself is its
  // own.
  const auto why_not_mixed = [](const CamHook& hook, const Tensor& logits) {
    return error_of(
        [&] { hook.cam(logits, labels_for(logits).roll({-1}, {0})); });
  };
  const Changes mixed = {
      {"the batch mirrored", [](auto& z) { return z.flip({0}); }},
      {"the batch in another order",
       [](auto& z) { return z.index_select(0, torch::tensor({1, 0, 2, 3})); }},
      {"the batch rolled", [](auto& z) { return z.roll({1}, {0}); }},
      {"a sample twice",
       [](auto& z) { return z.index_select(0, torch::tensor({0, 0, 2, 3})); }},
      {"two samples mixed", [](auto& z) { return .7 * z + .3 * z.flip({0}); }},
      {"the similarity of samples", [](auto& z) { return z.mm(z.t()); }},
      {"the similarity of pairs",
       [](auto& z) { return (z * z.roll({1}, {0})).sum(1); }},
      {"less the mean of the batch", [](auto& z) { return z - z.mean(0); }},
      {"a softmax over the batch",
       [](auto& z) { return torch::softmax(z, 0); }},
  };
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    const auto one = exact ? plain() : largest();
    CamHook hook(*one);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures(4)); });
    for (const auto& [name, change] : mixed) {
      INFO(name);
      const auto text = why_not_mixed(hook, change(logits));
      INFO(text);
      CHECK(contains(
          text,
          "the batch of the logits is in another order than that of the "
          "features, or the logits compare samples with each other"));
    }
  }
  // The same inside the network: its own logits.
  for (const auto& [name, change] : mixed) {
    INFO(name);
    const auto own = change;
    auto one =
        net([=](Net& n, Tensor f) { return own(n.fc(pooled(n.tap(f)))); });
    CamHook hook(*one);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures(4)); });
    INFO(printed(hook));
    CHECK_FALSE(why_not_mixed(hook, logits).empty());
  }
}

TEST_CASE("An order of the batch holds for one forward alone", "[hook]") {
  torch::manual_seed(12);
  // The same operators, with other arguments.
  bool in_order = true;
  const std::vector<std::pair<const char*, Change>> changes = {
      {"an index",
       [&](const Tensor& z) {
         return z.index_select(
             0, in_order ? torch::tensor({0, 1, 2, 3})
                         : torch::tensor({1, 0, 2, 3}));
       }},
      {"rolled",
       [&](const Tensor& z) { return z.roll({in_order ? 4 : 1}, {0}); }},
      {"mirrored twice",
       [&](const Tensor& z) { return z.flip({in_order ? 0 : 1}).flip({0}); }},
  };
  for (const auto& [name, change] : changes) {
    INFO(name);
    const auto own = change;
    auto one =
        net([=](Net& n, Tensor f) { return own(n.fc(pooled(n.tap(f)))); });
    CamHook hook(*one);
    for (const bool now : {true, false, true, false}) {
      in_order = now;
      CAPTURE(now);
      const Tensor logits =
          hook.forward([&] { return one->forward(pictures(4)); });
      if (now) {
        check_map(hook, *one, logits);
      } else {
        CHECK(contains(why_not(hook, logits), "is in another order"));
      }
    }
  }
}

TEST_CASE("The same logits in another form are recognised", "[hook]") {
  torch::manual_seed(5);
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    const auto one = exact ? plain() : largest();
    CamHook hook(*one);
    for (const bool recording : {true, false}) {
      CAPTURE(recording);
      const at::AutoGradMode mode(recording);
      const Tensor logits =
          hook.forward([&] { return one->forward(pictures(4)); });
      for (const auto& [name, change] : same()) {
        INFO(name);
        const Tensor asked = change(logits);
        check_map(hook, *one, asked, one->logits);
        CHECK(hook.logit_scale(asked) == (exact ? 1 : 24));
      }
      // A cast rounds the logits. Their map is still that of the network.
      for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
        INFO(c10::toString(type));
        const Tensor cast = logits.to(type);
        if (exact) {
          check_map(hook, *one, cast, one->logits);
        } else if (recording) {
          CHECK(
              error_of_values(
                  hook.cam(cast, labels_for(cast)),
                  hook.cam(logits, labels_for(logits))) < kClose);
        }
      }
    }
  }
}

TEST_CASE("A cast with gradients off holds the same logits", "[hook]") {
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    const auto one = exact ? plain() : largest();
    CamHook hook(*one);
    const torch::NoGradGuard off;
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures(4)); });
    for (const auto type : {torch::kFloat, torch::kBFloat16}) {
      INFO(c10::toString(type));
      INFO(why_not(hook, logits.to(type)));
      check_map(hook, *one, logits.to(type), one->logits);
    }
  }
}

TEST_CASE("Logits without their graph keep a class activation map", "[hook]") {
  const auto exact = plain();
  CamHook hook(*exact);
  Tensor logits = hook.forward([&] { return exact->forward(pictures(4)); });
  check_map(hook, *exact, logits.detach(), exact->logits);
  const auto inexact = largest();
  CamHook other(*inexact);
  logits = other.forward([&] { return inexact->forward(pictures(4)); });
  CHECK(contains(
      why_not(other, logits.detach()),
      "Grad-CAM needs logits with a graph, got logits without one"));
}

TEST_CASE("A range of the samples has the maps of these samples", "[hook]") {
  torch::manual_seed(6);
  for (const auto& one :
       {plain(), largest(), plain(1), largest(1),
        net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))).squeeze(1); },
            8, 1)}) {
    CamHook hook(*one);
    for (const bool recording : {true, false}) {
      CAPTURE(recording);
      const at::AutoGradMode mode(recording);
      const Tensor logits =
          hook.forward([&] { return one->forward(pictures(4)); });
      const Tensor labels = labels_for(logits);
      const Tensor all = hook.cam(logits, labels);
      const Tensor wanted = one->map_of(tapped::score_of(one->logits, labels));
      CHECK(error_of_values(all * hook.logit_scale(logits), wanted) < kClose);
      for (const auto& [name, start, count] : ranges()) {
        INFO(name);
        const Tensor part = logits.narrow(0, start, count);
        Tensor maps;
        const auto text = error_of([&] {
          maps = hook.cam(part, labels.narrow(0, start, count)) *
                 hook.logit_scale(part);
        });
        INFO(text);
        CHECK(text.empty());
        const Tensor rows = wanted.narrow(0, start, count);
        CHECK(error_of_values(maps, rows) < kClose);
        if (recording && text.empty()) {
          CHECK(
              error_of_values(one->slope_of(maps), one->slope_of(rows)) <
              kClose);
        }
        CHECK(
            error_of_values(
                hook.cam(part, CamClass::kAll),
                hook.cam(logits, CamClass::kAll).narrow(0, start, count)) <
            kClose);
      }
    }
  }
}

TEST_CASE("Samples that are not a range are refused", "[hook][error]") {
  const auto one = plain();
  CamHook hook(*one);
  const Changes parts = {
      {"every second sample", [](auto& z) { return z.slice(0, 0, 4, 2); }},
      {"an index",
       [](auto& z) { return z.index_select(0, torch::tensor({1, 3})); }},
      {"a copy of a range", [](auto& z) { return z.narrow(0, 1, 2).clone(); }},
      {"a sample more",
       [](auto& z) { return torch::cat({z, z.narrow(0, 0, 1)}); }},
      {"classes as samples", [](auto& z) { return z.t(); }},
  };
  for (const bool recording : {true, false}) {
    CAPTURE(recording);
    const at::AutoGradMode mode(recording);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures(4)); });
    for (const auto& [name, change] : parts) {
      INFO(name);
      CHECK(contains(
          why_not(hook, change(logits)),
          kCam + "expected logits [4, K] (as many samples as the observed "
                 "features [4, 8, 6, 4])"));
    }
  }
}

TEST_CASE("Logits of another forward are refused", "[hook][error]") {
  torch::manual_seed(7);
  const std::string foreign =
      kCam +
      "the logits do not come from the observed features, which are those of "
      "another forward";
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    const auto one = exact ? plain() : largest();
    const Tensor x = pictures(4);
    CamHook hook(*one);
    Tensor logits = hook.forward([&] { return one->forward(x); });
    const Tensor wanted = hook.cam(logits, labels_for(logits)).detach();
    const Tensor truth = one->truth;
    // With a graph: also equal numbers have another one.
    CHECK(contains(why_not(hook, one->forward(pictures(4))), foreign));
    CHECK(contains(why_not(hook, one->forward(x)), foreign));
    const torch::NoGradGuard off;
    const auto text = why_not(hook, one->forward(pictures(4)));
    INFO(text);
    CHECK(contains(
        text, "these logits are not those that the observed forward returned"));
    logits = hook.forward([&] { return one->forward(x); });
    CHECK(contains(
        why_not(hook, one->forward(pictures(4))),
        "these logits are not those that the observed forward returned"));
    // The same numbers are the same logits: the weights and the pictures are.
    const Tensor again = one->forward(x);
    CHECK(error_of_values(hook.cam(again, labels_for(again)), wanted) < kClose);
    CHECK(contains(
        why_not(hook, -logits),
        "these logits are not those that the observed forward returned"));
    CHECK(contains(
        why_not(hook, logits.flip({0})),
        "these logits are not those that the observed forward returned"));
  }
}

TEST_CASE("Logits of an earlier forward under the hook are refused", "[hook]") {
  for (const bool recording : {true, false}) {
    CAPTURE(recording);
    const at::AutoGradMode mode(recording);
    const auto one = plain();
    CamHook hook(*one);
    const Tensor first = hook.forward([&] { return one->forward(pictures()); });
    const auto seen = hook.observation();
    hook.forward([&] { return one->forward(pictures()); });
    CHECK(contains(
        why_not(hook, first),
        recording ? "the logits do not come from the observed features"
                  : "these logits are not those that the observed forward"));
    CHECK(
        seen.cam(first, labels_for(first)).sizes() ==
        at::IntArrayRef({2, 6, 4}));
  }
}

TEST_CASE("Logits that were changed in place are other logits", "[hook]") {
  using InPlace = std::function<void(Tensor&)>;
  const std::vector<std::pair<const char*, InPlace>> changes = {
      {"doubled", [](auto& z) { z.mul_(2); }},
      {"negated", [](auto& z) { z.neg_(); }},
      {"a class shifted", [](auto& z) { z.select(1, 1).add_(1); }},
      {"a class set to another",
       [](auto& z) { z.select(1, 0).copy_(z.select(1, 2)); }},
  };
  for (const auto& [name, change] : changes) {
    INFO(name);
    const auto one = plain();
    CamHook hook(*one);
    Tensor logits = hook.forward([&] { return one->forward(pictures(4)); });
    change(logits);
    check_map(hook, *one, logits);
    // Without a graph nobody knows what was done to them.
    const torch::NoGradGuard off;
    logits = hook.forward([&] { return one->forward(pictures(4)); });
    change(logits);
    CHECK(contains(
        why_not(hook, logits),
        "these logits are not those that the observed forward returned"));
  }
  const auto one = plain();
  CamHook hook(*one);
  Tensor logits = hook.forward([&] { return one->forward(pictures(4)); });
  logits.copy_(logits.flip({0}));
  CHECK(contains(why_not(hook, logits), "is in another order"));
  const torch::NoGradGuard off;
  logits = hook.forward([&] { return one->forward(pictures(4)); });
  logits.copy_(logits.flip({0}));
  CHECK(contains(
      why_not(hook, logits),
      "these logits are not those that the observed forward returned"));
}

TEST_CASE("One logit is a column, a row, or a squeezed column", "[hook]") {
  torch::manual_seed(8);
  using Read = std::function<Tensor(const Tensor&)>;
  const std::vector<std::pair<const char*, Read>> forms = {
      {"a column", [](auto& z) { return z; }},
      {"squeezed", [](auto& z) { return z.squeeze(1); }},
      {"flattened", [](auto& z) { return z.flatten(); }},
      {"selected", [](auto& z) { return z.select(1, 0); }},
      {"a view", [](auto& z) { return z.view({-1}); }},
  };
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    for (const auto& [name, read] : forms) {
      INFO(name);
      const auto form = read;
      for (const bool inside : {true, false}) {
        CAPTURE(inside);
        auto one = net(
            [=](Net& n, Tensor f) {
              n.tap(f);
              const Tensor z = n.fc(exact ? pooled(f) : f.amax({2, 3}));
              return inside ? form(z) : z;
            },
            8, 1);
        CamHook hook(*one);
        for (const bool recording : {true, false}) {
          CAPTURE(recording);
          const at::AutoGradMode mode(recording);
          const Tensor logits =
              hook.forward([&] { return one->forward(pictures(4)); });
          // A class that was selected is not known to be all of them.
          const bool all = !inside || std::string(name) != "selected";
          CHECK(hook.observation().exact == (exact && all));
          check_map(hook, *one, inside ? logits : form(logits), one->logits);
        }
      }
    }
  }
}

TEST_CASE("logits_of may compute with gradients off outside", "[hook]") {
  torch::manual_seed(9);
  struct Output {
    Tensor scores, boxes;
  };
  struct Detector {
    const char* name;
    std::function<Tensor(Net&, Tensor)> scores;  // of the tapped map
    std::function<Tensor(const Tensor&)> logits;
    int64_t classes;
  };
  const std::vector<Detector> cases = {
      {"a head [B, 1, 1, 1]",
       [](Net& n, Tensor f) {
         return torch::conv2d(
             f.mean({2, 3}, true), n.fc->weight.unsqueeze(2).unsqueeze(3),
             n.fc->bias);
       },
       [](auto& s) { return s.flatten(1); }, 1},
      {"a head [B, 3, 1, 1]",
       [](Net& n, Tensor f) {
         return torch::conv2d(
             f.mean({2, 3}, true), n.fc->weight.unsqueeze(2).unsqueeze(3),
             n.fc->bias);
       },
       [](auto& s) { return s.squeeze(3).squeeze(2); }, 3},
      {"a head [B, 1, 1, 1], squeezed to a row",
       [](Net& n, Tensor f) {
         return n.fc(pooled(f)).unsqueeze(2).unsqueeze(3);
       },
       [](auto& s) { return s.view({-1}); }, 1},
      {"the best of several boxes",
       [](Net& n, Tensor f) {
         const Tensor parts = torch::stack(
             {n.fc(pooled(f)), n.fc2(f.amax({2, 3})), n.fc2(pooled(f))}, 1);
         return parts;
       },
       [](auto& s) { return s.amax(1); }, 3},
      {"one task of several",
       [](Net& n, Tensor f) {
         return torch::cat({n.fc(pooled(f)), n.fc2(pooled(f))}, 1);
       },
       [](auto& s) { return s.slice(1, 2, 5); }, 3},
      {"the sum of two tasks",
       [](Net& n, Tensor f) {
         return torch::cat({n.fc(pooled(f)), n.fc2(pooled(f))}, 1);
       },
       [](auto& s) { return s.slice(1, 0, 3) + s.slice(1, 3, 6); }, 3},
  };
  for (const auto& c : cases) {
    INFO(c.name);
    auto one = net(
        [&](Net& n, Tensor f) { return c.scores(n, n.tap(f)); }, 8, c.classes);
    CamHook hook(*one);
    for (const bool recording : {true, false}) {
      CAPTURE(recording);
      const at::AutoGradMode mode(recording);
      const Output out = hook.forward(
          [&] {
            return Output{one->forward(pictures(4)), torch::zeros({4, 4})};
          },
          [&](const Output& o) { return c.logits(o.scores); });
      INFO(printed(hook));
      CHECK(hook.observation().defined());
      Tensor graph;
      {
        const at::AutoGradMode graph_on(true);
        graph = c.logits(one->logits);
      }
      check_map(hook, *one, c.logits(out.scores), graph);
      if (!recording || hook.observation().exact) {  // Grad-CAM needs a graph
        check_map(hook, *one, c.logits(out.scores.detach()), graph);
      }
    }
  }
}

TEST_CASE("A dictionary holds several logits", "[hook]") {
  torch::manual_seed(10);
  Tensor aux, map;
  auto one = net([&](Net& n, Tensor f) {
    aux = n.fc2(pooled(f));
    map = f;
    return n.fc(pooled(n.tap(torch::relu(n.b(f)))));
  });
  CamHook hook(*one);
  for (const bool recording : {true, false}) {
    CAPTURE(recording);
    const at::AutoGradMode mode(recording);
    auto result = hook.forward([&] {
      const Tensor out = one->forward(pictures(4));
      return dictionary({{"aux", aux}, {"logits", out}});
    });
    auto dict = result.toGenericDict();
    check_map(hook, *one, dict.at("logits").toTensor(), one->logits);
    const Tensor truth = one->truth;
    one->truth = map;
    check_map(hook, *one, dict.at("aux").toTensor(), aux);
    one->truth = truth;
    // With other names the logits must be named.
    const auto run = [&] {
      const Tensor out = one->forward(pictures(4));
      return dictionary({{"stage", aux}, {"scores", out}});
    };
    hook.forward(run);
    const std::string words =
        "expected a dictionary with an entry 'logits' or 'out', got one with "
        "stage, scores; name the logits with forward(callable, logits_of)";
    CHECK(contains(error_of([&] { hook.require(); }), words));
    CHECK(contains(printed(hook), words));
    result = hook.forward(run, [](const c10::IValue& value) {
      return value.toGenericDict().at("scores").toTensor();
    });
    dict = result.toGenericDict();
    check_map(hook, *one, dict.at("scores").toTensor(), one->logits);
    one->truth = map;
    check_map(hook, *one, dict.at("stage").toTensor(), aux);
  }
}

TEST_CASE(
    "Batch statistics behind the features give a warning, not an error",
    "[hook]") {
  torch::manual_seed(11);
  torch::nn::BatchNorm1d statistics(8);
  statistics->to(torch::kDouble);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
  CamHook hook(*one);
  const auto other = [&] { return one->fc2(statistics(pooled(one->truth))); };
  const Tensor logits = hook.forward([&] { return one->forward(pictures(4)); });
  {
    Warnings warnings;
    check_map(hook, *one, other());
    CHECK(contains(warnings.text, "batch normalisation"));
    CHECK(contains(warnings.text, "evaluation mode for pictures"));
  }
  {
    Warnings warnings;
    check_map(hook, *one, logits);
    statistics->eval();
    check_map(hook, *one, other());
    CHECK(warnings.text.empty());
    // In evaluation mode it mixes nothing, so an order is not its doing.
    CHECK(contains(why_not(hook, other().flip({0})), "is in another order"));
  }
  // In front of the features it changes nothing that is asked here.
  torch::nn::BatchNorm2d before(8);
  before->to(torch::kDouble);
  auto normed = net([&](Net& n, Tensor f) {
    return n.fc(pooled(n.tap(torch::relu(before(f)))));
  });
  CamHook second(*normed);
  const Tensor z = second.forward([&] { return normed->forward(pictures(4)); });
  Warnings warnings;
  check_map(second, *normed, z);
  check_map(second, *normed, -z);
  CHECK(warnings.text.empty());
  // The network's own logits behind batch statistics.
  statistics->train();
  auto inside =
      net([&](Net& n, Tensor f) { return n.fc(statistics(pooled(n.tap(f)))); });
  CamHook third(*inside);
  const Tensor own =
      third.forward([&] { return inside->forward(pictures(4)); });
  check_map(third, *inside, own);
}

}  // namespace logits_test
