// SPDX-License-Identifier: BSD-3-Clause
// Does guidance generalise? A small experiment on real handwriting.
//
// Makes pictures, trains a small network with and without human maps, tests it
// with generators that no training saw, and writes a report: `demo --help`,
// docs/demo.md.

#include "develop.hpp"
#include "experiment.hpp"
#include "protocol.hpp"
#include "report.hpp"
#include "results.hpp"
#include "synthesize.hpp"

#include "../common/command_line.hpp"
#include "../common/progress.hpp"

#include <cyborg/io/file.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;

/// A table that `--develop` prints.
enum class Development { kDifficulty, kAlpha };

}  // namespace

template <>
struct programs::Choices<Development> {
  static constexpr Choice<Development> kAll[] = {
      {Development::kDifficulty, "difficulty", "of the pictures"},
      {Development::kAlpha, "alpha", "the weight of the classification loss"}};
};

namespace {

struct Arguments {
  fs::path out = "build/demo";
  fs::path data = CYBORG_DEMO_DATA;
  int64_t threads = std::max<int64_t>(1, std::thread::hardware_concurrency());
  bool quick = false;
  std::optional<Development> develop;
};

void experiment(const Arguments& arguments, const torch::Tensor& digits) {
  demo::Sizes sizes;
  const auto seeds = demo::result_seeds(arguments.quick);
  const auto result = demo::run_protocol(
      digits, arguments.out / "pictures", seeds, sizes, demo::Difficulty(),
      arguments.threads,
      /*quiet=*/false);
  const auto json = demo::to_json(result.results).dump(1) + "\n";
  cyborg::io::write_file(arguments.out / "results.json", json);
  demo::write_report(result, arguments.out / "report.html");

  std::printf("\n%s\n", demo::to_text(result.results).c_str());
  for (const auto& finding : demo::findings(result.results)) {
    std::printf(
        "%s %s\n", finding.holds ? "holds:        " : "does not hold:",
        finding.text.c_str());
  }
  std::printf(
      "\n%s. Open %s\n", programs::duration(result.seconds).c_str(),
      fs::absolute(arguments.out / "report.html").c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Trains a small detector of spliced handwriting with and without human "
      "saliency, and tests it on generators it never saw.");
  app.add_option("--out", arguments.out, "folder of all output files")
      ->capture_default_str();
  app.add_option("--data", arguments.data, "folder that holds digits.png")
      ->capture_default_str();
  app.add_option(
         "--threads", arguments.threads,
         "trainings that run at the same time; the results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--quick", arguments.quick, "3 seeds instead of 10");
  programs::add_choice(
      app, "--develop", arguments.develop,
      "print the table from which a setting was chosen, with other seeds than "
      "the results have, and end");
  CLI11_PARSE(app, argc, argv);
  try {
    const auto digits = demo::read_digits(arguments.data);
    fs::create_directories(arguments.out);
    const auto development = arguments.out / "development";
    if (arguments.develop == Development::kDifficulty) {
      demo::develop_difficulty(digits, development, arguments.threads);
    } else if (arguments.develop == Development::kAlpha) {
      demo::develop_alpha(digits, development, arguments.threads);
    } else {
      experiment(arguments, digits);
    }
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "demo: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
  return 0;
}
