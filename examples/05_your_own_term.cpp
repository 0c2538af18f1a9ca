// SPDX-License-Identifier: BSD-3-Clause
// Lesson 5: a term of your own in the loss.
//
// You learn how `Guidance` adds terms to a loss, and how to write one in ten
// lines. In every picture a small patch of stripes shows the class. In training
// a bright corner shows it, too, which the test pictures do not have. Here
// nobody marked the stripes. Instead somebody marked the corner in half of the
// pictures: it must not be used. Our term erases the marked part, runs the
// network again, and asks for the same logits as before. It is compared with a
// term of the library, which keeps the gradient small in the marked part.
//
// `marked` is the number of pictures that the term uses. `change` is our term
// on the test pictures: how much the logits change when the corner is erased.
//
// Run: build/dev/bin/05_your_own_term
//
// Output:
//   term            marked   right   change
//   none                 0    70 %       20
//   right-reasons      100    93 %        0
//   unmoved            100    99 %        0
#include <torch/torch.h>
#include <cyborg/guide/guidance.hpp>
#include <cyborg/guide/right_reasons.hpp>

#include <cstdio>
#include <limits>

// The squared change of the logits when what is wrong is erased.
struct Unmoved {
  // The network runs once more, so `Seen::forward` is needed.
  static constexpr unsigned kNeeds = cyborg::needs::kForward;

  // Returns one number for each sample, [B], and whether the sample counts.
  cyborg::PerSample operator()(const cyborg::Seen& seen) const {
    // A mask of NaN says that nobody marked the picture: nothing is erased.
    const auto wrong = seen.batch.wrong.nan_to_num(0).unsqueeze(1);
    const auto logits = seen.forward(seen.images * (1 - wrong));
    const auto change = (logits - seen.logits).square().mean(/*dim=*/1);
    return {change, wrong.flatten(1).amax(1) > 0};
  }
};

// Noise with a patch of stripes, horizontal in class 0 and vertical in class 1.
// With the shortcut, the corner is bright in class 1; without, by chance.
cyborg::Batch draw(int64_t count, bool shortcut) {
  cyborg::Batch batch;
  batch.images = 0.3 * torch::randn({count, 1, 16, 16});
  batch.labels = torch::randint(0, 2, {count}, torch::kLong);
  batch.wrong = torch::zeros({count, 16, 16});
  batch.wrong.narrow(1, 13, 3).narrow(2, 0, 3).fill_(1);
  const auto chance = torch::randint(0, 2, {count}, torch::kLong);
  auto stripes = torch::zeros({4, 4});
  stripes.slice(0, 0, 4, 2).fill_(1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t x = 4 + i % 9, y = (i / 9) % 9;
    const bool standing = batch.labels[i].item<int64_t>() == 1;
    batch.images[i][0].narrow(0, y, 4).narrow(1, x, 4) +=
        standing ? stripes.t() : stripes;
    batch.images[i][0] +=
        batch.wrong[i] * (shortcut ? batch.labels[i] : chance[i]);
  }
  return batch;
}

// Trains a network and prints how good it is without the shortcut.
void run(const char* name, const cyborg::Guidance& guidance) {
  torch::manual_seed(2);
  cyborg::Batch train = draw(200, /*shortcut=*/true);
  const cyborg::Batch test = draw(500, /*shortcut=*/false);
  // Nobody marked the second half of the training pictures.
  train.wrong.narrow(0, 100, 100)
      .fill_(std::numeric_limits<float>::quiet_NaN());
  torch::nn::Sequential net(
      torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1)),
      torch::nn::ReLU(),
      torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 8, 3).padding(1)),
      torch::nn::ReLU(), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
      torch::nn::Linear(8, 2));
  torch::optim::Adam optimizer(net->parameters(), /*lr=*/0.01);
  cyborg::CamHook hook(net);
  const auto forward = [&](const torch::Tensor& images) {
    return net->forward(images);
  };
  double marked = 0;
  for (int step = 0; step < 150; ++step) {
    auto terms = guidance(hook, forward, train);
    optimizer.zero_grad();
    terms.total.backward();
    optimizer.step();
    for (const auto& part : terms.parts) {
      marked = part.count.item<double>();
    }
  }

  const torch::NoGradGuard no_grad;
  const auto right =
      forward(test.images).argmax(1).eq(test.labels).to(torch::kFloat).mean();
  // A guidance can also measure: a part is the term alone.
  const auto measured =
      cyborg::Guidance().add("unmoved", 1, Unmoved())(hook, forward, test);
  std::printf(
      "%-13s   %6.0f   %3.0f %%   %6.0f\n", name, marked,
      100 * right.item<double>(), measured["unmoved"].value.item<double>());
}

int main() {
  // Terms are added to the whole loss of the task, as published ones are.
  const auto additive =
      cyborg::GuidanceOptions().blend(cyborg::Blend::kAdditive);
  std::printf("term            marked   right   change\n");
  run("none", cyborg::Guidance());
  cyborg::Guidance published(additive);
  published.add("right-reasons", 1, cyborg::RightReasons());
  run("right-reasons", published);
  cyborg::Guidance own(additive);
  own.add("unmoved", 1, Unmoved());
  run("unmoved", own);
}
