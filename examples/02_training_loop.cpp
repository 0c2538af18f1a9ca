// SPDX-License-Identifier: BSD-3-Clause
// Lesson 2: guidance in an existing training loop.
//
// You learn which lines of an ordinary LibTorch loop change. `train` is such a
// loop; the lines that guidance adds or changes are marked with //+.
// `data::WithMaps` adds the maps to the samples of any torch::data set.
//
// The pictures are noise with a square, whose brightness depends on the class.
// In the training set, a dot in a corner shows the class as well. The plain
// network learns the dot. A network that is shown the square does not.
//
// Run: build/dev/bin/02_training_loop
//
// Output:
//   plain:  accuracy 1.00 with the dot, 0.... without
//   guided: accuracy ... with the dot, 0.9... without
#include <torch/torch.h>
#include <cyborg/data/with_maps.hpp>  //+
#include <cyborg/loss.hpp>            //+

#include <cstdio>

namespace nn = torch::nn;

/// An ordinary data set, without maps.
struct Squares : torch::data::datasets::Dataset<Squares> {
  Squares(int64_t count, bool dot, uint64_t seed) {
    torch::manual_seed(seed);
    labels = torch::randint(0, 2, {count}, torch::kLong);
    images = 0.3 * torch::randn({count, 1, 16, 16});
    squares = torch::zeros({count, 16, 16});
    for (int64_t i = 0; i < count; ++i) {
      const auto corner = torch::randint(3, 11, {2}, torch::kLong);
      const auto y = corner[0].item<int64_t>(), x = corner[1].item<int64_t>();
      squares[i].narrow(0, y, 4).narrow(1, x, 4).fill_(1);
      images[i][0] += 0.4 * squares[i] * (2 * labels[i] - 1);
      if (dot) {
        images[i][0].narrow(0, 0, 2).narrow(1, 0, 2) += 4 * labels[i];
      }
    }
  }
  torch::data::Example<> get(size_t index) override {
    return {
        images[static_cast<int64_t>(index)],
        labels[static_cast<int64_t>(index)]};
  }
  torch::optional<size_t> size() const override {
    return static_cast<size_t>(labels.size(0));
  }
  torch::Tensor images, labels, squares;
};

nn::Sequential network() {
  torch::manual_seed(3);
  const auto block = [](int64_t in, int64_t out) {
    return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1));
  };
  return nn::Sequential(
      block(1, 16), nn::BatchNorm2d(16), nn::ReLU(), block(16, 16),
      nn::BatchNorm2d(16), nn::ReLU(), nn::AdaptiveAvgPool2d(1), nn::Flatten(),
      nn::Linear(16, 2));
}

void train(nn::Sequential net, const Squares& squares, double alpha) {
  auto set = cyborg::data::WithMaps(squares, squares.squares)  //+
                 .map(cyborg::data::Collate());                //+ was Stack<>
  auto loader =
      torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(
          std::move(set), /*batch=*/20);
  torch::optim::Adam optimizer(net->parameters(), /*lr=*/5e-3);
  cyborg::CamHook hook(net);                              //+
  cyborg::CyborgKLLoss criterion(                         //+
      cyborg::SaliencyGuidedLossOptions().alpha(alpha));  //+
  for (int epoch = 0; epoch < 15; ++epoch) {
    for (auto& batch : *loader) {
      auto logits = hook.forward([&] { return net->forward(batch.data); });  //+
      auto terms = criterion(logits, batch.target, hook, batch.saliency);    //+
      optimizer.zero_grad();
      terms.total.backward();
      optimizer.step();
    }
  }
}

double accuracy(nn::Sequential net, const Squares& squares) {
  const torch::NoGradGuard no_grad;
  net->eval();
  const auto predicted = net->forward(squares.images).argmax(1);
  return predicted.eq(squares.labels).to(torch::kDouble).mean().item<double>();
}

int main() {
  torch::set_num_threads(1);
  const Squares training(200, /*dot=*/true, 0);
  const Squares with_dot(400, /*dot=*/true, 1);
  const Squares without_dot(400, /*dot=*/false, 2);
  for (const double alpha : {1.0, 0.5}) {  // 1: only cross entropy
    auto net = network();
    train(net, training, alpha);
    std::printf(
        "%s accuracy %.2f with the dot, %.2f without\n",
        alpha == 1.0 ? "plain: " : "guided:", accuracy(net, with_dot),
        accuracy(net, without_dot));
  }
}
