// SPDX-License-Identifier: BSD-3-Clause
// Which terms free a network from a decoy? All terms of the library on digits
// whose wrong evidence is known, with controls: `methods --help`,
// docs/methods/README.md.

#include "decoys.hpp"
#include "kept_runs.hpp"
#include "report.hpp"
#include "results.hpp"
#include "rows.hpp"
#include "training.hpp"

#include "../common/command_line.hpp"
#include "../common/digits.hpp"
#include "../common/parallel.hpp"
#include "../common/progress.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fs = std::filesystem;

template <>
struct programs::Choices<methods::Decoy> {
  static constexpr Choice<methods::Decoy> kAll[] = {
      {methods::Decoy::kCorners, "corners", "the patch is in a corner"},
      {methods::Decoy::kMoving, "moving", "digit and patch are anywhere"}};
};
template <>
struct programs::Choices<methods::Net> {
  static constexpr Choice<methods::Net> kAll[] = {
      {methods::Net::kConvolutional, "convolutional", ""},
      {methods::Net::kPerceptron, "perceptron", ""}};
};

namespace {

constexpr int64_t kFirstDevelopmentSeed = 100;

struct Arguments {
  fs::path out = "build/methods";
  fs::path data = CYBORG_METHODS_DATA;
  std::vector<std::string> methods = {"all"};
  int64_t seeds = 10;
  int64_t first_seed = 0;
  int64_t threads = std::max<int64_t>(1, std::thread::hardware_concurrency());
  std::optional<methods::Decoy> decoy;
  std::optional<methods::Net> network;
  bool quick = false;
  bool develop = false;
  std::optional<int64_t> epochs;
};

bool begins_with(const methods::Row& row, const std::string& name) {
  return row.name.compare(0, name.size(), name) == 0;
}

/// All rows of a network and a decoy; in development each term has one for each
/// strength that is tried.
std::vector<methods::Row> all_rows(
    bool develop, methods::Net net, methods::Decoy decoy) {
  const auto rows = methods::rows_of(net, decoy);
  if (!develop) {
    return rows;
  }
  std::vector<methods::Row> tried;
  for (const auto& row : rows) {
    if (!row.term) {
      tried.push_back(row);
    } else if (row.name == row.term->kind) {
      for (const double strength : methods::strengths_tried(row.term->kind)) {
        tried.push_back(row);
        tried.back().term->strength = strength;
        tried.back().name = fmt::format("{} {}", row.name, strength);
      }
    }
  }
  return tried;
}

/// Throws for a name with which no row of any network and decoy begins.
void check_names(const Arguments& arguments) {
  std::vector<methods::Row> all;
  for (const auto net :
       {methods::Net::kConvolutional, methods::Net::kPerceptron}) {
    for (const auto decoy :
         {methods::Decoy::kMoving, methods::Decoy::kCorners}) {
      const auto rows = all_rows(arguments.develop, net, decoy);
      all.insert(all.end(), rows.begin(), rows.end());
    }
  }
  for (const auto& name : arguments.methods) {
    const auto known = [&](const auto& row) { return begins_with(row, name); };
    if (name == "all" || std::any_of(all.begin(), all.end(), known)) {
      continue;
    }
    std::set<std::string> names;
    std::string list;
    for (const auto& row : all) {
      if (names.insert(row.name).second) {
        list += (list.empty() ? "" : ", ") + row.name;
      }
    }
    throw std::invalid_argument(
        "--method: expected all, or the beginnings of some of " + list +
        "; got " + name);
  }
}

/// The rows that are wanted; ce and clean are always among them.
std::vector<methods::Row> rows_wanted(
    const Arguments& arguments, methods::Net net, methods::Decoy decoy) {
  const auto rows = all_rows(arguments.develop, net, decoy);
  if (arguments.methods.front() == "all") {
    return rows;
  }
  std::vector<methods::Row> some;
  std::copy_if(
      rows.begin(), rows.end(), std::back_inserter(some), [&](const auto& row) {
        return row.name == "ce" || row.name == "clean" ||
               std::any_of(
                   arguments.methods.begin(), arguments.methods.end(),
                   [&](const auto& name) { return begins_with(row, name); });
      });
  return some;
}

/// The runs of one network on one decoy.
methods::Results compare(
    const Arguments& arguments, const torch::Tensor& digits,
    const torch::Tensor& labels, methods::Net net, methods::Decoy decoy,
    methods::KeptRuns& kept) {
  const auto rows = rows_wanted(arguments, net, decoy);
  auto recipe = methods::recipe_of(net, decoy, arguments.quick);
  recipe.epochs = arguments.epochs.value_or(recipe.epochs);
  std::vector<int64_t> seeds;
  for (int64_t s = 0; s < arguments.seeds; ++s) {
    seeds.push_back(
        s + (arguments.develop ? kFirstDevelopmentSeed : arguments.first_seed));
  }
  std::vector<methods::Repetition> repetitions;
  for (const auto seed : seeds) {
    repetitions.push_back(
        methods::make_repetition(digits, labels, decoy, seed));
  }
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<std::vector<methods::Run>> runs(
      seeds.size(), std::vector<methods::Run>(rows.size()));
  programs::Progress progress(
      fmt::format("{}, {}", programs::name_of(net), programs::name_of(decoy)),
      count * arguments.seeds, /*quiet=*/false);
  std::mutex mutex;
  programs::parallel(
      count * arguments.seeds, arguments.threads, [&](int64_t i) {
        const auto s = static_cast<size_t>(i / count);
        const auto r = static_cast<size_t>(i % count);
        std::optional<methods::Run> run;
        {
          const std::lock_guard<std::mutex> lock(mutex);
          run = kept.find(net, decoy, rows[r], recipe, seeds[s]);
        }
        const bool made = !run;
        if (made) {
          run = methods::run(rows[r], repetitions[s], net, recipe);
        }
        runs[s][r] = *run;
        const std::lock_guard<std::mutex> lock(mutex);
        if (made) {
          kept.add(net, decoy, rows[r], recipe, seeds[s], *run);
        }
        progress.add(1, rows[r].name);
      });
  return methods::summarize(net, decoy, recipe, rows, seeds, runs);
}

/// Writes what is known so far.
void write_results(
    const Arguments& arguments, const std::vector<methods::Results>& all,
    const std::vector<methods::Repetition>& shown) {
  nlohmann::ordered_json json;
  for (const auto& one : all) {
    json.push_back(methods::to_json(one));
  }
  cyborg::io::write_file(arguments.out / "results.json", json.dump(1) + "\n");
  methods::write_report(
      all, shown, arguments.develop, arguments.out / "report.html");
}

void run(const Arguments& arguments) {
  check_names(arguments);
  fs::create_directories(arguments.out);
  const auto digits = programs::read_digits(arguments.data);
  const auto labels = programs::read_digit_labels(arguments.data);
  using methods::Decoy;
  using methods::Net;
  methods::KeptRuns kept(arguments.out / "runs.jsonl", "/proc/self/exe");
  if (kept.size() > 0) {
    std::printf(
        "%s holds %zu finished runs, which are not run again.\n",
        (arguments.out / "runs.jsonl").string().c_str(), kept.size());
  }
  std::vector<methods::Results> all;
  std::vector<methods::Repetition> shown;
  for (const auto& [net, decoy] :
       {std::pair(Net::kConvolutional, Decoy::kMoving),
        std::pair(Net::kConvolutional, Decoy::kCorners),
        std::pair(Net::kPerceptron, Decoy::kCorners)}) {
    if ((arguments.decoy && *arguments.decoy != decoy) ||
        (arguments.network && *arguments.network != net)) {
      continue;
    }
    all.push_back(compare(arguments, digits, labels, net, decoy, kept));
    shown.push_back(
        methods::make_repetition(digits, labels, decoy, arguments.first_seed));
    write_results(arguments, all, shown);
    std::printf("\n%s\n", methods::to_text(all.back()).c_str());
  }
  if (all.empty()) {
    throw std::invalid_argument(
        "the perceptron is compared on --decoy corners alone: it has no place "
        "for a patch that moves");
  }
  std::printf("Open %s\n", fs::absolute(arguments.out / "report.html").c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Trains small networks on digits with a decoy, with each term of the "
      "library, and tests them where the decoy means something else.");
  app.add_option("--out", arguments.out, "folder of all output files")
      ->capture_default_str();
  app.add_option("--data", arguments.data, "folder that holds digits.png")
      ->capture_default_str();
  app.add_option(
         "--method", arguments.methods,
         "all, or the beginnings of the names of rows; ce and clean are always "
         "trained")
      ->expected(1, 100)
      ->capture_default_str();
  app.add_option("--seeds", arguments.seeds, "trainings of each row")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--first-seed", arguments.first_seed, "the first seed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  programs::add_choice(
      app, "--decoy", arguments.decoy, "one decoy; without this option, both");
  programs::add_choice(
      app, "--network", arguments.network,
      "one network; without this option, both");
  app.add_option(
         "--threads", arguments.threads,
         "trainings that run at the same time; the results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag(
      "--quick", arguments.quick,
      "2 seeds, and half the epochs where the patch moves");
  app.add_flag(
      "--develop", arguments.develop,
      "try several strengths of each term, with other seeds than the results "
      "have");
  app.add_option(
         "--epochs", arguments.epochs,
         "epochs of all rows instead of those of the results")
      ->check(CLI::Range(1, 100000));
  CLI11_PARSE(app, argc, argv);
  if (arguments.quick) {
    arguments.seeds = 2;
  }
  if (arguments.develop && app.count("--out") == 0) {
    arguments.out += "-development";  // the results stay
  }
  try {
    run(arguments);
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "methods: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "methods: %s\n", error.what());
    return 1;
  }
  return 0;
}
