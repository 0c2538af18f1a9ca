// SPDX-License-Identifier: BSD-3-Clause
// The program `train` as two processes that train one network.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"
#include "training.hpp"

#include <cyborg/io/file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using programs_test::end_of;
using programs_test::same_checkpoints;
using support::contains;
using training::command;
using training::write_table;

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
    std::istringstream line(
        "--data " + table + " --out " + (folder / out) + " --batch " + batch +
        " --size 32 32 --channels 1 --mean 0.5 --std 0.25 --flip 0.5"
        " --network demo --loss cyborg-kl --alpha 0.3 --lr 0.02 --clip 1"
        " --epochs 2 --accumulate 2 --threads 1 --quiet --sync-batch-norm");
    return std::vector<std::string>(
        std::istream_iterator<std::string>(line), {});
  };
  REQUIRE(end_of(programs_test::start(CYBORG_TRAIN, words("one", "8"))) == 0);
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
      ends == (signal == SIGKILL ? std::vector<int>{2, 128 + SIGKILL}
                                 : std::vector<int>{75, 0}));
  REQUIRE(!std::filesystem::exists(out + "/report.html"));

  const std::vector<std::string> rest{"--resume",     "--out", out,
                                      "--threads",    "1",     "--quiet",
                                      "--save-every", "2"};
  // One process cannot go on with what two began.
  CHECK(end_of(programs_test::start(CYBORG_TRAIN, rest)) == 2);
  REQUIRE(ends_of(start_two(rest)) == kBothWell);
  CHECK(same_checkpoints(folder / "whole/last.pt", out + "/last.pt"));
  CHECK(
      cyborg::io::read_file(folder / "whole/log.jsonl") ==
      cyborg::io::read_file(out + "/log.jsonl"));
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
    return cyborg::io::read_file(errors);
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
      cyborg::io::read_file(folder / "errors"),
      "WORLD_SIZE is 2, and this program was built for one process"));
  CHECK(!std::filesystem::exists(folder / "run"));
}

#endif
