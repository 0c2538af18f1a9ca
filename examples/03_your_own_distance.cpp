// SPDX-License-Identifier: BSD-3-Clause
// Lesson 3: your own distance, and what guidance is good for.
//
// You learn how to compare maps in your own way, in ten lines, and how to see
// whether it helped. In every picture a small patch of stripes shows the class.
// In training a bright corner shows it, too. This is a shortcut, because the
// test pictures do not have it. A network that learns from labels alone uses
// the shortcut. A network that also learns where people look does not.
//
// Run: build/dev/bin/03_your_own_distance
//
// Output:
//   guidance   right   1 - cosine
//   none        70 %   0.6
//   L2          84 %   0.3
//   KL          98 %   0.5
//   angle       98 %   0.1
#include <torch/torch.h>
#include <cyborg/loss.hpp>

#include <cstdio>

// The distance of two maps as vectors: one minus the cosine of the angle
// between them.
struct Angle {
  // Both maps are scaled to [0, 1] before they are compared.
  static constexpr auto map_normalizer = cyborg::Normalizer::kMinMax;
  static constexpr auto human_normalizer = cyborg::Normalizer::kMinMax;

  // Both are [B, P], one row for each sample. Returns one number for each, [B].
  torch::Tensor operator()(
      const torch::Tensor& model, const torch::Tensor& human) const {
    return 1 - at::cosine_similarity(model, human, /*dim=*/1);
  }
};

struct Pictures {
  torch::Tensor images, labels, maps;
};

// Noise with a patch of stripes, horizontal in class 0 and vertical in class 1.
// With the shortcut, the corner is bright in class 1; without, by chance.
Pictures draw(int64_t count, bool shortcut) {
  Pictures p{
      0.3 * torch::randn({count, 1, 16, 16}),
      torch::randint(0, 2, {count}, torch::kLong),
      torch::zeros({count, 16, 16})};
  const auto chance = torch::randint(0, 2, {count}, torch::kLong);
  auto stripes = torch::zeros({4, 4});
  stripes.slice(0, 0, 4, 2).fill_(1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t x = 4 + i % 9, y = (i / 9) % 9;
    const bool standing = p.labels[i].item<int64_t>() == 1;
    p.images[i][0].narrow(0, y, 4).narrow(1, x, 4) +=
        standing ? stripes.t() : stripes;
    p.maps[i].narrow(0, y, 4).narrow(1, x, 4).fill_(1);
    const auto& shines = shortcut ? p.labels[i] : chance[i];
    p.images[i][0].narrow(0, 13, 3).narrow(1, 0, 3) += shines;
  }
  return p;
}

// Trains a network and prints how good it is without the shortcut.
template <class Criterion>
void run(const char* name, const Criterion& criterion) {
  torch::manual_seed(2);
  const Pictures train = draw(200, /*shortcut=*/true);
  const Pictures test = draw(500, /*shortcut=*/false);
  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1)),
      torch::nn::ReLU(),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding(1)),
      torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
      torch::nn::Linear(8, 2));
  torch::optim::Adam optimizer(net->parameters(), /*lr=*/0.01);
  cyborg::CamHook hook(net);
  for (int step = 0; step < 150; ++step) {
    auto logits = hook.forward([&] { return net->forward(train.images); });
    auto terms = criterion(logits, train.labels, hook, train.maps);
    optimizer.zero_grad();
    terms.total.backward();
    optimizer.step();
  }

  const torch::NoGradGuard no_grad;
  const torch::Tensor logits =
      hook.forward([&] { return net->forward(test.images); });
  // A criterion can also measure: with alpha = 0 it is the distance alone.
  const cyborg::SaliencyGuidedLoss<Angle> angle(
      cyborg::SaliencyGuidedLossOptions().alpha(0));
  const cyborg::LossTerms terms = angle(logits, test.labels, hook, test.maps);
  std::printf(
      "%-10s %3.0f %%   %.1f\n", name,
      100 * logits.argmax(1)
                .eq(test.labels)
                .to(torch::kFloat)
                .mean()
                .item<double>(),
      terms.saliency.item<double>());
}

int main() {
  const auto guided = cyborg::SaliencyGuidedLossOptions().alpha(0.5);
  const auto unguided = cyborg::SaliencyGuidedLossOptions().alpha(1);
  std::printf("guidance   right   1 - cosine\n");
  run("none", cyborg::CyborgL2Loss(unguided));
  run("L2", cyborg::CyborgL2Loss(guided));
  run("KL", cyborg::CyborgKLLoss(guided));
  run("angle", cyborg::SaliencyGuidedLoss<Angle>(guided));
}
