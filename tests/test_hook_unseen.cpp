// SPDX-License-Identifier: BSD-3-Clause
//
// What the hook cannot see, it says: custom functions, layers that run several
// times, graphs that are gone or have no second derivative, other threads. Each
// number is that of plain autograd in float64.
#include "tapped.hpp"

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/version.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace unseen_test {

using cyborg::CamClass;
using cyborg::CamHook;
using cyborg::CamHookOptions;
using cyborg::CamMethod;
using hooked::kForward;
using hooked::printed;
using support::contains;
using support::error_of;
using tapped::check_map;
using tapped::check_network;
using tapped::check_refused;
using tapped::error_of_values;
using tapped::kClose;
using tapped::labels_for;
using tapped::Net;
using tapped::net;
using tapped::pictures;
using tapped::pooled;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

namespace {

using Part = std::function<Tensor(const variable_list&)>;

/// A checkpoint: computes `part` without a graph, and again in the backward
/// pass. Its inputs are the arguments of `part`.
struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static Variable forward(
      AutogradContext* context, const Part& part, const Tensor& x,
      const Tensor& weight, const Tensor& bias) {
    context->saved_data["part"] = reinterpret_cast<int64_t>(new Part(part));
    context->save_for_backward({x, weight, bias});
    return part({x, weight, bias});
  }
  static variable_list backward(
      AutogradContext* context, const variable_list& gradients) {
    const auto& part =
        *reinterpret_cast<const Part*>(context->saved_data["part"].toInt());
    const at::AutoGradMode graph_on(true);
    variable_list inputs;
    for (const Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(
          saved.defined() && saved.requires_grad() ? at::alias(saved) : saved);
    }
    const Tensor out = part(inputs);
    auto found = torch::autograd::grad(
        {out}, inputs, gradients, /*retain_graph=*/true, /*create_graph=*/true,
        /*allow_unused=*/true);
    found.insert(found.begin(), Variable());
    return found;
  }
};

Tensor checkpoint(const Part& part, const Tensor& x, Net& n) {
  return Checkpoint::apply(part, x, n.b->weight, n.b->bias);
}

/// relu(conv(x)) of {x, weight, bias}.
Tensor block(const variable_list& in) {
  return torch::relu(torch::conv2d(in[0], in[1], in[2], 1, 1));
}

/// Values as they are, but gradients with the other sign (domain adaptation).
struct Reversed : torch::autograd::Function<Reversed> {
  static Variable forward(AutogradContext*, const Tensor& x) {
    return x.clone();
  }
  static variable_list backward(
      AutogradContext*, const variable_list& gradients) {
    return {-gradients[0]};
  }
};

/// Logits of `run` with a named layer, and the observation.
struct Named {
  Named(Net& n, const std::string& layer, const Tensor& x)
      : hook(n, CamHookOptions().layer(layer)) {
    logits = hook.forward([&] { return n.forward(x); });
  }
  CamHook hook;
  Tensor logits;
};

}  // namespace

TEST_CASE("A map that a custom function hides is refused", "[hook][error]") {
  torch::manual_seed(1);
  using Rest = Net::Rest;
  const std::vector<std::pair<const char*, Rest>> hidden = {
      {"the last block and the pooling",
       [](Net& n, Tensor f) {
         return n.fc(
             checkpoint([](auto& in) { return block(in).mean({2, 3}); }, f, n));
       }},
      {"the last block, the pooling and a flatten",
       [](Net& n, Tensor f) {
         return n.fc(checkpoint(
             [](auto& in) {
               return torch::adaptive_avg_pool2d(block(in), {1, 1}).flatten(1);
             },
             f, n));
       }},
      {"the last block and a pooling that keeps the rank",
       [](Net& n, Tensor f) {
         return n.fc(checkpoint(
                         [](auto& in) {
                           return block(in).mean({2, 3}, /*keepdim=*/true);
                         },
                         f, n)
                         .flatten(1));
       }},
      {"the last block",
       [](Net& n, Tensor f) { return n.fc(pooled(checkpoint(block, f, n))); }},
      {"the last block, with a norm behind it",
       [](Net& n, Tensor f) {
         return n.fc(pooled(torch::relu(checkpoint(block, f, n) - .1)));
       }},
      {"the last block and half of the pooling",
       [](Net& n, Tensor f) {
         return n.fc(
             checkpoint([](auto& in) { return block(in).mean(3); }, f, n)
                 .mean(2));
       }},
  };
  for (const auto& [name, rest] : hidden) {
    INFO(name);
    auto one = net(rest);
    CamHook hook(*one);
    hook.forward([&] { return one->forward(pictures()); });
    INFO(printed(hook));
    CHECK_FALSE(hook.observation().defined());
    CHECK(contains(printed(hook), "custom autograd function"));
    CHECK(contains(
        error_of([&] { hook.require(); }),
        "which the hook cannot see into; use capture(features, weight)"));
  }
}

TEST_CASE("A custom function beside the map does not matter", "[hook]") {
  torch::manual_seed(2);
  using Rest = Net::Rest;
  const std::vector<std::pair<const char*, Rest>> cases = {
      {"an earlier block",
       [](Net& n, Tensor f) {
         return n.fc(pooled(n.tap(torch::relu(n.b(checkpoint(block, f, n))))));
       }},
      {"an earlier block with its gradient reversed",
       [](Net& n, Tensor f) {
         return n.fc(pooled(n.tap(torch::relu(n.b(Reversed::apply(f))))));
       }},
      {"behind the pooling",
       [](Net& n, Tensor f) {
         return n.fc(Reversed::apply(pooled(n.tap(f))));
       }},
      {"behind the head",
       [](Net& n, Tensor f) {
         return Reversed::apply(n.fc(pooled(n.tap(f))));
       }},
  };
  for (const auto& [name, rest] : cases) {
    INFO(name);
    auto one = net(rest);
    const auto seen = check_network(*one, pictures());
    CHECK(seen.exact == contains(std::string(name), "an earlier block"));
  }
}

TEST_CASE(
    "A named layer that ran on several inputs is refused", "[hook][error]") {
  torch::manual_seed(3);
  using Rest = Net::Rest;
  const std::vector<std::pair<const char*, Rest>> cases = {
      {"on two inputs, whose results are added",
       [](Net& n, Tensor f) {
         return n.fc(
             pooled(torch::relu(n.b(f)) + torch::relu(n.b(f.flip({3})))));
       }},
      {"on two inputs, whose means are added",
       [](Net& n, Tensor f) {
         return n.fc(pooled(n.b(f)) + pooled(n.b(torch::avg_pool2d(f, 2))));
       }},
      {"on a pyramid",
       [](Net& n, Tensor f) {
         Tensor z = n.fc(pooled(torch::relu(n.b(f))));
         for (const int64_t step : {2, 3}) {
           z = torch::maximum(
               z, n.fc(pooled(torch::relu(n.b(torch::avg_pool2d(f, step))))));
         }
         return z;
       }},
      {"twice on the same input",
       [](Net& n, Tensor f) {
         return n.fc(
             pooled(torch::dropout(n.b(f), .5, true)) +
             pooled(torch::dropout(n.b(f), .5, true)));
       }},
      {"once for another result",
       [](Net& n, Tensor f) {
         const Tensor z = n.fc(pooled(torch::relu(n.b(f))));
         n.b(f * 2);
         return z;
       }},
  };
  const std::string words =
      kForward + "layer 'b' ran several times, on different inputs";
  for (const auto& [name, rest] : cases) {
    INFO(name);
    auto one = net(rest);
    const Named named(*one, "b", pictures(2, 6, 6));
    INFO(printed(named.hook));
    CHECK_FALSE(named.hook.observation().defined());
    CHECK(contains(error_of([&] { named.hook.require(); }), words));
    CHECK(contains(
        error_of([&] { named.hook.cam(named.logits, CamClass::kPredicted); }),
        words));
  }
}

TEST_CASE("A recurrent cell gives its last state", "[hook]") {
  torch::manual_seed(4);
  using Rest = Net::Rest;
  const std::vector<std::pair<const char*, Rest>> cases = {
      {"one state",
       [](Net& n, Tensor f) {
         Tensor state = f;
         for (int step = 0; step < 3; ++step) {
           state = n.b(state);
         }
         return n.fc(pooled(torch::relu(n.tap(state))));
       }},
      {"a state and an input",
       [](Net& n, Tensor f) {
         Tensor state = torch::zeros_like(f);
         Tensor last;
         for (int step = 0; step < 3; ++step) {
           last = n.b(f + state);
           state = torch::tanh(last);
         }
         n.tap(last);
         return n.fc(pooled(state));
       }},
  };
  for (const auto& [name, rest] : cases) {
    INFO(name);
    auto one = net(rest);
    const Named named(*one, "b", pictures());
    check_map(named.hook, *one, named.logits);
    // The default map is what the pooling reads: the activated state.
    CamHook hook(*one);
    const Tensor logits =
        hook.forward([&] { return one->forward(pictures()); });
    CHECK(hook.observation().exact);
    CHECK(
        hook.cam(logits, labels_for(logits)).sizes() ==
        at::IntArrayRef({2, 6, 4}));
  }
}

TEST_CASE("A map that ran once among runs of its layer is found", "[hook]") {
  torch::manual_seed(5);
  // Without a name: the run that the logits come from.
  auto one = net([](Net& n, Tensor f) {
    n.b(f * 2);
    const Tensor z = n.fc(pooled(n.tap(torch::relu(n.b(f)))));
    n.b(f * 3);
    return z;
  });
  CHECK(check_network(*one, pictures()).exact);
  auto both = net([](Net& n, Tensor f) {
    return n.fc(pooled(torch::relu(n.b(f))) + pooled(torch::relu(n.b(2 * f))));
  });
  check_refused(*both, pictures(), "the logits come from 2 maps");
}

TEST_CASE("Weights of a map can be constants", "[hook]") {
  torch::manual_seed(6);
  struct Case {
    const char* name;
    const char* layer;
    Net::Rest rest;
  };
  const std::vector<Case> cases = {
      {"distances to prototypes", "",
       [](Net& n, Tensor f) {
         return -torch::cdist(pooled(n.tap(f)), n.fc->weight);
       }},
      {"resampled positions", "a",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor theta =
             torch::tensor({{1., .2, .1}, {-.2, 1., .1}}, torch::kDouble);
         const Tensor grid = at::affine_grid_generator(
             theta.expand({f.size(0), 2, 3}), f.sizes(), false);
         return n.fc(pooled(at::grid_sampler(f, grid, 0, 0, false)));
       }},
#if TORCH_VERSION_MAJOR >= 2
      {"attention of the library", "a",
       [](Net& n, Tensor f) {
         n.tap(f);
         const Tensor t = f.flatten(2).transpose(1, 2);
         const auto parts = n.qkv(t)
                                .view({t.size(0), t.size(1), 3, 2, 4})
                                .permute({2, 0, 3, 1, 4})
                                .unbind(0);
         const Tensor y =
             at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
         return n.fc(y.transpose(1, 2).reshape(t.sizes()).mean(1));
       }},
#endif
  };
  for (const auto& c : cases) {
    INFO(c.name);
    auto one = net(c.rest);
    const auto options = CamHookOptions().layer(c.layer);
    const Tensor x = pictures(4);
    CamHook plain(*one, options);
    Tensor logits = plain.forward([&] { return one->forward(x); });
    INFO(printed(plain));
    const Tensor labels = labels_for(logits);
    const auto text = error_of([&] {
      // Either the map says what is missing, or it can be differentiated.
      one->slope_of(plain.cam(logits, labels));
    });
    INFO(text);
    if (!text.empty()) {
      CHECK(contains(text, "cyborg::Observation::cam"));
      CHECK(contains(text, "no second derivative"));
      CHECK(contains(text, "detach_weights(true)"));
    }
    // Without a loss of the map nothing is missing.
    {
      const torch::NoGradGuard off;
      CHECK(plain.cam(logits, labels).sizes() == at::IntArrayRef({4, 6, 4}));
    }
    CamHook hook(*one, CamHookOptions(options).detach_weights(true));
    logits = hook.forward([&] { return one->forward(x); });
    const Tensor maps = hook.cam(logits, labels) * hook.logit_scale(logits);
    const Tensor features = hook.observation().features;
    const Tensor gradient = torch::autograd::grad(
        {tapped::score_of(logits, labels).sum()}, {features}, {}, true)[0];
    const Tensor wanted =
        (gradient.sum({2, 3}, /*keepdim=*/true).detach() * features).sum(1);
    CHECK(error_of_values(maps, wanted) < kClose);
    CHECK(error_of_values(one->slope_of(maps), one->slope_of(wanted)) < kClose);
    // The option changes nothing where CAM is exact.
    CHECK_FALSE(hook.observation().exact);
  }
  auto exact = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
  CamHook hook(*exact, CamHookOptions().detach_weights(true));
  const Tensor logits =
      hook.forward([&] { return exact->forward(pictures()); });
  check_map(hook, *exact, logits);
}

TEST_CASE(
    "Distances have no second derivative, and the hook says so",
    "[hook][error]") {
  auto one = net([](Net& n, Tensor f) {
    return -torch::cdist(pooled(n.tap(f)), n.fc->weight);
  });
  CamHook hook(*one);
  const Tensor logits = hook.forward([&] { return one->forward(pictures()); });
  const auto text = error_of([&] { hook.cam(logits, labels_for(logits)); });
  INFO(text);
  CHECK(contains(
      text,
      "cyborg::Observation::cam: a loss of this map cannot be differentiated, "
      "because LibTorch has no second derivative of an operator above the "
      "features"));
  CHECK(contains(text, "cdist"));
  CHECK(contains(text, "detach_weights(true)"));
}

TEST_CASE("A map after the backward pass", "[hook]") {
  torch::manual_seed(7);
  for (const bool exact : {true, false}) {
    CAPTURE(exact);
    auto one = net([=](Net& n, Tensor f) {
      n.tap(f);
      return n.fc(exact ? pooled(f) : torch::relu(pooled(f) - .1).pow(2));
    });
    CamHook hook(*one);
    Tensor logits = hook.forward([&] { return one->forward(pictures()); });
    const Tensor wanted = hook.cam(logits, labels_for(logits)).detach();
    logits.pow(2).sum().backward();
    Tensor maps;
    const auto text =
        error_of([&] { maps = hook.cam(logits, labels_for(logits)); });
    INFO(text);
    if (exact) {  // features and head are enough
      CHECK(error_of_values(maps, wanted) == 0);
    } else {
      CHECK(contains(
          text,
          "cyborg::Observation::cam: the graph between the features and the "
          "score was freed by a backward pass; ask for the map before it"));
    }
    logits = hook.forward([&] { return one->forward(pictures()); });
    logits.pow(2).sum().backward({}, /*retain_graph=*/true);
    check_map(hook, *one, logits);
  }
}

TEST_CASE("Threads have hooks of their own on one network", "[hook]") {
  torch::manual_seed(8);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  // The network keeps no tensor of a run, so both threads may run it.
  struct Run {
    Tensor x, maps, wanted;
    std::string error;
  };
  for (const bool recording : {true, false}) {
    CAPTURE(recording);
    std::vector<Run> runs(2);
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (Run& run : runs) {
      run.x = pictures(3);
      threads.emplace_back([&] {
        const at::AutoGradMode mode(recording);
        run.error = error_of([&] {
          ++ready;
          while (ready < 2) {
            std::this_thread::yield();
          }
          CamHook hook(*one);
          for (int round = 0; round < 20; ++round) {
            const Tensor logits = hook.forward(
                [&] { return one->fc(pooled(torch::relu(one->a(run.x)))); });
            run.maps = hook.cam(logits, labels_for(logits));
          }
        });
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    for (const Run& run : runs) {
      CHECK(run.error.empty());
      const Tensor f = torch::relu(one->a(run.x));
      const Tensor weight = one->fc->weight.index_select(0, torch::arange(3));
      CHECK(
          error_of_values(
              run.maps, torch::einsum("bc,bchw->bhw", {weight, f})) < kClose);
    }
  }
}

TEST_CASE("A frozen network of two threads keeps its flags", "[hook]") {
  torch::manual_seed(9);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  for (auto& parameter : one->parameters()) {
    parameter.requires_grad_(false);
  }
  const Tensor x = pictures(3);
  const auto run = [&](CamHook& hook) {
    const torch::NoGradGuard off;
    const Tensor logits =
        hook.forward([&] { return one->fc(pooled(torch::relu(one->a(x)))); });
    return hook.cam(logits, labels_for(logits));
  };
  CamHook first(*one);
  const Tensor wanted = run(first);
  std::vector<std::string> errors(2);
  std::vector<double> off(2, 1);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      errors[i] = error_of([&] {
        CamHook hook(*one);
        for (int round = 0; round < 50; ++round) {
          off[i] = error_of_values(run(hook), wanted);
        }
      });
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  for (size_t i = 0; i < 2; ++i) {
    CHECK(errors[i].empty());
    CHECK(off[i] < kClose);
  }
  for (const auto& parameter : one->parameters()) {
    CHECK_FALSE(parameter.requires_grad());
  }
}

TEST_CASE(
    "Training a network that another thread has unfrozen is refused",
    "[hook][error]") {
  torch::manual_seed(10);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  one->a->weight.requires_grad_(false);
  const auto logits_of = [&] {
    return one->fc(pooled(torch::relu(one->a(pictures()))));
  };
  CamHook outer(*one);
  std::string text, nothing;
  {
    const torch::NoGradGuard off;
    outer.forward([&] {
      std::thread([&] {
        CamHook inner(*one);
        text = error_of([&] { inner.forward(logits_of); });
        // Observing with gradients off is possible.
        nothing = error_of([&] {
          const torch::NoGradGuard also_off;
          inner.forward(logits_of);
          inner.require();
        });
      }).join();
      return logits_of();
    });
  }
  CHECK(contains(
      text,
      "cyborg::CamHook::forward: another thread observes this network with "
      "gradients off"));
  CHECK(contains(text, "'a.weight'"));
  CHECK(nothing.empty());
  CHECK(outer.observation().exact);
  CHECK_FALSE(one->a->weight.requires_grad());
  // Afterwards it may be trained again.
  CamHook later(*one);
  later.forward(logits_of);
  later.require();
  CHECK_FALSE(one->a->weight.requires_grad());
}

TEST_CASE("A native network is not handed to the callable", "[hook][error]") {
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  CamHook hook(*one);
  const auto wants_module = [&](auto& /*module*/) {
    return one->forward(pictures());
  };
  CHECK(contains(
      error_of([&] { hook.forward(wants_module); }),
      "only a torch::jit::Module is handed to the callable; call a native "
      "network by its own name"));
}

TEST_CASE(
    "Weights that cannot be unfrozen are named as the reason",
    "[hook][error]") {
  torch::manual_seed(11);
  struct Buffers : networks::Net {
    Tensor weight;
    torch::nn::Linear fc{nullptr};
    explicit Buffers(bool registered) {
      weight = torch::randn({8, 3, 3, 3});
      if (registered) {
        weight = register_buffer("weight", weight);
      }
      fc = linear("fc", 8, 3);
    }
    Tensor forward(Tensor x) override {
      return fc(pooled(torch::relu(torch::conv2d(x, weight))));
    }
  };
  const auto x = torch::randn({2, 3, 6, 4});
  const std::string words =
      "although gradients were off outside and the hook made all registered "
      "parameters require them";
  const std::string bad = "run a frozen network under torch::NoGradGuard";
  const torch::NoGradGuard off;
  for (const bool registered : {true, false}) {
    CAPTURE(registered);
    Buffers buffers(registered);
    const auto text = hooked::refusal(buffers, x);
    INFO(text);
    CHECK(contains(text, words));
    CHECK(contains(text, "buffers"));
    CHECK_FALSE(contains(text, bad));
  }
  auto guarded = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  CamHook hook(*guarded);
  hook.forward([&] {
    const torch::NoGradGuard inside;  // as in predict()
    return guarded->forward(pictures());
  });
  INFO(printed(hook));
  CHECK(contains(printed(hook), words));
  CHECK(contains(printed(hook), "a NoGradGuard in predict()"));
  CHECK_FALSE(contains(printed(hook), bad));
}

TEST_CASE(
    "A frozen network in gradient mode is told to use NoGradGuard",
    "[hook][error]") {
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  one->a->weight.requires_grad_(false);
  one->a->bias.requires_grad_(false);
  check_refused(
      *one, pictures(),
      "the convolutions left no graph to follow: their "
      "parameters are frozen");
  for (auto& parameter : one->parameters()) {
    parameter.requires_grad_(false);
  }
  check_refused(
      *one, pictures(),
      "the convolutions left no graph to follow: their "
      "parameters are frozen");
}

TEST_CASE("A result that begins with a map names logits_of", "[hook][error]") {
  torch::manual_seed(12);
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(n.tap(f))); });
  CamHook hook(*one);
  const auto run = [&] {
    const Tensor logits = one->forward(pictures());
    return std::make_tuple(one->truth, logits);
  };
  auto result = hook.forward(run);
  const auto text = error_of([&] { hook.require(); });
  INFO(text);
  CHECK(contains(text, "[2, 8, 6, 4] is a map itself, not logits [B, K]"));
  CHECK(contains(text, "forward(callable, logits_of)"));
  // The logits in it are known all the same.
  check_map(hook, *one, std::get<1>(result));
  result =
      hook.forward(run, [](const auto& both) { return std::get<1>(both); });
  check_map(hook, *one, std::get<1>(result));
}

TEST_CASE("A batch that squeeze() took away is named", "[hook][error]") {
  auto several =
      net([](Net& n, Tensor f) { return n.fc(pooled(f)).squeeze(); });
  check_refused(
      *several, pictures(1),
      "the features found [1, 8, 6, 4] hold 1 samples, the logits [3] 3. Did "
      "squeeze() take the batch away? Use squeeze(1) or flatten(1)");
  auto one =
      net([](Net& n, Tensor f) { return n.fc(pooled(f)).squeeze(); }, 8, 1);
  CamHook hook(*one);
  hook.forward([&] { return one->forward(pictures(1)); });
  INFO(printed(hook));
  CHECK(contains(printed(hook), "squeeze"));
}

TEST_CASE("An empty batch is called so", "[hook][error]") {
  auto one = net([](Net& n, Tensor f) { return n.fc(pooled(f)); });
  CamHook hook(*one);
  hook.forward([&] { return one->forward(pictures(0)); });
  CHECK(contains(
      error_of([&] { hook.require(); }),
      kForward + "expected at least one sample, got an empty batch [0, 3]"));
}

TEST_CASE("Maps of layers without a name are listed as such", "[hook][error]") {
  struct Nameless : networks::Net {
    Tensor first, second;
    torch::nn::Linear fc{nullptr};
    Nameless() {
      first = register_parameter("first", torch::randn({8, 3, 3, 3}));
      second = register_parameter("second", torch::randn({8, 3, 3, 3}));
      fc = linear("fc", 8, 3);
    }
    Tensor forward(Tensor x) override {
      return fc(
          pooled(torch::relu(torch::conv2d(x, first))) +
          pooled(torch::relu(torch::conv2d(x, second))));
    }
  } nameless;
  const auto text = hooked::refusal(nameless, torch::randn({2, 3, 6, 4}));
  INFO(text);
  CHECK(contains(text, "the logits come from 2 maps"));
  CHECK(contains(text, "layer (without a name) [2, 8, 4, 2]"));
  CHECK_FALSE(contains(text, "''"));
  // They are two layers, so nobody ran several times.
  CHECK_FALSE(contains(text, "the same layer ran several times"));
}

TEST_CASE(
    "What was not understood is kept until a map is asked for", "[hook]") {
  // A warm-up without guidance runs, also of a network that has no map.
  networks::Tokens tokens(/*with_class_token=*/true);
  CamHook hook(tokens);
  const Tensor logits =
      hook.forward([&] { return tokens.forward(torch::randn({2, 3, 8, 8})); });
  logits.sum().backward();
  CHECK(tokens.fc->weight.grad().defined());
  const std::string words = kForward + "the logits come from tokens";
  CHECK(contains(error_of([&] { hook.require(); }), words));
  CHECK(contains(error_of([&] { hook.logit_scale(); }), words));
  CHECK(contains(
      error_of([&] { hook.cam(logits, CamClass::kPredicted); }), words));
  CHECK(contains(printed(hook), "the logits come from tokens"));
  hook.clear();
  CHECK(printed(hook) == "cyborg::CamHook(nothing observed yet)");
}

}  // namespace unseen_test
