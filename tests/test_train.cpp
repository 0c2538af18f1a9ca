// SPDX-License-Identifier: BSD-3-Clause
// Checkpoints and learning rates: what lets a training go on as if it had not
// stopped.

#include "pictures.hpp"
#include "support.hpp"

#include <cyborg/train/checkpoint.hpp>
#include <cyborg/train/schedule.hpp>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>

#include <memory>

namespace {

namespace train = cyborg::train;
using torch::nn::Linear;
using torch::nn::Sequential;

Sequential network(uint64_t seed) {
  torch::manual_seed(seed);
  return Sequential(Linear(3, 4), torch::nn::BatchNorm1d(4), Linear(4, 2));
}

void steps(Sequential& net, torch::optim::Optimizer& optimizer, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const auto x = torch::arange(15, torch::kFloat).view({5, 3}) * 0.1;
    optimizer.zero_grad();
    net->forward(x).square().mean().backward();
    optimizer.step();
  }
}

bool same(const train::NamedTensors& a, const train::NamedTensors& b) {
  bool equal = a.size() == b.size();
  for (size_t i = 0; equal && i < a.size(); ++i) {
    equal = a[i].first == b[i].first && at::equal(a[i].second, b[i].second);
  }
  return equal;
}

using Optimizer = std::unique_ptr<torch::optim::Optimizer>;

Optimizer make(const std::string& kind, const Sequential& net) {
  if (kind == "sgd") {
    return std::make_unique<torch::optim::SGD>(
        net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  }
  if (kind == "adam") {
    return std::make_unique<torch::optim::Adam>(
        net->parameters(), torch::optim::AdamOptions(0.1).amsgrad(true));
  }
  return std::make_unique<torch::optim::AdamW>(
      net->parameters(), torch::optim::AdamWOptions(0.1));
}

}  // namespace

TEST_CASE("A checkpoint comes back as it was", "[train]") {
  const pictures::Folder folder;
  const auto path = folder.path() / "last.pt";
  train::Checkpoint out;
  out.texts["settings"] = "{\"name\": \"Gr\xC3\xBC\xC3\x9F\"}";
  out.tensors["model"] = {
      {"layer.0.weight", torch::rand({2, 3})},
      {"steps", torch::tensor(7, torch::kLong)}};
  out.tensors["empty"] = {};
  train::save_checkpoint(path, out);
  const auto in = train::load_checkpoint(path);
  CHECK(in.texts == out.texts);
  REQUIRE(in.tensors.size() == 2);
  CHECK(same(in.tensors.at("model"), out.tensors.at("model")));
  CHECK(in.tensors.at("empty").empty());

  SECTION("and takes the place of the one before") {
    out.texts["settings"] = "new";
    train::save_checkpoint(path, out);
    CHECK(train::load_checkpoint(path).texts.at("settings") == "new");
    CHECK(folder.entries() == 1);
  }
}

TEST_CASE("A file that is no checkpoint is named", "[train]") {
  const pictures::Folder folder;
  const auto path = folder.path() / "last.pt";
  const auto load = [&] { train::load_checkpoint(path); };
  CHECK(support::contains(support::error_of(load), "no such file"));
  cyborg::io::write_file(path, "not a zip");
  CHECK(support::contains(
      support::error_of(load), "last.pt: is damaged, or no checkpoint"));
  const auto other = torch::jit::pickle_save(c10::IValue(3));
  cyborg::io::write_file(path, {other.data(), other.size()});
  CHECK(support::contains(
      support::error_of(load), "is not a checkpoint that cyborg wrote"));

  train::save_checkpoint(path, {{{"a", "b"}}, {}});
  const auto bytes = cyborg::io::read_file(path);
  cyborg::io::write_file(
      path, std::string_view(bytes).substr(0, bytes.size() / 2));
  CHECK(support::contains(support::error_of(load), "is damaged"));
}

TEST_CASE(
    "A state is loaded by name, and what does not fit is listed", "[train]") {
  auto net = network(1), other = network(2);
  CHECK(train::load_state(train::state_of(*net), train::state_of(*other))
            .empty());
  CHECK(same(train::state_of(*net), train::state_of(*other)));

  auto from = train::state_of(*network(3));
  from[0] = {"0.wait", from[0].second};
  from[1].second = torch::zeros({5});
  const auto mismatch = train::load_state(train::state_of(*net), from);
  CHECK(
      mismatch.text() ==
      "missing: 0.weight\n"
      "not used: 0.wait\n"
      "of another shape: 0.bias: expected [4], got [5]\n");
}

TEST_CASE("An optimizer goes on as if it had not stopped", "[train]") {
  const std::string kind = GENERATE("sgd", "adam", "adamw");
  INFO(kind);
  auto whole = network(1);
  const auto without_stop = make(kind, whole);
  steps(whole, *without_stop, 6);

  auto first = network(1);
  const auto before = make(kind, first);
  steps(first, *before, 3);
  const pictures::Folder folder;
  const auto path = folder.path() / "last.pt";
  train::save_checkpoint(
      path, {{},
             {{"model", train::state_of(*first)},
              {"optimizer", train::state_of(*before)}}});

  const auto checkpoint = train::load_checkpoint(path);
  auto second = network(9);
  const auto after = make(kind, second);
  train::load_state(train::state_of(*second), checkpoint.tensors.at("model"));
  train::load_state(*after, checkpoint.tensors.at("optimizer"));
  steps(second, *after, 3);
  CHECK(same(train::state_of(*second), train::state_of(*whole)));
  CHECK(same(train::state_of(*after), train::state_of(*without_stop)));

  SECTION("but not with the state of another one") {
    auto small = Sequential(Linear(3, 4));
    const auto wrong = make(kind, small);
    CHECK_THROWS_AS(
        train::load_state(*wrong, checkpoint.tensors.at("optimizer")),
        c10::ValueError);
  }
}

TEST_CASE("The learning rate follows its schedule", "[train]") {
  using train::Decay;
  using train::learning_rate;
  train::ScheduleOptions options;  // as published: 0.005, 12 epochs, 0.1
  CHECK(learning_rate(0, 0, 10, options) == 0.005);
  CHECK(learning_rate(11, 9, 10, options) == 0.005);
  CHECK(learning_rate(12, 0, 10, options) == Approx(0.0005));
  CHECK(learning_rate(49, 0, 10, options) == Approx(5e-7));  // 4 steps

  options = options.base(2).decay(Decay::kCosine).epochs(4);
  CHECK(learning_rate(0, 0, 2, options) == 2);
  CHECK(learning_rate(2, 0, 2, options) == Approx(1));           // halfway
  CHECK(learning_rate(1, 0, 2, options) == Approx(1.70710678));  // 1 + cos 45
  CHECK(learning_rate(3, 1, 2, options) == Approx(0.07612047));

  options = options.decay(Decay::kNone).warm_up(2);
  CHECK(learning_rate(0, 0, 2, options) == Approx(0.5));  // 1 of 4 steps
  CHECK(learning_rate(1, 1, 2, options) == Approx(2));
  CHECK(learning_rate(3, 0, 2, options) == Approx(2));

  CHECK(support::contains(
      support::error_of([&] { learning_rate(0, 2, 2, options); }),
      "expected a step below 2 of an epoch from 0, got step 2 of epoch 0"));
  CHECK_THROWS_AS(
      learning_rate(0, 0, 1, train::ScheduleOptions().base(0)),
      c10::ValueError);
}
