// SPDX-License-Identifier: BSD-3-Clause
// Checkpoints and learning rates: with both, a training that was stopped
// continues as if it had not been stopped.

#include "catch.hpp"
#include "pictures.hpp"
#include "support.hpp"

#include <cyborg/train/checkpoint.hpp>
#include <cyborg/train/schedule.hpp>

#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/rmsprop.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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

TEST_CASE("load_checkpoint reads what save_checkpoint wrote", "[train]") {
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

  SECTION("of any type and layout, in order") {
    const auto half = torch::tensor({1.5F, -2.F}).to(torch::kHalf);
    out.tensors["model"] = {
        {"z", torch::arange(6, torch::kDouble).view({2, 3}).t()},
        {"a", half},
        {"b", torch::tensor({1, 0, 1}).to(torch::kBool)},
        {"c", torch::zeros({0, 4})},
        {"d", torch::rand({3}).requires_grad_()}};
    train::save_checkpoint(path, out);
    const auto model = train::load_checkpoint(path).tensors.at("model");
    CHECK(same(model, out.tensors.at("model")));
    REQUIRE(model.size() == 5);
    for (size_t i = 0; i < model.size(); ++i) {
      const auto& wanted = out.tensors.at("model")[i].second;
      CHECK(model[i].second.scalar_type() == wanted.scalar_type());
      CHECK(model[i].second.is_contiguous());
      CHECK_FALSE(model[i].second.requires_grad());
    }
  }
  SECTION("and save_checkpoint replaces a file that exists") {
    out.texts["settings"] = "new";
    train::save_checkpoint(path, out);
    CHECK(train::load_checkpoint(path).texts.at("settings") == "new");
    CHECK(folder.entries() == 1);
  }
}

TEST_CASE("A tensor's file holds its own values alone", "[train]") {
  const pictures::Folder folder;
  const auto whole = torch::rand({4, 100000});
  const auto row = whole[1], part = row.narrow(0, 5, 3);
  train::save_checkpoint(folder / "a.pt", {{}, {{"g", {{"part", part}}}}});
  CHECK(std::filesystem::file_size(folder / "a.pt") < 4000);
  CHECK(train::load_checkpoint(folder / "a.pt")
            .tensors.at("g")[0]
            .second.equal(part));
}

TEST_CASE("load_checkpoint reads older files, and no later ones", "[train]") {
  const pictures::Folder folder;
  const auto path = folder.path() / "last.pt";
  const auto weight = torch::rand({2, 3});
  // As format 1 was written: dictionaries with types, without a number.
  c10::Dict<std::string, std::string> texts;
  texts.insert("settings", "{}");
  c10::Dict<std::string, torch::Tensor> model;
  model.insert("w", weight);
  c10::Dict<std::string, c10::Dict<std::string, torch::Tensor>> groups;
  groups.insert("model", model);
  c10::impl::GenericDict all(c10::StringType::get(), c10::AnyType::get());
  all.insert("texts", texts);
  all.insert("tensors", groups);
  const auto write = [&] {
    const auto bytes = torch::jit::pickle_save(all);
    cyborg::io::write_file(path, {bytes.data(), bytes.size()});
  };
  write();
  const auto old = train::load_checkpoint(path);
  CHECK(old.texts.at("settings") == "{}");
  CHECK(old.tensors.at("model")[0].second.equal(weight));
  const auto error = [&] {
    return support::error_of([&] { train::load_checkpoint(path); });
  };
  const auto prefix =
      "cyborg::train::load_checkpoint: " + path.string() + ": is of format ";
  const std::string suffix =
      ", and this version of cyborg reads formats up to 2";
  all.insert("format", int64_t{3});
  write();
  CHECK(error() == prefix + "3" + suffix);
  all.insert_or_assign("format", "new");
  write();
  CHECK(error() == prefix + "unknown" + suffix);
}

TEST_CASE("not_finite names the tensors with NaN or infinity", "[train]") {
  const double inf = std::numeric_limits<double>::infinity();
  const auto with = [](double value) {
    return torch::tensor({1., value}, torch::kFloat);
  };
  CHECK(
      train::not_finite(
          {{"good", with(2)},
           {"nan", with(std::nan(""))},
           {"none", torch::Tensor()},
           {"count", torch::tensor({1, 2})},
           {"empty", torch::zeros({0})},
           {"low", with(-inf).to(torch::kHalf)},
           {"high", with(inf).requires_grad_()}}) ==
      std::vector<std::string>{"nan", "low", "high"});
  CHECK(train::not_finite({}).empty());
}

TEST_CASE("load_checkpoint names a file that is no checkpoint", "[train]") {
  const pictures::Folder folder;
  const auto path = folder.path() / "last.pt";
  const auto load = [&] { train::load_checkpoint(path); };
  const auto is = [&](const std::string& reason) {
    CHECK(
        support::error_of(load) ==
        "cyborg::train::load_checkpoint: " + path.string() + ": " + reason);
  };
  is("no such file");
  cyborg::io::write_file(path, "not a zip");
  is("is damaged, or is not a checkpoint");
  // Files that Python or another program may have saved.
  const auto pickled = [&](const c10::IValue& value) {
    const auto bytes = torch::jit::pickle_save(value);
    cyborg::io::write_file(path, {bytes.data(), bytes.size()});
  };
  pickled(3);
  is("is not a checkpoint that cyborg wrote");
  c10::Dict<std::string, std::string> texts;
  pickled(texts);
  is("has no entry \"texts\": it is not a checkpoint that cyborg wrote");
  texts.insert("texts", "a");
  pickled(texts);
  is("has no entry \"tensors\": it is not a checkpoint that cyborg wrote");
  texts.insert("tensors", "b");
  pickled(texts);
  is("is not a checkpoint that cyborg wrote");
  c10::Dict<int64_t, std::string> numbers;
  numbers.insert(1, "texts");
  pickled(numbers);
  is("has no entry \"texts\": it is not a checkpoint that cyborg wrote");

  CHECK(
      support::error_of([&] {
        train::save_checkpoint(folder / "none/last.pt", {});
      }) == "cyborg::train::save_checkpoint: " + folder / "none/last.pt" +
                ": cannot be written: No such file or directory");

  train::save_checkpoint(path, {{{"a", "b"}}, {}});
  const auto bytes = cyborg::io::read_file(path);
  cyborg::io::write_file(
      path, std::string_view(bytes).substr(0, bytes.size() / 2));
  CHECK(support::contains(support::error_of(load), "is damaged"));
}

TEST_CASE("A module's state is named as in Python, and shared", "[train]") {
  auto net = network(1);
  std::string names;
  for (const auto& [name, tensor] : train::state_of(*net)) {
    names += name + " ";
  }
  CHECK(
      names ==
      "0.weight 0.bias 1.weight 1.bias 2.weight 2.bias 1.running_mean "
      "1.running_var 1.num_batches_tracked ");
  CHECK(train::state_of(*net)[1].second.is_same(net->parameters()[1]));

  // Loading copies values: neither memory nor type of the source is taken.
  const auto bias = net->parameters()[1];
  auto source = torch::arange(4, torch::kDouble);
  const auto mismatch = train::load_state({{"a", bias}}, {{"a", source}});
  CHECK(mismatch.empty());
  CHECK(bias.scalar_type() == torch::kFloat);
  source.fill_(9);
  CHECK(bias.detach().equal(torch::arange(4, torch::kFloat)));
  CHECK(bias.requires_grad());
}

TEST_CASE("load_state copies by name and lists the differences", "[train]") {
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

TEST_CASE(
    "An optimizer with a loaded state continues the training", "[train]") {
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

  SECTION("but the state of another optimizer is an error") {
    const std::string error = "cyborg::train::load_state: expected ";
    const auto load = [&](const Sequential& net, const std::string& as,
                          const train::NamedTensors& state) {
      return support::error_of(
          [&] { train::load_state(*make(as, net), state); });
    };
    const auto& state = checkpoint.tensors.at("optimizer");
    const std::string first_of = kind == "sgd" ? "momentum_buffer" : "exp_avg";
    // Two parameters, of six; and of another shape.
    CHECK(
        load(Sequential(Linear(3, 4)), kind, state) ==
        error +
            "the state of an optimizer of this type with 2 parameters, "
            "got also \"2." +
            first_of + "\"");
    CHECK(
        load(Sequential(Linear(3, 5)), kind, state) ==
        error + "\"0." + first_of + "\" [5, 3], got [4, 3]");
    CHECK(
        load(second, kind == "sgd" ? "adam" : "sgd", state) ==
        error +
            "the state of an optimizer of this type with 6 parameters, "
            "got also \"0." +
            first_of + "\"");
  }
}

TEST_CASE("An optimizer's state is numbered by parameter", "[train]") {
  // Two groups; the first parameter never has a gradient.
  const auto parameter = [] { return torch::ones({2}).requires_grad_(); };
  const auto idle = parameter(), one = parameter(), two = parameter();
  const std::vector<torch::optim::OptimizerParamGroup> groups{
      std::vector<torch::Tensor>{idle, one}, std::vector<torch::Tensor>{two}};
  const auto options = torch::optim::SGDOptions(0.5).momentum(0.9);
  torch::optim::SGD optimizer(groups, options);
  (one.sum() + 3 * two.sum()).backward();
  optimizer.step();
  const auto state = train::state_of(optimizer);
  REQUIRE(state.size() == 2);
  CHECK(state[0].first == "1.momentum_buffer");
  CHECK(state[1].first == "2.momentum_buffer");
  CHECK(state[1].second.equal(torch::full({2}, 3.F)));

  // The other optimizer gets a copy.
  torch::optim::SGD other(groups, options);
  train::load_state(other, state);
  other.step();  // the gradients are still there: 0.9 * 3 + 3
  CHECK(support::close(
      train::state_of(other)[1].second, torch::full({2}, 5.7), 1e-6));
  CHECK(train::state_of(optimizer)[1].second.equal(torch::full({2}, 3.F)));

  torch::optim::RMSprop unknown({one});
  unknown.step();
  CHECK(
      support::error_of([&] { train::state_of(unknown); }) ==
      "cyborg::train::state_of: expected an optimizer of type SGD, Adam or "
      "AdamW, got another one");
}

TEST_CASE("A learning rate is set for all parameters", "[train]") {
  const auto one = torch::ones({1}), two = torch::ones({1});
  torch::optim::SGD optimizer(
      std::vector<torch::optim::OptimizerParamGroup>{
          std::vector<torch::Tensor>{one}, std::vector<torch::Tensor>{two}},
      torch::optim::SGDOptions(0.5));
  train::set_learning_rate(optimizer, 0.25);
  for (auto& group : optimizer.param_groups()) {
    CHECK(group.options().get_lr() == 0.25);
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

  // The decay and the warm-up multiply; a part of an epoch warms up, too.
  options = train::ScheduleOptions().base(1).step_epochs(3).factor(0.5);
  CHECK(learning_rate(2, 0, 1, options) == 1);
  CHECK(learning_rate(3, 0, 1, options) == 0.5);
  CHECK(learning_rate(7, 0, 1, options) == 0.25);
  options = options.warm_up(8);
  CHECK(learning_rate(7, 0, 4, options) == Approx(0.25 * 7.25 / 8));
  options = options.warm_up(0.5);
  CHECK(learning_rate(0, 0, 4, options) == 0.5);
  CHECK(learning_rate(0, 1, 4, options) == 1);
  CHECK(learning_rate(0, 2, 4, options) == 1);
  // A cosine goes to 0 after all epochs, and stays there.
  options = train::ScheduleOptions().decay(Decay::kCosine);
  CHECK(learning_rate(25, 0, 3, options) == Approx(0.0025));  // of 50
  CHECK(learning_rate(70, 0, 3, options) == Approx(0).margin(1e-15));

  const std::string name = "cyborg::train::learning_rate: expected ";
  const auto step_error = [&](int64_t epoch, int64_t step, int64_t steps) {
    return support::error_of([&] { learning_rate(epoch, step, steps); });
  };
  CHECK(
      step_error(0, 2, 2) ==
      name + "epoch >= 0 and 0 <= step < 2, got epoch 0 and step 2");
  CHECK(
      step_error(-1, 0, 2) ==
      name + "epoch >= 0 and 0 <= step < 2, got epoch -1 and step 0");
  CHECK(
      step_error(3, -1, 2) ==
      name + "epoch >= 0 and 0 <= step < 2, got epoch 3 and step -1");
  using O = train::ScheduleOptions;
  const std::vector<std::pair<O, std::string>> wrong{
      {O().base(0), "0, 12, 50 and 0"},
      {O().step_epochs(0), "0.005, 0, 50 and 0"},
      {O().epochs(0), "0.005, 12, 0 and 0"},
      {O().warm_up(-1), "0.005, 12, 50 and -1"}};
  for (const auto& [invalid, got] : wrong) {
    const auto& each = invalid;
    CHECK(
        support::error_of([&] { learning_rate(0, 0, 1, each); }) ==
        name + "base, step_epochs and epochs > 0 and warm_up >= 0, got " + got);
  }
}
