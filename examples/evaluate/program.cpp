// SPDX-License-Identifier: BSD-3-Clause
#include "program.hpp"

#include "checkpoint.hpp"
#include "measures.hpp"
#include "report.hpp"
#include "scores.hpp"

#include "../common/command_line.hpp"

#include <cyborg/io/file.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <exception>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace evaluate {

namespace {

namespace fs = std::filesystem;

constexpr int kWrongInput = 2;

struct Arguments {
  std::vector<std::string> files;
  EvaluateOptions options;
  PictureOptions pictures;
  fs::path scores;
  fs::path csv;
  fs::path json;
  fs::path html;
};

/// Runs can be compared only where they have the same classes.
void check_runs(const std::vector<RunResult>& runs) {
  for (const auto& run : runs) {
    if (run.classes != runs[0].classes) {
      throw cyborg::io::FileError(
          "evaluate", run.name,
          "its classes are not those of " + runs[0].name +
              ": evaluate the two separately");
    }
  }
}

/// Throws, before anything is written, for an output that would overwrite an
/// input or another output.
void check_outputs(const Arguments& arguments) {
  std::vector<fs::path> taken;
  for (const auto& file : arguments.files) {
    taken.push_back(fs::weakly_canonical(fs::absolute(file)));
  }
  for (const auto& out :
       {arguments.scores, arguments.csv, arguments.json, arguments.html}) {
    if (out.empty()) {
      continue;
    }
    const auto path = fs::weakly_canonical(fs::absolute(out));
    if (!fs::is_directory(path.parent_path()) || fs::is_directory(path)) {
      throw cyborg::io::FileError(
          "evaluate", out,
          "cannot be written: name a file in a folder that exists");
    }
    for (const auto& other : taken) {
      if (path == other) {
        throw cyborg::io::FileError(
            "evaluate", out, "is named twice: choose another file");
      }
    }
    taken.push_back(path);
  }
}

/// The scores of one file, a table or a checkpoint. Of a checkpoint `csv` is
/// set to the text of the table.
ScoresTable scores_of(
    const Arguments& arguments, const std::string& file, std::string* csv) {
  if (!is_checkpoint(file)) {
    if (!arguments.pictures.data.empty() || !arguments.scores.empty()) {
      throw cyborg::io::FileError(
          "evaluate", file,
          "holds scores already: --data and --scores are for checkpoints");
    }
    return read_scores(file);
  }
  std::vector<std::string> splits = {arguments.options.split};
  if (arguments.options.threshold_from != splits.front()) {
    splits.push_back(arguments.options.threshold_from);
  }
  auto scored = score_checkpoint(file, arguments.pictures, splits);
  auto table = parse_scores(scored.csv, file);
  table.classes = scored.classes;
  table.notes = scored.notes;
  *csv = std::move(scored.csv);
  return table;
}

void write_outputs(
    const Arguments& arguments, const std::vector<RunResult>& runs,
    const std::string& scores) {
  const auto& options = arguments.options;
  std::vector<std::pair<fs::path, std::string>> outputs;
  if (!arguments.scores.empty()) {
    outputs.emplace_back(arguments.scores, scores);
  }
  if (!arguments.csv.empty()) {
    outputs.emplace_back(arguments.csv, to_csv(runs));
  }
  if (!arguments.json.empty()) {
    outputs.emplace_back(arguments.json, to_json(runs, options).dump(2) + "\n");
  }
  if (!arguments.html.empty()) {
    outputs.emplace_back(arguments.html, to_html(runs, options));
  }
  for (const auto& [path, text] : outputs) {
    cyborg::io::write_file(path, text, "evaluate");
  }
}

std::string run(const Arguments& arguments) {
  check_outputs(arguments);
  if (!arguments.scores.empty() && arguments.files.size() != 1) {
    throw cyborg::io::FileError(
        "evaluate", arguments.scores,
        "--scores writes the scores of one checkpoint: name one file");
  }
  std::vector<RunResult> runs;
  std::string scores;
  for (const auto& file : arguments.files) {
    runs.push_back(
        judge(scores_of(arguments, file, &scores), arguments.options));
  }
  check_runs(runs);
  write_outputs(arguments, runs, scores);
  return to_text(runs);
}

}  // namespace

ProgramResult program(int argc, const char* const* argv) {
  Arguments arguments;
  auto& options = arguments.options;
  CLI::App app(
      "Measures how good a classifier is. Each file is one run: a checkpoint "
      "of `train`, whose network scores pictures, or a CSV of scores. The "
      "first line of a CSV names the columns: path,split,class,label, then "
      "score (the probability of label 1, in [0, 1]) or logit_0,logit_1,..., "
      "and, if known, attack,group,subject.\n"
      "Two classes: ROC, EER, APCER, BPCER and accuracies at a threshold "
      "(score >= threshold is positive). More classes: accuracies, and the "
      "AUC of each class against the rest.");
  app.add_option(
         "files", arguments.files,
         "checkpoints or files of scores, one for each run")
      ->required();
  app.add_option("--split", options.split, "the split that is measured")
      ->capture_default_str();
  auto* threshold =
      app.add_option(
             "--threshold-from", options.threshold_from,
             "the threshold: a number, or a split (where both errors are equal "
             "there); without rows of the default split it is 0.5")
          ->capture_default_str();
  app.add_option(
         "--positive", options.positive,
         "the positive class (attacks), by name or label")
      ->default_str("label 1");
  auto* score = programs::add_choice(
      app, "--score", options.score,
      "how logits become a score; a single logit has a sigmoid only");
  app.add_option(
         "--fpr", options.fpr,
         "false positive rates at which the true positive rate is measured")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0.0, 1.0))
      ->default_str(fmt::format("{}", fmt::join(options.fpr, ",")));
  auto& pictures = arguments.pictures;
  app.add_option(
         "--data", pictures.data,
         "pictures for checkpoints: a CSV, or a folder split/class/*.png")
      ->default_str("those of the training");
  app.add_flag(
      "--skip-unreadable", pictures.skip_unreadable,
      "leave out pictures that cannot be read, and list them");
  programs::add_running_options(
      app, pictures.device, pictures.threads, pictures.workers, pictures.batch);
  app.add_option(
         "--scores", arguments.scores, "file for the scores of the checkpoint")
      ->default_str("none");
  app.add_option(
         "--csv", arguments.csv, "file for a table with a line for each run")
      ->default_str("none");
  app.add_option("--json", arguments.json, "file for the results as JSON")
      ->default_str("none");
  app.add_option("--html", arguments.html, "file for a report")
      ->default_str("none");
  try {
    app.parse(argc, argv);
    options.threshold_asked = threshold->count() > 0;
    options.score_asked = score->count() > 0;
    return {0, run(arguments), ""};
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream problem;
    const int code = app.exit(error, out, problem);
    return {code == 0 ? 0 : kWrongInput, out.str(), problem.str()};
  } catch (const cyborg::io::FileError& error) {
    return {
        kWrongInput, "",
        "evaluate: " + error.path() + ": " + error.reason() + "\n"};
  } catch (const std::invalid_argument& error) {
    return {kWrongInput, "", "evaluate: " + std::string(error.what()) + "\n"};
  } catch (const c10::Error& error) {
    return {
        1, "",
        "evaluate: " + std::string(error.what_without_backtrace()) + "\n"};
  } catch (const std::exception& error) {
    return {1, "", "evaluate: " + std::string(error.what()) + "\n"};
  }
}

}  // namespace evaluate
