// SPDX-License-Identifier: BSD-3-Clause
// The program `train`: it survives, and it does what the demo does.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"
#include "training.hpp"

#include <common/scoring.hpp>
#include <common/weights.hpp>
#include <demo/protocol.hpp>
#include <demo/synthesize.hpp>
#include <train/learner.hpp>
#include <train/trainer.hpp>

#include <cyborg/measure/detection.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

using programs_test::end_of;
using programs_test::same;
using programs_test::same_checkpoints;
using support::contains;
using support::error_of;
using training::command;
using training::write_table;

programs::TrainOptions options_for(const std::string& table) {
  programs::TrainOptions options;
  options.settings.data = table;
  options.settings.size = {32, 32};
  options.settings.channels = 1;
  options.settings.mean = {0.5};
  options.settings.stddev = {0.25};
  options.settings.network = programs::Architecture::kDemo;
  options.settings.loss = programs::Loss::kCyborgKL;
  options.settings.alpha = 0.3;
  options.settings.optimizer = programs::OptimizerKind::kAdam;
  options.settings.learning_rate = 2e-3;
  options.settings.weight_decay = 0;
  options.settings.schedule = cyborg::train::Decay::kNone;
  options.settings.epochs = 3;
  options.settings.batch = 8;
  options.threads = 1;
  options.quiet = true;
  return options;
}

pid_t start_train(const std::vector<std::string>& arguments) {
  return programs_test::start(CYBORG_TRAIN, arguments);
}

}  // namespace

TEST_CASE(
    "A training that was killed ends as one that was not", "[train][slow]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  REQUIRE(end_of(start_train(command(table, folder / "whole"))) == 0);

  auto arguments = command(table, folder / "killed");
  int kills = 0;
  for (int wait = 40; wait <= 4000; wait *= 3) {
    const auto child = start_train(arguments);
    // Not before there is something to go on with, or it gave up.
    while (!std::filesystem::exists(folder / "killed/last.pt") &&
           waitpid(child, nullptr, WNOHANG) == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    kill(child, SIGKILL);
    kills += end_of(child) == 128 + SIGKILL;
    arguments = {"--resume", "--out",   folder / "killed", "--threads",
                 "1",        "--quiet", "--save-every",    "2"};
  }
  CHECK(kills > 0);
  REQUIRE(end_of(start_train(arguments)) == 0);
  CHECK(same_checkpoints(folder / "whole/last.pt", folder / "killed/last.pt"));
  CHECK(same_checkpoints(folder / "whole/best.pt", folder / "killed/best.pt"));
  CHECK(
      cyborg::io::read_file(folder / "whole/log.jsonl") ==
      cyborg::io::read_file(folder / "killed/log.jsonl"));
  CHECK(
      cyborg::io::read_file(folder / "whole/scores.csv") ==
      cyborg::io::read_file(folder / "killed/scores.csv"));
}

TEST_CASE("Ctrl-C stops after the step, and the rest follows", "[train]") {
  const pictures::Folder folder;
  auto options = options_for(write_table(folder));
  options.out = folder / "whole";
  const auto whole = programs::Trainer(options).run();
  REQUIRE(whole.finished);
  CHECK(whole.state.step == 18);
  CHECK(whole.log.size() == 3);
  CHECK(std::filesystem::exists(folder / "whole/best.pt"));
  REQUIRE(whole.validation.rows.size() == 12);
  CHECK(whole.validation.rows[0].saliency.front().empty());  // 48 % 5 is 3
  CHECK(!whole.validation.rows[2].saliency.front().empty());
  CHECK(whole.log.back()["annotated"] == 30);  // of 48, three of five

  options.out = folder / "stopped";
  options.stop_after = 8;  // in the second epoch
  const auto stopped = programs::Trainer(options).run();
  CHECK(!stopped.finished);
  CHECK(stopped.state.step == 8);
  CHECK(stopped.state.batch == 2);
  options.stop_after = 0;
  options.resume = programs::Resume::kYes;
  const auto rest = programs::Trainer(options).run();
  CHECK(rest.finished);
  CHECK(same_checkpoints(folder / "whole/last.pt", folder / "stopped/last.pt"));
  CHECK(rest.log == whole.log);
}

TEST_CASE("Several batches make one step, the last fewer", "[train]") {
  const pictures::Folder folder;
  auto options = options_for(write_table(folder));
  options.settings.loss = programs::Loss::kCrossEntropy;
  options.settings.epochs = 1;
  options.settings.accumulate = 4;
  options.out = folder / "four";
  const auto outcome = programs::Trainer(options).run();
  CHECK(outcome.state.step == 2);  // 6 batches: 4 and 2
}

TEST_CASE("The gradient of a step is the mean over its batches", "[train]") {
  auto settings = options_for("").settings;
  settings.loss = programs::Loss::kCrossEntropy;
  programs::TrainingProcesses processes(torch::kCPU);
  programs::Network network(settings, 2, nullptr);
  programs::Learner learner(settings, {}, network, processes);
  network.train(true);
  cyborg::data::GuidedExample batch;
  batch.data = torch::randn({4, 1, 32, 32});
  batch.target = torch::tensor({0, 1, 1, 0});
  const auto gradients = [&](int64_t count) {
    learner.begin_step(0, 0, 1, 0);
    for (int64_t i = 0; i < count; ++i) {
      learner.backward(learner.loss_of(batch).total, count, i + 1 == count);
    }
    std::vector<torch::Tensor> flat;
    for (const auto& parameter : network.parameters()) {
      flat.push_back(parameter.grad().flatten().clone());
    }
    return torch::cat(flat);
  };
  const auto of_one = gradients(1);
  CHECK(of_one.norm().item<double>() > 0.1);
  CHECK(torch::allclose(gradients(3), of_one, 1e-4, 1e-6));
}

TEST_CASE("A choice is one of its table, by name", "[train]") {
  using programs::choice_named;
  using programs::SelectBy;
  CHECK(choice_named<SelectBy>("last") == SelectBy::kLast);
  CHECK(programs::name_of(SelectBy::kAuc) == "auc");
  CHECK(error_of([] {
          choice_named<SelectBy>("best");
        }) == "expected accuracy, auc, loss or last, got best");
  CHECK(error_of([] {
          programs::name_of(static_cast<SelectBy>(9));
        }) == "programs::name_of: expected a value of the table, got 9");
  CHECK(
      programs::choice_help<programs::Loss>("the loss") ==
      "the loss; ce: cross entropy, without guidance");
  // In checkpoints a choice is its name, and "" where none was made.
  programs::Settings settings;
  settings.map_normalizer = cyborg::Normalizer::kSum;
  nlohmann::json json = settings;
  CHECK(json["select"] == "accuracy");
  CHECK(json["map_normalizer"] == "sum");
  CHECK(json["human_normalizer"] == "");
  const auto again = json.get<programs::Settings>();
  CHECK(again.map_normalizer == cyborg::Normalizer::kSum);
  CHECK(!again.human_normalizer);
  json["optimizer"] = "lion";
  CHECK(error_of([&] {
          json.get<programs::Settings>();
        }) == "expected sgd, adam or adamw, got lion");
}

TEST_CASE("A row of the demo can be trained again", "[train][demo]") {
  const pictures::Folder folder;
  demo::Sizes sizes;
  sizes.annotated = 80;
  sizes.more = 0;
  sizes.test = 20;
  sizes.steps = 20;  // two epochs: the demo's curve has a point every ten
  sizes.batch = 8;
  const int64_t seed = GENERATE(0, 3);
  const auto digits = demo::read_digits(CYBORG_SOURCE_DIR "/examples/data");
  demo::write_samples(
      demo::synthesize(digits, seed, {}, sizes, /*validation=*/false),
      folder.path());
  const auto repetition = demo::read_repetition(folder.path(), seed);
  const std::vector<std::string> tested = {demo::generators().front()};

  const std::string name = GENERATE("ce", "cyborg_l1", "cyborg_kl");
  INFO(name << ", seed " << seed);
  const auto rows = demo::protocol_rows(sizes);
  const auto row = std::find_if(
      rows.begin(), rows.end(), [&](const auto& r) { return r.name == name; });
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = demo::run(*row, repetition, sizes, tested);

  auto options = options_for(folder / "pictures.csv");
  options.settings.size = {};
  options.settings.epochs = 2;
  options.settings.seed = static_cast<uint64_t>(seed);
  options.settings.loss = name == "ce"          ? programs::Loss::kCrossEntropy
                          : name == "cyborg_l1" ? programs::Loss::kCyborgL1
                                                : programs::Loss::kCyborgKL;
  options.settings.alpha = row->alpha;
  options.out = folder / "run";
  const auto outcome = programs::Trainer(options).run();
  REQUIRE(expected.curve.step.size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    CHECK(
        outcome.log[i]["classification"].get<double>() ==
        Approx(expected.curve.classification[i]).epsilon(1e-12));
  }
  auto last = programs::load_trained(folder / "run/last.pt");
  const auto scored = programs::score_pictures(
      last.network,
      cyborg::data::read_table(folder / "pictures.csv").rows_of("test"),
      last.settings,
      {torch::kCPU, /*workers=*/2, /*batch=*/256});  // the demo's
  at::set_num_threads(threads);
  const auto score = programs::margin(scored.logits);
  std::vector<int64_t> members;
  for (size_t i = 0; i < scored.rows.size(); ++i) {
    const auto& each = scored.rows[i];
    if (each.attack == tested.front() ||
        (each.label == 0 && each.group == "clean")) {
      members.push_back(static_cast<int64_t>(i));
    }
  }
  const auto index = torch::tensor(members);
  CHECK(
      cyborg::measure::roc_auc(
          score.index_select(0, index), scored.labels.index_select(0, index)) ==
      expected.clean.front());
}

TEST_CASE("What cannot be trained on is said", "[train]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  auto options = options_for(table);
  options.out = folder / "run";
  const auto error = [&] {
    return error_of([&] { programs::Trainer(options).run(); });
  };
  SECTION("a table that is not there") {
    options.settings.data = folder / "nothing.csv";
    CHECK(contains(error(), "nothing.csv: no such file"));
  }
  SECTION("a class that training does not know") {
    options.settings.data = folder.write(
        "other.csv",
        "train,live,p0.png\ntrain,spoof,p1.png\nval,mask,p2.png\n");
    CHECK(contains(error(), "other.csv"));
    CHECK(contains(error(), "mask"));
  }
  SECTION("a device that is not there") {
    options.device = "cuda:x";
    CHECK(contains(error(), "expected cpu, cuda or cuda:N, got \"cuda:x\""));
  }
  SECTION("a network for other pictures") {
    options.settings.network = programs::Architecture::kResNet18;
    CHECK(contains(error(), "resnet18 reads pictures of 3 channels, got 1"));
  }
  SECTION("a file that is no network") {
    options.settings.model = table;
    CHECK(contains(error(), "is no TorchScript file"));
  }
  SECTION("weights of another network") {
    const auto bytes = torch::jit::pickle_save([] {
      c10::Dict<std::string, torch::Tensor> other;
      other.insert("conv.weight", torch::zeros({3}));
      return c10::IValue(other);
    }());
    options.settings.weights =
        folder.write("other.pt", {bytes.data(), bytes.size()});
    CHECK(contains(error(), "other.pt: fits nothing of this network"));
  }
  SECTION("a training that is there already") {
    options.settings.epochs = 1;
    programs::Trainer(options).run();
    CHECK(contains(error(), "holds a training already: --resume continues it"));
  }
  SECTION("a loss that is not finite, with the pictures' names") {
    options.settings.epochs = 1;
    programs::Trainer(options).run();
    const auto kept = cyborg::io::read_file(folder / "run/last.pt");
    options.settings.learning_rate = 1e30;
    options.settings.optimizer = programs::OptimizerKind::kSgd;
    options.settings.epochs = 3;
    options.out = folder / "other";
    CHECK(contains(error(), "the loss is not finite in epoch 1, batch"));
    CHECK(contains(error(), ".png"));
    CHECK(!std::filesystem::exists(folder / "other/best.pt"));
  }
  SECTION("a picture that cannot be read") {
    folder.write("p3.png", "not a picture");
    CHECK(contains(error(), "p3.png"));
    options.settings.skip_unreadable = true;
    options.settings.epochs = 1;
    CHECK(programs::Trainer(options).run().log.front()["pictures"] == 47);
  }
  SECTION("a training whose table is another one now") {
    options.settings.epochs = 2;
    options.stop_after = 3;
    programs::Trainer(options).run();
    options.resume = programs::Resume::kYes;
    auto changed = cyborg::io::read_file(table);
    const auto at = changed.find("train,live,p4.png");
    REQUIRE(at != std::string::npos);
    cyborg::io::write_file(table, changed.replace(at, 10, "train,spoof"));
    CHECK(contains(error(), "is not the table that this training began with"));
  }
  SECTION("weights alone") {
    options.settings.epochs = 1;
    programs::Trainer(options).run();
    std::filesystem::copy_file(
        folder / "run/best.pt", folder / "run/last.pt",
        std::filesystem::copy_options::overwrite_existing);
    options.resume = programs::Resume::kYes;
    CHECK(contains(error(), "holds weights alone, as best.pt does"));
  }
  SECTION("a file where a folder should be") {
    options.out = table;
    CHECK(contains(error(), "is no folder: expected the name of one"));
  }
  SECTION("the first picture, by a training that is stopped behind it") {
    folder.write("p0.png", "not a picture");
    options.settings.skip_unreadable = true;
    options.settings.batch = 1;  // a batch of which nothing is left
    options.settings.epochs = 1;
    options.out = folder / "whole";
    const auto whole = programs::Trainer(options).run();
    CHECK(whole.state.step == 47);
    options.out = folder / "stopped";
    for (const int64_t stop : {20, 40, 0}) {
      options.stop_after = stop;
      programs::Trainer(options).run();
      options.resume = programs::Resume::kYes;
    }
    CHECK(
        same_checkpoints(folder / "whole/last.pt", folder / "stopped/last.pt"));
  }
}
