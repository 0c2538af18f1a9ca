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

programs::Request request_for(const std::string& table) {
  programs::Request request;
  request.settings.data = table;
  request.settings.size = {32, 32};
  request.settings.channels = 1;
  request.settings.mean = {0.5};
  request.settings.stddev = {0.25};
  request.settings.network = "demo";
  request.settings.loss = "cyborg-kl";
  request.settings.alpha = 0.3;
  request.settings.optimizer = "adam";
  request.settings.learning_rate = 2e-3;
  request.settings.weight_decay = 0;
  request.settings.schedule = "none";
  request.settings.epochs = 3;
  request.settings.batch = 8;
  request.threads = 1;
  request.quiet = true;
  return request;
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
  auto request = request_for(write_table(folder));
  request.out = folder / "whole";
  const auto whole = programs::Trainer(request).run();
  REQUIRE(whole.finished);
  CHECK(whole.place.step == 18);
  CHECK(whole.log.size() == 3);
  CHECK(std::filesystem::exists(folder / "whole/best.pt"));
  REQUIRE(whole.validation.rows.size() == 12);
  CHECK(whole.validation.rows[0].saliency.front().empty());  // 48 % 5 is 3
  CHECK(!whole.validation.rows[2].saliency.front().empty());
  CHECK(whole.log.back()["annotated"] == 30);  // of 48, three of five

  request.out = folder / "stopped";
  request.stop_after = 8;  // in the second epoch
  const auto stopped = programs::Trainer(request).run();
  CHECK(!stopped.finished);
  CHECK(stopped.place.step == 8);
  CHECK(stopped.place.batch == 2);
  request.stop_after = 0;
  request.resume = true;
  const auto rest = programs::Trainer(request).run();
  CHECK(rest.finished);
  CHECK(same_checkpoints(folder / "whole/last.pt", folder / "stopped/last.pt"));
  CHECK(rest.log == whole.log);
}

TEST_CASE("Several batches make one step, the last fewer", "[train]") {
  const pictures::Folder folder;
  auto request = request_for(write_table(folder));
  request.settings.loss = "ce";
  request.settings.epochs = 1;
  request.settings.accumulate = 4;
  request.out = folder / "four";
  const auto outcome = programs::Trainer(request).run();
  CHECK(outcome.place.step == 2);  // 6 batches: 4 and 2
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
  const auto digits =
      demo::read_digits(CYBORG_SOURCE_DIR "/examples/data/digits.png");
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

  auto request = request_for(folder / "pictures.csv");
  request.settings.size = {};
  request.settings.epochs = 2;
  request.settings.seed = static_cast<uint64_t>(seed);
  request.settings.loss = name == "ce"          ? "ce"
                          : name == "cyborg_l1" ? "cyborg-l1"
                                                : "cyborg-kl";
  request.settings.alpha = row->alpha;
  request.out = folder / "run";
  const auto outcome = programs::Trainer(request).run();
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
  auto request = request_for(table);
  request.out = folder / "run";
  const auto error = [&] {
    return error_of([&] { programs::Trainer(request).run(); });
  };
  SECTION("a table that is not there") {
    request.settings.data = folder / "nothing.csv";
    CHECK(contains(error(), "nothing.csv: no such file"));
  }
  SECTION("a class that training does not know") {
    request.settings.data = folder.write(
        "other.csv",
        "train,live,p0.png\ntrain,spoof,p1.png\nval,mask,p2.png\n");
    CHECK(contains(error(), "other.csv"));
    CHECK(contains(error(), "mask"));
  }
  SECTION("a device that is not there") {
    request.device = "cuda:x";
    CHECK(contains(error(), "expected cpu, cuda or cuda:N, got \"cuda:x\""));
  }
  SECTION("a network for other pictures") {
    request.settings.network = "resnet18";
    CHECK(contains(error(), "resnet18 reads pictures of 3 channels, got 1"));
  }
  SECTION("a file that is no network") {
    request.settings.model = table;
    CHECK(contains(error(), "is no TorchScript file"));
  }
  SECTION("weights of another network") {
    const auto bytes = torch::jit::pickle_save([] {
      c10::Dict<std::string, torch::Tensor> other;
      other.insert("conv.weight", torch::zeros({3}));
      return c10::IValue(other);
    }());
    request.settings.weights =
        folder.write("other.pt", {bytes.data(), bytes.size()});
    CHECK(contains(error(), "other.pt: fits nothing of this network"));
  }
  SECTION("a training that is there already") {
    request.settings.epochs = 1;
    programs::Trainer(request).run();
    CHECK(contains(error(), "holds a training already: --resume goes on"));
  }
  SECTION("a loss that is not finite, with the pictures' names") {
    request.settings.epochs = 1;
    programs::Trainer(request).run();
    const auto kept = cyborg::io::read_file(folder / "run/last.pt");
    request.settings.learning_rate = 1e30;
    request.settings.optimizer = "sgd";
    request.settings.epochs = 3;
    request.out = folder / "other";
    CHECK(contains(error(), "the loss is not finite in epoch 1, batch"));
    CHECK(contains(error(), ".png"));
    CHECK(!std::filesystem::exists(folder / "other/best.pt"));
  }
  SECTION("a picture that cannot be read") {
    folder.write("p3.png", "not a picture");
    CHECK(contains(error(), "p3.png"));
    request.settings.skip_unreadable = true;
    request.settings.epochs = 1;
    CHECK(programs::Trainer(request).run().log.front()["pictures"] == 47);
  }
  SECTION("a training whose table is another one now") {
    request.settings.epochs = 2;
    request.stop_after = 3;
    programs::Trainer(request).run();
    request.resume = true;
    auto changed = cyborg::io::read_file(table);
    const auto at = changed.find("train,live,p4.png");
    REQUIRE(at != std::string::npos);
    cyborg::io::write_file(table, changed.replace(at, 10, "train,spoof"));
    CHECK(contains(error(), "is not the table that this training began with"));
  }
  SECTION("weights alone") {
    request.settings.epochs = 1;
    programs::Trainer(request).run();
    std::filesystem::copy_file(
        folder / "run/best.pt", folder / "run/last.pt",
        std::filesystem::copy_options::overwrite_existing);
    request.resume = true;
    CHECK(contains(error(), "holds weights alone, as best.pt does"));
  }
  SECTION("a file where a folder should be") {
    request.out = table;
    CHECK(contains(error(), "is no folder: name one"));
  }
  SECTION("the first picture, by a training that is stopped behind it") {
    folder.write("p0.png", "not a picture");
    request.settings.skip_unreadable = true;
    request.settings.batch = 1;  // a batch of which nothing is left
    request.settings.epochs = 1;
    request.out = folder / "whole";
    const auto whole = programs::Trainer(request).run();
    CHECK(whole.place.step == 47);
    request.out = folder / "stopped";
    for (const int64_t stop : {20, 40, 0}) {
      request.stop_after = stop;
      programs::Trainer(request).run();
      request.resume = true;
    }
    CHECK(
        same_checkpoints(folder / "whole/last.pt", folder / "stopped/last.pt"));
  }
}
