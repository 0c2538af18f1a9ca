// SPDX-License-Identifier: BSD-3-Clause
// What guidance costs a whole training step (forward, loss, backward, SGD) of
// the networks of examples/models, on pictures of 224 x 224 pixels.

#include "heads.hpp"
#include "program.hpp"
#include "tensors.hpp"

#include "models/densenet.hpp"
#include "models/resnet.hpp"

#include <cyborg/human/maps.hpp>

#include <torch/cuda.h>
#include <torch/optim/sgd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr int64_t kSide = 224;
constexpr int64_t kClasses = 2;

/// A network of any type: the module that is trained, its parts, and its last
/// layer.
struct Network {
  std::shared_ptr<torch::nn::Module> module;
  std::function<torch::Tensor(const torch::Tensor&)> forward, features;
  torch::nn::Linear last = nullptr;
};

template <class Net>
Network network(Net net, torch::nn::Linear last) {
  return {
      net.ptr(),
      [net](const torch::Tensor& x) mutable { return net->forward(x); },
      [net](const torch::Tensor& x) mutable { return net->features(x); },
      std::move(last)};
}

Network make_network(const std::string& name) {
  if (name == "densenet121") {
    auto net = models::densenet121(kClasses);
    return network(net, net->classifier);
  }
  auto net = name == "resnet18" ? models::resnet18(kClasses)
                                : models::resnet50(kClasses);
  return network(net, net->fc);
}

/// A network in training, and one batch. Both sides of a claim train the same
/// parameters in turns, so that both have the same layout in memory.
struct Training {
  Training(
      const std::string& name, int64_t batch, int64_t pixels = kSide,
      const torch::Device& where = torch::kCPU)
      : device(where) {
    torch::manual_seed(1);
    net = make_network(name);
    head = cyborg::GuidedHead(net.last->options.in_features(), kClasses);
    head->from_linear(net.last);
    net.module->to(device);
    head->to(device);
    hook = std::make_unique<cyborg::CamHook>(*net.module);
    parameters = net.module->parameters();
    for (const auto& parameter : head->parameters()) {
      parameters.push_back(parameter);
    }
    optimizer = std::make_unique<torch::optim::SGD>(
        parameters, torch::optim::SGDOptions(1e-3).momentum(0.9));
    images = torch::randn({batch, 3, pixels, pixels}).to(device);
    labels = torch::randint(0, kClasses, {batch}, torch::kLong).to(device);
    maps = torch::rand({batch, pixels, pixels}).to(device);
    // The published loader has already resized the maps to the size of the CAM.
    const int64_t side = pixels / 32;
    small_maps =
        claims::min_max(cyborg::maps::resize(maps, {side, side}).flatten(1))
            .reshape({batch, side, side});
  }

  void step(const torch::Tensor& loss) {
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    if (device.is_cuda()) {
      torch::cuda::synchronize();
    }
  }

  torch::Device device;
  Network net;
  cyborg::GuidedHead head{nullptr};
  std::unique_ptr<cyborg::CamHook> hook;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::vector<torch::Tensor> parameters;
  torch::Tensor images, labels, maps, small_maps;
  cyborg::CyborgL2Loss criterion;
};

// -------------------------------------------------------- losses of a batch

torch::Tensor plain(Training& t) {
  return claims::cross_entropy(t.net.forward(t.images), t.labels);
}

torch::Tensor hooked(Training& t) {
  const auto logits = t.hook->forward([&] { return t.net.forward(t.images); });
  return t.criterion(logits, t.labels, *t.hook, t.maps).total;
}

torch::Tensor through_head(Training& t) {
  const auto out = t.head->guided(t.net.features(t.images), t.labels);
  return t.criterion(out.logits, t.labels, out.cam, t.maps).total;
}

/// The published way: a second forward pass for the features, and a loop over
/// the samples. (The published code takes the features before the last ReLU.
/// Here they are the pooled ones, so that both sides compute the same.)
torch::Tensor published(Training& t) {
  const auto logits = t.net.forward(t.images);
  const auto features = t.net.features(t.images);
  return claims::blend(
      claims::cross_entropy(logits, t.labels),
      claims::loop_saliency(
          features, t.net.last->weight, t.labels, t.small_maps));
}

/// The same loss with one forward pass and plain operators.
torch::Tensor by_operators(Training& t) {
  const auto features = t.net.features(t.images);
  const auto logits = t.net.last->forward(features.mean({2, 3}));
  return claims::blend(
      claims::cross_entropy(logits, t.labels),
      claims::distance(
          cyborg::L2(),
          claims::batched_maps(features, t.net.last->weight, t.labels),
          t.small_maps.flatten(1)));
}

using Loss = torch::Tensor (*)(Training&);

// ---------------------------------------------------------------------- claims

/// How much gradients may differ, as a part of the largest gradient of the
/// whole network, because its layers amplify rounding errors. A part of the
/// largest gradient of each tensor would not do: if the next batch norm removes
/// a scale, the gradient of that scale is rounding error and nothing else.
constexpr double kDeepTolerance = 1e-3;

void expect_same(const std::string& name, Loss ours, Training& t) {
  {
    // The observer must not change what is computed.
    const torch::NoGradGuard no_grad;
    t.net.module->eval();
    const auto one = t.net.forward(t.images);
    const auto observed =
        t.hook->forward([&] { return t.net.forward(t.images); });
    t.net.module->train();
    if (!torch::equal(one, observed)) {
      throw std::runtime_error(
          name + ": the observed forward differs from the plain one");
    }
  }
  // All parameters except those of the last layers, which `through_head`
  // replaces.
  const claims::Tensors leaves(t.parameters.begin(), t.parameters.end() - 4);
  const auto measure = [&](Loss loss) -> claims::Tensors {
    const auto out =
        claims::value_and_gradients([&] { return loss(t); }, leaves);
    claims::Tensors gradients;
    for (size_t i = 1; i < out.size(); ++i) {
      gradients.push_back(out[i].flatten());
    }
    t.optimizer->zero_grad();
    return {out[0], torch::cat(gradients)};
  };
  claims::expect_same(
      name, measure(ours), measure(by_operators), kDeepTolerance);
}

struct Side {
  std::string text;
  Loss loss;
};

/// The device of all claims; cuda: convolutions in float32, not TF32, so that
/// both sides of a claim can be compared.
torch::Device device = torch::kCPU;

claims::Claim claim(
    const std::string& name, const std::string& net, int64_t batch,
    const Side& ours, const Side& baseline, claims::Pairs pairs,
    std::optional<double> target = {}) {
  claims::Claim made{name + "_" + net, ours.text, baseline.text, {}, target};
  if (batch != 8) {
    made.name += fmt::format("_batch{}", batch);
  }
  made.pairs = pairs;
  made.warm_up = 1;
  made.make = [=, full_name = made.name]() -> claims::Sampler {
    const auto t = std::make_shared<Training>(net, batch, kSide, device);
    expect_same(full_name, ours.loss, *t);
    if (baseline.loss == published) {
      expect_same(full_name, published, *t);
    }
    return claims::alternate(
        [t, ours] { t->step(ours.loss(*t)); },
        [t, baseline] { t->step(baseline.loss(*t)); });
  };
  made.more = [=](const claims::Result& /*result*/) -> nlohmann::json {
    return {{"batch", batch}, {"network", net}, {"device", device.str()}};
  };
  return made;
}

void add_claims(
    std::vector<claims::Claim>& all, const claims::Program& program,
    const std::string& net, int64_t batch) {
  const Side step{"plain step", plain};
  const Side guided{"CYBORG-L2 through a hook", hooked};
  const auto pairs = net == "resnet18" ? claims::kSlow : claims::kVerySlow;
  auto cheap =
      claim("hook_step_vs_plain_step", net, batch, guided, step, pairs, 1.05);
  cheap.by_interval = true;
  all.push_back(cheap);
  if (device.is_cuda()) {
    // How far a ratio of equals is from 1.
    all.push_back(claim("plain_step_vs_itself", net, batch, step, step, pairs));
  }
  if (net == "densenet121") {
    all.push_back(claim(
        "hook_step_vs_published_step", net, batch, guided,
        {"published step, two forwards", published}, claims::kVerySlow, 0.52));
  }
  if (!program.default_malloc && (net == "resnet18" || !program.quick)) {
    all.push_back(claim(
        "guided_head_step_vs_plain_step", net, batch,
        {"CYBORG-L2 through GuidedHead", through_head}, step,
        claims::kVerySlow));
  }
}

/// Runs some steps and nothing else, for tools that count instructions.
struct Once {
  std::string which;
  int64_t steps = 1, batch = 8, pixels = kSide;
};
void run_steps(const Once& once) {
  Training training("resnet18", once.batch, once.pixels);
  const Loss loss = once.which == "hook" ? hooked : plain;
  for (int64_t i = 0; i < once.steps; ++i) {
    training.step(loss(training));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Once once;
  bool cuda = false;
  const auto measure = [&](const claims::Program& program) -> nlohmann::json {
    if (cuda) {
      device = torch::kCUDA;
      at::globalContext().setAllowTF32CuDNN(false);
    }
    if (!once.which.empty()) {
      run_steps(once);
      return {{"rows", nlohmann::json::array()}};
    }
    std::vector<claims::Claim> all;
    for (const int64_t size : {8, 20}) {
      if (size != 8 && (program.quick || program.default_malloc)) {
        continue;
      }
      for (const auto* net : {"resnet18", "densenet121", "resnet50"}) {
        if (std::string(net) != "resnet50" || !program.quick) {
          add_claims(all, program, net, size);
        }
      }
    }
    return {{"rows", claims::run(all, program.quick)}};
  };
  return claims::run_program(argc, argv, "step", measure, [&](CLI::App& app) {
    app.add_option(
           "--once", once.which,
           "run some steps of ResNet-18 and nothing else: plain or hook")
        ->check(CLI::IsMember({"plain", "hook"}));
    app.add_option("--steps", once.steps, "with --once: number of steps");
    app.add_option("--batch", once.batch, "with --once: pictures in a batch");
    app.add_option(
        "--pixels", once.pixels,
        "with --once: height and width of the pictures, a multiple of 32");
    app.add_flag("--cuda", cuda, "measure on the first GPU");
  });
}
