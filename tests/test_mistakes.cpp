// SPDX-License-Identifier: BSD-3-Clause
// What the programs say of command lines that they cannot read.

#include "catch.hpp"
#include "support.hpp"

#include <common/mistakes.hpp>
#include <common/setting_names.hpp>
#include <common/unknown_option.hpp>
#include <train/option_groups.hpp>

#include <CLI/CLI.hpp>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Words = std::vector<std::string>;

/// What `train` says of these words; "" where it can read them.
std::string said_by_train(Words words) {
  programs::TrainOptions options;
  CLI::App app;
  programs::add_data_options(app, options.settings);
  programs::add_training_options(app, options.settings);
  programs::add_run_options(app, options);
  words.insert(words.begin(), "train");
  std::vector<const char*> argv;
  for (const auto& word : words) {
    argv.push_back(word.c_str());
  }
  const auto argc = static_cast<int>(argv.size());
  programs::explain_mistakes(app, "train", argc, argv.data());
  try {
    app.parse(argc, argv.data());
    return "";
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, text;
    app.exit(error, out, text);
    const auto all = text.str();
    const std::string end = "\nRun with --help for more information.\n";
    REQUIRE(all.size() > end.size());
    CHECK(all.substr(all.size() - end.size()) == end);
    return all.substr(0, all.size() - end.size());
  }
}

}  // namespace

TEST_CASE("Wrong values are reported with what is expected", "[mistakes]") {
  const std::string window =
      "--window: expected LOW,HIGH, for example --window 0,4095; got ";
  CHECK(said_by_train({"--window", "0-4095"}) == window + "0-4095");
  CHECK(said_by_train({"--window", "4095"}) == window + "4095");
  CHECK(said_by_train({"--window", "low,high"}) == window + "low,high");
  CHECK(said_by_train({"--window", "0,1,2"}) == window + "0,1,2");
  CHECK(said_by_train({"--window"}) == window + "nothing");
  CHECK(said_by_train({"--window", "--check"}) == window + "nothing");
  CHECK(said_by_train({"--window=4095"}) == window + "4095");
  CHECK(said_by_train({"--window", "0,", "4095"}) == "");
  const std::string size =
      "--size: expected HEIGHT WIDTH, for example --size 224 224; got ";
  CHECK(said_by_train({"--size", "16"}) == size + "16");
  CHECK(said_by_train({"--size"}) == size + "nothing");
  CHECK(said_by_train({"--size", "8", "8", "8"}) == size + "8 8 8");
  for (const auto& [words, wrong] : std::vector<std::pair<Words, std::string>>{
           {{"--size", "16x16"}, "16x16"},
           {{"--size", "16,16"}, "16,16"},
           {{"--size", "a", "b"}, "a"},
           {{"--size", "-1", "5"}, "-1"},
           {{"--size", "5", "1e2"}, "1e2"},
           {{"--size=5.5", "5"}, "5.5"}}) {
    CHECK(
        said_by_train(words) ==
        "--size: expected a whole number from 0, got " + wrong +
            " (--size takes HEIGHT WIDTH, for example --size 224 224)");
  }
  CHECK(
      said_by_train({"--mean", "0.4,0.5"}) ==
      "--mean: expected a number that is finite, got 0.4,0.5 (--mean takes 1 "
      "to 3 numbers, for example --mean 0.485 0.456 0.406)");
  CHECK(
      said_by_train({"--std", "1", "0", "1"}) ==
      "--std: expected a number above 0, got 0 (--std takes 1 to 3 numbers, "
      "for "
      "example --std 0.229 0.224 0.225)");
  CHECK(
      said_by_train({"--screen", "57,38"}) ==
      "--screen: expected CM PIXELS, for example --screen 57 38; got 57,38");
  CHECK(
      said_by_train({"--lr"}) ==
      "--lr: expected a number, for example --lr 0.005; got nothing");
  CHECK(
      said_by_train({"--lr", "0.1", "0.2"}) ==
      "--lr: expected a number, for example --lr 0.005; got 0.1 0.2");
  CHECK(
      said_by_train({"--lr", "0,1"}) ==
      "--lr: expected a number above 0, got 0,1");
  CHECK(
      said_by_train({"--loss"}) ==
      "--loss: expected one of ce, cyborg-l1, cyborg-l2, cyborg-kl; got "
      "nothing");
  CHECK(
      said_by_train({"--loss", "l2"}) ==
      "--loss: expected ce, cyborg-l1, cyborg-l2 or cyborg-kl, got l2");
  CHECK(
      said_by_train({"--model"}) ==
      "--model: expected the name of a file; got nothing");
  CHECK(
      said_by_train({"--class-weights"}) ==
      "--class-weights: expected WEIGHTS, for example --class-weights "
      "balanced; got nothing");
  CHECK(
      said_by_train({"--term"}) ==
      "--term: expected TERM, for example --term energy; got nothing");
  CHECK(
      said_by_train({"--term", "energy:x"}) ==
      "--term: expected option=value behind energy:, got x");
  CHECK(
      said_by_train({"--check", "yes"}) ==
      "--check: expected no value, got yes");
  CHECK(
      said_by_train({"--bf16=maybe"}) ==
      "--bf16: expected no value, got maybe");
  CHECK(
      said_by_train({"--channels", "2"}) ==
      "--channels: expected 1 (grey) or 3 (RGB), got 2");
  CHECK(
      said_by_train({"extra"}) ==
      "expected options, which begin with --, got extra");
}

TEST_CASE(
    "Whole numbers are expected where parts make no sense", "[mistakes]") {
  for (const std::string flag :
       {"--epochs", "--batch", "--accumulate", "--step-epochs", "--max-pixels",
        "--ahead"}) {
    for (const std::string value :
         {"1.5", "1e3", "ten", "0", "-3", "99999999999999999999", "64M"}) {
      CHECK(
          said_by_train({flag, value}) ==
          flag + ": expected a whole number from 1, got " + value);
    }
    CHECK(said_by_train({flag, "7"}) == "");
  }
  for (const std::string flag :
       {"--folds", "--fold", "--patience", "--threads", "--workers",
        "--save-every", "--stop-after"}) {
    CHECK(
        said_by_train({flag, "2.5"}) ==
        flag + ": expected a whole number from 0, got 2.5");
    CHECK(said_by_train({flag, "0"}) == "");
  }
}

TEST_CASE("An option that is given twice is refused", "[mistakes]") {
  CHECK(
      said_by_train({"--window", "0,1", "--window", "0,2"}) ==
      "--window: expected once, got 2 times: 0,1 and 0,2; keep one of them");
  CHECK(
      said_by_train({"--lr", "0.1", "--epochs", "3", "--lr=0.2"}) ==
      "--lr: expected once, got 2 times: 0.1 and 0.2; keep one of them");
  CHECK(
      said_by_train({"--size", "8", "8", "--size", "9", "9"}) ==
      "--size: expected once, got 2 times: 8 8 and 9 9; keep one of them");
  CHECK(said_by_train({"--term", "energy", "--term", "cosine"}) == "");
}

TEST_CASE("Names that are nearly those of options are reported", "[mistakes]") {
  for (const auto& [word, meant] :
       std::vector<std::pair<std::string, std::string>>{
           {"--epoch", "--epochs"},
           {"--Epochs", "--epochs"},
           {"--lerning-rate", "--lr"},
           {"--learning_rate", "--lr"},
           {"--batch-size", "--batch"},
           {"--num-workers", "--workers"},
           {"--weight_decay", "--weight-decay"},
           {"--sailency", "--saliency"},
           {"--threshold", "--threshold-from of evaluate"},
           {"--overlay-sise", "--overlay-size of explain"},
           {"-lr", "--lr"},
           {"-epochs", "--epochs"},
           {"\xE2\x80\x94"
            "epochs",
            "--epochs"}}) {
    CHECK(
        said_by_train({word, "3"}) ==
        word + ": no such option; did you mean " + meant + "?");
  }
  CHECK(said_by_train({"--frobnicate"}) == "--frobnicate: no such option");
  CHECK(
      said_by_train({"--epoch=3"}) ==
      "--epoch: no such option; did you mean --epochs?");
  CHECK(
      said_by_train({"--test-flip"}) ==
      "--test-flip: is an option of evaluate, not of train");
  CHECK(
      said_by_train({"--split", "test"}) ==
      "--split: is an option of evaluate and explain, not of train");
}

TEST_CASE("Which setting an option of train sets", "[mistakes]") {
  using programs::setting_of;
  CHECK(setting_of("--lr") == "learning_rate");
  CHECK(setting_of("--window") == "window");
  CHECK(setting_of("--term") == "objective/terms");
  CHECK(setting_of("--class-weights") == "objective/class_weights");
  CHECK(setting_of("--screen") == "annotations/screen");
  for (const auto* none :
       {"--out", "--device", "--objective", "--classes", "--annotation", "lr",
        "", "--"}) {
    CHECK(setting_of(none) == "");
  }
  const std::string end =
      ": is a setting of the training, which evaluate takes from the "
      "checkpoint: leave it out";
  for (const std::string flag :
       {"--window", "--size", "--channels", "--mean", "--std", "--lr",
        "--saliency", "--annotations", "--max-pixels", "--layer", "--bf16"}) {
    CHECK(programs::unknown_option_text("evaluate", {}, flag) == flag + end);
  }
}
