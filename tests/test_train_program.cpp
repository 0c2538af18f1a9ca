// SPDX-License-Identifier: BSD-3-Clause
// The program `train`: it survives, and it does what the demo does.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"

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
#include <filesystem>
#include <fstream>
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

/// 48 + 12 grey pictures of mixed sizes, a bright square where the class says;
/// maps for three of five.
std::string write_table(const pictures::Folder& folder) {
  std::string csv = "split,class,path,saliency\n";
  torch::manual_seed(5);
  for (int64_t i = 0; i < 60; ++i) {
    const int64_t side = 24 + 4 * (i % 4), label = i % 2;
    auto image = 0.3 * torch::rand({side, side});
    auto map = torch::zeros({side, side});
    const int64_t at = label == 0 ? 2 : side / 2;
    for (auto* each : {&image, &map}) {
      each->narrow(0, at, 6).narrow(1, at, 6).fill_(1);
    }
    const auto name = "p" + std::to_string(i) + ".png";
    cyborg::data::write_png(folder / name, image);
    const bool annotated = i % 5 < 3;
    if (annotated) {
      cyborg::data::write_png(folder / ("map-" + name), map);
    }
    csv += std::string(i < 48 ? "train," : "val,") +
           (label == 0 ? "live," : "spoof,") + name + "," +
           (annotated ? "map-" + name : "") + "\n";
  }
  return folder.write("table.csv", csv);
}

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

std::vector<std::string> command(
    const std::string& table, const std::string& out) {
  return {"--data",       table,        "--size",      "32",       "32",
          "--channels",   "1",          "--mean",      "0.5",      "--std",
          "0.25",         "--network",  "demo",        "--loss",   "cyborg-kl",
          "--alpha",      "0.3",        "--optimizer", "adam",     "--lr",
          "0.002",        "--schedule", "none",        "--epochs", "6",
          "--batch",      "8",          "--threads",   "1",        "--quiet",
          "--save-every", "2",          "--out",       out};
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
      cyborg::data::read_file(folder / "whole/log.jsonl") ==
      cyborg::data::read_file(folder / "killed/log.jsonl"));
  CHECK(
      cyborg::data::read_file(folder / "whole/scores.csv") ==
      cyborg::data::read_file(folder / "killed/scores.csv"));
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

#ifdef CYBORG_WITH_DISTRIBUTED

namespace {

/// Starts the program as two processes that train together.
std::vector<pid_t> start_two(
    const std::vector<std::string>& arguments, const std::string& errors = "") {
  // One port a test: what it had is closed, and may not be had again at once.
  static int port = 20000 + static_cast<int>(getpid()) % 12000;
  ++port;
  std::vector<pid_t> children;
  for (const char* rank : {"0", "1"}) {
    children.push_back(programs_test::start(
        CYBORG_TRAIN, arguments,
        {{"RANK", rank},
         {"WORLD_SIZE", "2"},
         {"MASTER_ADDR", "127.0.0.1"},
         {"MASTER_PORT", std::to_string(port)}},
        errors));
  }
  return children;
}

std::vector<int> ends_of(const std::vector<pid_t>& children) {
  return {end_of(children[0]), end_of(children[1])};
}

const std::vector<int> kBothWell{0, 0};

std::vector<nlohmann::json> log_of(const std::string& folder) {
  std::ifstream stream(folder + "/log.jsonl");
  std::vector<nlohmann::json> records;
  for (std::string line; std::getline(stream, line);) {
    records.push_back(nlohmann::json::parse(line));
  }
  return records;
}

}  // namespace

TEST_CASE(
    "Two processes with half the batch each train as one with all of it",
    "[train][distributed]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto words = [&](const char* out, const char* batch) {
    return std::vector<std::string>{
        "--data",
        table,
        "--size",
        "32",
        "32",
        "--flip",
        "0.5",
        "--channels",
        "1",
        "--mean",
        "0.5",
        "--std",
        "0.25",
        "--lr",
        "0.02",
        "--network",
        "demo",
        "--loss",
        "cyborg-kl",
        "--alpha",
        "0.3",
        "--clip",
        "1",
        "--epochs",
        "2",
        "--batch",
        batch,
        "--accumulate",
        "2",
        "--quiet",
        "--threads",
        "1",
        "--out",
        folder / out,
        "--sync-batch-norm"};
  };
  REQUIRE(end_of(start_train(words("one", "8"))) == 0);
  REQUIRE(ends_of(start_two(words("two", "4"))) == kBothWell);
  const auto one = log_of(folder / "one"), two = log_of(folder / "two");
  REQUIRE(one.size() == 2);
  REQUIRE(two.size() == 2);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    for (const auto& item : one[epoch].items()) {
      INFO("epoch " << epoch << ", " << item.key());
      CHECK(
          two[epoch].at(item.key()).get<double>() ==
          Approx(item.value().get<double>()).epsilon(1e-4));
    }
  }
  const auto weights = [&](const char* out) {
    return cyborg::train::load_checkpoint(folder / out + "/last.pt")
        .tensors.at("model");
  };
  const auto whole = weights("one"), halves = weights("two");
  REQUIRE(whole.size() == halves.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    INFO(whole[i].first);
    CHECK(support::close(halves[i].second, whole[i].second, 1e-4));
  }
  // Its scores, report and events are there once.
  CHECK(std::filesystem::exists(folder / "two/scores.csv"));
  CHECK(std::filesystem::exists(folder / "two/report.html"));
  int events = 0;
  for (const auto& each : std::filesystem::directory_iterator(folder / "two")) {
    events += contains(each.path().filename().string(), "events.out") ? 1 : 0;
  }
  CHECK(events == 1);
}

TEST_CASE(
    "A process that is killed or asked to stop ends both, and they go on",
    "[train][distributed]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  REQUIRE(ends_of(start_two(command(table, folder / "whole"))) == kBothWell);

  const int signal = GENERATE(SIGKILL, SIGINT);
  const std::string out = folder / "ended";
  const auto children = start_two(command(table, out));
  while (!std::filesystem::exists(out + "/last.pt")) {
    REQUIRE(waitpid(children[0], nullptr, WNOHANG) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(children[1], signal);
  const auto begin = std::chrono::steady_clock::now();
  const auto ends = ends_of(children);
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;
  CHECK(took.count() < 60);
  CHECK(
      ends ==
      (signal == SIGKILL ? std::vector<int>{2, 128 + SIGKILL} : kBothWell));
  REQUIRE(!std::filesystem::exists(out + "/report.html"));

  const std::vector<std::string> rest{"--resume",     "--out", out,
                                      "--threads",    "1",     "--quiet",
                                      "--save-every", "2"};
  CHECK(end_of(start_train(rest)) == 2);  // of two processes, which is said
  REQUIRE(ends_of(start_two(rest)) == kBothWell);
  CHECK(same_checkpoints(folder / "whole/last.pt", out + "/last.pt"));
  CHECK(
      cyborg::data::read_file(folder / "whole/log.jsonl") ==
      cyborg::data::read_file(out + "/log.jsonl"));
}

TEST_CASE(
    "What several processes cannot do ends all of them",
    "[train][distributed]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  auto words = command(table, folder / "run");
  const auto error = [&] {
    const std::string errors = folder / "errors";
    CHECK(ends_of(start_two(words, errors)) == std::vector<int>{2, 2});
    CHECK(!std::filesystem::exists(folder / "run/best.pt"));
    return cyborg::data::read_file(errors);
  };
  SECTION("a loss that is not finite, with the pictures' names") {
    *(std::find(words.begin(), words.end(), "--lr") + 1) = "1e30";
    const auto said = error();
    CHECK(contains(said, "the loss is not finite in epoch 1, batch"));
    CHECK(contains(said, ".png"));
  }
  SECTION("a batch of which one of them can read no picture") {
    for (int i = 0; i < 48; ++i) {
      folder.write("p" + std::to_string(i) + ".png", "not a picture");
    }
    words.push_back("--skip-unreadable");
    CHECK(contains(error(), "no picture of batch"));
  }
  SECTION("a sum") {
    words.insert(words.end(), {"--reduction", "sum"});
    CHECK(contains(error(), "--reduction sum: several processes need mean"));
    CHECK(!std::filesystem::exists(folder / "run"));
  }
}

#else

TEST_CASE("A program for one process says so", "[train][distributed]") {
  const pictures::Folder folder;
  const auto child = programs_test::start(
      CYBORG_TRAIN, command(write_table(folder), folder / "run"),
      {{"RANK", "0"},
       {"WORLD_SIZE", "2"},
       {"MASTER_ADDR", "127.0.0.1"},
       {"MASTER_PORT", "29500"}},
      folder / "errors");
  CHECK(end_of(child) == 2);
  CHECK(contains(
      cyborg::data::read_file(folder / "errors"),
      "WORLD_SIZE is 2, and this program was built for one process"));
  CHECK(!std::filesystem::exists(folder / "run"));
}

#endif

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
      c10::Dict<std::string, at::Tensor> other;
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
    const auto kept = cyborg::data::read_file(folder / "run/last.pt");
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
