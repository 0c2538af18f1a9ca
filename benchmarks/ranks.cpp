// SPDX-License-Identifier: BSD-3-Clause
// Measures on how many pictures per second one process trains, and several
// processes together:
//
//     bench_ranks                       # one process with one thread
//     ./dev ranks 2 bench_ranks         # two such processes
//
// A step is one of ResNet-18 without guidance, on eight pictures of 224 x 224
// in each process.

#include "models/resnet.hpp"
#include "program.hpp"

#include <cyborg/train/distributed.hpp>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/nn/functional/loss.h>
#include <torch/optim/sgd.h>

#include <chrono>
#include <cstdio>
#include <exception>

namespace {

constexpr int64_t kBatch = 8;
constexpr int kWarmUp = 3, kSteps = 20;

void run() {
  claims::pin_malloc();
  at::set_num_threads(1);
  const auto group = cyborg::train::Group::from_environment();
  auto net = models::resnet18(/*classes=*/2);
  cyborg::train::DataParallel parallel(*net, group);
  torch::optim::SGD optimizer(
      net->parameters(), torch::optim::SGDOptions(0.005).momentum(0.9));
  const auto images = torch::rand({kBatch, 3, 224, 224});
  const auto labels = torch::arange(kBatch).remainder(2);
  auto begin = std::chrono::steady_clock::now();
  for (int step = -kWarmUp; step < kSteps; ++step) {
    if (step == 0) {
      group.barrier();
      begin = std::chrono::steady_clock::now();
    }
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(net->forward(images), labels)
        .backward();
    parallel.finish();
    optimizer.step();
  }
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  if (group.rank() == 0) {
    fmt::print(
        "{} x 1 thread: {:.2f} images/s\n", group.size(),
        static_cast<double>(kSteps * kBatch * group.size()) / took.count());
  }
}

}  // namespace

int main() {
  try {
    run();
    return 0;
  } catch (const c10::Error& error) {
    fmt::print(stderr, "bench_ranks: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_ranks: {}\n", error.what());
  }
  return 2;
}
