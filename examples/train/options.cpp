// SPDX-License-Identifier: BSD-3-Clause
#include "options.hpp"

#include "option_groups.hpp"

#include "../common/annotations/read.hpp"
#include "../common/mistakes.hpp"
#include "../common/setting_names.hpp"

#include <cyborg/data/window.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace programs {

namespace {

/// Notes which options the command line has.
void note_given(const CLI::App& app, TrainOptions& options) {
  const auto any = [](const CLI::App* /*group*/) { return true; };
  for (const auto* group : app.get_subcommands(any)) {
    for (const auto* option : group->get_options()) {
      if (option->count() == 0) {
        continue;
      }
      const auto& name = option->get_lnames().front();
      const auto setting = setting_of("--" + name);
      if (!setting.empty()) {
        options.given.emplace_back("--" + name, setting);
      } else if (
          name != "resume" && name != "out" && name != "stop-after" &&
          name != "check" && name != "recipe") {
        options.run_words.push_back("--" + name);
        if (option->get_expected_max() > 0) {  // not a flag
          for (const auto& word : option->results()) {
            options.run_words.push_back(word);
          }
        }
      }
    }
  }
}

bool was_given(const TrainOptions& options, const std::string& flag) {
  return std::any_of(
      options.given.begin(), options.given.end(),
      [&](const auto& given) { return given.first == flag; });
}

/// Throws for options that exclude one another, and sets defaults that depend
/// on others.
void complete_options(TrainOptions& options) {
  auto& settings = options.settings;
  auto& size = settings.size;
  if (size[0] == 0 && size[1] == 0) {
    size.clear();
  } else if (size[0] == 0 || size[1] == 0) {
    throw CLI::ValidationError(
        "--size", fmt::format(
                      "expected two numbers above 0, or 0 0 for no resizing; "
                      "got {} {}",
                      size[0], size[1]));
  }
  if (settings.data.empty() && options.resume == Resume::kNo) {
    throw CLI::RequiredError("--data");
  }
  if (settings.folds == 1 || settings.folds == 2 ||
      (settings.folds > 0) != (settings.fold > 0) ||
      settings.fold > settings.folds) {
    throw CLI::ValidationError(
        "--folds", fmt::format(
                       "expected 3 or more, and --fold from 1 to that number, "
                       "got --folds {} --fold {}",
                       settings.folds, settings.fold));
  }
  try {
    check_annotation_settings(settings.annotations);
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    const auto at = text.find(": ");
    throw CLI::ValidationError(text.substr(0, at), text.substr(at + 2));
  }
  if (!settings.window.empty() && !cyborg::data::is_window(settings.window)) {
    throw CLI::ValidationError(
        "--window",
        fmt::format(
            "expected two stored values LOW,HIGH with 0 <= LOW < HIGH <= 65535 "
            "and a whole number from LOW to HIGH, for example 0,4095; got {}",
            fmt::join(settings.window, ",")));
  }
  if (was_given(options, "--model") && was_given(options, "--network")) {
    throw CLI::ValidationError(
        "--model", "is a network, too: leave --network out");
  }
  const auto balance = settings.objective.balance;
  if (balance != cyborg::Balance::kFixed) {
    const auto fail = [&](const std::string& reason) {
      throw CLI::ValidationError(
          "--balance", fmt::format("{}: {}", name_of(balance), reason));
    };
    if (settings.loss == Loss::kCrossEntropy) {
      fail("balances --loss ce with nothing: choose a cyborg loss");
    }
    if (!settings.objective.terms.empty()) {
      fail("balances the two parts of --loss alone: leave --term out");
    }
    if (was_given(options, "--alpha")) {
      fail("sets alpha itself, for each batch: leave --alpha out");
    }
  }
  if (settings.channels == 1) {  // ImageNet's, of grey pictures
    if (!was_given(options, "--mean")) {
      settings.mean = {0.449};
    }
    if (!was_given(options, "--std")) {
      settings.stddev = {0.226};
    }
  }
  for (const auto& [flag, values] :
       {std::pair("--mean", &settings.mean), {"--std", &settings.stddev}}) {
    const auto count = static_cast<int64_t>(values->size());
    if (count != 1 && count != settings.channels) {
      throw CLI::ValidationError(
          flag, fmt::format(
                    "expected 1 number or one for each of {} channels, got {}",
                    settings.channels, count));
    }
  }
}

}  // namespace

TrainOptions read_options(int argc, char** argv) {
  TrainOptions options;
  auto& settings = options.settings;
  CLI::App app(
      "Trains a network to tell classes of pictures apart, and to look where "
      "people looked.");
  app.footer(
      "Writes to the output folder: last.pt and best.pt (checkpoints), "
      "log.jsonl, log.csv, scores.csv and report.html.\n"
      "Ends with 0 when the training is finished, with 75 when it was stopped "
      "and can be resumed, with 2 after an error.\n"
      "Example: train --data faces.csv --network resnet18 --out runs/faces");
  add_data_options(app, settings);
  add_training_options(app, settings);
  add_run_options(app, options);
  explain_mistakes(app, "train", argc, argv);
  try {
    app.parse(argc, argv);
    options.program = argv[0];
    note_given(app, options);
    complete_options(options);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace programs
