// SPDX-License-Identifier: BSD-3-Clause
#include <cyborg/guide/detail/blend_terms.hpp>
#include <cyborg/guide/task.hpp>

#include "catch.hpp"
#include "given.hpp"
#include "support.hpp"

#include <cmath>
#include <string>
#include <vector>

using cyborg::PerSample;
using cyborg::Task;
using cyborg::TaskOptions;
using cyborg::functional::task_loss;
using support::close;
using support::error_of;
using support::labels;
using support::t;
using torch::Tensor;

namespace {

const std::string kLoss = "cyborg::functional::task_loss: ";

/// Logits whose softmax is (p, 1 - p).
Tensor two(double p) {
  return t({std::log(p), std::log(1 - p)}, {1, 2});
}

std::string refused(
    const Tensor& logits, const Tensor& target,
    const TaskOptions& options = {}) {
  return error_of([&] { task_loss(logits, target, options); });
}

const TaskOptions kSeveral = TaskOptions().task(Task::kMultiLabel);
const TaskOptions kNumbers = TaskOptions().task(Task::kRegression);

}  // namespace

TEST_CASE("Losses of tasks are those worked out by hand", "[task]") {
  CHECK(close(task_loss(two(.2), labels({0})).value, t({-std::log(.2)})));
  CHECK(close(
      task_loss(two(.2), labels({0}), TaskOptions().focal(2)).value,
      t({-.64 * std::log(.2)})));
  CHECK(close(
      task_loss(two(.2), labels({0}), TaskOptions().label_smoothing(.1)).value,
      t({-.95 * std::log(.2) - .05 * std::log(.8)})));
  CHECK(close(
      task_loss(two(.2), t({.25, .75}, {1, 2})).value,
      t({-.25 * std::log(.2) - .75 * std::log(.8)})));
  // One logit is that of class 1.
  const Tensor one = t({std::log(3), std::log(3)});
  CHECK(close(
      task_loss(one, labels({0, 1})).value,
      t({-std::log(.25), -std::log(.75)})));
  // Several labels: the mean over the classes.
  CHECK(close(
      task_loss(t({std::log(3), 0}, {1, 2}), t({0, 1}, {1, 2}), kSeveral).value,
      t({(-std::log(.25) - std::log(.5)) / 2})));
  // Numbers: the mean over the outputs.
  const Tensor x = t({1, 4}, {1, 2}), y = t({.5, 1}, {1, 2});
  CHECK(close(task_loss(x, y, kNumbers).value, t({1.75})));
  CHECK(close(
      task_loss(
          x, y, TaskOptions(kNumbers).regression(cyborg::RegressionLoss::kL2))
          .value,
      t({(.25 + 9) / 2})));
  CHECK(close(
      task_loss(
          x, y,
          TaskOptions(kNumbers).regression(cyborg::RegressionLoss::kSmooth))
          .value,
      t({(.125 + 2.5) / 2})));
  CHECK(close(task_loss(t({1, -2}), t({0, 0}), kNumbers).value, t({1, 2})));
}

TEST_CASE("A sample without a known label does not count", "[task]") {
  const Tensor z = torch::randn({3, 2}, torch::kDouble).requires_grad_();
  const auto loss = task_loss(z, labels({1, -100, 0}));
  CHECK(close(loss.usable, torch::tensor({true, false, true}), 0));
  loss.value.sum().backward();
  CHECK(close(z.grad()[1], torch::zeros({2}), 0));
  // PyTorch's mean of no label is NaN.
  const Tensor w = torch::randn({2, 2}, torch::kDouble).requires_grad_();
  const auto none = task_loss(w, labels({-100, -100}));
  const cyborg::detail::Blended blended(
      cyborg::Balance::kFixed, /*sums=*/false, none, {});
  CHECK(blended.task().item<double>() == 0);
  blended.task().backward();
  CHECK(close(w.grad(), torch::zeros({2, 2}), 0));
  // With one logit, too.
  CHECK(close(
      task_loss(t({0, 5}), labels({1, -100})).usable,
      torch::tensor({true, false}), 0));
}

TEST_CASE("The label 156 of bytes is a label", "[task]") {
  // As an unsigned byte, -100 is 156.
  const Tensor z = torch::zeros({1, 200}, torch::kDouble);
  const auto loss = task_loss(z, torch::full({1}, 156, torch::kByte));
  CHECK(loss.usable.item<bool>());
  CHECK(close(loss.value, t({std::log(200)})));
  CHECK(
      refused(torch::zeros({1, 100}), torch::full({1}, 156, torch::kByte)) ==
      kLoss + "expected labels in [0, 99], got 156 at position 0");
}

TEST_CASE("Class weights are those of a weighted mean", "[task]") {
  const Tensor z = torch::cat({two(.2), two(.5)});
  const auto loss =
      task_loss(z, labels({0, 1}), TaskOptions().class_weight(t({3, 1})));
  CHECK(close(loss.value, t({-std::log(.2), std::log(2)})));
  CHECK(close(loss.usable, t({3, 1})));
  // With shares they are inside, and the mean is over the samples.
  const auto shares = task_loss(
      z, t({.5, .5, 0, 1}, {2, 2}), TaskOptions().class_weight(t({3, 1})));
  CHECK_FALSE(shares.usable.defined());
  CHECK(close(
      shares.value, t({-1.5 * std::log(.2) - .5 * std::log(.8), std::log(2)})));
}

TEST_CASE("A class that is excluded costs nothing", "[task][gradient]") {
  // A network may set the logit of a class that cannot be to minus infinity.
  const Tensor z = t({0, 0, -INFINITY}, {1, 3});
  for (const double focal : {0., 2.}) {
    const auto options = TaskOptions().focal(focal);
    const double factor = std::pow(.5, focal);
    CHECK(close(
        task_loss(z, labels({0}), options).value, t({factor * std::log(2)})));
    CHECK(close(
        task_loss(z, t({.5, .5, 0}, {1, 3}), options).value,
        t({factor * std::log(2)})));
    CHECK(close(
        task_loss(
            t({0, -INFINITY}, {1, 2}), t({1, 0}, {1, 2}),
            TaskOptions(kSeveral).focal(focal))
            .value,
        t({factor * std::log(2) / 2})));
  }
}

TEST_CASE(
    "Losses of tasks have the gradient of finite differences",
    "[task][gradient]") {
  torch::manual_seed(3);
  const Tensor z = torch::randn({3, 4}, torch::kDouble);
  const Tensor shares = torch::rand({3, 4}, torch::kDouble).softmax(1);
  const auto check = [&](const Tensor& target, const TaskOptions& options) {
    CHECK(support::gradcheck(
        [&](std::vector<Tensor> in) {
          return task_loss(in[0], target, options).value;
        },
        {z}));
  };
  const auto all = TaskOptions().label_smoothing(.1).focal(1.5).class_weight(
      t({1, 2, .5, 3}));
  check(labels({3, 0, 1}), all);
  check(shares, all);
  check(shares.gt(.25), TaskOptions(all).task(Task::kMultiLabel));
  for (const auto how :
       {cyborg::RegressionLoss::kL1, cyborg::RegressionLoss::kL2,
        cyborg::RegressionLoss::kSmooth}) {
    check(shares, TaskOptions(kNumbers).regression(how));
  }
  // The power of a probability of 1 has a derivative.
  const Tensor sure = t({100, -100}, {1, 2}).requires_grad_();
  task_loss(sure, labels({0}), TaskOptions().focal(.5)).value.sum().backward();
  CHECK(at::isfinite(sure.grad()).all().item<bool>());
}

TEST_CASE("The loss of half types is computed in float", "[task]") {
  const auto loss =
      task_loss(torch::zeros({2, 3}, torch::kBFloat16), labels({0, 1}));
  CHECK(loss.value.scalar_type() == torch::kFloat);
  const support::CpuAutocast autocast;
  CHECK(
      task_loss(torch::zeros({2, 3}), labels({0, 1})).value.scalar_type() ==
      torch::kFloat);
}

TEST_CASE("Losses of tasks say what labels they expect", "[task][error]") {
  const Tensor z = torch::zeros({2, 3}), one = torch::zeros({2});
  CHECK(refused(z, {}) == kLoss + "expected labels, got none");
  CHECK(refused({}, labels({0})) == kLoss + "expected logits [B, K], got none");
  CHECK(
      refused(torch::zeros({2, 3}, torch::kLong), labels({0, 1})) ==
      kLoss + "expected logits [B, K] of floating point, got [2, 3] of Long");
  CHECK(
      refused(z, labels({0, 3})) ==
      kLoss + "expected labels in [0, 2], got 3 at position 1");
  CHECK(
      refused(z, labels({0, -1})) ==
      kLoss + "expected labels in [0, 2], got -1 at position 1");
  CHECK(
      refused(one, labels({0, 2})) ==
      kLoss + "expected labels in [0, 1], got 2 at position 1");
  CHECK(refused(z, labels({0})) == kLoss + "expected labels [2], got [1]");
  CHECK(
      refused(z, torch::zeros({2})) ==
      kLoss +
          "expected labels [B] of integers, or shares [2, 3] of floating "
          "point, got [2] of Float");
  CHECK(
      refused(z, torch::ones({2, 3})) ==
      kLoss +
          "expected the shares of a sample's classes to add up to 1, got 3 "
          "for sample 0 (several labels a sample are Task::kMultiLabel)");
  CHECK(
      refused(one, t({.5, 1.5})) ==
      kLoss + "expected labels in [0, 1], got 1.5 for sample 1");
  CHECK(
      refused(z, labels({0, 1}), kSeveral) ==
      kLoss + "expected labels [2, 3] of floating point, got [2] of Long");
  CHECK(
      refused(z, torch::full({2, 3}, -100.), kSeveral) ==
      kLoss + "expected labels in [0, 1], got -100 for sample 0");
  CHECK(
      refused(one, labels({1, 2}), kNumbers) ==
      kLoss + "expected labels [2, 1] of floating point, got [2] of Long");
  CHECK(
      refused(one, t({1, given::kNaN}), kNumbers) ==
      kLoss + "expected labels that are finite, got nan for sample 1");
}

TEST_CASE("Losses of tasks refuse options out of range", "[task][error]") {
  const Tensor z = torch::zeros({2, 3});
  const auto of = [&](const TaskOptions& options) {
    return refused(z, labels({0, 1}), options);
  };
  CHECK(
      of(TaskOptions().label_smoothing(1)) ==
      kLoss + "expected label_smoothing in [0, 1), got 1");
  CHECK(of(TaskOptions().focal(-1)) == kLoss + "expected focal >= 0, got -1");
  CHECK(
      of(TaskOptions().class_weight(torch::ones({2}))) ==
      kLoss + "expected class_weight [3] of floating point, got [2] of Float");
  CHECK(
      of(TaskOptions().class_weight(torch::tensor({1.f, -1.f, 1.f}))) ==
      kLoss +
          "expected class_weight of finite numbers >= 0, got -1 for class "
          "1");
  CHECK(
      of(TaskOptions().class_weight(torch::tensor({1.f, 1.f, NAN}))) ==
      kLoss +
          "expected class_weight of finite numbers >= 0, got nan for class "
          "2");
  CHECK(
      refused(
          torch::zeros({2}), labels({0, 1}),
          TaskOptions().class_weight(torch::ones({1}))) ==
      kLoss + "expected class_weight [2] of floating point, got [1] of Float");
  CHECK(
      refused(z, torch::zeros({2, 3}), TaskOptions(kNumbers).focal(1)) ==
      kLoss +
          "a regression has no classes: expected no class_weight, focal or "
          "label_smoothing");
}
