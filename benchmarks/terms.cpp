// SPDX-License-Identifier: BSD-3-Clause
// What each term costs a whole training step of ResNet-18 (forward, loss,
// backward, SGD) on pictures of 96 x 96 pixels: through `Guidance` and a hook,
// beside the same formula written by hand. Without --once it checks that both
// compute the same; instructions.sh runs this, and then counts.

#include "by_hand.hpp"
#include "program.hpp"
#include "tensors.hpp"

#include "common/terms.hpp"
#include "models/resnet.hpp"

#include <cyborg/cam/hook.hpp>
#include <cyborg/guide/evaluation_norms.hpp>
#include <cyborg/guide/guidance.hpp>

#include <torch/optim/sgd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr int64_t kSide = 96;
constexpr int64_t kClasses = 2;

/// A network in training, one batch, and one term.
struct Training {
  Training(const std::string& term, int64_t batch, at::ScalarType type) {
    torch::manual_seed(1);
    net = models::resnet18(kClasses);
    net->to(type);
    optimizer = std::make_unique<torch::optim::SGD>(
        net->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));
    data.images = torch::rand({batch, 3, kSide, kSide}, type);
    data.labels = torch::arange(batch) % kClasses;
    // Large enough parts, so that people say something at each size.
    const auto coarse = torch::rand({batch, 1, 6, 6}, type);
    data.maps =
        torch::upsample_bilinear2d(coarse, {kSide, kSide}, false).squeeze(1);
    data.wrong = data.maps.lt(0.4).to(type);
    batch_of_ours = {data.images, data.labels, data.maps, data.wrong};
    if (!term.empty()) {
      hook = std::make_unique<cyborg::CamHook>(*net);
      programs::TermSurroundings around;
      around.while_attacking = [this] {
        return std::make_shared<cyborg::EvaluationNorms>(*net);
      };
      programs::add_term(guidance, programs::parse_term(term), around);
    }
  }

  torch::Tensor ours() {
    return guidance(
               *hook, [&](const torch::Tensor& x) { return net->forward(x); },
               batch_of_ours)
        .total;
  }

  void step(const torch::Tensor& loss) {
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
  }

  models::ResNet net = nullptr;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::unique_ptr<cyborg::CamHook> hook;
  cyborg::Guidance guidance;
  by_hand::Data data;
  cyborg::Batch batch_of_ours;
};

/// Throws unless loss, all gradients and the running statistics of both ways
/// are equal, in double precision.
void expect_same(const std::string& term, const by_hand::Loss& hand) {
  const auto measure = [&](const auto& loss) -> claims::Tensors {
    Training t(term, /*batch=*/3, torch::kDouble);
    const auto all = claims::value_and_gradients(
        [&] { return loss(t); }, t.net->parameters());
    claims::Tensors rest, statistics;
    for (size_t i = 1; i < all.size(); ++i) {
      rest.push_back(all[i].flatten());
    }
    for (const auto& buffer : t.net->buffers()) {
      statistics.push_back(buffer.flatten().to(torch::kDouble));
    }
    return {all[0], torch::cat(rest), torch::cat(statistics)};
  };
  constexpr double kTolerance = 1e-9;  // of the largest number of the network
  const auto ours = measure([](Training& t) { return t.ours(); });
  claims::expect_same(
      term, ours, measure([&](Training& t) { return hand(t.net, t.data); }),
      kTolerance);
  // Else two ways that compute nothing would be equal, too.
  const auto without =
      measure([](Training& t) { return by_hand::plain(t.net, t.data); });
  TORCH_CHECK(
      (ours[1] - without[1]).norm().item<double>() >
          1e-3 * without[1].norm().item<double>(),
      term, ": the term changes no gradient of this batch");
  fmt::print("{:<14} both ways compute the same\n", term);
}

/// Checks all terms, or one.
void check(const std::string& only) {
  const auto losses = by_hand::losses();
  TORCH_CHECK(
      losses.size() == programs::term_kinds().size(),
      "expected as many formulas by hand as terms");
  for (const auto& [name, hand] : losses) {
    if (only.empty() || name == only) {
      expect_same(name, hand);
    }
  }
}

/// Runs some steps and nothing else, for tools that count instructions.
struct Once {
  std::string which;
  bool by_hand = false;
  int64_t steps = 1, batch = 8;
};
void run_steps(const Once& once) {
  by_hand::Loss loss = by_hand::plain;
  for (const auto& [name, hand] : by_hand::losses()) {
    loss = name == once.which ? hand : loss;
  }
  const bool ours = once.which != "plain" && !once.by_hand;
  Training t(ours ? once.which : "", once.batch, torch::kFloat);
  for (int64_t i = 0; i < once.steps; ++i) {
    t.step(ours ? t.ours() : loss(t.net, t.data));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Once once;
  std::string only;
  bool names = false;
  std::vector<std::string> known = {"plain"};
  for (const auto& kind : programs::term_kinds()) {
    known.push_back(kind.name);
  }
  const auto measure = [&](const claims::Program&) -> nlohmann::json {
    if (names) {
      for (const auto& kind : programs::term_kinds()) {
        fmt::print("{}\n", kind.name);
      }
    } else if (!once.which.empty()) {
      run_steps(once);
    } else {
      check(only);
    }
    return {{"rows", nlohmann::json::array()}};
  };
  return claims::run_program(argc, argv, "terms", measure, [&](CLI::App& app) {
    app.add_flag("--names", names, "print the names of all terms, and stop");
    app.add_option("--term", only, "check this term alone")
        ->check(CLI::IsMember(known));
    app.add_option(
           "--once", once.which,
           "run some steps and nothing else: plain, or the name of a term")
        ->check(CLI::IsMember(known));
    app.add_flag(
        "--by-hand", once.by_hand, "with --once: the formula without cyborg");
    app.add_option("--steps", once.steps, "with --once: number of steps");
    app.add_option("--batch", once.batch, "with --once: pictures in a batch");
  });
}
