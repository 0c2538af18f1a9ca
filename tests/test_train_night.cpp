// SPDX-License-Identifier: BSD-3-Clause
// The program `train` alone for a night: signals, weights that are not finite,
// problems with pictures, options of a training that is resumed, a folder that
// is in use.

#include "catch.hpp"
#include "pictures.hpp"
#include "programs.hpp"
#include "support.hpp"
#include "torchscript.hpp"
#include "training.hpp"

#include <common/folds.hpp>
#include <common/scoring.hpp>
#include <train/checkpoint.hpp>
#include <train/export.hpp>
#include <train/fingerprint.hpp>
#include <train/recipe.hpp>
#include <train/resume.hpp>
#include <train/trainer.hpp>
#include <train/watch.hpp>
#include <train/weight_average.hpp>

#include <cyborg/data/picture_check.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using programs_test::end_of;
using programs_test::same_checkpoints;
using support::contains;
using support::error_of;
using training::command;
using training::command_with;
using training::run_train;
using training::Words;
using training::write_table;

Words resume(const std::string& out, const Words& others = {}) {
  Words words{"--resume", "--out", out, "--threads", "1", "--quiet"};
  words.insert(words.end(), others.begin(), others.end());
  return words;
}

programs::TrainOptions options_of(Words words) {
  words.insert(words.begin(), "train");
  std::vector<char*> arguments;
  for (auto& word : words) {
    arguments.push_back(word.data());
  }
  return programs::read_options(
      static_cast<int>(arguments.size()), arguments.data());
}

/// Whether a program that was started has not ended yet.
bool runs(pid_t child) {
  siginfo_t info{};
  return waitid(
             P_PID, static_cast<id_t>(child), &info,
             WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

/// Waits for a file of a program that runs.
void wait_for(const std::string& file, pid_t child) {
  while (!fs::exists(file)) {
    if (!runs(child)) {
      FAIL("the program ended before it wrote " << file);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool all_finite(const std::string& path) {
  const auto checkpoint = cyborg::train::load_checkpoint(path);
  for (const auto& group : checkpoint.tensors) {
    if (!cyborg::train::not_finite(group.second).empty()) {
      return false;
    }
  }
  return true;
}

/// A table whose validation split has each of its pictures `times` times.
std::string with_long_validation(
    const pictures::Folder& folder, const std::string& table, int times) {
  std::string all, val;
  std::istringstream lines(cyborg::io::read_file(table));
  for (std::string line; std::getline(lines, line);) {
    (line.compare(0, 3, "val") == 0 ? val : all) += line + "\n";
  }
  for (int i = 0; i < times; ++i) {
    all += val;
  }
  return folder.write("long.csv", all);
}

}  // namespace

TEST_CASE(
    "Weights that are not finite never replace those that are",
    "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run";
  SECTION("in the middle of an epoch, with a checkpoint after each step") {
    const auto ended = run_train(
        folder, command_with(
                    table, out,
                    {"--lr", "1e30", "--optimizer", "sgd", "--save-every", "1",
                     "--loss", "ce"}));
    INFO(ended.errors);
    CHECK(ended.status == 2);
    CHECK(contains(ended.errors, "not finite"));
    CHECK(contains(ended.errors, "ast checkpoint is kept"));
    CHECK((!fs::exists(out + "/last.pt") || all_finite(out + "/last.pt")));
    CHECK(!fs::exists(out + "/best.pt"));
  }
  SECTION("after a step with a loss that is finite") {
    // The weights decay by more than float32 holds.
    const auto ended = run_train(
        folder, command_with(
                    table, out,
                    {"--lr", "1e38", "--weight-decay", "1000", "--optimizer",
                     "sgd", "--save-every", "1", "--loss", "ce"}));
    INFO(ended.errors);
    CHECK(ended.status == 2);
    CHECK(contains(ended.errors, "the weights are not finite after step 1 ("));
    CHECK(!fs::exists(out + "/last.pt"));
    CHECK(!fs::exists(out + "/best.pt"));
  }
  SECTION("after a good checkpoint, which stays") {
    // One step in an epoch; from the second one on the rate rises.
    auto words = command_with(
        table, out,
        {"--batch", "48", "--save-every", "1", "--epochs", "1", "--optimizer",
         "sgd"});
    REQUIRE(run_train(folder, words).status == 0);
    const auto good = cyborg::io::read_file(out + "/best.pt");
    auto options = options_of(resume(out, {"--epochs", "3"}));
    programs::Trainer trainer(options);
    auto saved = programs::read_training(out + "/last.pt");
    saved.model.front().second.fill_(1e38);  // its products are infinite
    programs::write_training(out + "/last.pt", saved);
    const auto ended = run_train(folder, resume(out, {"--epochs", "3"}));
    INFO(ended.errors);
    CHECK(ended.status == 2);
    CHECK(contains(ended.errors, "not finite"));
    CHECK(cyborg::io::read_file(out + "/best.pt") == good);
    CHECK(all_finite(out + "/last.pt"));
  }
  SECTION("weights that are so from the beginning") {
    REQUIRE(
        run_train(folder, command_with(table, out, {"--stop-after", "2"}))
            .status == 75);
    auto saved = programs::read_training(out + "/last.pt");
    saved.model.front().second.view({-1})[0] = std::nan("");
    programs::write_training(out + "/last.pt", saved);
    const auto ended = run_train(folder, resume(out));
    CHECK(ended.status == 2);
    CHECK(contains(
        ended.errors,
        "the initial weights are not finite: " + saved.model.front().first));
  }
}

TEST_CASE("Numbers that are not finite are no settings", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const Words number = GENERATE(
      Words{"--lr", "nan"}, Words{"--lr", "inf"}, Words{"--alpha", "nan"},
      Words{"--momentum", "nan"}, Words{"--mean", "nan"}, Words{"--std", "inf"},
      Words{"--std", "0"}, Words{"--flip", "nan"}, Words{"--clip", "inf"},
      Words{"--step-factor", "nan"});
  const auto ended =
      run_train(folder, command_with(table, folder / "run", number));
  INFO(number[0] << " " << number[1] << ": " << ended.errors);
  CHECK(ended.status == 2);
  CHECK(contains(ended.errors, number[0] + ": expected a number"));
  CHECK(contains(ended.errors, ", got " + number[1]));
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("A problem of the validation costs no training", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run";
  REQUIRE(run_train(folder, command(table, folder / "whole")).status == 0);
  const auto picture = cyborg::io::read_file(folder / "p50.png");
  folder.write("p50.png", picture.substr(0, 45));  // its header is whole
  const auto ended =
      run_train(folder, command_with(table, out, {"--save-every", "0"}));
  CHECK(ended.status == 2);
  CHECK(contains(ended.errors, "p50.png"));
  CHECK(programs::read_training(out + "/last.pt").state.batch == 6);
  CHECK(!fs::exists(out + "/best.pt"));
  folder.write("p50.png", picture);
  REQUIRE(run_train(folder, resume(out)).status == 0);
  for (const char* file : {"/last.pt", "/best.pt"}) {
    CHECK(same_checkpoints(folder / "whole" + file, out + file));
  }
  CHECK(
      cyborg::io::read_file(folder / "whole/log.jsonl") ==
      cyborg::io::read_file(out + "/log.jsonl"));
}

TEST_CASE("What the options exclude is known at the start", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto error = [&](const std::string& data, const Words& others) {
    const auto ended =
        run_train(folder, command_with(data, folder / "run", others));
    CHECK(ended.status == 2);
    CHECK(!fs::exists(folder / "run"));
    return ended.errors;
  };
  const auto one_class = folder.write(
      "one.csv",
      "split,class,path\ntrain,live,p0.png\ntrain,spoof,p1.png\n"
      "val,spoof,p3.png\nval,spoof,p5.png\n");
  CHECK(contains(
      error(one_class, {"--select", "auc"}),
      "--select auc: the validation split has pictures of class \"spoof\" "
      "only; use accuracy or loss"));
  CHECK(contains(
      error(table, {"--model", "net.pt"}),
      "--model: is a network, too: leave --network out"));
  CHECK(contains(
      run_train(
          folder, {"--data", table, "--channels", "1", "--mean", "0.1", "0.2"})
          .errors,
      "--mean: expected 1 number or one for each of 1 channels, got 2"));
}

TEST_CASE(
    "With --channels 1 mean and deviation are those of grey pictures",
    "[train][night]") {
  const auto grey = options_of({"--data", "a.csv", "--channels", "1"}).settings;
  CHECK(grey.mean == std::vector<double>{0.449});
  CHECK(grey.stddev == std::vector<double>{0.226});
  const auto own =
      options_of({"--data", "a.csv", "--channels", "1", "--mean", "0.1"})
          .settings;
  CHECK(own.mean == std::vector<double>{0.1});
  CHECK(own.stddev == std::vector<double>{0.226});
  CHECK(options_of({"--data", "a.csv"}).settings.mean.size() == 3);
}

TEST_CASE("A scheduler's signal saves and stops", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run";
  const int signal = GENERATE(SIGTERM, SIGHUP, SIGUSR1, SIGINT);
  INFO("signal " << signal);
  const auto child = programs_test::start(
      CYBORG_TRAIN, command_with(table, out, {"--epochs", "500"}));
  wait_for(out + "/last.pt", child);
  kill(child, signal);
  // As a scheduler may do. The training must not end before it has saved.
  while (signal != SIGINT && runs(child)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(child, signal);
  }
  CHECK(end_of(child) == 75);
  CHECK(!fs::exists(out + "/report.html"));
  const auto state = programs::read_training(out + "/last.pt").state;
  CHECK(state.epoch < 500);
  CHECK(all_finite(out + "/last.pt"));
}

TEST_CASE("A signal during validation stops at once", "[train][night]") {
  const pictures::Folder folder;
  const auto table =
      with_long_validation(folder, write_table(folder), /*times=*/2000);
  const std::string out = folder / "run";
  const auto child = programs_test::start(
      CYBORG_TRAIN,
      command_with(table, out, {"--save-every", "0", "--epochs", "1"}));
  wait_for(out + "/last.pt", child);  // it is written before the validation
  kill(child, SIGTERM);
  CHECK(end_of(child) == 75);
  CHECK(!fs::exists(out + "/best.pt"));
  CHECK(programs::read_training(out + "/last.pt").state.batch == 6);
}

TEST_CASE("A training sees pictures in its window", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const pictures::Folder deep;  // the same values in files of 16 bits
  const auto deep_table = deep.write("table.csv", cyborg::io::read_file(table));
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    const auto name = entry.path().filename().string();
    if (name[0] == 'm') {  // maps have no window
      fs::copy_file(entry.path(), deep / name);
    } else if (name[0] == 'p') {
      const auto image =
          cyborg::data::read_image(
              entry.path(), cyborg::data::ImageOptions().channels(1))
              .mul(255)
              .round()
              .to(torch::kLong)
              .flatten();
      const auto side = static_cast<uint32_t>(std::sqrt(image.numel()));
      deep.write(
          name, pictures::png(
                    side, side, 16, 0,
                    {image.data_ptr<int64_t>(),
                     image.data_ptr<int64_t>() + image.numel()}));
    }
  }
  const auto train = [&](const std::string& data, const std::string& out,
                         const Words& others) {
    auto words = command_with(data, out, {"--epochs", "1"});
    words.insert(words.end(), others.begin(), others.end());
    return run_train(folder, words);
  };
  const Words window{"--window", "0,200"};
  REQUIRE(train(table, folder / "a", window).status == 0);
  REQUIRE(train(deep_table, folder / "b", window).status == 0);
  CHECK(same_checkpoints(folder / "a/best.pt", folder / "b/best.pt"));
  CHECK(
      programs::load_trained(folder / "b/best.pt").settings.window ==
      std::vector<double>{0, 200});
  REQUIRE(train(table, folder / "c", {}).status == 0);
  CHECK(!same_checkpoints(folder / "a/best.pt", folder / "c/best.pt"));
  CHECK(programs::load_trained(folder / "c/best.pt").settings.window.empty());

  // What is wrong is said before anything is trained.
  const auto refused = [&](const std::string& data, const Words& others,
                           const std::string& text) {
    const auto ended = train(data, folder / "none", others);
    INFO(ended.errors);
    CHECK(ended.status == 2);
    CHECK(contains(ended.errors, text));
    CHECK(!fs::exists(folder / "none/last.pt"));
  };
  refused(
      table, {"--window", "0,4095"},
      "train: --data " + table +
          ": 60 of 60 pictures do not fit the window 0 to 4095:\n  " +
          folder / "p0.png" +
          " (line 2): has 8 bits, so no value above 255, and the window is 0 "
          "to 4095 (--window): the picture would be too dark. All pictures "
          "have "
          "8 bits, so leave the window out\n");
  refused(
      deep_table, {"--window", "60000,65535"},
      "train: --data " + deep_table +
          ": all 8 pictures of split train that were looked at show nothing:\n "
          " " +
          deep / "p0.png" +
          " (line 2): shows nothing in the window 60000 to 65535: its values "
          "are 0 to 255\n");
  fs::copy_file(
      folder / "p5.png", deep / "p5.png", fs::copy_options::overwrite_existing);
  refused(
      deep_table, window,
      ": 59 of 60 pictures do not fit the window 0 to 200:\n  " +
          deep / "p0.png" +
          " (line 2): has 16 bits, and other pictures have 8: a window is for "
          "pictures of one kind\n");
  refused(
      table, {"--window", "-1000,400"},
      "--window: expected two stored values LOW,HIGH with 0 <= LOW < HIGH <= "
      "65535 and a whole number from LOW to HIGH, for example 0,4095; got "
      "-1000,400\n");
  // A picture of another kind can be left out, as one that cannot be read.
  CHECK(
      train(
          deep_table, folder / "d", {"--window", "0,300", "--skip-unreadable"})
          .status == 0);
}

TEST_CASE(
    "Bits that tell the class are refused before a training",
    "[train][night]") {
  const pictures::Folder folder;
  std::string csv = "split,class,path\n";
  // 8 bits and 12 bits in files of 16, of the same grey.
  const auto write = [&](int i, bool is_deep) {
    const auto value = static_cast<uint32_t>(i);
    std::vector<uint32_t> values;
    for (uint32_t k = 0; k < 32 * 32; ++k) {
      values.push_back((k * 37 + value) % 256 * (is_deep ? 16 : 1));
    }
    folder.write(
        "p" + std::to_string(i) + ".png",
        pictures::png(32, 32, is_deep ? 16 : 8, 0, values));
  };
  for (int i = 0; i < 12; ++i) {
    const bool spoof = i % 2 == 1;
    write(i, spoof);
    csv += std::string(i < 8 ? "train," : "val,") +
           (spoof ? "spoof," : "live,") + "p" + std::to_string(i) + ".png\n";
  }
  const auto table = folder.write("table.csv", csv);
  const auto ended = [&](const std::string& out, const Words& others) {
    auto words =
        command_with(table, folder / out, {"--epochs", "1", "--loss", "ce"});
    words.insert(words.end(), others.begin(), others.end());
    return run_train(folder, words);
  };
  const auto way_out =
      "\nSave all with the same number of bits and the same black and white "
      "(docs/train.md, \"Other formats\")";
  const auto bits = std::string(
                        "\n  8 bits: 6 pictures (train live 4, val live "
                        "2), for example ") +
                    folder / "p0.png" +
                    "\n  16 bits: 6 pictures (train spoof 4, val spoof 2), for "
                    "example " +
                    folder / "p1.png";
  const auto told =
      "the number of bits tells the class, so a network can learn it in place "
      "of what the pictures show:\n"
      "  8 bits: 4 of 4 pictures of class \"live\", and 0 of 4 others\n"
      "  16 bits: 4 of 4 pictures of class \"spoof\", and 0 of 4 others" +
      bits + way_out;
  const auto refused = ended("none", {});
  CHECK(refused.status == 2);
  CHECK(
      refused.errors ==
      "train: --data " + table + ": " + told +
          ", or say --allow-bits-by-class if black and white are the same "
          "already\n");
  CHECK(!fs::exists(folder / "none/last.pt"));

  const auto allowed =
      ended("allowed", {"--allow-bits-by-class", "--stop-after", "1"});
  CHECK(allowed.status == 75);
  CHECK(contains(allowed.errors, "warning: " + told + "\n"));
  const auto stored =
      programs::read_training(folder / "allowed/last.pt").settings.stored;
  CHECK(stored.allow_bits_by_class);
  CHECK(stored.bits == std::vector<int64_t>{8, 16});
  const auto resumed = run_train(folder, resume(folder / "allowed"));
  CHECK(resumed.status == 0);
  CHECK(contains(resumed.errors, "warning: " + told + "\n"));

  SECTION("Where they do not tell it, they are a warning") {
    write(0, true);
    write(1, false);
    const auto mixed = ended("mixed", {});
    CHECK(mixed.status == 0);
    CHECK(contains(
        mixed.errors,
        "warning: the pictures have several numbers of bits. White is 255 in 8 "
        "bits and 65535 in 16, so pictures of 12 bits in files of 16 are "
        "nearly black beside those of 8:\n"
        "  8 bits: 6 pictures (train live 3, train spoof 1, val live 2), for "
        "example " +
            folder / "p1.png" + "\n"));
    CHECK(contains(mixed.errors, way_out + std::string("\n")));
  }
  SECTION("Pictures of other units in another split are seen") {
    for (int i = 0; i < 12; ++i) {
      write(i, true);
    }
    for (int i = 8; i < 12; ++i) {
      folder.write(
          "p" + std::to_string(i) + ".png",
          pictures::png(
              32, 32, 16, 0,
              std::vector<uint32_t>(
                  32 * 32, static_cast<uint32_t>(60000 + i))));
    }
    const auto other = ended("other", {});
    CHECK(other.status == 0);
    CHECK(contains(
        other.errors,
        "warning: the pictures of split val may have other units than those of "
        "the training: from 0 (black) to 1 (white) their mean is 0.916, and "
        "that of the training was 0.031\n"));
  }
  SECTION("What a window cuts is said") {
    for (int i = 0; i < 12; ++i) {
      write(i, true);
    }
    folder.write(
        "p2.png",
        pictures::png(32, 32, 16, 0, std::vector<uint32_t>(32 * 32, 5)));
    const auto windowed = ended("windowed", {"--window", "2048,4095"});
    CHECK(windowed.status == 0);
    CHECK(contains(
        windowed.errors,
        "warning: 8 pictures of split train that were looked at have 56.2 % of "
        "the values below the window 2048 to 4095, and 0.0 % above it: more "
        "than half is cut\n"));
    CHECK(contains(
        windowed.errors,
        "warning: 1 of 8 pictures of split train that were looked at show "
        "nothing:\n  " +
            folder / "p2.png" +
            " (line 4): shows nothing in the window 2048 to 4095: its values "
            "are 5 to 5\n"));
    const auto seen =
        programs::load_trained(folder / "windowed/best.pt").settings.stored;
    CHECK(seen.bits == std::vector<int64_t>{16});
    CHECK(seen.pictures == 8);
    CHECK(seen.below == Approx(.5625));
    CHECK(seen.above == 0);
  }
}

TEST_CASE("Options of a training that is resumed", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run";
  REQUIRE(
      run_train(folder, command_with(table, out, {"--stop-after", "8"}))
          .status == 75);
  SECTION("may be the same, as when a job is queued again") {
    const auto words =
        command_with(table, out, {"--resume", "auto", "--stop-after", "10"});
    CHECK(run_train(folder, words).status == 75);
    CHECK(programs::read_training(out + "/last.pt").state.step == 10);
  }
  SECTION("may not be others") {
    const auto refused = [&](const Words& others, const std::string& text) {
      const auto ended = run_train(folder, resume(out, others));
      INFO(ended.errors);
      CHECK(ended.status == 2);
      CHECK(contains(
          ended.errors, "--resume " + out + "/last.pt: was trained " + text +
                            ": a training keeps its settings. Leave the option "
                            "out, or begin a new training with another --out"));
    };
    refused({"--lr", "0.01"}, "with --lr 0.002, got --lr 0.01");
    refused({"--loss", "ce"}, "with --loss cyborg-kl, got --loss ce");
    refused({"--size", "16", "24"}, "with --size 32 32, got --size 16 24");
    refused({"--size", "0", "0"}, "with --size 32 32, got --size 0 0");
    refused({"--bf16"}, "with --bf16 false, got --bf16 true");
    refused({"--seed", "3"}, "with --seed 0, got --seed 3");
    refused({"--std", "0.5"}, "with --std 0.25, got --std 0.5");
    refused({"--layer", "c1"}, "without --layer, got --layer c1");
    refused({"--window", "0,200.5"}, "without --window, got --window 0,200.5");
    CHECK(programs::read_training(out + "/last.pt").state.step == 8);
  }
  SECTION("may be more epochs, but not fewer than it has") {
    const auto ended = run_train(folder, resume(out, {"--epochs", "1"}));
    CHECK(ended.status == 2);
    CHECK(contains(
        ended.errors, "is in epoch 2: expected --epochs 2 or more, got 1"));
    REQUIRE(run_train(folder, resume(out, {"--epochs", "7"})).status == 0);
    CHECK(programs::read_training(out + "/last.pt").state.epoch == 7);
    // It is finished now, and can go on.
    REQUIRE(run_train(folder, resume(out)).status == 0);
    REQUIRE(run_train(folder, resume(out, {"--epochs", "8"})).status == 0);
    REQUIRE(
        run_train(
            folder, command_with(table, folder / "whole", {"--epochs", "8"}))
            .status == 0);
    CHECK(same_checkpoints(folder / "whole/last.pt", out + "/last.pt"));
  }
  SECTION("may name files that have moved") {
    fs::create_directories(folder / "moved");
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      if (entry.is_regular_file()) {
        fs::rename(
            entry.path(), folder.path() / "moved" / entry.path().filename());
      }
    }
    const auto lost = run_train(folder, resume(out));
    CHECK(lost.status == 2);
    CHECK(contains(lost.errors, "table.csv: no such file"));
    const std::string moved = folder / "moved/table.csv";
    REQUIRE(
        run_train(folder, resume(out, {"--data", moved, "--stop-after", "9"}))
            .status == 75);
    CHECK(programs::read_training(out + "/last.pt").settings.data == moved);
  }
}

TEST_CASE("--resume auto begins where nothing is", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto words = command_with(
      table, folder / "run", {"--resume", "auto", "--stop-after", "3"});
  CHECK(run_train(folder, words).status == 75);
  auto ended = run_train(folder, resume(folder / "none"));
  CHECK(ended.status == 2);
  CHECK(contains(
      ended.errors,
      "none/last.pt: no such file: expected --out to be the folder of a "
      "training"));
  ended = run_train(
      folder, {"--resume", "auto", "--out", folder / "none", "--quiet"});
  CHECK(contains(ended.errors, "--data is required to begin a training"));
  ended = run_train(folder, {"--resume", "now"});
  CHECK(contains(ended.errors, "expected auto or nothing, got now"));
  CHECK(!fs::exists(folder / "none"));
}

TEST_CASE(
    "The hint after a stop repeats the options of the run", "[train][night]") {
  auto options = options_of(
      {"--data", "a.csv", "--lr", "0.1", "--out", "my runs/it's", "--workers",
       "3", "--quiet", "--stop-after", "5", "--seed", "7"});
  options.program = "bin/train";
  CHECK(
      programs::resume_command(options, 1) ==
      "bin/train --resume --out 'my runs/it'\\''s' --workers 3 --quiet");
  CHECK(contains(
      programs::resume_command(options, 4),
      "./dev ranks 4 bin/train --resume --out"));
  setenv("TORCHELASTIC_RUN_ID", "none", 1);
  CHECK(contains(
      programs::resume_command(options, 4),
      "torchrun --no-python --nproc-per-node 4 bin/train --resume"));
  unsetenv("TORCHELASTIC_RUN_ID");
}

TEST_CASE("Two trainings do not share a folder", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run";
  const auto first = programs_test::start(
      CYBORG_TRAIN, command_with(table, out, {"--epochs", "500"}));
  wait_for(out + "/last.pt", first);
  const auto log = [&] { return cyborg::io::read_file(out + "/.lock"); };
  CHECK(contains(log(), "process " + std::to_string(first) + ", since 20"));
  const auto second = run_train(folder, resume(out));
  INFO(second.errors);
  CHECK(second.status == 2);
  CHECK(contains(
      second.errors, "--out " + out + ": is in use by another training ("));
  CHECK(contains(second.errors, "process " + std::to_string(first)));
  kill(first, SIGKILL);
  end_of(first);
  // The lock ended with the process that had it.
  CHECK(run_train(folder, resume(out, {"--stop-after", "1"})).status == 75);
}

TEST_CASE("A last picture alone joins the batch before", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  auto text = cyborg::io::read_file(table);
  const auto at = text.find("train,spoof,p47.png");
  text.erase(at, text.find('\n', at) + 1 - at);
  for (const char* name :
       {"train,live,p46.png", "train,spoof,p45.png", "train,live,p44.png",
        "train,spoof,p43.png", "train,live,p42.png", "train,spoof,p41.png"}) {
    const auto row = text.find(name);
    REQUIRE(row != std::string::npos);
    text.erase(row, text.find('\n', row) + 1 - row);
  }
  cyborg::io::write_file(table, text);  // 41 pictures: 5 batches of 8, and 1
  auto options =
      options_of(command_with(table, folder / "run", {"--epochs", "1"}));
  const auto result = programs::Trainer(options).run();
  CHECK(result.state.step == 5);
  CHECK(result.log[0]["pictures"] == 41);
}

TEST_CASE(
    "Without a map that became unreadable the report is still written",
    "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  for (int i = 48; i < 60; ++i) {
    if (i % 5 < 3) {
      const auto map = "map-p" + std::to_string(i) + ".png";
      folder.write(  // its header is whole
          map, cyborg::io::read_file(folder / map).substr(0, 45));
    }
  }
  const auto ended =
      run_train(folder, command_with(table, folder / "run", {"--epochs", "1"}));
  INFO(ended.errors);
  CHECK(ended.status == 0);
  CHECK(fs::exists(folder / "run/report.html"));
}

TEST_CASE("Files that are missing are known at the start", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto ended = [&](const Words& others) {
    return run_train(folder, command_with(table, folder / "run", others));
  };
  fs::remove(folder / "p55.png");      // of the validation
  fs::remove(folder / "map-p10.png");  // of the training
  const auto missing = ended({});
  CHECK(missing.status == 2);
  CHECK(contains(
      missing.errors, "2 files cannot be read:\n  " + folder / "map-p10.png" +
                          " (line 12): no such file\n  " + folder / "p55.png" +
                          " (line 57): no such file\n"));
  CHECK(!fs::exists(folder / "run"));
  // Without guidance no map is read.
  CHECK(contains(
      ended({"--loss", "ce"}).errors,
      "1 file cannot be read:\n  " + folder / "p55.png"));
  const auto without = ended({"--skip-unreadable", "--epochs", "1"});
  CHECK(without.status == 0);
  CHECK(contains(without.errors, "warning: 2 files cannot be read:"));
}

TEST_CASE(
    "Files of other formats are known at the start, with a way out",
    "[train][night]") {
  const pictures::Folder folder;
  auto csv = cyborg::io::read_file(write_table(folder));
  const auto replace = [&](const std::string& from, const std::string& to) {
    const auto at = csv.find("," + from);
    REQUIRE(at != std::string::npos);
    csv.replace(at + 1, from.size(), to);
  };
  replace("p55.png", "p55.tif");  // of the validation
  replace("p3.png", "p3.dat");    // a PNG under another name
  folder.write("p55.tif", std::string("II*\0\x08\0\0\0", 8));
  fs::copy_file(folder / "p3.png", folder / "p3.dat");
  const auto table = folder.write("other.csv", csv);
  const auto ended = [&](const Words& others) {
    return run_train(folder, command_with(table, folder / "run", others));
  };
  const auto text = "1 file cannot be read:\n  " + folder / "p55.tif" +
                    " (line 57): its content is TIFF, not a PNG, JPEG or BMP "
                    "picture: convert it, for example with: mogrify -define "
                    "png:bit-depth=16 -format png \"" +
                    folder / "p55.tif" + "\"\n";
  const auto refused = ended({});
  CHECK(refused.status == 2);
  CHECK(contains(refused.errors, text));
  CHECK(!fs::exists(folder / "run"));
  const auto without = ended({"--skip-unreadable", "--epochs", "1"});
  CHECK(without.status == 0);
  CHECK(contains(without.errors, "warning: " + text));
  fs::remove_all(folder / "run");
  // The paths are right, so nobody is told to mend them.
  const std::string way_out =
      "mend the files, or leave them out with --skip-unreadable\n";
  CHECK(contains(refused.errors, text + way_out));

  SECTION("also those of medicine") {
    folder.write("p55.tif", std::string(128, '\0') + "DICM" + "\1\2");
    const auto scan = ended({});
    CHECK(scan.status == 2);
    CHECK(contains(
        scan.errors,
        "p55.tif (line 57): its content is DICOM, not a PNG, JPEG or BMP "
        "picture: convert it in Python, as docs/train.md shows under \"Other "
        "formats\": a window of its values becomes a PNG of 16 bits\n" +
            way_out));
  }
  SECTION("and a path may be wrong beside them") {
    fs::remove(folder / "p7.png");
    CHECK(contains(
        ended({}).errors,
        "\nmend the paths (those of a CSV start at its folder), or leave them "
        "out with --skip-unreadable\n"));
  }
}

TEST_CASE(
    "Files that are no pictures are known at the start", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto ended = [&](const Words& others) {
    return run_train(folder, command_with(table, folder / "run", others));
  };
  folder.write(
      "map-p10.png", "version https://git-lfs.github.com/spec/v1\noid 1\n");
  folder.write("p3.png", "<html><body>Not found</body></html>");
  folder.write("p50.png", std::string("\x89PNG\r\n\x1a\n", 8));
  folder.write("p55.png", "");
  folder.write("p57.png", pictures::jpeg_grey());
  const auto refused = ended({});
  CHECK(refused.status == 2);
  CHECK(contains(
      refused.errors,
      "5 files cannot be read:\n  " + folder / "p55.png" +
          " (line 57): is empty (0 bytes)\n  " + folder / "p3.png" +
          " (line 5): is mislabelled: its content is HTML, not a PNG, JPEG or "
          "BMP picture: is it the page of a download that failed?\n  " +
          folder / "map-p10.png" +
          " (line 12): is mislabelled: its content is a pointer of Git LFS, "
          "not a PNG, JPEG or BMP picture: fetch the file itself, with: git "
          "lfs pull\n  " +
          folder / "p50.png" +
          " (line 52): is truncated: it ends before the PNG's last chunk\n  " +
          folder / "p57.png" +
          " (line 59): is mislabelled: named as PNG but its content is JPEG; "
          "rename it, or allow this (--any-extension)\nmend the files, or "
          "leave "
          "them out with --skip-unreadable"));
  CHECK(!fs::exists(folder / "run"));
  CHECK(contains(
      ended({"--loss", "ce", "--any-extension"}).errors,
      "3 files cannot be read:"));
  const auto without = ended({"--skip-unreadable", "--epochs", "1"});
  CHECK(without.status == 0);
  CHECK(contains(without.errors, "warning: 5 files cannot be read:"));
}

TEST_CASE("Pictures that are maps are known at the start", "[train][night]") {
  const pictures::Folder folder;
  auto csv = cyborg::io::read_file(write_table(folder));
  const auto map_of = [&](const std::string& map, const std::string& file) {
    const auto at = csv.find("," + map);
    REQUIRE(at != std::string::npos);
    csv.replace(at + 1, map.size(), file);
  };
  const auto ended = [&](const Words& others) {
    return run_train(
        folder,
        command_with(folder.write("other.csv", csv), folder / "run", others));
  };
  fs::create_directory_symlink(folder.path(), folder / "linked");
  map_of("map-p0.png", "./p0.png");
  map_of("map-p1.png", "linked/p1.png");
  map_of("map-p50.png", "p52.png");
  fs::copy_file(folder / "p5.png", folder / "copy.png");
  map_of("map-p5.png", folder / "copy.png");
  for (const bool skip : {false, true}) {
    const auto refused = ended(skip ? Words{"--skip-unreadable"} : Words());
    CHECK(refused.status == 2);
    CHECK(contains(
        refused.errors,
        "train: " + folder / "other.csv" +
            ": 4 files are named for two "
            "things:\n  " +
            folder / "./p0.png" +
            " (line 2): is the picture itself, and is named as its human "
            "map\n  " +
            folder / "linked/p1.png" +
            " (line 3): is the picture itself, and is named as its human "
            "map\n  " +
            folder / "copy.png" + " (line 7): is a copy of the picture " +
            folder / "p5.png" + ", and is named as its human map\n  " +
            folder / "p52.png" + " (line 52): is a picture of the table, " +
            folder / "p52.png" +
            " (line 54), and is named as its human map\nname other files, or "
            "none where there are none (columns saliency, mask and wrong, "
            "--saliency, --wrong)"));
    CHECK(!fs::exists(folder / "run"));
  }
  // Without guidance the maps are not read.
  CHECK(ended({"--loss", "ce", "--epochs", "1"}).status == 0);
}

TEST_CASE("A map of several pictures is warned of", "[train][night]") {
  const pictures::Folder folder;
  auto csv = cyborg::io::read_file(write_table(folder));
  for (size_t at = csv.find("map-"); at != std::string::npos;
       at = csv.find("map-", at + 1)) {
    csv.replace(at, csv.find('\n', at) - at, "map-p0.png");
  }
  const auto ended = run_train(
      folder,
      command_with(
          folder.write("one.csv", csv), folder / "run", {"--epochs", "1"}));
  CHECK(ended.status == 0);
  CHECK(contains(
      ended.errors,
      "warning: 1 files are the human map of several pictures:\n  " +
          folder / "map-p0.png" +
          " (line 2): is the human map of 36 pictures: " + folder / "p0.png" +
          ", " + folder / "p1.png" + " (line 3), ...\n"));
}

TEST_CASE(
    "A folder without any map is refused by its option", "[train][night]") {
  const pictures::Folder folder;
  auto csv = cyborg::io::read_file(write_table(folder));
  for (size_t at = csv.find("map-"); at != std::string::npos;
       at = csv.find("map-", at + 1)) {
    csv.replace(at, csv.find('\n', at) - at, "");
  }
  const auto table = folder.write("none.csv", csv);
  const auto maps = folder / "maps";
  const auto refused = [&](const std::string& flag) {
    const auto ended =
        run_train(folder, command_with(table, folder / "run", {flag, maps}));
    CHECK(ended.status == 2);
    CHECK(!fs::exists(folder / "run"));
    return ended.errors;
  };
  for (const auto& [flag, what] :
       std::vector<std::pair<std::string, std::string>>{
           {"--saliency", "human map"}, {"--wrong", "mask of what is wrong"}}) {
    fs::remove_all(maps);
    CHECK(
        refused(flag) == "train: " + flag + " " + maps +
                             ": no such folder: expected a folder with a " +
                             what + " of each picture\n");
    folder.write("maps", "a file");
    CHECK(
        refused(flag) == "train: " + flag + " " + maps +
                             ": is a file: expected a folder with a " + what +
                             " of each picture\n");
    fs::remove(maps);
    fs::create_directory(maps);
    const auto text = "train: " + flag + " " + maps +
                      ": 0 of 60 pictures have a " + what +
                      " in this folder. For the picture " + folder / "p0.png" +
                      " a file p0.png or p0_map.png (or .jpg, .bmp) is looked "
                      "for in " +
                      maps + "/train/live, " + maps + "/live or " + maps + "; ";
    CHECK(refused(flag) == text + "it is empty\n");
    fs::remove(maps);
    fs::create_directory_symlink(folder.path(), maps);
    CHECK(
        refused(flag) ==
        text + "it holds the pictures themselves, which are no maps\n");
    fs::remove(maps);
    fs::create_directory(maps);
    folder.write("maps/p0.npy", "x");
    CHECK(
        refused(flag) ==
        text + "it holds no PNG, JPEG or BMP, but for example p0.npy\n");
    folder.write("maps/deep/heat_p0.png", "x");
    CHECK(refused(flag) == text + "it holds, for example, deep/heat_p0.png\n");
  }
}

TEST_CASE("A picture of two classes is known at the start", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  cyborg::io::write_file(
      table, cyborg::io::read_file(table) + "train,spoof,p0.png,\n");
  const auto ended = run_train(folder, command(table, folder / "run"));
  CHECK(ended.status == 2);
  CHECK(contains(
      ended.errors, "--data " + folder / "p0.png" +
                        ": is of class \"live\" in one row and of class "
                        "\"spoof\" in another"));
}

TEST_CASE("A folder with results and no last.pt is refused", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  folder.write("run/best.pt", "the weights of months");
  for (const Words& resume : {Words{}, Words{"--resume", "auto"}}) {
    auto words = command(table, folder / "run");
    words.insert(words.end(), resume.begin(), resume.end());
    const auto ended = run_train(folder, words);
    CHECK(ended.status == 2);
    CHECK(contains(
        ended.errors,
        "holds the best.pt of a training, but not the last.pt from which it "
        "could be resumed: a new training needs another --out"));
  }
  CHECK(
      cyborg::io::read_file(folder / "run/best.pt") == "the weights of months");
}

TEST_CASE("What weakens a training is warned of", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  cyborg::data::write_png(folder / "map-p0.png", torch::full({9, 9}, 0.5));
  auto text = cyborg::io::read_file(table);
  for (int i = 49; i < 60; i += 2) {  // the spoofs of the validation
    const auto at = text.find("val,spoof,p" + std::to_string(i) + ".png");
    text.erase(at, text.find('\n', at) + 1 - at);
  }
  cyborg::io::write_file(table, text);
  folder.write("run/.last.pt.3.17.tmp", "of a process that was killed");
  const auto ended =
      run_train(folder, command_with(table, folder / "run", {"--epochs", "1"}));
  CHECK(ended.status == 0);
  CHECK(contains(
      ended.errors,
      "29 pictures of the epoch were guided, and 30 have human maps: the "
      "others are the same everywhere, or could not be read; --check lists "
      "them"));
  CHECK(contains(
      ended.errors,
      "the validation split has pictures of class \"live\" only, so the best "
      "epoch is chosen by that class alone"));
  CHECK(!fs::exists(folder / "run/.last.pt.3.17.tmp"));
}

TEST_CASE("Pictures of several sizes need --size", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);  // sides of 24, 28, 32 and 36
  auto words = command(table, folder / "run");
  const auto size = std::find(words.begin(), words.end(), "--size");
  *(size + 1) = *(size + 2) = "0";
  const auto ended = run_train(folder, words);
  CHECK(ended.status == 2);
  CHECK(contains(
      ended.errors,
      "--size " + folder / "p1.png" + ": is 28 x 28, and " + folder / "p0.png" +
          " is 24 x 24: with --size 0 0 all pictures of a batch need one "
          "size. Name a size that they are resized to, or take --batch 1"));
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE(
    "The moving average of weights follows its formula", "[train][night]") {
  programs::Settings settings;
  settings.network = programs::Architecture::kDemo;
  settings.channels = 1;
  programs::Network network(settings, 2, {});
  programs::WeightAverage average(network, 0.75);
  const auto weight = network.parameters()[0];
  const auto buffers = network.buffers();
  const auto first = weight.detach().clone();
  const auto set = [&](double value) {
    const torch::NoGradGuard no_grad;
    weight.fill_(value);
    average.update();
  };
  set(1);
  set(3);
  // .75 (.75 w + .25 * 1) + .25 * 3
  const auto expected = 0.5625 * first + 0.1875 + 0.75;
  CHECK(support::close(average.state()[0].second, expected, 1e-6));
  {
    const programs::WeightAverage::Use use(average);
    CHECK(support::close(weight.detach(), expected, 1e-6));
  }
  CHECK(weight.detach().equal(torch::full_like(first, 3)));

  // A training that is stopped continues with its averages.
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const Words ema{"--ema", "0.9", "--epochs", "2"};
  REQUIRE(
      run_train(folder, command_with(table, folder / "whole", ema)).status ==
      0);
  auto stopped = ema;
  stopped.insert(stopped.end(), {"--stop-after", "5"});
  REQUIRE(
      run_train(folder, command_with(table, folder / "run", stopped)).status ==
      75);
  REQUIRE(run_train(folder, resume(folder / "run")).status == 0);
  for (const char* file : {"/last.pt", "/best.pt"}) {
    CHECK(same_checkpoints(folder / "whole" + file, folder / "run" + file));
  }
  // The best weights are averages, not those of the last step.
  const auto last = cyborg::train::load_checkpoint(folder / "run/last.pt");
  const auto best = cyborg::train::load_checkpoint(folder / "run/best.pt");
  CHECK(!best.tensors.at("model")[0].second.equal(
      last.tensors.at("model")[0].second));
  CHECK(last.tensors.at("average").size() == network.parameters().size());
  CHECK(best.tensors.count("average") == 0);
  CHECK(contains(
      run_train(folder, command_with(table, folder / "no", {"--ema", "1"}))
          .errors,
      "--ema: expected a number from 0 and below 1, got 1"));
}

TEST_CASE("A single picture for batch normalisation", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  torch::jit::Module net("net");
  net.register_parameter("w", torch::rand({2, 1, 3, 3}), false);
  net.register_attribute("training", c10::BoolType::get(), true);
  net.define(
      "def forward(self, x):\n"
      "  alone = self.training and x.size(0) == 1\n"
      "  assert not alone, \"Expected more than 1 value per channel\"\n"
      "  return torch.conv2d(x, self.w).mean([2, 3])\n");
  net.save(folder / "net.pt");
  auto options = options_of(command(table, folder / "run"));
  options.settings.network = programs::Architecture::kResNet18;
  options.settings.model = folder / "net.pt";
  options.settings.batch = 1;
  CHECK(contains(
      error_of([&] { programs::Trainer(options).run(); }),
      "batch normalisation needs two pictures, and this batch has one. With "
      "--batch 1 such a network cannot be trained"));
}

TEST_CASE(
    "A checkpoint that lacks a setting opens with its default",
    "[train][night]") {
  programs::Settings settings;
  settings.epochs = 7;
  json old = settings;
  old.erase("patience");
  old.erase("weight_decay");
  const auto read = old.get<programs::Settings>();
  CHECK(read.epochs == 7);
  CHECK(read.weight_decay == 1e-6);
  CHECK(read.patience == 0);
}

TEST_CASE("Folds divide subjects, not pictures", "[train][night]") {
  cyborg::data::Table table;
  for (int i = 0; i < 60; ++i) {
    cyborg::data::Row row;
    row.split = "train";
    row.subject = "person" + std::to_string(i % 20);
    row.path = std::to_string(i) + ".png";
    table.rows.push_back(row);
  }
  std::map<std::string, std::set<int64_t>> tested;
  for (int64_t fold = 1; fold <= 6; ++fold) {
    auto each = table;
    programs::split_by_subject(each, 6, fold);
    CHECK(cyborg::data::shared_subjects(each).empty());
    std::map<std::string, std::set<std::string>> subjects;
    for (const auto& row : each.rows) {
      subjects[row.split].insert(row.subject);
      if (row.split == "test") {
        tested[row.subject].insert(fold);
      }
    }
    // 20 subjects in six parts: three each, and four in two of them.
    CHECK((subjects["test"].size() == 3 || subjects["test"].size() == 4));
    CHECK((subjects["val"].size() == 3 || subjects["val"].size() == 4));
    // The order of the rows plays no part.
    auto reversed = table;
    std::reverse(reversed.rows.begin(), reversed.rows.end());
    programs::split_by_subject(reversed, 6, fold);
    std::reverse(reversed.rows.begin(), reversed.rows.end());
    for (size_t i = 0; i < each.rows.size(); ++i) {
      REQUIRE(each.rows[i].split == reversed.rows[i].split);
    }
  }
  CHECK(tested.size() == 20);  // each subject is tested once
  for (const auto& subject : tested) {
    CHECK(subject.second.size() == 1);
  }
  table.name = "table.csv";
  CHECK(error_of([&] {
          programs::split_by_subject(table, 21, 1);
        }) == "--folds: table.csv: expected at least 21 subjects, got 20");
  table.rows[5].subject = "";
  CHECK(
      error_of([&] { programs::split_by_subject(table, 3, 1); }) ==
      "--folds: table.csv: expected a column subject with a value in each row, "
      "got none for 5.png");
  CHECK(cyborg::data::shared_subjects(table).empty());  // "" is no subject
  table.rows[0].split = "val";
  CHECK(
      cyborg::data::shared_subjects(table) ==
      std::vector<std::string>{"person0"});
}

TEST_CASE("A subject in two splits is refused", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  std::istringstream lines(cyborg::io::read_file(table));
  std::string text;
  int row = -1;
  for (std::string line; std::getline(lines, line); ++row) {
    text +=
        line + (row < 0 ? ",subject" : ",s" + std::to_string(row % 12)) + "\n";
  }
  cyborg::io::write_file(table, text);
  auto ended = run_train(folder, command(table, folder / "run"));
  CHECK(ended.status == 2);
  CHECK(contains(
      ended.errors,
      "12 subjects are in several splits, the first of them \"s0\", so that "
      "the results would be too good: repair the table, take --folds, or say "
      "--allow-shared-subjects"));
  CHECK(!fs::exists(folder / "run"));
  const Words few{"--epochs", "1", "--stop-after", "1"};
  auto allowed = few;
  allowed.push_back("--allow-shared-subjects");
  CHECK(
      run_train(folder, command_with(table, folder / "run", allowed)).status ==
      75);
  // With folds nobody is in two splits; the checkpoint knows them.
  auto folds = few;
  folds.insert(folds.end(), {"--folds", "4", "--fold", "4"});
  CHECK(
      run_train(folder, command_with(table, folder / "fold", folds)).status ==
      75);
  CHECK(run_train(folder, resume(folder / "fold")).status == 0);
  for (const auto& wrong :
       {Words{"--folds", "2", "--fold", "1"},
        {"--folds", "4"},
        {"--fold", "1"},
        {"--folds", "4", "--fold", "5"}}) {
    ended = run_train(folder, command_with(table, folder / "wrong", wrong));
    CHECK(ended.status == 2);
    CHECK(contains(
        ended.errors,
        "--folds: expected 3 or more, and --fold from 1 to that number, got"));
  }
}

TEST_CASE(
    "The balanced sampler makes rare classes frequent", "[train][night]") {
  programs::Settings settings;
  std::vector<cyborg::data::Row> rows(8);
  rows[3].label = 1;
  rows[5].label = 1;
  CHECK(programs::sampler_weights(rows, settings).empty());
  settings.sampler = programs::Sampler::kBalanced;
  const auto weights = programs::sampler_weights(rows, settings);
  REQUIRE(weights.size() == 8);
  CHECK(weights[3] == 0.5);
  CHECK(weights[0] == Approx(1. / 6));
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const auto ended = run_train(
      folder,
      command_with(
          table, folder / "run", {"--sampler", "balanced", "--epochs", "1"}));
  INFO(ended.errors);
  CHECK(ended.status == 0);
}

TEST_CASE("--export writes the best network as TorchScript", "[train][night]") {
  const pictures::Folder folder;
  const auto table = write_table(folder);
  const std::string out = folder / "run", file = folder / "net.pt";
  REQUIRE(
      run_train(
          folder, command_with(table, out, {"--epochs", "1", "--export", file}))
          .status == 0);
  auto best = programs::load_trained(out + "/best.pt");
  best.network.train(false);
  auto exported = torch::jit::load(file);
  const torch::NoGradGuard no_grad;
  for (const int64_t side : {32, 40}) {
    const auto images = torch::rand({5, 1, side, side});
    CHECK(support::close(
        exported.forward({images}).toTensor(), best.network.forward(images),
        1e-6));
  }
  std::vector<std::string> names;
  for (const auto& one : exported.named_parameters()) {
    names.push_back(one.name);
  }
  std::vector<std::string> wanted;
  for (const auto& one : best.network.state()) {
    wanted.push_back(one.first);
  }
  for (const auto& name : names) {
    INFO(name);
    CHECK(std::find(wanted.begin(), wanted.end(), name) != wanted.end());
  }
  CHECK(names.size() == best.network.parameters().size());
  // A finished training can export later, also a network of --model.
  fs::remove(file);
  REQUIRE(run_train(folder, resume(out, {"--export", file})).status == 0);
  CHECK(fs::exists(file));
  const auto ended = run_train(
      folder,
      command_with(
          table, folder / "other", {"--export", folder / "none/net.pt"}));
  CHECK(ended.status == 2);
  CHECK(contains(ended.errors, "none does not exist; make it first"));
  CHECK(!fs::exists(folder / "other"));
  // Native networks of other kinds.
  for (const auto kind :
       {programs::Architecture::kResNet18,
        programs::Architecture::kDenseNet121}) {
    programs::Settings settings;
    settings.network = kind;
    programs::Network network(settings, 3, {});
    const auto images = torch::rand({2, 3, 64, 64});
    programs::export_network(network, images, file);
    auto read = torch::jit::load(file);
    const auto others = torch::rand({3, 3, 96, 64});
    CHECK(support::close(
        read.forward({others}).toTensor(), network.forward(others), 1e-5));
  }
}

TEST_CASE("The checksum of a table moves with its folder", "[train][night]") {
  cyborg::data::Table table;
  programs::Settings settings;
  settings.data = "/a/table.csv";
  settings.saliency = "/maps";
  table.rows.resize(1);
  auto& row = table.rows[0];
  row.split = "train";
  row.cls = "live";
  row.path = "/a/b/p.png";
  row.saliency = {"/maps/p.png"};
  const auto first = programs::fingerprint(table, settings);
  settings.data = "/c/table.csv";
  CHECK(programs::fingerprint(table, settings) != first);
  row.path = "/c/b/p.png";
  CHECK(programs::fingerprint(table, settings) == first);
  settings.saliency = "/others";
  CHECK(programs::fingerprint(table, settings) != first);
  row.saliency = {"/others/p.png"};
  CHECK(programs::fingerprint(table, settings) == first);
  CHECK(programs::is_table_of(first, table, settings));
  row.cls = "spoof";
  CHECK(!programs::is_table_of(first, table, settings));
}

TEST_CASE("log.csv holds the records of log.jsonl", "[train][night]") {
  const pictures::Folder folder;
  const auto ended = run_train(
      folder,
      command_with(write_table(folder), folder / "run", {"--epochs", "2"}));
  REQUIRE(ended.status == 0);
  std::istringstream lines(cyborg::io::read_file(folder / "run/log.csv"));
  std::string header, first, second, third;
  std::getline(lines, header);
  std::getline(lines, first);
  std::getline(lines, second);
  CHECK(!std::getline(lines, third));
  CHECK(
      header ==
      "epoch,annotated,classification,learning_rate,loss,pictures,saliency,"
      "step,val_accuracy,val_auc,val_loss");
  CHECK(contains(first, "0,30,"));
  CHECK(second.compare(0, 5, "1,30,") == 0);
}

TEST_CASE(
    "A network that was traced in evaluation mode is reported",
    "[train][night]") {
  const pictures::Folder folder;
  const auto net = torchscript::residual();
  net.save(folder / "scripted.pt");
  programs::Settings settings;
  settings.model = folder / "scripted.pt";
  const auto network = [&] {
    return programs::Network(
        settings, 2, [&] { return torch::rand({settings.channels, 16, 16}); });
  };
  CHECK(network().fixed_layers() == "");
  settings.model = "";
  settings.channels = 1;
  settings.network = programs::Architecture::kDemo;
  CHECK(network().fixed_layers() == "");
  const auto fixed = [&](const char* mode) {
    torch::jit::Module traced("net");
    traced.register_parameter("w", torch::rand({2, 1, 3, 3}), false);
    traced.register_buffer("m", torch::zeros({2}));
    traced.register_buffer("v", torch::ones({2}));
    traced.register_attribute("training", c10::BoolType::get(), true);
    traced.define(
        std::string("def forward(self, x):\n"
                    "  x = torch.conv2d(x, self.w)\n"
                    "  x = torch.batch_norm(x, None, None, self.m, self.v, ") +
        mode +
        ", 0.1, 1e-5, True)\n"
        "  return torch.dropout(x.mean([2, 3]), 0.5, " +
        mode + ")\n");
    traced.save(folder / "fixed.pt");
    settings.model = folder / "fixed.pt";
    return network().fixed_layers();
  };
  CHECK(
      fixed("False") ==
      "in the network of --model, 2 layers of batch normalisation or dropout "
      "always act as in evaluation, so that they do not learn. It was traced "
      "in that mode; examples/export_torchscript.py writes a file in which "
      "training and evaluation differ");
  CHECK(contains(
      fixed("True"),
      "2 layers of batch normalisation or dropout always act "
      "as in training, so that a score depends"));
  CHECK(fixed("self.training") == "");
}
