// SPDX-License-Identifier: BSD-3-Clause
// The guided loss on given features, through `GuidedHead` and through the hook,
// compared with the plain head, the published loop and batched operators.

#include "heads.hpp"
#include "memory.hpp"
#include "program.hpp"
#include "tensors.hpp"
#include "ways.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace claims;  // a program of its own
using json = nlohmann::json;

/// The faster plain head of a shape, found by measuring.
Pool faster_pool(const CasePtr& c) {
  const auto mean = step(plain(Pool::kMean), c);
  const auto adaptive = step(plain(Pool::kAdaptive), c);
  std::vector<double> ratio;
  for (int i = 0; i < 15; ++i) {
    ratio.push_back(time_pair(mean, adaptive, i % 2 == 0).ratio);
  }
  return median(ratio) <= 1 ? Pool::kMean : Pool::kAdaptive;
}

// --------------------------------------------------------------------- claims

void expect_same(
    const std::string& name, const Way& ours, const Way& theirs,
    const CasePtr& c) {
  claims::expect_same(
      name, value_and_gradients(of(ours, c), c->leaves()),
      value_and_gradients(of(theirs, c), c->leaves()),
      tolerance(c->features.scalar_type()));
}

/// A copy that moves three times the bytes of the features: half of them are
/// read and half are written.
std::function<void()> copy_of(const CasePtr& c) {
  const int64_t half = c->features.numel() * 3 / 2;
  const auto from = torch::randn({half}, c->features.options());
  const auto to = torch::empty_like(from);
  return [from = from.detach(), to = to.detach()] { to.copy_(from); };
}

/// In what a claim differs from the others, which use one thread, float32,
/// forward and backward.
struct Setting {
  int threads = 1;
  at::ScalarType type = torch::kFloat;
  enum Part { kBoth, kForward, kBackward } part = kBoth;
};

/// Measures forward, backward or both of two ways.
Sampler sampler(
    const Way& ours, const Way& baseline, const CasePtr& c,
    const Setting& setting) {
  if (setting.part == Setting::kForward) {
    return alternate(of(ours, c), of(baseline, c));
  }
  if (setting.part == Setting::kBoth) {
    return alternate(step(ours, c), step(baseline, c));
  }
  return [a = of(ours, c), b = of(baseline, c), c](bool ours_first) {
    const auto one = a(), other = b();  // forward, untimed
    const auto backward = [&c](const torch::Tensor& loss) {
      return [loss, &c] {
        loss.backward();
        take_gradients(c->leaves());
      };
    };
    return time_pair(backward(one), backward(other), ours_first);
  };
}

/// A claim on `shape`. `reference` computes the same as `ours` in another way.
/// `baseline` depends on the case, because the faster plain head does.
Claim claim(
    const std::string& name, const Shape& shape, const Way& ours,
    const Way& reference, const std::function<Way(const CasePtr&)>& baseline,
    std::optional<double> target = {}, const Setting& setting = {}) {
  Claim made{name + "_" + shape.name(), ours.text, "", {}, target};
  const auto said = std::make_shared<json>();
  made.make = [=, full_name = made.name]() -> Sampler {
    const auto threads = std::make_shared<Threads>(setting.threads);
    const auto c = std::make_shared<Case>(shape, /*classes=*/2, setting.type);
    expect_same(full_name, ours, reference, c);
    const Way against = baseline(c);
    (*said)["baseline"] = against.text;
    (*said)["threads"] = setting.threads;
    if (ours.moved > 0 && setting.part == Setting::kBoth) {
      // The limit: a streaming copy of buffers of this size.
      const auto copy = copy_of(c);
      std::vector<double> times;
      for (int i = 0; i < 15; ++i) {
        times.push_back(seconds(copy));
      }
      (*said)["limit_ms"] = 1e3 * median(times) * ours.moved / 3;
    }
    return [sample = sampler(ours, against, c, setting),
            threads](bool ours_first) { return sample(ours_first); };
  };
  made.more = [said](const Result& result) {
    json more = *said;
    if (more.contains("limit_ms")) {
      more["bandwidth"] =
          more["limit_ms"].get<double>() / (1e3 * median(result.ours));
    }
    return more;
  };
  return made;
}

/// What observing adds to a `GuidedHead`. A hook follows convolutions, so on
/// both sides the features come from a cheap one.
Claim hook_over_head(const Shape& shape) {
  Claim made{
      "guided_head_in_hook_vs_guided_head_" + shape.name(),
      "convolution, GuidedHead, CYBORG-L2, observed", "the same, called"};
  made.make = [shape, name = made.name]() -> Sampler {
    const auto c = std::make_shared<Case>(shape);
    torch::nn::Conv2d convolution(
        torch::nn::Conv2dOptions(1, shape.channels, /*kernel_size=*/1));
    torch::nn::Sequential net(convolution, c->head);
    const auto hook = std::make_shared<cyborg::CamHook>(net);
    const auto pictures =
        torch::rand({shape.batch, 1, shape.height, shape.width});
    const cyborg::CyborgL2Loss criterion;
    const auto observed = [=]() mutable {
      const auto logits = hook->forward([&] { return net->forward(pictures); });
      return criterion(logits, c->labels, *hook, c->maps).total;
    };
    const auto called = [=]() mutable {
      const auto out =
          c->head->guided(convolution->forward(pictures), c->labels);
      return criterion(out.logits, c->labels, out.cam, c->maps).total;
    };
    const auto leaves = net->parameters();
    claims::expect_same(
        name, value_and_gradients(observed, leaves),
        value_and_gradients(called, leaves), tolerance(torch::kFloat));
    return alternate(step(observed, leaves), step(called, leaves));
  };
  return made;
}

Way faster_plain(const CasePtr& c) {
  return plain(faster_pool(c));
}

std::function<Way(const CasePtr&)> always(const Way& way) {
  return [way](const CasePtr& /*c*/) { return way; };
}

struct Targets {
  Shape shape;
  double plain, loop, batched;
  std::optional<double> fused_loop, copy;
};

/// The claims of the table, on one shape.
void add_claims(std::vector<Claim>& all, const Targets& t) {
  const Way ours = guided<cyborg::L2>(), fused = fused_alone();
  const Way loop = head_and_loop(Pool::kMean);
  all.push_back(claim(
      "guided_head_vs_plain_head", t.shape, ours, loop, faster_plain, t.plain));
  all.push_back(claim(
      "guided_head_vs_loop", t.shape, ours, loop,
      [](const CasePtr& c) { return head_and_loop(faster_pool(c)); }, t.loop));
  all.push_back(claim(
      "fused_loss_vs_batched", t.shape, fused, batched_alone(),
      always(batched_alone()), t.batched));
  all.push_back(claim(
      "fused_loss_vs_loop", t.shape, fused, loop_alone(), always(loop_alone()),
      t.fused_loop));
  Claim bytes = claim(
      "fused_loss_bytes_vs_copy", t.shape, fused, batched_alone(),
      always({"copy of 3N floats", {}}), t.copy);
  bytes.make = [shape = t.shape, fused, name = bytes.name]() -> Sampler {
    const auto c = std::make_shared<Case>(shape);
    expect_same(name, fused, batched_alone(), c);
    return alternate(step(fused, c), copy_of(c));
  };
  bytes.more = [](const Result& result) -> json {
    return {
        {"baseline", "copy of 3N floats"},
        {"bandwidth", 1 / median(result.ratio)}};
  };
  all.push_back(bytes);
}

/// The rows without a target, on one shape.
void add_rows(std::vector<Claim>& all, const Shape& shape) {
  const auto against_plain = [&](const std::string& name, const Way& ours,
                                 const Way& reference,
                                 const Setting& setting = {}) {
    all.push_back(
        claim(name, shape, ours, reference, faster_plain, {}, setting));
  };
  const auto against_batched = [&](const std::string& name,
                                   const Setting& setting) {
    all.push_back(claim(
        name, shape, fused_alone(), batched_alone(), always(batched_alone()),
        {}, setting));
  };
  const Way l2 = guided<cyborg::L2>(), same = head_and_batched();
  against_plain(
      "guided_head_l1_vs_plain_head", guided<cyborg::L1>(),
      head_and_batched<cyborg::L1>());
  against_plain(
      "guided_head_kl_vs_plain_head", guided<cyborg::KL>(),
      head_and_batched<cyborg::KL>());
  against_plain("guided_head_own_vs_plain_head", guided<Own>(), same);
  all.push_back(hook_over_head(shape));
  against_plain("hooked_head_vs_plain_head", hooked(Pool::kMean), same);
  all.push_back(
      claim("guided_head_vs_batched", shape, l2, same, [](const CasePtr& c) {
        return head_with("batched operators", faster_pool(c), [](Case& each) {
          return batched_saliency(each);
        });
      }));
  const Setting forward{1, torch::kFloat, Setting::kForward};
  const Setting backward{1, torch::kFloat, Setting::kBackward};
  const Setting doubles{1, torch::kDouble};
  against_plain("guided_head_forward_vs_plain_head", l2, same, forward);
  against_plain("guided_head_backward_vs_plain_head", l2, same, backward);
  against_plain("guided_head_double_vs_plain_head", l2, same, doubles);
  against_batched("fused_loss_forward_vs_batched", forward);
  against_batched("fused_loss_backward_vs_batched", backward);
  against_batched("fused_loss_double_vs_batched", doubles);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (cores > 1) {
    against_plain("guided_head_all_cores_vs_plain_head", l2, same, {cores});
    against_batched("fused_loss_all_cores_vs_batched", {cores});
  }
}

/// The memory of each way in forward and backward, without that of the plain
/// head.
json memory_rows(const Shape& shape) {
  const auto c = std::make_shared<Case>(shape);
  const auto measure = [&](const Way& way) {
    return memory_of(of(way, c), c->leaves());
  };
  const auto base = measure(plain(Pool::kMean));
  auto rows = json::array();
  for (const Way& way :
       {guided<cyborg::L2>(), hooked(Pool::kMean), head_and_batched(),
        head_and_loop(Pool::kMean)}) {
    const auto used = measure(way);
    rows.push_back(
        {{"shape", shape.name()},
         {"way", way.text},
         {"kept_beyond_plain", used.kept - base.kept},
         {"peak_beyond_plain", used.peak - base.peak},
         {"plain_peak", base.peak},
         {"map_bytes", c->maps.nbytes()},
         {"feature_bytes", c->features.nbytes()}});
  }
  return rows;
}

json measure(const Program& program) {
  constexpr auto kNone = std::nullopt;
  const std::vector<Targets> table = {
      {{20, 1024, 7, 7}, 0.80, 0.18, 0.42, 0.25, kNone},  // the paper's
      {{32, 2048, 7, 7}, 0.80, 0.18, 0.42, 0.25, 1.00},
      {{128, 2048, 7, 7}, 1.00, 0.18, 0.42, 0.25, 1.00},
      {{16, 256, 28, 28}, 0.90, 0.22, 0.55, kNone, 1.00},
      {{8, 512, 7, 7}, 1.00, 0.18, 0.42, 0.25, kNone}};
  std::vector<Claim> all;
  for (const Targets& targets : table) {
    add_claims(all, targets);
  }
  auto memory = json::array();
  if (!program.default_malloc) {
    for (const Targets& targets : table) {
      if (&targets == &table.front() || !program.quick) {
        add_rows(all, targets.shape);
      }
      for (const auto& row : memory_rows(targets.shape)) {
        memory.push_back(row);
      }
    }
  }
  return {{"rows", run(all, program.quick)}, {"memory", memory}};
}

/// A few steps of one way and nothing else, for tools that count instructions.
struct Once {
  std::string which;
  int64_t steps = 1;
};
void run_steps(const Once& once) {
  const auto c = std::make_shared<Case>(Shape{20, 1024, 7, 7});
  const Way way = once.which == "plain-head"    ? plain(Pool::kMean)
                  : once.which == "guided-head" ? guided<cyborg::L2>()
                  : once.which == "fused-l1"    ? fused_alone<cyborg::L1>()
                  : once.which == "fused-kl"    ? fused_alone<cyborg::KL>()
                                                : fused_alone();
  const auto one = step(way, c);
  for (int64_t i = 0; i < once.steps; ++i) {
    one();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Once once;
  const auto run_or_count = [&](const Program& program) -> json {
    if (once.which.empty()) {
      return measure(program);
    }
    run_steps(once);
    return {{"rows", json::array()}};
  };
  return run_program(argc, argv, "loss", run_or_count, [&](CLI::App& app) {
    app.add_option(
           "--once", once.which,
           "run some steps of one way on 20x1024x7x7, and nothing else")
        ->check(CLI::IsMember(
            {"plain-head", "guided-head", "fused-l1", "fused-l2", "fused-kl"}));
    app.add_option("--steps", once.steps, "with --once: number of steps");
  });
}
